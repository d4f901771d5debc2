package cluster

import (
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
)

// TestACopiedFolderIsRefusedBesideItsOriginal: it would have the vote of another process. When that is gone it may start.
func TestACopiedFolderIsRefusedBesideItsOriginal(t *testing.T) {
	c := newTrio(t, 3, func(_ int, config *Config) { *config = inFolder(t, *config) })
	propose(t, c.nodes[0], repeatable(t, 0))
	id := c.nodes[1].Identity().NodeID
	c.stop()
	copied := crashed(t, c.configs[1])
	copied.Peers = &PeersConfig{Open: func(nodeID string) (Port, error) { return c.network.open(nodeID, addressOf(8)) }}
	for i := range c.nodes {
		c.open(i)
	}
	c.ready()
	_, err := Open(copied)
	if !errors.Is(err, errTwin) || !strings.Contains(err.Error(), addressOf(1)) || !strings.Contains(err.Error(), addressOf(8)) {
		t.Fatalf("beside its original: %v", err)
	}
	c.crash(1)
	n, err := Open(copied)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, n)
	if n.Identity().NodeID != id {
		t.Errorf("it is %s, want %s", n.Identity().NodeID, id)
	}
}

// TestOnlyTheSameNodeIsATwin: neither another one, nor nobody, nor this process under another address.
func TestOnlyTheSameNodeIsATwin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 2, nil)
		n := c.nodes[0]
		for what, at := range map[string]string{"another node": addressOf(1), "nobody": addressOf(8), "where it is": addressOf(0)} {
			members := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(n.Identity().NodeID), Address: raft.ServerAddress(at)}}}
			if twin, asked := n.findTwin(t.Context(), members); twin != nil || asked != at {
				t.Errorf("%s, asked at %s, is taken for a twin: %v", what, asked, twin)
			}
		}
	})
}

// A counter counts what is read.
type counter struct {
	io.Reader
	read int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += int64(n)
	return n, err
}

// TestTheYoungerOfTwoEnds: a copy that was started while the two could not reach each other.
func TestTheYoungerOfTwoEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, 3, nil)
		leader, at := c.leader()
		original := (at + 1) % 3
		// The same id, and another start.
		seed := [32]byte{1, byte(original)}
		used := &counter{Reader: rand.NewChaCha8(seed)}
		if _, err := (identity.New{Name: "n", Random: used, Created: time.Now(), CreatedBy: "v"}).Make(); err != nil {
			t.Fatal(err)
		}
		config := c.peerConfig(original)
		config.Random = io.MultiReader(io.LimitReader(rand.NewChaCha8(seed), used.read), rand.NewChaCha8([32]byte{9}))
		config.Peers.Open = func(nodeID string) (Port, error) { return c.network.open(nodeID, addressOf(8)) }
		ended := make(chan error, 1)
		config.Fatal = func(err error) { ended <- err }
		n, err := Open(config)
		if err != nil {
			t.Fatal(err)
		}
		meta := leader.Identity()
		if id := c.nodes[original].Identity().NodeID; n.Identity().NodeID != id {
			t.Fatalf("it is %s, want %s", n.Identity().NodeID, id)
		}
		if err := n.Adopt(meta.ClusterID, meta.Lineage); err != nil {
			t.Fatal(err)
		}
		for _, other := range c.nodes { // so it hears of the configuration
			other.NoteAddress(n.Identity().NodeID, addressOf(8))
		}
		c.network.crashLinks(addressOf(original))
		select {
		case err := <-ended:
			if !errors.Is(err, errTwin) || !strings.Contains(err.Error(), addressOf(original)) {
				t.Errorf("it ended: %v", err)
			}
		case <-timeout(t).Done():
			t.Error("it goes on")
		}
		if err := n.Close(); err != nil && !errors.Is(err, raft.ErrRaftShutdown) {
			t.Log(err)
		}
	})
}
