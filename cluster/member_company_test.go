package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/gossip"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/membership"
)

// A grapevine is gossip in one process: everybody hears everything at once. It loses nothing, suspects nobody, and knows no secrets.
type grapevine struct {
	mu      sync.Mutex
	live    map[string]gossip.Member
	gone    map[string]gossip.Member
	changed chan struct{}
}

func newGrapevine() *grapevine {
	return &grapevine{live: map[string]gossip.Member{}, gone: map[string]gossip.Member{}, changed: make(chan struct{})}
}

func (g *grapevine) come(nodeID string, m gossip.Metadata) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.gone, nodeID)
	g.live[nodeID] = gossip.Member{NodeID: nodeID, Metadata: m, State: gossip.Alive}
	g.tellLocked()
}

func (g *grapevine) leave(nodeID string, s gossip.State) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.live[nodeID]
	m.State = s
	g.gone[nodeID] = m
	delete(g.live, nodeID)
	g.tellLocked()
}

func (g *grapevine) tellLocked() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// An ear is the grapevine as one node has it: nothing of other clusters once it has one.
type ear struct {
	vine   *grapevine
	nodeID string
}

func (e ear) listLocked(from map[string]gossip.Member) []gossip.Member {
	mine := e.vine.live[e.nodeID].ClusterID
	var all []gossip.Member
	for _, m := range from {
		if mine == "" || m.ClusterID == "" || m.ClusterID == mine {
			all = append(all, m)
		}
	}
	return all
}

func (e ear) Members() []gossip.Member {
	e.vine.mu.Lock()
	defer e.vine.mu.Unlock()
	return e.listLocked(e.vine.live)
}

func (e ear) Departed() []gossip.Member {
	e.vine.mu.Lock()
	defer e.vine.mu.Unlock()
	return e.listLocked(e.vine.gone)
}

func (e ear) Changed() <-chan struct{} {
	e.vine.mu.Lock()
	defer e.vine.mu.Unlock()
	return e.vine.changed
}

func (e ear) Update(m gossip.Metadata) error {
	e.vine.come(e.nodeID, m)
	return nil
}

// A company is nodes that find each other.
type company struct {
	t       testing.TB
	network *network
	vine    *grapevine
	staff   []*worker
}

// A worker is one node, which may be stopped and started.
type worker struct {
	company *company
	config  Config
	members MembersConfig
	address string

	node  *Node
	works *Members
}

func newCompany(t testing.TB) *company {
	c := &company{t: t, network: newNetwork(), vine: newGrapevine()}
	t.Cleanup(c.stop)
	return c
}

// hire makes a node, which is not started.
func (c *company) hire(config Config, members MembersConfig) *worker {
	i := len(c.staff)
	w := &worker{company: c, config: config, members: members, address: addressOf(i)}
	w.config.Name = fmt.Sprintf("n%d", i+1)
	w.config.Random = rand.NewChaCha8([32]byte{2, byte(i)})
	w.config.Timing = LAN()
	w.config.TickInterval = 50 * time.Millisecond
	c.staff = append(c.staff, w)
	return w
}

func (w *worker) start() {
	c := w.company
	c.t.Helper()
	var err error
	if w.works, err = NewMembers(w.members); err != nil {
		c.t.Fatal(err)
	}
	config := w.config
	config.Peers = &PeersConfig{
		Open:        func(nodeID string) (Port, error) { return c.network.open(nodeID, w.address) },
		Register:    w.works.Register,
		ReadReplica: w.members.ReadReplica,
	}
	if w.node, err = Open(config); err != nil {
		c.t.Fatal(err)
	}
	said, err := w.works.Metadata(w.node)
	if err != nil {
		c.t.Fatal(err)
	}
	c.vine.come(w.id(), said)
	if err := w.works.Start(w.node, ear{c.vine, w.id()}); err != nil {
		c.t.Fatal(err)
	}
}

func (w *worker) id() string { return w.node.Identity().NodeID }

// stop ends a node as SIGTERM does when it leaves, as kill -9 does otherwise.
func (w *worker) stop(leaves bool) {
	if w.node == nil {
		return
	}
	w.works.Close()
	if leaves {
		w.company.vine.leave(w.id(), gossip.Left)
	} else {
		w.company.vine.leave(w.id(), gossip.Dead)
		w.company.network.crash(w.address)
	}
	n := w.node
	w.node = nil
	if err := n.Close(); err != nil && leaves {
		w.company.t.Error(err)
	}
}

// stop ends all that runs, at once: a node that goes alone would wait for the others.
func (c *company) stop() {
	for _, w := range c.staff {
		if w.node != nil {
			w.works.Close()
		}
	}
	var all sync.WaitGroup
	for _, w := range c.staff {
		if n := w.node; n != nil {
			w.node = nil
			all.Go(func() {
				if err := n.Close(); err != nil {
					c.t.Error(err)
				}
			})
		}
	}
	all.Wait()
}

// until waits for a condition.
func (c *company) until(what string, is func() bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for !is() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			for _, w := range c.staff {
				if w.node != nil {
					s, err := w.node.Status()
					c.t.Logf("%s: %+v, %v", w.id(), s, err)
				}
			}
			c.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// leader is the node that leads and is ready, nil for none.
func (c *company) leader() *worker {
	for _, w := range c.staff {
		if w.node == nil {
			continue
		}
		if term, _ := w.node.LeadingTerm(); term != 0 && w.node.leads(term) {
			return w
		}
	}
	return nil
}

// has waits until every node that runs knows these voters and non-voters, and no others, in one cluster.
func (c *company) has(voters, others []*worker) {
	c.t.Helper()
	want := map[string]bool{}
	for _, w := range voters {
		want[w.id()] = true
	}
	for _, w := range others {
		want[w.id()] = false
	}
	c.until(fmt.Sprintf("members %v", want), func() bool {
		for _, w := range append(slices.Clone(voters), others...) {
			m, err := w.node.Configuration()
			if err != nil || len(m.Servers) != len(want) || w.node.Ready() != nil {
				return false
			}
			for _, s := range m.Servers {
				if voter, known := want[s.NodeID]; !known || voter != s.Voter {
					return false
				}
			}
			if w.node.Identity().ClusterID != voters[0].node.Identity().ClusterID {
				return false
			}
		}
		return true
	})
}

// addressed waits until the configuration has every node of these where it is.
func (c *company) addressed(workers ...*worker) {
	c.t.Helper()
	c.until("the new addresses", func() bool {
		l := c.leader()
		if l == nil {
			return false
		}
		m, err := l.node.Configuration()
		for _, w := range workers {
			if s, ok := m.Find(w.id()); err != nil || !ok || s.Address != w.address {
				return false
			}
		}
		return true
	})
}

func (c *company) operate(what string, do func(*membership.Keeper) error) {
	c.t.Helper()
	var err error
	c.until(what, func() bool {
		if l := c.leader(); l != nil {
			err = do(l.works.Keeper())
			return err == nil
		}
		return false
	})
}
