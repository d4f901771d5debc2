package npm_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// three founds a cluster of three nodes.
func three(t *testing.T, program string) *cluster.Cluster {
	t.Helper()
	c, err := cluster.NewCluster(cluster.Config{Binary: program, Dir: t.TempDir(), Size: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(c.LastLogs(100))
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := c.Found(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

// rolling is rolling.js at work: what it printed so far.
type rolling struct {
	mu      sync.Mutex
	grown   *sync.Cond
	ended   bool
	session string
	made    []string
	failed  []string
}

// read reads what is printed until its end.
func (r *rolling) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		r.line(lines.Text())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.grown.Broadcast()
}

func (r *rolling) line(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what, which, _ := strings.Cut(text, " ")
	switch what {
	case "session":
		r.session = which
	case "made":
		r.made = append(r.made, which)
	default:
		r.failed = append(r.failed, text)
	}
	r.grown.Broadcast()
}

// next waits until so many more prompts were made.
func (r *rolling) next(t *testing.T, more int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for goal := len(r.made) + more; len(r.made) < goal; r.grown.Wait() {
		if r.ended {
			t.Fatalf("rolling.js ended after %d prompts, failed: %v", len(r.made), r.failed)
		}
	}
}

// rolls restarts every node of a cluster in turn while the published client, which has all addresses, writes. It repeats nothing
// by itself, so at most the call in flight on the node that ends may fail; what was acknowledged is there.
func rolls(t *testing.T, program, dir string) {
	c := three(t, program)
	ctx, cancel := context.WithTimeout(t.Context(), 2*within)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "rolling.js", "ipv4:"+strings.Join(c.Addresses(), ","))
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	var errs bytes.Buffer
	cmd.Stderr = &errs
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &rolling{}
	r.grown = sync.NewCond(&r.mu)
	read := make(chan struct{})
	go func() {
		defer close(read)
		r.read(out)
	}()
	for _, node := range c.Nodes {
		r.next(t, 20)
		if err := node.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		r.next(t, 20) // without the node
		if err := node.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if err := c.AwaitWhole(ctx); err != nil {
			t.Fatal(err)
		}
	}
	r.next(t, 20)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	<-read
	if err := cmd.Wait(); err != nil {
		t.Fatalf("rolling.js: %v\n%s", err, &errs)
	}
	if len(r.failed) > len(c.Nodes) {
		t.Errorf("%d calls failed in %d restarts: %v", len(r.failed), len(c.Nodes), r.failed)
	}
	t.Logf("%d prompts, %d failed calls: %v", len(r.made), len(r.failed), r.failed)
	holds(t, c, r)
}

// holds wants every prompt that was acknowledged at every node.
func holds(t *testing.T, c *cluster.Cluster, r *rolling) {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "memory-graph-consistency", "linearizable")
	for _, node := range c.Nodes {
		conn, err := c.Dial(node.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		graph := graphgrpc.NewMemoryGraphServiceClient(conn)
		for _, id := range r.made {
			if _, err := graph.GetNode(ctx, &graphpb.GetNodeRequest{NodeId: id}); err != nil {
				t.Fatalf("prompt %s of session %s at %s: %v", id, r.session, node.Name(), err)
			}
		}
	}
}
