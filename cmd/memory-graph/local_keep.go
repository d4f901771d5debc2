package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// local is a cluster on this machine at work.
type local struct {
	*program
	flags localFlags
	// ready gets the name of a node each time that it becomes ready.
	ready chan string
	// mu guards printing.
	mu sync.Mutex
}

func (l *local) say(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = io.WriteString(l.stdout, text) // who does not read still gets a cluster
}

// awaitAll waits until every node has been ready once.
func (l *local) awaitAll(ctx context.Context, nodes []*localNode) error {
	patience := time.NewTimer(localReadyTimeout)
	defer patience.Stop()
	waiting := map[string]bool{}
	for _, n := range nodes {
		waiting[n.name] = true
	}
	for len(waiting) > 0 {
		select {
		case name := <-l.ready:
			delete(waiting, name)
		case <-ctx.Done():
			return ctx.Err()
		case <-patience.C:
			return fmt.Errorf("the nodes are no cluster after %v; their logs are in %s", localReadyTimeout, l.flags.dir)
		}
	}
	return nil
}

// keep runs a node, again and again, until ctx is done. A node that ends before it was ever ready is a failure.
func (l *local) keep(ctx context.Context, n *localNode) error {
	for wasReady := false; ; {
		became, err := l.run(ctx, n, wasReady)
		wasReady = wasReady || became
		switch {
		case ctx.Err() != nil:
			return err
		case !wasReady:
			return fmt.Errorf("it ended before it was ready: %w", errors.Join(err, errors.New("it was not asked to")))
		}
		l.say(fmt.Sprintf("%s has ended (%v); it is started again in %v\n", n.name, err, l.flags.restartAfter))
		select {
		case <-time.After(l.flags.restartAfter):
		case <-ctx.Done():
			return nil
		}
	}
}

// run runs a node once. It ends the process when ctx is done, and reports whether the node was ready. The error is how the process
// ended, nil for as it should.
func (l *local) run(ctx context.Context, n *localNode, again bool) (ready bool, err error) {
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	log, err := os.OpenFile(n.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return false, err
	}
	defer log.Close()
	cmd := exec.Command(self, "server", "--config", n.settings())
	cmd.Stderr = log
	bindServer(cmd)
	apart(cmd)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	err = os.WriteFile(n.pid(), []byte(pid+"\n"), 0o600)
	ended := make(chan struct{})
	defer context.AfterFunc(ctx, func() { l.end(cmd, ended) })()
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		fmt.Fprintln(log, lines.Text())
		if strings.HasPrefix(lines.Text(), "ready ") {
			ready = true
			if again {
				l.say(fmt.Sprintf("%s is back, process %s\n", n.name, pid))
			} else {
				l.ready <- n.name
			}
		}
	}
	err = errors.Join(err, cmd.Wait())
	close(ended)
	return ready, err
}

// end asks a process to stop, and kills it when it does not.
func (l *local) end(cmd *exec.Cmd, ended <-chan struct{}) {
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-ended:
	case <-time.After(stopTimeout):
		_ = cmd.Process.Kill()
	}
}
