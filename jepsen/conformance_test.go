package jepsen_test

import (
	"os"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/conformance"
)

// TestConformance runs the whole table against a durable server and against one that keeps nothing on disk.
func TestConformance(t *testing.T) {
	binary, err := cluster.Binary(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, inMemory := range map[string]bool{"durable": false, "in-memory": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conformance.Run(t, conformance.Start(t, binary, inMemory))
		})
	}
	t.Run("every call has a case", func(t *testing.T) {
		t.Parallel()
		target := conformance.Start(t, binary, true)
		for _, call := range conformance.Uncovered(t, target) {
			t.Errorf("no case covers %s: add one to the table of jepsen/conformance", call)
		}
		for _, call := range conformance.Invented(t, target) {
			t.Errorf("cases cover %s, which the server does not offer", call)
		}
	})
}

// TestAClusterConforms runs the table against three nodes: the same answers are wanted through the leader, through a follower, and when
// each call goes to any of them. The long form also gives each case that needs a server of its own a cluster of its own.
func TestAClusterConforms(t *testing.T) {
	binary, err := cluster.Binary(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, through := range map[string]conformance.Through{
		"through the leader": conformance.Leader, "through a follower": conformance.Follower, "through any node": conformance.Random,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := conformance.StartCluster(t, binary, through)
			target.Brief = os.Getenv("MEMORY_GRAPH_FAULTS") != "long"
			conformance.Run(t, target)
		})
	}
}

// TestTheTableIsWellFormed holds what no run would notice.
func TestTheTableIsWellFormed(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range conformance.Cases() {
		if c.Name == "" || c.Section == "" || c.Run == nil {
			t.Errorf("case %+v is incomplete", c)
		}
		if seen[c.Name] {
			t.Errorf("case %s is there twice", c.Name)
		}
		seen[c.Name] = true
	}
}
