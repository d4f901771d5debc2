package store

import (
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// TestQuiet: what the store remembers of events agrees with the feed, as far as it reaches.
func TestQuiet(t *testing.T) {
	s := OpenMemory()
	defer s.Close()
	put := func(revision uint64, tenant uint32, sessions ...uint64) {
		commit(t, s, func(b *Batch) {
			b.System().Applied = revision
			for i, session := range sessions {
				b.PutEvent(EventKey{graph.Revision(revision), uint32(i)}, graph.Tenant(tenant), graph.Position(session), 1, []byte("x"))
			}
		})
	}
	of := func(session uint64) func(Mark) bool {
		return func(m Mark) bool { return m.Tenant == 1 && m.Session == graph.Position(session) }
	}
	quiet := func(after EventKey, session uint64, want bool, upTo uint64) {
		t.Helper()
		if got, ok := s.Quiet(after, of(session)); ok != want || ok && got != graph.Revision(upTo) {
			t.Errorf("after %v, session %d: up to %d, %v; want %d, %v", after, session, got, ok, upTo, want)
		}
	}
	quiet(EventKey{}, 5, true, 0)
	put(7, 1, 5, 6)
	quiet(EventKey{}, 5, false, 0)
	quiet(EventKey{}, 9, true, 7)
	quiet(EventKey{7, 0}, 5, true, 7)
	quiet(EventKey{7, 0}, 6, false, 0)
	quiet(EventKey{7, 1}, 6, true, 7)
	put(8, 2, 5)
	quiet(EventKey{7, 1}, 5, true, 8)

	b := s.Begin()
	b.Mark()
	b.PutEvent(EventKey{9, 0}, 1, 5, 1, []byte("refused"))
	b.Revert()
	b.System().Applied = 9
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	quiet(EventKey{7, 1}, 5, true, 9)

	for r := uint64(10); r < 10+3*maxRecent; r++ {
		put(r, 1, 6)
	}
	quiet(EventKey{7, 1}, 5, false, 0) // forgotten
	quiet(EventKey{10 + 2*maxRecent, 0}, 5, true, 9+3*maxRecent)
}
