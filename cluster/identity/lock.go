//go:build unix

package identity

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrLocked says that another process, or another part of this one, uses the folder.
var ErrLocked = errors.New("data folder is in use")

// Lock is the right to use a data folder. It ends with the process, however that ends.
type Lock struct{ file *os.File }

// Acquire takes the lock of the folder, which must exist. When somebody has it the error is of the kind [ErrLocked] and
// names the process if it is known. It never waits.
func Acquire(f Folder) (*Lock, error) {
	path := filepath.Join(string(f), lockName)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder := holder(file)
		return nil, errors.Join(fmt.Errorf("%s%s: stop it or choose another folder: %w", f, holder, ErrLocked), file.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock data folder %s: %w", f, err), file.Close())
	}
	if err := errors.Join(file.Truncate(0), writePID(file)); err != nil {
		return nil, errors.Join(fmt.Errorf("lock data folder %s: %w", f, err), file.Close())
	}
	return &Lock{file: file}, nil
}

// Release gives the folder back. The file stays: removing it would let two processes hold two files of that name.
func (l *Lock) Release() error {
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("unlock data folder: %w", err)
	}
	return nil
}

func writePID(file *os.File) error {
	_, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// holder is ` (process 123)`, or nothing.
func holder(file *os.File) string {
	text, err := io.ReadAll(io.LimitReader(file, 32))
	if err != nil {
		return ""
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (process %d)", pid)
}
