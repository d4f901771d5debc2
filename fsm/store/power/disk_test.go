package power

import (
	"math/rand/v2"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
)

// TestCutTakesWhatWasNotSynced, and nothing else.
func TestCutTakesWhatWasNotSynced(t *testing.T) {
	d := NewDisk()
	s, err := d.Open(store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	commit := func(applied uint64) {
		t.Helper()
		b := s.Begin()
		b.System().Applied = applied
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	random := rand.New(rand.NewPCG(1, 1))
	applied := func(d *Disk) uint64 {
		t.Helper()
		s, err := d.Open(store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return s.System().Applied
	}
	commit(1)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	commit(2)
	for range 10 {
		if got := applied(d.Cut(random)); got != 1 {
			t.Errorf("after a cut the store ends at %d, want 1", got)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := applied(d.Cut(random)); got != 2 {
		t.Errorf("after a close and a cut the store ends at %d, want 2", got)
	}
}
