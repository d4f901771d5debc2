package store

import (
	"sync"
	"testing"
)

// TestSnapshotsShareAState: those between two commits do, each as long as it is open; what nobody asks for is let go.
func TestSnapshotsShareAState(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		put := func(applied uint64) { commit(t, s, func(b *Batch) { b.System().Applied = applied }) }
		put(1)
		one, two := s.Snapshot(), s.Snapshot()
		if one.state != two.state {
			t.Error("two snapshots of one state share nothing")
		}
		put(2)
		three := s.Snapshot()
		if three.state == one.state || three.System().Applied != 2 || one.System().Applied != 1 {
			t.Errorf("after a commit: applied %d and %d", one.System().Applied, three.System().Applied)
		}
		one.Close()
		one.Close()
		if _, err := two.View(1).CountEdges(); err != nil {
			t.Errorf("the second user of a state: %v", err)
		}
		two.Close()
		three.Close()
		kept := three.state
		s.Rest()
		if again := s.Snapshot(); again.state != kept {
			t.Error("a state that was asked for lately is not kept")
		} else {
			again.Close()
		}
		s.Rest()
		s.Rest()
		if s.latest != nil || kept.users != 0 {
			t.Errorf("a store at rest keeps a state, with %d users", kept.users)
		}
	})
}

// TestNoSnapshotIsOlderThanACommitBeforeIt, whoever makes the state that is shared.
func TestNoSnapshotIsOlderThanACommitBeforeIt(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		const commits = 200
		done := make(chan struct{})
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for {
					before := s.System().Applied
					sn := s.Snapshot()
					if at := sn.System().Applied; at < before {
						t.Errorf("a snapshot of %d after the commit of %d", at, before)
					}
					sn.Close()
					s.Rest()
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
		for i := range uint64(commits) {
			commit(t, s, func(b *Batch) { b.System().Applied = i + 1 })
		}
		close(done)
		readers.Wait()
	})
}
