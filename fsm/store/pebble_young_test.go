//go:build !wasip1

package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// TestTheWriterFindsIDsWhereverTheyAre: an id is taken as soon as its edge is stored and free as soon as that is removed, whether
// the rows are in memory or in files, and whatever was given up of what is known of the ids in memory.
func TestTheWriterFindsIDsWhereverTheyAre(t *testing.T) {
	s, err := OpenPebble(t.TempDir(), testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	known := &s.current.engine.(*pebbleEngine).young
	known.most, known.look = 64, 64
	const ids = 400
	stored := map[int]graph.EdgeRecord{}
	id := func(n int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", (n*2654435761)&0xffffffff, n) }
	seed := uint64(7)
	r := rand.New(rand.NewPCG(seed, seed))
	given := 0
	for step := range 3000 {
		n := r.IntN(ids)
		old := known.old.ids
		commit(t, s, func(b *Batch) {
			b.System().Applied++
			x := b.Tx(1)
			_, there := stored[n]
			taken, err := x.EdgeIDTaken(id(n))
			if err != nil || taken != there {
				t.Fatalf("seed %d, step %d: edge %d is taken: %v, %v, want %v", seed, step, n, taken, err, there)
			}
			if there {
				found, ok, err := x.EdgeByID(id(n))
				if err != nil || !ok {
					t.Fatalf("seed %d, step %d: edge %d: %v, %v", seed, step, n, ok, err)
				}
				x.RemoveEdge(found)
				delete(stored, n)
				return
			}
			rec := graph.EdgeRecord{Position: x.NextPosition(), Created: 1, Modified: 1, From: 1, To: 2}
			x.PutEdge(rec, &pb.Edge{Id: id(n), Type: 9})
			stored[n] = rec
		})
		if r.IntN(50) == 0 {
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if old > 0 && known.old.ids != old {
			given++
		}
	}
	if given == 0 {
		t.Error("nothing was ever given up")
	}
}

// TestYoungIDsAreKeptUntilTheyAreInFiles: what is not in files is not given up, however much comes.
func TestYoungIDsAreKeptUntilTheyAreInFiles(t *testing.T) {
	y := newYoung()
	y.most, y.look = 8, 8
	inFiles := uint64(0)
	durable := func() (uint64, error) { return inFiles, nil }
	key := func(n uint64) []byte { return idKey(1, kindEdgeID, fmt.Sprintf("%08x-0000-4000-8000-000000000000", n)) }
	for n := uint64(1); n <= 100; n++ {
		y.add(key(n))
		if !y.full() {
			continue
		}
		if err := y.settle(n, durable); err != nil {
			t.Fatal(err)
		}
	}
	for n := uint64(1); n <= 100; n++ {
		if y.filed(key(n)) {
			t.Fatalf("id %d is not in files, and is said to be", n)
		}
	}
	inFiles = 1000
	for n := uint64(101); n <= 200; n++ {
		if y.add(key(n)); y.full() {
			if err := y.settle(n, durable); err != nil {
				t.Fatal(err)
			}
		}
	}
	gone := 0
	for n := uint64(1); n <= 100; n++ {
		if y.filed(key(n)) {
			gone++
		}
	}
	if gone < 90 {
		t.Errorf("of 100 ids in files only %d are left to them", gone)
	}
	if y.filed(positionKey(1, kindEdge, 5)) {
		t.Error("a row that is no id is left to the files")
	}
}
