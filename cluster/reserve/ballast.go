package reserve

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// BallastName is the file that holds room for a bad moment.
const BallastName = "ballast"

const (
	ballastMode  = 0o600
	ballastChunk = 1 << 20
)

// ballast is the file. What is in it means nothing.
type ballast struct {
	folder string
	mu     sync.Mutex
}

func (b *ballast) path() string { return filepath.Join(b.folder, BallastName) }

func (b *ballast) held() uint64 {
	info, err := os.Stat(b.path())
	if err != nil {
		return 0
	}
	return uint64(info.Size())
}

// keep makes the file as long as it is to be, of random bytes: a file system that compresses would keep no room for others.
func (b *ballast) keep(bytes uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if bytes == 0 {
		return b.remove()
	}
	f, err := os.OpenFile(b.path(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, ballastMode)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, io.LimitReader(rand.Reader, int64(bytes)), make([]byte, ballastChunk))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, b.remove())
	}
	return nil
}

// release removes the file, and reports whether that freed anything.
func (b *ballast) release() (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held() == 0 {
		return false, nil
	}
	err := b.remove()
	return err == nil, err
}

func (b *ballast) remove() error {
	if err := os.Remove(b.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
