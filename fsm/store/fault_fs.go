//go:build !wasip1

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// faultFS tells of writes and syncs that fail, and of reads that the disk cannot do (DECISIONS.md D11). A write that finds no
// room is tried again when somebody has made some.
type faultFS struct {
	vfs.FS
	o      Options
	failed *atomic.Bool
}

func newFaultFS(base vfs.FS, o Options) faultFS { return faultFS{base, o, new(atomic.Bool)} }

func (f faultFS) Unwrap() vfs.FS { return f.FS }

// isFull: no room, or no quota.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// try does what may find no room, until it does not, or nobody makes any. The error of what failed is told.
func (f faultFS) try(path string, what func() error) error {
	err := what()
	for isFull(err) && f.o.OnFull != nil && f.o.OnFull(path) {
		err = what()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
		f.tell(path, err)
	}
	return err
}

// tell reports that a write failed. When that is not the first time it waits before that, as long as the one who opened the
// store wants: Pebble tries a flush that failed again at once, for ever.
func (f faultFS) tell(path string, err error) {
	if f.failed.Swap(true) && f.o.Pause != nil {
		f.o.Pause()
	}
	f.o.report(fmt.Errorf("write of file %s: %w", path, err))
}

// read tells of what the disk itself could not do; that a file ends is none of it.
func (f faultFS) read(path string, err error) error {
	if errors.Is(err, syscall.EIO) {
		f.o.report(fmt.Errorf("read of file %s: %w", path, err))
	}
	return err
}

func (f faultFS) Create(name string, c vfs.DiskWriteCategory) (file vfs.File, err error) {
	err = f.try(name, func() (err error) {
		file, err = f.FS.Create(name, c)
		return err
	})
	return f.file(name, file, err)
}

func (f faultFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.Open(name, o...)
	return f.file(name, file, f.read(name, err))
}

func (f faultFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (file vfs.File, err error) {
	err = f.try(name, func() (err error) {
		file, err = f.FS.OpenReadWrite(name, c, o...)
		return err
	})
	return f.file(name, file, err)
}

func (f faultFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	return f.file(name, file, err)
}

func (f faultFS) file(name string, file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &faultFile{File: file, fs: f, name: name}, nil
}

func (f faultFS) Rename(from, to string) error {
	return f.try(to, func() error { return f.FS.Rename(from, to) })
}

func (f faultFS) Link(from, to string) error {
	return f.try(to, func() error { return f.FS.Link(from, to) })
}

func (f faultFS) MkdirAll(dir string, perm os.FileMode) error {
	return f.try(dir, func() error { return f.FS.MkdirAll(dir, perm) })
}

// faultFile is a file of a faultFS.
type faultFile struct {
	vfs.File
	fs   faultFS
	name string
}

func (f *faultFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	return n, f.fs.read(f.name, err)
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	return n, f.fs.read(f.name, err)
}

func (f *faultFile) Write(p []byte) (n int, err error) {
	err = f.fs.try(f.name, func() error {
		m, err := f.File.Write(p[n:])
		n += m
		return err
	})
	return n, err
}

func (f *faultFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.fs.try(f.name, func() error {
		m, err := f.File.WriteAt(p[n:], off+int64(n))
		n += m
		return err
	})
	return n, err
}

// A sync that failed is not tried again: the system may have thrown away what it could not write.

func (f *faultFile) Sync() error { return f.synced(f.File.Sync()) }

func (f *faultFile) SyncData() error { return f.synced(f.File.SyncData()) }

func (f *faultFile) SyncTo(n int64) (bool, error) {
	full, err := f.File.SyncTo(n)
	return full, f.synced(err)
}

func (f *faultFile) synced(err error) error {
	if err != nil {
		f.fs.tell(f.name, fmt.Errorf("sync: %w", err))
	}
	return err
}
