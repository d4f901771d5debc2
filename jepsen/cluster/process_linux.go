//go:build linux

package cluster

import (
	"fmt"
	"os/exec"
	"syscall"
)

// bind makes the kernel kill the process when the test dies, however it dies.
func bind(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// Pause stops the process where it is, as a machine that stalls does. Resume lets it go on.
func (n *Node) Pause() error { return n.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (n *Node) Resume() error { return n.signal(syscall.SIGCONT) }

func (n *Node) signal(which syscall.Signal) error {
	run := n.current()
	if run == nil {
		return fmt.Errorf("signal %v: %w", which, ErrNotRunning)
	}
	if err := run.cmd.Process.Signal(which); err != nil {
		return fmt.Errorf("signal %v: %w", which, err)
	}
	return nil
}
