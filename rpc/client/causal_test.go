package client_test

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/client"
)

// TestALineSeesWhatItWrote, on a node that is behind, also from another process.
func TestALineSeesWhatItWrote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1", "10.0.0.2:1")
		c := f.client(func(c *client.Config) { c.Reads = client.Local })
		ready(t, c)
		line := c.Causal()
		s, err := line.Graph().CreateSession(t.Context(), &pb.CreateSessionRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range f.nodes {
			n.set(func(n *fakeNode) { n.behind = 1 })
		}
		if _, err := c.Graph().GetSession(t.Context(), &pb.GetSessionRequest{SessionId: s.Id}); status.Code(err) != codes.NotFound {
			t.Errorf("a read of its own: %v", err)
		}
		other, err := c.CausalAfter(line.Token())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range []*client.Causal{line, other} {
			for _, n := range f.nodes {
				n.set(func(n *fakeNode) { n.behind = 1 })
			}
			time.AfterFunc(time.Second, func() {
				for _, n := range f.nodes {
					n.set(func(n *fakeNode) { n.behind = 0 })
				}
			})
			start := time.Now()
			got, err := l.Graph().GetSession(t.Context(), &pb.GetSessionRequest{SessionId: s.Id})
			if err != nil || got.GetId() != s.Id || time.Since(start) != time.Second {
				t.Errorf("%v, %v after %v", got, err, time.Since(start))
			}
		}
		_, md := f.nodes["10.0.0.1:1"].told()
		if level, at := md.Get("memory-graph-consistency"), md.Get("memory-graph-min-revision"); len(level) != 1 || level[0] != "local" || len(at) != 1 {
			t.Errorf("level %q, revision %q", level, at)
		}
		if token := line.Token(); token != lineage+"-0000000000000001" {
			t.Errorf("token %s", token)
		}
	})
}

// TestALineFollowsTheLineage: after a restore the old revision means nothing.
func TestALineFollowsTheLineage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1")
		line := f.client().Causal()
		if line.Token() != "" {
			t.Errorf("a new line has seen %s", line.Token())
		}
		for range 5 {
			if _, err := line.Graph().CreateSession(t.Context(), &pb.CreateSessionRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		f.mu.Lock()
		f.lineage, f.events, f.sessions = "0000beef", f.events[:2], nil
		f.mu.Unlock()
		// The first read asks for more than the new graph has; the second finds out why.
		if _, err := line.Graph().Query(t.Context(), &pb.QueryRequest{}); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("the first: %v", err)
		}
		if _, err := line.Graph().Query(t.Context(), &pb.QueryRequest{}); err != nil {
			t.Errorf("the second: %v", err)
		}
		if token := line.Token(); token != "0000beef-0000000000000002" {
			t.Errorf("token %s", token)
		}
	})
}

func TestTokensOfLinesAreChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFake(t, "10.0.0.1:1").client()
		for _, token := range []string{"x", "0000abcd-1", "abcd-0000000000000001", "0000abcd-000000000000000x"} {
			if _, err := c.CausalAfter(token); err == nil {
				t.Errorf("%q is taken", token)
			}
		}
		if line, err := c.CausalAfter(""); err != nil || line.Token() != "" {
			t.Errorf("nothing: %v", err)
		}
	})
}

// TestOptionsOfReads arrive as metadata, and only with reads.
func TestOptionsOfReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1")
		c := f.client(func(c *client.Config) { c.Reads = client.Local })
		get := func(key string) string {
			_, md := f.nodes["10.0.0.1:1"].told()
			if v := md.Get(key); len(v) == 1 {
				return v[0]
			}
			return ""
		}
		if _, err := c.Graph().Query(t.Context(), &pb.QueryRequest{}, client.MaxStaleness(3*time.Second)); err != nil {
			t.Fatal(err)
		}
		if level, bound := get("memory-graph-consistency"), get("memory-graph-max-staleness"); level != "bounded" || bound != "3s" {
			t.Errorf("level %q, bound %q", level, bound)
		}
		if _, err := c.Graph().Query(t.Context(), &pb.QueryRequest{}, client.Reads(client.Linearizable)); err != nil {
			t.Fatal(err)
		}
		if level, key := get("memory-graph-consistency"), get("idempotency-key"); level != "linearizable" || key != "" {
			t.Errorf("level %q, key %q", level, key)
		}
		if _, err := c.Graph().CreateSession(t.Context(), &pb.CreateSessionRequest{}, client.Cascade()); err != nil {
			t.Fatal(err)
		}
		if level, cascade := get("memory-graph-consistency"), get("memory-graph-cascade"); level != "" || cascade != "true" {
			t.Errorf("level %q, cascade %q", level, cascade)
		}
	})
}
