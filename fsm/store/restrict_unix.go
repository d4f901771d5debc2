//go:build unix

package store

import (
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// restrict makes a new file readable by its owner only. Nobody else can have opened it: its folder is closed to them.
func restrict(f vfs.File) error {
	fd := f.Fd()
	if fd == vfs.InvalidFd {
		return nil
	}
	return syscall.Fchmod(int(fd), uint32(storeFileMode.Perm()))
}
