package store

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// TestWarmRowsAreBounded: what the writer keeps in memory has a bound in bytes, whatever it reads and writes.
func TestWarmRowsAreBounded(t *testing.T) {
	w := newWarm()
	held := func() (n int) {
		for _, half := range []map[warmKey][]byte{w.young, w.old} {
			for k, v := range half {
				n += len(k.bytes) + len(v)
			}
		}
		return n
	}
	for i := range 40_000 {
		w.keep(positionKey(1, kindNode, graph.Position(i)), make([]byte, i%(2*warmRowBytes)))
		w.row(positionKey(1, kindNode, graph.Position(i/2)))
	}
	if got, most := held(), 2*(warmBytes+warmRowBytes); got > most || got < warmBytes/2 {
		t.Errorf("%d bytes are kept, at most %d", got, most)
	}
}

func mustEdge(t *testing.T, b *Batch, id string) graph.EdgeRecord {
	t.Helper()
	rec, ok, err := b.Tx(1).EdgeByID(id)
	if err != nil || !ok {
		t.Fatalf("edge %s: %v, %v", id, ok, err)
	}
	return rec
}

// TestGrowingIDsAreNotSought: an id behind all others is known to be free without a look at the rows; one that is not is
// looked up, whatever was written and removed meanwhile.
func TestGrowingIDsAreNotSought(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		id := func(n int) string { return fmt.Sprintf("01890000-0000-7000-8000-%012x", n) }
		taken := func(n int) bool {
			b := s.Begin()
			defer b.Discard()
			yes, err := b.Tx(1).NodeIDTaken(id(n))
			if err != nil {
				t.Fatal(err)
			}
			return yes
		}
		put := func(n int) {
			commit(t, s, func(b *Batch) {
				x := b.Tx(1)
				node := testPrompt(2, "x")
				node.Id = id(n)
				x.PutNode(graph.NodeRecord{Position: x.NextPosition(), Created: 1, Modified: 1}, node)
			})
		}
		edge := graph.EdgeRecord{Created: 1, Modified: 1, From: 1, To: 2}
		edgeTaken := func(n int) bool {
			b := s.Begin()
			defer b.Discard()
			yes, err := b.Tx(1).EdgeIDTaken(id(n))
			if err != nil {
				t.Fatal(err)
			}
			return yes
		}
		for _, n := range []int{4, 8, 6} {
			if edgeTaken(n) {
				t.Errorf("edge %d is taken before it is put", n)
			}
			commit(t, s, func(b *Batch) {
				x := b.Tx(1)
				edge.Position = x.NextPosition()
				x.PutEdge(edge, &pb.Edge{Id: id(n), Type: 9})
			})
		}
		commit(t, s, func(b *Batch) { b.Tx(1).RemoveEdge(mustEdge(t, b, id(8))) })
		for n := range 12 {
			if got, want := edgeTaken(n), n == 4 || n == 6; got != want {
				t.Errorf("edge %d is taken: %v", n, got)
			}
		}
		for _, n := range []int{5, 9, 7} {
			if taken(n) {
				t.Errorf("%d is taken before it is put", n)
			}
			put(n)
		}
		for n := range 12 {
			if got, want := taken(n), n == 5 || n == 7 || n == 9; got != want {
				t.Errorf("%d is taken: %v", n, got)
			}
		}
		end := s.current.warm.ends[string(idKey(1, kindNodeID, id(0))[:tenantPrefixBytes+1])]
		if !bytes.Equal(end, idKey(1, kindNodeID, id(9))) {
			t.Errorf("ids are thought to end at %x", end)
		}
	})
}
