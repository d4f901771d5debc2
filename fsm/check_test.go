package fsm_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/check"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// findings checks the state and returns what is wrong as lines.
func (w *world) findings() []string {
	w.t.Helper()
	snap := w.m.Store().Snapshot()
	defer snap.Close()
	out := []string{}
	_, err := check.State(snap, check.Options{Room: 50, Report: func(f store.Finding) {
		out = append(out, fmt.Sprintf("%s: %s %s", f.Fault, f.Key, f.Problem))
	}})
	if err != nil {
		w.t.Fatalf("check: %v", err)
	}
	slices.Sort(out)
	return out
}

func (w *world) clean(when string) {
	w.t.Helper()
	if got := w.findings(); len(got) > 0 {
		w.t.Fatalf("findings %s:\n%s", when, strings.Join(got, "\n"))
	}
}

// TestEveryHistoryIsClean checks the state after each command of a random history, refused ones, retries, trims and sweeps
// among them.
func TestEveryHistoryIsClean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.clean("at the beginning")
		for i, c := range generated(3).Draw(t, "commands") {
			w.do(c)
			if rapid.IntRange(0, 3).Draw(t, "look") == 0 {
				w.clean(fmt.Sprintf("after command %d, %v", i, c))
			}
		}
		w.clean("in the end")
		deleteAll(w)
		w.clean("after everything was deleted")
	})
}

// TestAStateIsCleanInTheMiddleOfSweeps sweeps a large session and a node with very many edges a few rows at a time.
func TestAStateIsCleanInTheMiddleOfSweeps(t *testing.T) {
	w := furnished(t)
	for i := range 2 {
		var nodes []*pb.Node
		for j := range 100 {
			p, r := fmt.Sprint("p", i, "-", j), fmt.Sprint("r", i, "-", j)
			nodes = append(nodes, aPrompt(p, "s2"), aResponse(r, p), aTool("t"+r, r))
		}
		w.must(createNodes(nodes...))
	}
	w.must(createEdge(reference("b1", "p0-0", "p1")))
	w.must(createEdge(reference("b2", "x2", "p0-1")))
	w.must(deleteSession("s2"))
	w.must(deleteSession("s4"))
	w.clean("after deletions")
	swept := 0
	for ; swept < 10_000; swept++ {
		if c, err := w.m.Chore(retainAll()); err != nil || c == nil {
			break
		}
		w.must(sweep(uint32(300 + swept%7*111)))
		w.clean(fmt.Sprint("after sweep ", swept))
	}
	if swept < 10 {
		t.Errorf("only %d sweeps", swept)
	}
}

// told is the stored event at a key.
func told(t testing.TB, b *store.Batch, k store.EventKey) *logpb.StoredEvent {
	t.Helper()
	body, ok, err := b.Event(k)
	e := &logpb.StoredEvent{}
	if err == nil && ok {
		err = proto.Unmarshal(body, e)
	}
	if err != nil || !ok {
		t.Fatalf("event %v: %v, %v", k, ok, err)
	}
	return e
}

// TestEveryBrokenRuleIsFound writes rows that follow from each other and mean something that no command could have made.
// The world has s1 at 1 with prompts p1 at 2 and p2 at 4, response r1 at 7 with tool t1 at 10, agent a1 at 13, template m1 at 14.
func TestEveryBrokenRuleIsFound(t *testing.T) {
	node := func(x *store.Tx, id string) (graph.NodeRecord, *pb.Node) {
		rec, ok, err := x.NodeByID(id)
		if err != nil || !ok {
			t.Fatalf("node %s: %v, %v", id, ok, err)
		}
		n, err := rec.Node()
		if err != nil {
			t.Fatal(err)
		}
		n.Revision = 0
		return rec, n
	}
	replace := func(id string, change func(n *pb.Node)) func(*store.Batch, *store.Tx) {
		return func(_ *store.Batch, x *store.Tx) {
			rec, n := node(x, id)
			change(n)
			x.ReplaceNode(rec, rec.Modified, n)
		}
	}
	edge := func(x *store.Tx, from string, typ pb.EdgeType) (graph.EdgeRecord, *pb.Edge) {
		rec, _ := node(x, from)
		for e, err := range x.Edges(graph.EdgeWalk{Node: rec.Position, Type: typ}) {
			if err != nil {
				t.Fatal(err)
			}
			edge, err := e.Edge()
			if err != nil {
				t.Fatal(err)
			}
			edge.Revision = 0
			return e, edge
		}
		t.Fatalf("no %v from %s", typ, from)
		return graph.EdgeRecord{}, nil
	}
	reEdge := func(from string, typ pb.EdgeType, change func(r *graph.EdgeRecord, e *pb.Edge)) func(*store.Batch, *store.Tx) {
		return func(_ *store.Batch, x *store.Tx) {
			rec, e := edge(x, from, typ)
			x.RemoveEdge(rec)
			change(&rec, e)
			x.PutEdge(rec, e)
		}
	}
	reEvent := func(k store.EventKey, change func(e *logpb.StoredEvent)) func(*store.Batch, *store.Tx) {
		return func(b *store.Batch, _ *store.Tx) {
			e := told(t, b, k)
			change(e)
			b.SetEvent(k, graph.Encode(e))
		}
	}
	again := func(change func(r *graph.NodeRecord, n *pb.Node)) func(*store.Batch, *store.Tx) {
		return func(_ *store.Batch, x *store.Tx) {
			rec, n := node(x, "p2")
			graph.SetID(n, "q")
			rec.Position = x.NextPosition()
			change(&rec, n)
			x.PutNode(rec, n)
		}
	}
	outcome := func(change func(o *logpb.Outcome)) func(*store.Batch, *store.Tx) {
		return func(b *store.Batch, _ *store.Tx) {
			o := &logpb.Outcome{Expires: epoch + 100*second, Position: 3}
			change(o)
			b.PutOutcome(tenant, [16]byte{1}, epoch+100*second, graph.Encode(o))
		}
	}
	system := func(change func(s *store.System)) func(*store.Batch, *store.Tx) {
		return func(b *store.Batch, _ *store.Tx) { change(b.System()) }
	}
	doomed := func(d graph.Doomed) func(*store.Batch, *store.Tx) {
		return func(_ *store.Batch, x *store.Tx) { x.Doom(d) }
	}
	for name, c := range map[string]struct {
		damage func(b *store.Batch, x *store.Tx)
		want   []string
	}{
		"a prompt without content": {replace("p1", func(n *pb.Node) { n.GetPrompt().Content = "" }), []string{"record: tenant 1, node at position 2 prompt.content"}},
		"a negative use":           {replace("m1", func(n *pb.Node) { n.GetTemplate().UsageCount = -1 }), []string{"record: tenant 1, node at position 14 template.usage_count", "uses: tenant 1, node at position 14"}},
		"a prompt that names another session": {replace("p2", func(n *pb.Node) { n.SessionId, n.GetPrompt().SessionId = uuidOf("s9"), uuidOf("s9") }), []string{
			`member: tenant 1, node at position 1 is session "00000000-0000-4000-8000-000000000001" and has 6 members by its index; nodes that name it so: 5`,
			`member: tenant 1, node at position 1 is session "00000000-0000-4000-8000-000000000009" and has 0 members by its index; nodes that name it so: 1`}},
		"a prompt of no session": {again(func(r *graph.NodeRecord, n *pb.Node) { r.Session = 0 }), []string{
			"event: feed, event", "member: tenant 1, node at position", "revision: tenant 1, node at position"}},
		"a prompt of an agent": {again(func(r *graph.NodeRecord, n *pb.Node) { r.Session = 13 }), []string{
			"event: feed, event", "member: tenant 1, node at position 13 is NODE_TYPE_AGENT, no session, but has 1 members", "member: tenant 1, node at position 13 is session",
			"revision: tenant 1, node at position"}},
		"a prompt of nothing": {again(func(r *graph.NodeRecord, n *pb.Node) { r.Session = 3 }), []string{
			"event: feed, event", "member: tenant 1, node at position 3 is not there, but has 1 members", "member: tenant 1, node at position 3 is session",
			"revision: tenant 1, node at position"}},
		"an agent in a session": {again(func(r *graph.NodeRecord, n *pb.Node) {
			*n = *anAgent("q")
			n.CreatedAt = graph.Timestamp(epoch)
		}), []string{"event: tenant 1, node at position", "member: tenant 1, node at position 1 is session",
			"member: tenant 1, node at position 1 is session", "member: tenant 1, node at position 21 is NODE_TYPE_AGENT", "revision: tenant 1, node at position"}},
		"a session in another": {func(_ *store.Batch, x *store.Tx) {
			rec, n := node(x, uuidOf("s1"))
			n.Id = uuidOf("s9")
			n.GetSession().Id, n.SessionId = n.Id, n.Id
			rec.Position = x.NextPosition()
			x.PutNode(rec, n)
			x.PutSession(graph.SessionRecord{Position: rec.Position, State: graph.SessionClosed})
		}, []string{"event: feed, event", "member: tenant 1, node at position 1 is session", "member: tenant 1, node at position 1 is session",
			"member: tenant 1, node at position", "revision: tenant 1, node at position"}},
		"a node of tomorrow": {func(_ *store.Batch, x *store.Tx) {
			rec, n := node(x, "p2")
			x.ReplaceNode(rec, 1000, n)
		}, []string{"revision: tenant 1, node at position 4 was made in revision 3 and changed in 1000"}},
		"an edge of tomorrow": {reEdge("p2", follows, func(r *graph.EdgeRecord, _ *pb.Edge) { r.Created, r.Modified = 9, 8 }), []string{"revision: tenant 1, edge at position 6"}},

		"an edge without time": {reEdge("p2", follows, func(_ *graph.EdgeRecord, e *pb.Edge) { e.CreatedAt = nil }), []string{"record: tenant 1, edge at position 6 created_at"}},
		"an automatic reference": {reEdge("p1", references, func(r *graph.EdgeRecord, _ *pb.Edge) { r.Automatic = true }), []string{
			"record: tenant 1, edge at position 15 edge: is automatic, but no call makes EDGE_TYPE_REFERENCES"}},
		"an edge that names another end": {reEdge("p2", follows, func(_ *graph.EdgeRecord, e *pb.Edge) { e.ToNodeId = "p7" }), []string{
			`ends: tenant 1, node at position 2 is "p1" of session 1`, `ends: tenant 1, node at position 2 is "p7" of session 1 and has 0 ends of edges; edges that name it so: 1`}},
		"an edge of another session": {reEdge("p1", references, func(r *graph.EdgeRecord, _ *pb.Edge) { r.FromSession = 0 }), []string{
			`ends: tenant 1, node at position 2 is "p1" of session 0`, `ends: tenant 1, node at position 2 is "p1" of session 1`}},
		"an edge to nothing": {reEdge("p1", references, func(r *graph.EdgeRecord, _ *pb.Edge) { r.To = 3 }), []string{
			`ends: tenant 1, node at position 3 is "a1"`, "ends: tenant 1, node at position 3 is not there, but has 1 edges"}},
		"an edge that may not be": {reEdge("p1", references, func(r *graph.EdgeRecord, e *pb.Edge) { e.Type = invokes }), []string{
			"ends: tenant 1, node at position 13 is NODE_TYPE_AGENT, but EDGE_TYPE_INVOKES ends there", "ends: tenant 1, node at position 2 is NODE_TYPE_PROMPT, but EDGE_TYPE_INVOKES starts there"}},

		"a state that is none": {func(_ *store.Batch, x *store.Tx) { x.PutSession(graph.SessionRecord{Position: 1, State: 7}) }, []string{"session: tenant 1, state of session 1 has the state 7"}},
		"a tail that is gone": {func(_ *store.Batch, x *store.Tx) {
			x.PutSession(graph.SessionRecord{Position: 1, State: 1, Tail: 3})
		}, []string{"session: tenant 1, state of session 1 has its last prompt at position 3, where none is"}},
		"a tail that is a response": {func(_ *store.Batch, x *store.Tx) {
			x.PutSession(graph.SessionRecord{Position: 1, State: 1, Tail: 7})
		}, []string{"session: tenant 1, state of session 1 has its last prompt at position 7, where NODE_TYPE_RESPONSE of session 1 is"}},

		"a template that was never used": {replace("m1", func(n *pb.Node) { n.GetTemplate().UsageCount = 0 }), []string{
			"uses: tenant 1, node at position 14 is a template that was used 0 times, but 1 prompts were made from it"}},
		"a tool call too many": {func(_ *store.Batch, x *store.Tx) { x.SetInvocations(7, 0) }, []string{
			"uses: tenant 1, invocations of response 7 gives 0 to the next tool call, but one has 0"}},

		"doomed nothing":    {doomed(graph.Doomed{Position: 3}), []string{"doomed: tenant 1, node at position 3 is to be swept and is not there"}},
		"doomed as another": {doomed(graph.Doomed{Position: 13, Session: true}), []string{"doomed: tenant 1, node at position 13 is NODE_TYPE_AGENT and is to be swept"}},
		"a session half swept": {doomed(graph.Doomed{Position: 1, Session: true, Phase: 1}), []string{
			"doomed: tenant 1, node at position 1 is swept up to {0 0} in phase 1, but NODE_TYPE_TOOL_INVOCATION at position 10"}},
		"a session swept further": {doomed(graph.Doomed{Position: 1, Session: true, Reached: graph.Place{Time: epoch * 2, Position: 99}}), []string{
			"doomed: tenant 1, node at position 1 is swept up to"}},
		"a node half swept": {doomed(graph.Doomed{Position: 13, Phase: 2}), []string{"doomed: tenant 1, node at position 13 is swept up to edge 0 in phase 2, but the edge at position 15"}},
		"a node swept further": {doomed(graph.Doomed{Position: 13, Phase: 1, Reached: graph.Place{Position: 15}}), []string{
			"doomed: tenant 1, node at position 13 is swept up to edge 15 in phase 1, but the edge at position 15"}},

		"an event that says something else": {reEvent(store.EventKey{Revision: 3, Ordinal: 1}, func(e *logpb.StoredEvent) { e.EdgeId = "e" }), []string{"event: feed, event 3/1 is not as it was"}},
		"an event with a digest of its own": {reEvent(store.EventKey{Revision: 3, Ordinal: 1}, func(e *logpb.StoredEvent) { e.Digest = make([]byte, 32) }), []string{
			"chain: feed, event 3/1 does not follow", "event: feed, event 3/1 is not as it was"}},
		"an event without digest": {reEvent(store.EventKey{Revision: 3, Ordinal: 0}, func(e *logpb.StoredEvent) { e.Detail, e.Digest = nil, nil }), []string{
			"chain: feed, event 3/0 does not follow", "event: feed, event 3/0 is not as it was", `event: feed, event 3/0 should tell of the creation of "p1", with its detail`}},
		"a chain that is cut": {reEvent(store.EventKey{Revision: 3, Ordinal: 1}, func(e *logpb.StoredEvent) { e.Chain = make([]byte, 32) }), []string{
			"chain: feed, event 3/1 does not follow", "chain: feed, event 3/2 does not follow from the event before it, {3 1}"}},
		"an event of the future": {reEvent(store.EventKey{Revision: 3, Ordinal: 1}, func(e *logpb.StoredEvent) { e.Instant = epoch * 2 }), []string{
			"event: feed, event 3/1 is of the instant", "event: feed, event 3/2 is of the instant"}},
		"an event of another tenant": {reEvent(store.EventKey{Revision: 3, Ordinal: 1}, func(e *logpb.StoredEvent) { e.Tenant = 2 }), []string{"event: feed, event 3/1 is of tenant 2, its row says 1"}},
		"an event that is no message": {func(b *store.Batch, _ *store.Tx) { b.SetEvent(store.EventKey{Revision: 3, Ordinal: 1}, []byte{0xff}) }, []string{
			"chain: feed, event 3/2 does not follow", "event: feed, event 3/1"}},
		"an event in other words": {func(b *store.Batch, _ *store.Tx) {
			k := store.EventKey{Revision: 3, Ordinal: 1}
			body, _, _ := b.Event(k)
			b.SetEvent(k, append(slices.Clone(body), 0x98, 0x06, 0x01))
		}, []string{"event: feed, event 3/1 is not written as this program writes it"}},
		"detail of what is gone": {func(b *store.Batch, x *store.Tx) {
			rec, _ := node(x, uuidOf("s2"))
			x.RemoveNode(rec)
			x.RemoveSession(rec.Position)
		}, []string{`event: feed, event 8/0 tells the detail of "00000000-0000-4000-8000-000000000002", which is not there`}},
		"an agent whose event is of another": {reEvent(store.EventKey{Revision: 4, Ordinal: 0}, func(e *logpb.StoredEvent) { e.NodeId = "a2" }), []string{
			"event: feed, event 4/0 is not as it was", "event: tenant 1, node at position 13 was made with event {4 0}, which does not tell of it"}},
		"an event of tomorrow": {func(b *store.Batch, _ *store.Tx) {
			e := &logpb.StoredEvent{Type: pb.EventType_EVENT_TYPE_EDGE_DELETED, Tenant: 1, Instant: b.System().Instant}
			b.PutEvent(store.EventKey{Revision: 1000}, 1, 0, e.Type, graph.Encode(e))
		}, []string{"chain: feed, event 1000/0 does not follow", "chain: system", "revision: feed, event 1000/0 is of revision 1000"}},
		"an entry of another type": {func(b *store.Batch, _ *store.Tx) {
			e := told(t, b, b.System().LastEvent)
			k := b.System().LastEvent
			b.PutEvent(k, 1, 1, e.Type+1, graph.Encode(e))
			b.System().Events--
			b.System().EventRows--
		}, []string{"event: tenant 1, feed, event"}},
		"an entry of no session": {func(b *store.Batch, _ *store.Tx) {
			e := told(t, b, b.System().LastEvent)
			b.PutEvent(b.System().LastEvent, 1, 0, e.Type, graph.Encode(e))
			b.System().Events--
			b.System().EventRows--
		}, []string{"event: tenant 1, feed, event"}},
		"an entry of another session": {func(b *store.Batch, _ *store.Tx) {
			e := told(t, b, b.System().LastEvent)
			b.PutEvent(b.System().LastEvent, 1, 2, e.Type, graph.Encode(e))
			b.System().Events--
			b.System().EventRows--
		}, []string{"event: tenant 1, feed, event"}},
		"another end of the chain": {system(func(s *store.System) { s.Chain[3]++ }), []string{"chain: system keeps another end of the chain"}},
		"another key":              {system(func(s *store.System) { s.Key[3]++ }), slices.Repeat([]string{"event: feed, event"}, 20)},

		"an outcome that expires twice": {outcome(func(o *logpb.Outcome) { o.Expires++ }), []string{"outcome: tenant 1, outcome 01000000000000000000000000000000 expires at"}},
		"an outcome of the future":      {outcome(func(o *logpb.Outcome) { o.Position = 1000 }), []string{"outcome: tenant 1, outcome 01000000000000000000000000000000 was made at position 1000"}},
		"an outcome of no kind":         {outcome(func(o *logpb.Outcome) { o.Kind = 99 }), []string{"outcome: tenant 1, outcome 01000000000000000000000000000000 is a refusal of the kind 99"}},
		"an outcome that is no message": {func(b *store.Batch, _ *store.Tx) { b.PutOutcome(tenant, [16]byte{1}, epoch, []byte{0xff}) }, []string{"outcome: tenant 1, outcome 01"}},
		"an outcome in other words":     {func(b *store.Batch, _ *store.Tx) { b.PutOutcome(tenant, [16]byte{1}, epoch, []byte{0x98, 0x06, 0x01}) }, []string{"outcome: tenant 1, outcome 01"}},
		"an outcome that lives too long": {func(b *store.Batch, _ *store.Tx) {
			b.PutOutcome(tenant, [16]byte{1}, epoch*2, graph.Encode(&logpb.Outcome{Expires: epoch * 2}))
		}, []string{"outcome: tenant 1, outcome 01000000000000000000000000000000 expires at 3400000000000000000, later than"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.must(createSession("s1"))
			w.must(createNodes(aPrompt("p1", "s1"), aPrompt("p2", "s1"), aResponse("r1", "p1"), aTool("t1", "r1")))
			w.must(createNodes(anAgent("a1"), aTemplate("m1")))
			w.must(createNodes()) // the edge comes next, at 15
			w.must(createEdge(reference("e1", "p1", "a1")))
			w.must(instantiate("m1", 4, aPrompt("p3", "s1"), "{}"))
			w.must(createSession("s2"))
			w.clean("before")
			b := w.m.Store().Begin()
			c.damage(b, b.Tx(tenant))
			if err := b.Commit(); err != nil {
				t.Fatal(err)
			}
			got := w.findings()
			short := slices.Clone(got)
			for i := range short {
				if i < len(c.want) && strings.HasPrefix(got[i], c.want[i]) {
					short[i] = c.want[i]
				}
			}
			if diff := cmp.Diff(c.want, short); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func retainAll() fsm.Retention { return fsm.Retention{} }
