//go:build linux || darwin || freebsd

package reserve

import "syscall"

// measure asks the file system of a folder. Free is what a user who is not root may have.
func measure(folder string) (Space, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return Space{}, err
	}
	block := uint64(s.Bsize)
	return Space{Free: uint64(max(0, int64(s.Bavail))) * block, Total: uint64(s.Blocks) * block}, nil
}
