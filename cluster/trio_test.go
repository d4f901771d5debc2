package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// A trio is a cluster of several nodes in this process, three if nothing else is said, over a network in memory.
type trio struct {
	t       testing.TB
	network *network
	nodes   []*Node
	configs []Config
}

// peerConfig is of one of several nodes in memory.
func (c *trio) peerConfig(i int) Config {
	config := testConfig(c.t)
	config.Name = fmt.Sprintf("n%d", i+1)
	config.Random = rand.NewChaCha8([32]byte{1, byte(i)})
	config.Timing = LAN()
	config.TickInterval = 50 * time.Millisecond
	config.Peers = &PeersConfig{Open: func(nodeID string) (Port, error) { return c.network.open(nodeID, addressOf(i)) }}
	return config
}

func addressOf(i int) string { return fmt.Sprintf("10.0.0.%d:50052", i+1) }

// newTrio founds a cluster of several nodes, changed before they start, and waits until all of them are ready.
func newTrio(t testing.TB, size int, change func(i int, c *Config)) *trio {
	t.Helper()
	c := &trio{t: t, network: newNetwork(), nodes: make([]*Node, size), configs: make([]Config, size)}
	for i := range size {
		c.configs[i] = c.peerConfig(i)
		if change != nil {
			change(i, &c.configs[i])
		}
	}
	t.Cleanup(c.stop)
	for i := range size {
		c.open(i)
	}
	c.found(c.nodes...)
	c.ready()
	return c
}

func (c *trio) open(i int) *Node {
	c.t.Helper()
	n, err := Open(c.configs[i])
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes[i] = n
	return n
}

// found makes these nodes, which wait, the voters of a cluster.
func (c *trio) found(nodes ...*Node) {
	c.t.Helper()
	var members []Server
	for _, n := range nodes {
		members = append(members, Server{NodeID: n.Identity().NodeID, Address: n.peers.port.Address(), Voter: true})
	}
	if err := nodes[0].Found(members); err != nil {
		c.t.Fatal(err)
	}
	for _, n := range nodes[1:] {
		if err := n.Adopt(nodes[0].Identity().ClusterID, nodes[0].Identity().Lineage); err != nil {
			c.t.Fatal(err)
		}
	}
}

// ready waits until every node that runs is fresh.
func (c *trio) ready() {
	c.t.Helper()
	for _, n := range c.nodes {
		if n != nil {
			ready(c.t, n)
		}
	}
}

// stop closes what runs, all at once: a node that goes alone would wait for the others.
func (c *trio) stop() {
	var all sync.WaitGroup
	for i, n := range c.nodes {
		if n == nil {
			continue
		}
		c.nodes[i] = nil
		all.Go(func() {
			if err := n.Close(); err != nil {
				c.t.Error(err)
			}
		})
	}
	all.Wait()
}

// leader waits for a leader among the nodes that run, but for some, and returns it with its number.
func (c *trio) leader(but ...int) (*Node, int) {
	c.t.Helper()
	ctx := timeout(c.t)
	for {
		for i, n := range c.nodes {
			if n == nil || contains(but, i) {
				continue
			}
			if term, _ := n.LeadingTerm(); term != 0 && n.leads(term) {
				return n, i
			}
		}
		c.wait(ctx, "a leader")
	}
}

func contains(all []int, i int) bool {
	for _, one := range all {
		if one == i {
			return true
		}
	}
	return false
}

// followers are the numbers of the nodes that run and are not the leader.
func (c *trio) followers(leader int) []int {
	var all []int
	for i, n := range c.nodes {
		if n != nil && i != leader {
			all = append(all, i)
		}
	}
	return all
}

// wait lets a moment pass, and fails the test when there was nothing for too long.
func (c *trio) wait(ctx context.Context, what string) {
	c.t.Helper()
	select {
	case <-time.After(5 * time.Millisecond):
	case <-ctx.Done():
		c.t.Fatalf("waited in vain for %s", what)
	}
}

// until waits for a condition.
func (c *trio) until(what string, is func() bool) {
	c.t.Helper()
	ctx := timeout(c.t)
	for !is() {
		c.wait(ctx, what)
	}
}

// crash ends a node as kill -9 does for the others: at once, without a word.
func (c *trio) crash(i int) {
	c.t.Helper()
	n := c.nodes[i]
	c.nodes[i] = nil
	c.network.crash(addressOf(i))
	if err := n.Close(); err != nil && !errors.Is(err, raft.ErrRaftShutdown) {
		c.t.Error(err)
	}
}

// agree waits until all nodes that run have applied the same entry, and compares their digests.
func (c *trio) agree() {
	c.t.Helper()
	c.until("the nodes to have applied the same", func() bool {
		var at []uint64
		for _, n := range c.nodes {
			if n != nil {
				at = append(at, n.Machine().Applied())
			}
		}
		for _, a := range at {
			if a != at[0] {
				return false
			}
		}
		return true
	})
	var want [32]byte
	first := true
	for _, n := range c.nodes {
		switch {
		case n == nil:
		case first:
			want, first = digest(n), false
		case digest(n) != want:
			c.t.Errorf("%s: digest differs at entry %d", n.Identity().NodeID, n.Machine().Applied())
		}
	}
}

// repeatable is a command that makes session i and may be tried again.
func repeatable(t testing.TB, i int) []byte {
	id := make([]byte, fsm.RequestIDBytes)
	binary.BigEndian.PutUint64(id, uint64(i)+1)
	return encode(t, &logpb.Command{
		RequestId: id, Fingerprint: id,
		Operation: &logpb.Command_CreateSession{CreateSession: &logpb.CreateSession{Session: &pb.Session{Id: sessionID(i)}}},
	})
}
