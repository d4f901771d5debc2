package fsm_test

import (
	"errors"
	"fmt"
	"iter"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func newMachine() *fsm.Machine { return fsm.New(store.OpenMemory()) }

var errBroken = errors.New("the disk is broken")

// fault breaks the read number at.
type fault struct{ reads, at int }

func (f *fault) hit() bool {
	f.reads++
	return f.reads == f.at
}

// broken is a view whose reads fail once. Counting is by call, and by entry for walks.
type broken struct {
	graph.View
	f *fault
}

func failing[V any](f *fault, read func() (V, error)) (V, error) {
	if f.hit() {
		var none V
		return none, errBroken
	}
	return read()
}

func finding[V any](f *fault, find func() (V, bool, error)) (V, bool, error) {
	if f.hit() {
		var none V
		return none, false, errBroken
	}
	return find()
}

func walking[V any](f *fault, seq iter.Seq2[V, error]) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		var none V
		for v, err := range seq {
			if f.hit() {
				yield(none, errBroken)
				return
			}
			if !yield(v, err) {
				return
			}
		}
		if f.hit() {
			yield(none, errBroken)
		}
	}
}

func (b broken) NodeByID(id string) (graph.NodeRecord, bool, error) {
	return finding(b.f, func() (graph.NodeRecord, bool, error) { return b.View.NodeByID(id) })
}

func (b broken) NodeAt(at graph.Position) (graph.NodeRecord, bool, error) {
	return finding(b.f, func() (graph.NodeRecord, bool, error) { return b.View.NodeAt(at) })
}

func (b broken) EdgeByID(id string) (graph.EdgeRecord, bool, error) {
	return finding(b.f, func() (graph.EdgeRecord, bool, error) { return b.View.EdgeByID(id) })
}

func (b broken) Session(at graph.Position) (graph.SessionRecord, bool, error) {
	return finding(b.f, func() (graph.SessionRecord, bool, error) { return b.View.Session(at) })
}

func (b broken) Walk(w graph.Walk) iter.Seq2[graph.Entry, error] { return walking(b.f, b.View.Walk(w)) }

func (b broken) Edges(w graph.EdgeWalk) iter.Seq2[graph.EdgeRecord, error] {
	return walking(b.f, b.View.Edges(w))
}

func (b broken) CountNodes(session graph.Position, t pb.NodeType) (int64, error) {
	return failing(b.f, func() (int64, error) { return b.View.CountNodes(session, t) })
}

// brokenTx is a Tx whose reads fail once; writes work.
type brokenTx struct {
	broken
	tx graph.Tx
}

func breaking(tx graph.Tx, f *fault) graph.Tx { return brokenTx{broken{tx, f}, tx} }

func (b brokenTx) NodeIDTaken(id string) (bool, error) {
	return failing(b.f, func() (bool, error) { return b.tx.NodeIDTaken(id) })
}

func (b brokenTx) EdgeIDTaken(id string) (bool, error) {
	return failing(b.f, func() (bool, error) { return b.tx.EdgeIDTaken(id) })
}

func (b brokenTx) Invocations(at graph.Position) (uint32, error) {
	return failing(b.f, func() (uint32, error) { return b.tx.Invocations(at) })
}

func (b brokenTx) CountSessionEdges(at graph.Position) (int64, error) {
	return failing(b.f, func() (int64, error) { return b.tx.CountSessionEdges(at) })
}

func (b brokenTx) NextDoomed() (graph.Doomed, bool, error) {
	return finding(b.f, func() (graph.Doomed, bool, error) { return b.tx.NextDoomed() })
}

func (b brokenTx) Unhidden() graph.View                       { return broken{b.tx.Unhidden(), b.f} }
func (b brokenTx) NextPosition() graph.Position               { return b.tx.NextPosition() }
func (b brokenTx) PutNode(r graph.NodeRecord, n *pb.Node)     { b.tx.PutNode(r, n) }
func (b brokenTx) RemoveNode(r graph.NodeRecord)              { b.tx.RemoveNode(r) }
func (b brokenTx) PutEdge(r graph.EdgeRecord, e *pb.Edge)     { b.tx.PutEdge(r, e) }
func (b brokenTx) RemoveEdge(r graph.EdgeRecord)              { b.tx.RemoveEdge(r) }
func (b brokenTx) PutSession(r graph.SessionRecord)           { b.tx.PutSession(r) }
func (b brokenTx) RemoveSession(at graph.Position)            { b.tx.RemoveSession(at) }
func (b brokenTx) SetInvocations(at graph.Position, n uint32) { b.tx.SetInvocations(at, n) }
func (b brokenTx) Doom(d graph.Doomed)                        { b.tx.Doom(d) }
func (b brokenTx) Spared(d graph.Doomed)                      { b.tx.Spared(d) }
func (b brokenTx) ReplaceNode(r graph.NodeRecord, m graph.Revision, n *pb.Node) {
	b.tx.ReplaceNode(r, m, n)
}

// furnished is a world with a bit of everything, and a deletion that is not swept.
func furnished(t T) *world {
	w := newWorld(t)
	w.must(createSession("s1"))
	w.must(createSession("s2"))
	w.must(createNodes(aPrompt("p1", "s1"), aPrompt("p2", "s1"), aPrompt("p3", "s1"), aResponse("r1", "p2"), aTool("t1", "r1")))
	w.must(createNodes(anAgent("a1"), aTemplate("m1")))
	child := aTemplate("m2")
	child.GetTemplate().Metadata = map[string]string{graph.ParentKey: "m1"}
	w.must(createNodes(child))
	w.must(createEdge(reference("e1", "p1", "a1")))
	w.must(createEdge(reference("e2", "a1", "a1")))
	w.must(createSession("s4"))
	w.must(createNodes(aPrompt("x1", "s4"), aPrompt("x2", "s4")))
	var edges []*pb.Edge
	for i := range 1000 {
		edges = append(edges, reference(fmt.Sprint("x", i), "x1", "a1"))
	}
	w.must(importing(nil, edges))
	for i := range edges {
		edges[i] = reference(fmt.Sprint("y", i), "x1", "a1")
	}
	w.must(importing(nil, edges))
	w.must(deleteNode("x1", false))
	return w
}

// TestAStorageErrorIsNeverARefusal breaks every read of every mutation in turn: a replica whose disk fails must not tell
// the caller what the others do not.
func TestAStorageErrorIsNeverARefusal(t *testing.T) {
	w := furnished(t)
	child := aTemplate("new")
	child.GetTemplate().Metadata = map[string]string{graph.ParentKey: "m2"}
	changed := aResponse("r1", "p2")
	changed.GetResponse().Metadata.LatencyMs = 9
	same := aPrompt("p1", "s1")
	for name, run := range map[string]func(c *graph.Change) error{
		"create session": func(c *graph.Change) error {
			_, err := c.CreateSession(&pb.Session{Id: uuidOf("s9")})
			return err
		},
		"close session":                         func(c *graph.Change) error { _, err := c.CloseSession(uuidOf("s1")); return err },
		"delete session":                        func(c *graph.Change) error { return c.DeleteSession(uuidOf("s1")) },
		"delete a session with a doomed member": func(c *graph.Change) error { return c.DeleteSession(uuidOf("s4")) },
		"create nodes": func(c *graph.Change) error {
			_, err := c.CreateNodes([]*pb.Node{aPrompt("n1", "s1"), aResponse("n2", "n1"), aTool("n3", "n2"), anAgent("n4"), proto.CloneOf(child)})
			return err
		},
		"update":                              func(c *graph.Change) error { _, err := c.UpdateNode(proto.CloneOf(changed), nil); return err },
		"delete prompt":                       func(c *graph.Change) error { return c.DeleteNode("p2", true) },
		"delete tail":                         func(c *graph.Change) error { return c.DeleteNode("p3", false) },
		"delete the only prompt that is left": func(c *graph.Change) error { return c.DeleteNode("x2", false) },
		"delete agent":                        func(c *graph.Change) error { return c.DeleteNode("a1", false) },
		"create edge":                         func(c *graph.Change) error { _, err := c.CreateEdge(reference("e9", "p1", "r1")); return err },
		"delete edge":                         func(c *graph.Change) error { return c.DeleteEdge("e1") },
		"instantiate": func(c *graph.Change) error {
			_, err := c.Instantiate("m1", 5, aPrompt("n1", "s1"), "{}")
			return err
		},
		"import": func(c *graph.Change) error {
			n := aPrompt("n1", "s1")
			n.SessionId = uuidOf("s1")
			r := aResponse("n2", "n1")
			s := &pb.Node{Id: uuidOf("s9"), Type: sessionType, NodeData: &pb.Node_Session{Session: &pb.Session{Id: uuidOf("s9")}}}
			_, err := c.Import([]*pb.Node{s, n, r, aTool("n3", "n2"), proto.CloneOf(same)}, []*pb.Edge{
				{Id: "i1", FromNodeId: "n1", ToNodeId: "p3", Type: pb.EdgeType_EDGE_TYPE_FOLLOWS},
				{Id: "i2", FromNodeId: "n2", ToNodeId: "n3", Type: pb.EdgeType_EDGE_TYPE_INVOKES, Properties: map[string]string{"invocation_order": "7"}},
				reference("e1", "p1", "a1"),
			})
			return err
		},
		"sweep": func(c *graph.Change) error { return c.Sweep(20_000) },
		"sweep of a session": func(c *graph.Change) error {
			if err := c.Sweep(20_000); err != nil {
				return err
			}
			if err := c.Sweep(20_000); err != nil {
				return err
			}
			for c.Tx.(brokenTx).tx.Doom(graph.Doomed{Position: 1, Session: true}); ; {
				if err := c.Sweep(30); err != nil {
					return err
				}
				if _, ok, err := c.Tx.NextDoomed(); !ok || err != nil {
					return err
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for at := 1; ; at++ {
				f := &fault{at: at}
				err := changing(w, f, run)
				if f.reads < at {
					var refusal *graph.Error
					if err != nil && !errors.As(err, &refusal) {
						t.Fatalf("without a fault: %v", err)
					}
					if err != nil {
						t.Fatalf("refused: %v", err)
					}
					return
				}
				if !errors.Is(err, errBroken) {
					t.Fatalf("read %d fails and the change says %v", at, err)
				}
				if at > 50 {
					at += 97 // the sweeps read thousands of rows
				}
			}
		})
	}
}

// changing runs a change on the state of a world and drops it.
func changing(w *world, f *fault, run func(c *graph.Change) error) error {
	batch := w.m.Store().Begin()
	defer batch.Discard()
	made := 0
	return run(&graph.Change{
		Tx: breaking(batch.Tx(tenant), f), Instant: epoch + 99*second, Revision: 99,
		NewID:  func() string { made++; return fmt.Sprint("made", made) },
		Emit:   func(*logpb.StoredEvent, graph.Position) uint32 { return 0 },
		Forget: func(graph.Revision, uint32) {},
	})
}

// TestReadsReportStorageErrors breaks every read of every query in turn.
func TestReadsReportStorageErrors(t *testing.T) {
	w := furnished(t)
	all, err := graph.NewQuery(&pb.QueryRequest{SessionId: proto.String(uuidOf("s1")), Filters: map[string]string{"content": "content"}})
	if err != nil {
		t.Fatal(err)
	}
	edges, err := graph.NewEdgeQuery(&pb.GetEdgesRequest{NodeId: "r1", Direction: pb.EdgeDirection_EDGE_DIRECTION_BOTH.Enum()})
	if err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func(v graph.View) error{
		"page":     func(v graph.View) error { _, err := all.Page(v, graph.Paging{Limit: 3}); return err },
		"sessions": func(v graph.View) error { _, err := graph.Sessions().Page(v, graph.Paging{Limit: 9}); return err },
		"each": func(v graph.View) error {
			return all.Each(v, nil, 0, -1, func(m graph.Match) (bool, error) { _, err := m.Node(); return true, err }, nil)
		},
		"edges": func(v graph.View) error {
			return edges.Each(v, nil, func(_ graph.EdgePlace, r graph.EdgeRecord) (bool, error) { _, err := r.Edge(); return true, err })
		},
		"present": func(v graph.View) error {
			rec, _, err := v.NodeByID(uuidOf("s1"))
			if err == nil {
				_, err = graph.Present(v, rec)
			}
			return err
		},
	} {
		w.read(func(v graph.View) {
			for at := 1; ; at++ {
				f := &fault{at: at}
				err := read(broken{v, f})
				if f.reads < at {
					if err != nil {
						t.Errorf("%s without a fault: %v", name, err)
					}
					return
				}
				if !errors.Is(err, errBroken) {
					t.Fatalf("%s: read %d fails and the answer is %v", name, at, err)
				}
			}
		})
	}
}
