package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// localCluster is `cluster local` as a process.
type localCluster struct {
	cmd       *exec.Cmd
	out       *watchedBuffer
	dir       string
	addresses []string
}

func startLocal(t *testing.T, binary string, more ...string) *localCluster {
	t.Helper()
	c := &localCluster{out: newWatchedBuffer(), dir: t.TempDir()}
	c.cmd = exec.Command(binary, append([]string{"cluster", "local", "--any-port", "--dir", c.dir, "--restart-after", "10ms"}, more...)...)
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.out
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = c.cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have gone
		select {
		case <-ended:
		case <-time.After(2 * stopTimeout):
			_ = c.cmd.Process.Kill()
			<-ended
		}
	})
	select {
	case <-c.out.ready:
	case <-ended:
		if strings.Contains(c.out.String(), syscall.EADDRNOTAVAIL.Error()) {
			t.Skipf("this machine has only one loopback address: %s", c.out)
		}
		t.Fatalf("it has ended: %s\n%s", c.out, c.logs())
	case <-time.After(2 * localReadyTimeout):
		t.Fatalf("no cluster: %s\n%s", c.out, c.logs())
	}
	c.addresses = strings.Split(readyFields(readyLine(c.out.String()))["grpc"], ",")
	return c
}

// logs are those of all nodes.
func (c *localCluster) logs() string {
	paths, _ := filepath.Glob(filepath.Join(c.dir, "*", "log"))
	var b strings.Builder
	for _, p := range paths {
		text, _ := os.ReadFile(p)
		fmt.Fprintf(&b, "=== %s\n%s\n", p, text)
	}
	return b.String()
}

// clusterOnThisMachine is what `make cluster` starts, and what it says can be tried: write on one node, read on another, kill the
// leader and go on.
func clusterOnThisMachine(t *testing.T, binary string) {
	c := startLocal(t, binary)
	all := strings.Join(c.addresses, ",")
	made := mustAt(t, c.addresses[1], "session", "create", "--metadata", "user=ada", "-o", "json")
	if out := mustAt(t, c.addresses[2], "session", "list"); !strings.Contains(out, "user=ada") {
		t.Errorf("what was written on one node is not on another: %s\n%s", made, out)
	}
	var told clusterStatus
	if err := json.Unmarshal([]byte(mustAt(t, c.addresses[2], "cluster", "status", "-o", "json")), &told); err != nil {
		t.Fatal(err)
	}
	if len(told.Members) != 3 || told.Leader == "" {
		t.Fatalf("%+v", told)
	}
	leader, _, _ := strings.Cut(told.Leader, "-")
	kill(t, filepath.Join(c.dir, leader, "pid"))
	for i := range 3 {
		mustAt(t, all, "session", "create", "--metadata", fmt.Sprintf("after=%d", i), "--timeout", "1m")
	}
	c.await(t, leader+" is back")
	if out := mustAt(t, all, "session", "list"); strings.Count(out, "after=") != 3 {
		t.Errorf("writes are gone: %s", out)
	}
	mustAt(t, all, "cluster", "digest", "--timeout", "1m")
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	c.await(t, "stopping")
}

// kill ends the process whose id a file has.
func kill(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// await waits for a line.
func (c *localCluster) await(t *testing.T, text string) {
	t.Helper()
	patience := time.After(2 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(c.out.String(), text) {
		select {
		case <-tick.C:
		case <-patience:
			t.Fatalf("it never said %q:\n%s\n%s", text, c.out, c.logs())
		}
	}
}
