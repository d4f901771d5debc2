package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph/storagetest"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// work commits batch number n of a load that depends on n and the store alone: nodes, edges, events, outcomes, removals.
func work(t testing.TB, s *Store, n uint64) {
	t.Helper()
	b := s.Begin()
	rng := rand.New(rand.NewPCG(n, 1))
	sys := b.System()
	sys.Applied, sys.Term, sys.Instant = n, 1+n/10, int64(n)*1000
	for tenant := graph.Tenant(1); tenant <= 2; tenant++ {
		x := b.Tx(tenant)
		at := x.NextPosition()
		text := strings.Repeat("x", 20+rng.IntN(400))
		x.PutNode(graph.NodeRecord{Created: graph.Revision(n), Modified: graph.Revision(n), Position: at, Session: at}, testSession(at))
		x.PutSession(graph.SessionRecord{Position: at, State: graph.SessionActive, Updated: int64(n)})
		p := x.NextPosition()
		x.PutNode(graph.NodeRecord{Created: graph.Revision(n), Modified: graph.Revision(n), Position: p, Session: at}, testPrompt(p, text))
		x.PutEdge(graph.EdgeRecord{Created: graph.Revision(n), Modified: graph.Revision(n), Position: x.NextPosition(),
			From: p, To: at, FromSession: at, ToSession: at, Automatic: true}, &pb.Edge{Id: fmt.Sprint("e", p), Type: 1})
		key := EventKey{graph.Revision(n), uint32(tenant)}
		b.PutEvent(key, tenant, at, pb.EventType_EVENT_TYPE_SESSION_CREATED, []byte(text[:10]))
		b.PutOutcome(tenant, [16]byte{byte(n), byte(n >> 8)}, int64(n)*1000+10_000, []byte(text[:5]))
		dropOne(t, b, x, rng)
	}
	if _, err := b.ExpireOutcomes(sys.Instant, 3); err != nil {
		t.Fatal(err)
	}
	if _, err := b.TrimEvents(graph.Revision(max(n, 50)-50), 5); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
}

// dropOne removes a prompt with its edge, sometimes.
func dropOne(t testing.TB, b *Batch, x *Tx, rng *rand.Rand) {
	if rng.IntN(3) > 0 {
		return
	}
	for e, err := range x.Walk(graph.Walk{Type: pb.NodeType_NODE_TYPE_PROMPT, OldestFirst: true}) {
		if err != nil {
			t.Fatal(err)
		}
		rec, ok, err := x.NodeAt(e.Position)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		for edge, err := range x.Edges(graph.EdgeWalk{Node: e.Position}) {
			if err != nil {
				t.Fatal(err)
			}
			x.RemoveEdge(edge)
		}
		x.RemoveNode(rec)
		return
	}
}

func testSession(at graph.Position) *pb.Node {
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", at)
	return &pb.Node{Id: id, Type: pb.NodeType_NODE_TYPE_SESSION, NodeData: &pb.Node_Session{Session: &pb.Session{Id: id}}}
}

func testPrompt(at graph.Position, text string) *pb.Node {
	id := fmt.Sprint("p", at)
	return &pb.Node{Id: id, Type: pb.NodeType_NODE_TYPE_PROMPT, NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{
		Id: id, Content: text, Timestamp: graph.Timestamp(int64(at)), Metadata: &pb.PromptMetadata{Model: "gpt"},
	}}}
}

// rowsOf is every row of a store, by its description.
func rowsOf(t storagetest.T, s *Store) map[string]string {
	t.Helper()
	sn := s.Snapshot()
	defer sn.Close()
	out := map[string]string{}
	err := sn.WalkRows(func(key, value []byte) error {
		out[Describe(key)] = fmt.Sprintf("%x", value)
		return nil
	})
	if err != nil {
		t.Fatalf("rows: %v", err)
	}
	d, err := sn.Digest()
	if err != nil || d != sn.System().Digest {
		t.Errorf("digest kept %x, of the rows %x, %v", sn.System().Digest, d, err)
	}
	return out
}

// after is what a store holds after the first n batches of the load, from a store in memory.
type after struct {
	store *Store
	rows  map[uint64]map[string]string
}

func newAfter(t testing.TB) *after {
	a := &after{store: closing(t, OpenMemory()), rows: map[uint64]map[string]string{}}
	a.rows[0] = rowsOf(t, a.store)
	return a
}

func (a *after) batches(t testing.TB, n uint64) map[string]string {
	t.Helper()
	for a.store.System().Applied < n {
		work(t, a.store, a.store.System().Applied+1)
		a.rows[a.store.System().Applied] = rowsOf(t, a.store)
	}
	return a.rows[n]
}

func wantRows(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%.2000s", what, diff)
	}
}
