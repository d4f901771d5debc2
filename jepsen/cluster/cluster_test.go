package cluster_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
)

// pretended is a cluster of programs that only print, wait and end.
func pretended(t *testing.T, how string, config cluster.Config) *cluster.Cluster {
	t.Helper()
	t.Setenv(pretend, how)
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	config.Binary, config.Dir = binary, t.TempDir()
	c, err := cluster.NewCluster(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Kill(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestNodesOfAClusterHaveAddressesOfTheirOwnAndKnowAll(t *testing.T) {
	c := pretended(t, "serves", cluster.Config{Size: 3})
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	addresses := c.Addresses()
	if slices.Sort(addresses); len(slices.Compact(addresses)) != 3 {
		t.Errorf("addresses are %v", c.Addresses())
	}
	for _, node := range c.Nodes {
		at := node.Addresses()
		for _, want := range []string{"--node-id " + node.Name(), "--peer-addr " + at.Peer, "--gossip-addr " + at.Gossip, "--bootstrap-expect 3"} {
			if !strings.Contains(node.Logs(), want) {
				t.Errorf("%s was started without %s:\n%s", node.Name(), want, node.Logs())
			}
		}
		for _, other := range c.Nodes {
			if !strings.Contains(node.Logs(), other.Addresses().Gossip) {
				t.Errorf("%s was not told of %s", node.Name(), other.Name())
			}
		}
	}
	if err := c.Nodes[0].Move(); !errors.Is(err, cluster.ErrRunning) {
		t.Errorf("move of a node that runs: %v, want %v", err, cluster.ErrRunning)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	was := c.Nodes[0].Addresses()
	if err := c.Nodes[0].Move(); err != nil {
		t.Fatal(err)
	}
	if now := c.Nodes[0].Addresses(); now == was {
		t.Errorf("moved from %v to %v", was, now)
	}
}

// TestAPortThatIsTakenMeanwhileIsLeft: the first life of each node finds a port in use.
func TestAPortThatIsTakenMeanwhileIsLeft(t *testing.T) {
	c := pretended(t, "finds its port taken once", cluster.Config{Size: 2})
	was := c.Addresses()
	if err := c.StartElsewhere(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, address := range c.Addresses() {
		if address == was[i] || !c.Nodes[i].Running() {
			t.Errorf("%s runs: %v, at %s, before at %s", c.Nodes[i].Name(), c.Nodes[i].Running(), address, was[i])
		}
	}
}

func TestAMemberBelongsToTheNodeThatItsIDBeginsWith(t *testing.T) {
	c := pretended(t, "serves", cluster.Config{Size: 2})
	for id, want := range map[string]*cluster.Node{"n1-12345678": c.Nodes[0], "n2-00000000": c.Nodes[1], "n11-12345678": nil, "": nil} {
		if got := c.NodeOf(id); got != want {
			t.Errorf("node of %q is %v, want %v", id, got, want)
		}
	}
}

// TestAClockIsSet: the process itself says what time it is.
func TestAClockIsSet(t *testing.T) {
	if err := cluster.CanSkew(t.Context()); err != nil {
		t.Skip(err)
	}
	c := pretended(t, "tells the time", cluster.Config{Size: 1, Skewed: true})
	node := c.Nodes[0]
	if err := node.SetClock(time.Hour); !errors.Is(err, cluster.ErrNotRunning) {
		t.Errorf("set the clock of what does not run: %v, want %v", err, cluster.ErrNotRunning)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, ahead := range []time.Duration{0, time.Hour, -90*time.Second - 300*time.Millisecond, 86400 * time.Second, 0} {
		if err := node.SetClock(ahead); err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		says, err := c.Clock(t.Context(), node)
		if err != nil {
			t.Fatal(err)
		}
		// It answers in whole seconds.
		if says.Before(before.Add(ahead-time.Second)) || says.After(time.Now().Add(ahead)) {
			t.Errorf("set %v ahead of %v it says %v", ahead, before, says)
		}
	}
}
