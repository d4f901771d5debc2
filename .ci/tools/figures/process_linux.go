package main

import (
	"os/exec"
	"syscall"
)

// bind has the kernel kill a server when this program has died.
func bind(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
