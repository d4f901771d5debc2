//go:build !linux

package cluster

import "os/exec"

// bind does nothing here: only Linux ties the life of a child to that of its parent.
func bind(*exec.Cmd) {}
