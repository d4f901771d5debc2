package store

import (
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph/storagetest"
)

// engines are the stores that every claim is checked on.
func engines() map[string]func(t testing.TB) *Store {
	return map[string]func(t testing.TB) *Store{
		"memory": func(t testing.TB) *Store { return closing(t, OpenMemory()) },
		"pebble": func(t testing.TB) *Store {
			s, err := OpenPebble(t.TempDir(), testOptions(t))
			if err != nil {
				t.Fatal(err)
			}
			return closing(t, s)
		},
	}
}

// testOptions are small, and fail the test on a fault in the background.
func testOptions(t testing.TB) Options {
	return Options{CacheBytes: 8 << 20, MemTableBytes: 1 << 20, OnError: func(err error) { t.Errorf("store: %v", err) }}
}

func closing(t testing.TB, s *Store) *Store {
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// eachEngine runs a test on both.
func eachEngine(t *testing.T, test func(t *testing.T, s *Store)) {
	for name, open := range engines() {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// subject is a store as the suite wants it.
type subject struct {
	t       storagetest.T
	s       *Store
	cleanup func(func())
}

func (s subject) Begin() storagetest.Batch { return subjectBatch{s.t, s.s.Begin()} }

func (s subject) View(t graph.Tenant) graph.View {
	sn := s.s.Snapshot()
	s.cleanup(sn.Close)
	return sn.View(t)
}

func (s subject) Rows() []string {
	sn := s.s.Snapshot()
	defer sn.Close()
	out := []string{}
	err := sn.WalkRows(func(key, _ []byte) error {
		if key[0] != spaceSystem {
			out = append(out, Describe(key))
		}
		return nil
	})
	if err != nil {
		s.t.Fatalf("rows: %v", err)
	}
	if d, err := sn.Digest(); err != nil || d != sn.System().Digest {
		s.t.Errorf("digest kept %x, of the rows %x, %v", sn.System().Digest, d, err)
	}
	return out
}

type subjectBatch struct {
	t storagetest.T
	b *Batch
}

func (b subjectBatch) Tx(t graph.Tenant) graph.Tx { return b.b.Tx(t) }
func (b subjectBatch) Mark()                      { b.b.Mark() }
func (b subjectBatch) Revert()                    { b.b.Revert() }

func (b subjectBatch) Commit() {
	if err := b.b.Commit(); err != nil {
		b.t.Fatalf("%v", err)
	}
}

func TestStoragesKeepTheClaims(t *testing.T) {
	for name, open := range engines() {
		t.Run(name, func(t *testing.T) {
			storagetest.Run(t, func(t *testing.T) storagetest.Storage { return subject{t, open(t), t.Cleanup} })
		})
	}
}
