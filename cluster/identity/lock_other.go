//go:build !unix

package identity

import "errors"

// ErrLocked says that another process, or another part of this one, uses the folder.
var ErrLocked = errors.New("data folder is in use")

// Lock is the right to use a data folder.
type Lock struct{}

// Acquire refuses: there are no file locks here, and two processes in one folder would destroy it.
func Acquire(Folder) (*Lock, error) {
	return nil, errors.New("this platform has no file locks: run in memory")
}

// Release gives the folder back.
func (*Lock) Release() error { return nil }
