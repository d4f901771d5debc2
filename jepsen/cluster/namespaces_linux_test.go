//go:build linux

package cluster_test

import (
	"errors"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
)

func namespaces(t *testing.T, nodes int) *cluster.Namespaces {
	t.Helper()
	network, err := cluster.NewNamespaces(nodes)
	if errors.Is(err, cluster.ErrNoNamespaces) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	return network
}

// TestACutIsOneWay: what one node sends is lost, what it is sent arrives, and others notice nothing.
func TestACutIsOneWay(t *testing.T) {
	network := namespaces(t, 3)
	wantReach := func(from, to int, want bool) {
		t.Helper()
		within := time.Minute // long enough for what arrives
		if !want {
			within = time.Second
		}
		got, err := network.Reaches(from, to, within)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("a packet from %d to %d arrives: %v, want %v", from, to, got, want)
		}
	}
	wantReach(0, 1, true)
	if err := network.Cut(0, 1); err != nil {
		t.Fatal(err)
	}
	wantReach(0, 1, false)
	wantReach(1, 0, true)
	wantReach(0, 2, true)
	wantReach(2, 1, true)
	wantReach(cluster.Client, 1, true)
	if err := network.Mend(0, 1); err != nil {
		t.Fatal(err)
	}
	wantReach(0, 1, true)
}
