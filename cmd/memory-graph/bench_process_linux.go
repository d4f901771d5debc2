package main

import (
	"os/exec"
	"syscall"
)

// bindServer makes the kernel kill the server when this process dies, however it dies.
func bindServer(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
