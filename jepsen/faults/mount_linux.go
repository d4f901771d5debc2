//go:build linux

package faults

import (
	"fmt"
	"syscall"
)

// smallDisk is the size of the file system of each node.
const smallDisk = "size=320m"

// mount puts a small file system in memory at a folder.
func mount(folder string) error {
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, smallDisk); err != nil {
		return fmt.Errorf("%w: %w", ErrNoMount, err)
	}
	return nil
}

// unmount ends a mount; nobody may use the folder any more.
func unmount(folder string) error {
	if err := syscall.Unmount(folder, 0); err != nil {
		return fmt.Errorf("unmount %s: %w", folder, err)
	}
	return nil
}

// room is how much is free, bytes.
func room(folder string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return 0, fmt.Errorf("room in %s: %w", folder, err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}
