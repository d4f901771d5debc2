package store

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// TestReadersDoNotDisturbTheWriter: snapshots, checkpoints and flushes go on beside commits and installs. Each snapshot is
// of one batch, whole.
func TestReadersDoNotDisturbTheWriter(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		work(t, s, 1)
		stream := streamOf(t, s)
		var readers sync.WaitGroup
		done := make(chan struct{})
		beside := func(what string, f func() error) {
			readers.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					if err := f(); err != nil {
						t.Errorf("%s: %v", what, err)
						return
					}
				}
			})
		}
		for i := range 2 {
			beside(fmt.Sprint("reader ", i), func() error { return oneBatchWhole(s) })
		}
		beside("flush", func() error {
			s.DurableApplied()
			return s.Flush()
		})
		beside("checkpoint", func() error {
			var b bytes.Buffer
			sys, err := s.WriteCheckpoint(&b)
			if err != nil {
				return err
			}
			st, err := s.Stage(&b)
			if err != nil {
				return err
			}
			if st.System().Applied != sys.Applied {
				return fmt.Errorf("staged %d, wrote %d", st.System().Applied, sys.Applied)
			}
			return st.Close()
		})
		for n := uint64(2); n <= 60; n++ {
			work(t, s, n)
			if n%20 == 0 {
				st, err := s.Stage(bytes.NewReader(stream))
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Install(st, n, 1); err != nil {
					t.Fatal(err)
				}
			}
		}
		close(done)
		readers.Wait()
	})
}

// oneBatchWhole checks that counters, walk, digest and system of a snapshot are of the same batch.
func oneBatchWhole(s *Store) error {
	sn := s.Snapshot()
	defer sn.Close()
	v := sn.View(1)
	counted, err := v.CountNodes(0, 0)
	if err != nil {
		return err
	}
	walked := int64(0)
	for e, err := range v.Walk(graph.Walk{}) {
		if err != nil {
			return err
		}
		if _, ok, err := v.NodeAt(e.Position); err != nil || !ok {
			return fmt.Errorf("node at %d: %v, %w", e.Position, ok, err)
		}
		walked++
	}
	digest, err := sn.Digest()
	if err != nil {
		return err
	}
	if walked != counted || digest != sn.System().Digest {
		return fmt.Errorf("walked %d of %d nodes, digest %x of %x", walked, counted, digest, sn.System().Digest)
	}
	return nil
}
