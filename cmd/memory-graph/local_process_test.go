package main

import (
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

// clusterOnThisMachine is what `make cluster` starts, and what the README says can be tried: write on one node, read on another, kill
// the leader and go on.
func clusterOnThisMachine(t *testing.T, binary string) {
	c := startLocal(t, binary)
	all := strings.Join(c.addresses, ",")
	c.runReadme(t, binary)
	c.await(t, " is back")
	for i := range 3 {
		mustAt(t, all, "session", "create", "--metadata", fmt.Sprintf("later=%d", i), "--timeout", "1m")
	}
	if out := mustAt(t, all, "session", "list"); strings.Count(out, "later=") != 3 || !strings.Contains(out, "after=crash") || !strings.Contains(out, "user=ada") {
		t.Errorf("writes are gone: %s", out)
	}
	mustAt(t, all, "cluster", "digest", "--timeout", "1m")
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	c.await(t, "stopping")
}

// runReadme runs the commands of the README about a cluster, as they stand there but for ports and paths.
func (c *localCluster) runReadme(t *testing.T, binary string) {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		return // the rest of the test has said what matters
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(readme), "\n## A cluster\n")
	_, script, begins := strings.Cut(section, "```sh\n")
	script, _, ends := strings.Cut(script, "```")
	if !found || !begins || !ends {
		t.Fatal("README.md has no commands about a cluster")
	}
	change := []string{"bin/memory-graph", "'" + binary + "'", "bin/cluster", c.dir}
	for i, address := range c.addresses {
		change = append(change, fmt.Sprintf("127.0.0.%d:50051", i+1), address)
	}
	script = strings.NewReplacer(change...).Replace(script)
	var out []byte
	for tries := 5; ; tries-- { // people see an election now and then on a busy machine, too
		if out, err = exec.Command(bash, "-euo", "pipefail", "-c", script).CombinedOutput(); err == nil {
			break
		}
		if tries == 1 {
			t.Fatalf("%v\n%s\n%s\n%s", err, out, c.out, c.logs())
		}
		t.Logf("once more: %v\n%s", err, out)
		eventually(t, "the cluster is well", func() bool {
			return execute(t, "", "cluster", "health", "--address", strings.Join(c.addresses, ",")).code == exitOK
		})
	}
	for _, want := range []string{"user=ada", "after=crash", "voters", "SESSION_CREATED", "leader"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the commands of the README do not print %q but\n%s", want, out)
		}
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
