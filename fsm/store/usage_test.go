//go:build !wasip1

package store

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

func TestDiskUsageKnowsEveryKeyspace(t *testing.T) {
	s, err := OpenPebble(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	const rows, size = 2000, 1000
	b := s.Begin()
	b.System().Applied = 1
	body := make([]byte, size)
	random := rand.NewChaCha8([32]byte{})
	for i := range rows {
		_, _ = random.Read(body)
		b.PutOutcome(graph.DefaultTenant, [16]byte{byte(i >> 8), byte(i)}, 1, slices.Clone(body))
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := s.CompactAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	usage, err := s.DiskUsage(graph.DefaultTenant)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]uint64{}
	for _, u := range usage {
		if _, twice := seen[u.Space]; twice || u.Space == "unknown" {
			t.Errorf("space %q", u.Space)
		}
		seen[u.Space] = u.Bytes
		if u.Graph != (u.Space != "system" && u.Space != "feed" && u.Space != "tenant feed" && u.Space != "outcome" && u.Space != "outcome expiry" && u.Space != "doomed") {
			t.Errorf("%s: graph %v", u.Space, u.Graph)
		}
	}
	if seen["outcome"] < rows*size || seen["outcome"] > 2*rows*size || seen["node"] > size {
		t.Errorf("%v", seen)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDiskUsageOfMemory(t *testing.T) {
	s := OpenMemory()
	if _, err := s.DiskUsage(graph.DefaultTenant); !errors.Is(err, errNoDisk) {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
