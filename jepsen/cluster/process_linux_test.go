//go:build linux

package cluster_test

import (
	"errors"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
)

func TestANodePausesAndResumes(t *testing.T) {
	node := newNode(t, "serves")
	if err := node.Pause(); !errors.Is(err, cluster.ErrNotRunning) {
		t.Errorf("pause of what does not run: %v, want %v", err, cluster.ErrNotRunning)
	}
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := node.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := node.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := node.Stop(t.Context()); err != nil {
		t.Errorf("stop after a pause: %v", err)
	}
}
