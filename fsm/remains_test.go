package fsm_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// deleteAll deletes what there is, as a caller would, and sweeps until no chore is left.
func deleteAll(w *world) {
	w.t.Helper()
	var all []*pb.Node
	w.read(func(v graph.View) {
		q, err := graph.NewQuery(&pb.QueryRequest{})
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		page, err := q.Page(v, graph.Paging{Limit: 10_000})
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		all = page.Nodes
	})
	for _, n := range all {
		switch n.Type {
		case sessionType:
			c := deleteSession("")
			c.GetDeleteSession().SessionId = n.Id
			w.must(c)
		case agentType, templateType:
			w.must(deleteNode(n.Id, false))
		}
	}
	w.sweepAll()
}

// sweepAll does chores until none is left.
func (w *world) sweepAll() {
	w.t.Helper()
	for range 10_000 {
		b, err := w.m.Chore(fsm.Retention{})
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		if b == nil {
			return
		}
		c := &logpb.Command{}
		if err := proto.Unmarshal(b, c); err != nil {
			w.t.Fatalf("%v", err)
		}
		w.must(c)
	}
	w.t.Fatalf("sweeping does not end")
}

// nothingRemains walks every key of the store: the system, the feed and what is remembered of requests are all there may be.
func nothingRemains(t T, w *world) {
	t.Helper()
	for _, row := range rows(t, w.m.Store()) {
		key, _, _ := strings.Cut(row, " [")
		if strings.HasPrefix(key, "tenant") {
			var whose string
			if whose, key, _ = strings.Cut(key, ", "); whose != "tenant 1" {
				continue
			}
		}
		switch {
		case key == "system", strings.HasPrefix(key, "feed"), strings.HasPrefix(key, "outcome"), strings.HasPrefix(key, "count of outcomes"):
		default:
			t.Errorf("left over: %s", row)
		}
	}
	for _, e := range events(t, w.m.Store(), w.system().Trimmed) {
		if e.Detail != nil && e.Tenant == uint32(tenant) {
			t.Errorf("an event tells of what is deleted: %v", e)
		}
	}
	w.read(func(v graph.View) {
		nodes, _ := v.CountNodes(0, 0)
		edges, _ := v.CountEdges()
		active, _ := v.CountActiveSessions()
		if nodes != 0 || edges != 0 || active != 0 {
			t.Errorf("counted %d nodes, %d edges, %d active sessions", nodes, edges, active)
		}
	})
	w.digest()
}

// TestDeletingLeavesNothing: whatever was done, deleting all that is there leaves no row, no index entry, no counter and
// no detail of an event.
func TestDeletingLeavesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for _, c := range generated(3).Draw(t, "commands") {
			w.do(c)
		}
		deleteAll(w)
		nothingRemains(t, w)
	})
}

// TestDeletingMuchLeavesNothing is the same with sessions and nodes that are swept, deleted side by side.
func TestDeletingMuchLeavesNothing(t *testing.T) {
	w := furnished(t)
	for i := range 12 {
		var nodes []*pb.Node
		for j := range 100 {
			p, r := fmt.Sprint("p", i, "-", j), fmt.Sprint("r", i, "-", j)
			nodes = append(nodes, aPrompt(p, "s2"), aResponse(r, p), aTool("t"+r, r))
		}
		w.must(createNodes(nodes...))
	}
	w.must(createEdge(reference("b1", "p0-0", "p1")))
	w.must(createEdge(reference("b2", "p1", "p0-1")))
	w.must(createEdge(reference("b3", "x2", "p0-1")))
	w.must(deleteSession("s2"))
	w.must(deleteSession("s4"))
	w.must(sweep(500))
	w.must(deleteNode("a1", false))
	w.must(deleteNode("p1", true))
	w.digest()
	deleteAll(w)
	nothingRemains(t, w)
	closed := ""
	for _, e := range events(t, w.m.Store(), w.system().Trimmed) {
		if e.Reason == "deleted" {
			closed += aliases(e.SessionId) + " "
		} else if strings.Contains(closed, aliases(e.SessionId)+" ") && e.SessionId != "" {
			t.Errorf("%v comes after SESSION_CLOSED", e)
		}
	}
	if closed != "s1 s2 s4 " { // s1 is small and goes at once
		t.Errorf("closed %s", closed)
	}
}
