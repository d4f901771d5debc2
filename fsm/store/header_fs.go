//go:build !wasip1

package store

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Every file begins with a header: magic, version u32, key id u32, nonce. Key id 0 is plain; others are for encryption.
const (
	fileMagic      = "MGSTORE\x00"
	fileVersion    = 1
	nonceBytes     = 16
	fileHeader     = int64(len(fileMagic) + 4 + 4 + nonceBytes)
	plainKey       = 0
	folderMode     = os.FileMode(0o700)
	storeFileMode  = os.FileMode(0o600)
	headerCategory = vfs.WriteCategoryUnspecified
)

// headerFS puts the header before the content of every file that Pebble makes and hides it again. Directories and locks
// have none. Files are readable by their owner only.
type headerFS struct{ vfs.FS }

func (f headerFS) Unwrap() vfs.FS { return f.FS }

func (f headerFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	base, err := f.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	return f.begin(name, base, false)
}

// begin writes the header of a new file.
func (f headerFS) begin(name string, base vfs.File, positional bool) (vfs.File, error) {
	h, err := newHeader()
	if err == nil {
		err = restrict(base)
	}
	if err == nil && positional {
		_, err = base.WriteAt(h, 0)
	} else if err == nil {
		_, err = base.Write(h)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("header of %s: %w", name, err), base.Close())
	}
	return &headerFile{File: base, positional: positional}, nil
}

func newHeader() ([]byte, error) {
	h := append(make([]byte, 0, fileHeader), fileMagic...)
	h = binary.BigEndian.AppendUint32(h, fileVersion)
	h = binary.BigEndian.AppendUint32(h, plainKey)
	h = h[:fileHeader]
	_, err := rand.Read(h[fileHeader-nonceBytes:])
	return h, err
}

func checkHeader(h []byte) error {
	n := len(fileMagic)
	if int64(len(h)) < fileHeader || !bytes.Equal(h[:n], []byte(fileMagic)) {
		return fmt.Errorf("no file of a store: %w", ErrDamaged)
	}
	if v := binary.BigEndian.Uint32(h[n:]); v > fileVersion {
		return fmt.Errorf("version %d, at most %d is known: %w", v, fileVersion, ErrVersion)
	} else if v != fileVersion {
		return fmt.Errorf("version %d: %w", v, ErrDamaged)
	}
	if id := binary.BigEndian.Uint32(h[n+4:]); id != plainKey {
		return fmt.Errorf("sealed with unknown key %d: %w", id, ErrVersion)
	}
	return nil
}

func (f headerFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	base, err := f.FS.Open(name, o...)
	if err != nil {
		return nil, err
	}
	h := make([]byte, fileHeader)
	n, err := io.ReadFull(base, h)
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = f.check(base, h[:n])
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("file %s: %w", name, err), base.Close())
	}
	return &headerFile{File: base}, nil
}

// check refuses a file with another header than ours. One that a crash left before its header reached the disk is an
// empty file: nothing in it was ever synced, and Pebble knows such files.
func (f headerFS) check(base vfs.File, h []byte) error {
	info, err := base.Stat()
	if err != nil {
		return err
	}
	short := int64(len(h)) < fileHeader && strings.HasPrefix(fileMagic, string(h[:min(len(h), len(fileMagic))]))
	if info.Size() <= fileHeader && (short || len(bytes.Trim(h, "\x00")) == 0) {
		return nil
	}
	return checkHeader(h)
}

func (f headerFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	base, err := f.FS.OpenReadWrite(name, c, o...)
	if err != nil {
		return nil, err
	}
	h := make([]byte, fileHeader)
	n, err := base.ReadAt(h, 0)
	if n == 0 && errors.Is(err, io.EOF) {
		return f.begin(name, base, true)
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = f.check(base, h[:n])
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("file %s: %w", name, err), base.Close())
	}
	return &headerFile{File: base, positional: true}, nil
}

// ReuseForWrite makes a new file: an old one's nonce must not be used again.
func (f headerFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.FS.Remove(old); err != nil {
		return nil, err
	}
	return f.Create(name, c)
}

func (f headerFS) MkdirAll(dir string, _ os.FileMode) error {
	return f.FS.MkdirAll(dir, folderMode)
}

func (f headerFS) Stat(name string) (vfs.FileInfo, error) {
	info, err := f.FS.Stat(name)
	if err != nil || info.IsDir() {
		return info, err
	}
	return contentInfo{info}, nil
}

// contentInfo is the size without the header.
type contentInfo struct{ vfs.FileInfo }

func (i contentInfo) Size() int64 { return max(0, i.FileInfo.Size()-fileHeader) }

// headerFile shifts offsets by the header. Sequential reads and writes of a file that was opened for both go by offsets
// of its own.
type headerFile struct {
	vfs.File
	positional      bool
	readAt, writeAt int64
}

func (f *headerFile) Read(p []byte) (int, error) {
	if !f.positional {
		return f.File.Read(p)
	}
	n, err := f.ReadAt(p, f.readAt)
	f.readAt += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (f *headerFile) Write(p []byte) (int, error) {
	if !f.positional {
		return f.File.Write(p)
	}
	n, err := f.WriteAt(p, f.writeAt)
	f.writeAt += int64(n)
	return n, err
}

func (f *headerFile) ReadAt(p []byte, off int64) (int, error) {
	return f.File.ReadAt(p, off+fileHeader)
}

func (f *headerFile) WriteAt(p []byte, off int64) (int, error) {
	return f.File.WriteAt(p, off+fileHeader)
}

func (f *headerFile) Preallocate(off, n int64) error {
	return f.File.Preallocate(off+fileHeader, n)
}

func (f *headerFile) Prefetch(off, n int64) error {
	return f.File.Prefetch(off+fileHeader, n)
}

func (f *headerFile) SyncTo(n int64) (bool, error) { return f.File.SyncTo(n + fileHeader) }

// Fd gives nothing away: reads and writes round the header would be wrong.
func (f *headerFile) Fd() uintptr { return vfs.InvalidFd }

func (f *headerFile) Stat() (vfs.FileInfo, error) {
	info, err := f.File.Stat()
	if err != nil {
		return nil, err
	}
	return contentInfo{info}, nil
}
