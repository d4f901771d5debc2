package store

import (
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func TestCacheStats(t *testing.T) {
	if got := OpenMemory().Cache(); got != (CacheStats{}) {
		t.Errorf("in memory the cache is %+v", got)
	}
	s, err := OpenPebble(t.TempDir(), testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	b := s.Begin()
	n := &pb.Node{Id: "a", Type: pb.NodeType_NODE_TYPE_AGENT, NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{Id: "a", Name: "a"}}}
	tx := b.Tx(graph.DefaultTenant)
	tx.PutNode(graph.NodeRecord{Created: 1, Modified: 1, Position: tx.NextPosition()}, n)
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	before := s.Cache()
	for range 2 {
		snap := s.Snapshot()
		if _, ok, err := snap.View(graph.DefaultTenant).NodeByID("a"); err != nil || !ok {
			t.Error(ok, err)
		}
		snap.Close()
	}
	after := s.Cache()
	if after.Hits <= before.Hits || after.Misses < before.Misses || after.Bytes <= 0 {
		t.Errorf("went from %+v to %+v", before, after)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.Cache(); got != (CacheStats{}) {
		t.Errorf("after close the cache is %+v", got)
	}
}
