//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// apart keeps what is typed at the terminal from a process: whoever started it stops it.
func apart(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
}
