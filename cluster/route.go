package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// A Leader is who leads, as far as a node knows. The zero value is for nobody.
type Leader struct {
	NodeID string
	// Address of its peer port.
	Address string
}

// A route is the way to the leader.
type route struct {
	mu     sync.Mutex
	leader Leader
	// changed is closed and replaced whenever leader has.
	changed chan struct{}
}

func newRoute() *route { return &route{changed: make(chan struct{})} }

func (r *route) set(l Leader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leader == l {
		return
	}
	r.leader = l
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *route) get() (Leader, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leader, r.changed
}

// Leader is who leads, as far as this node knows, and a channel that is closed when that has changed.
func (n *Node) Leader() (Leader, <-chan struct{}) { return n.route.get() }

// LeadingTerm is the term in which this node leads and is ready to propose, 0 when it does not lead, and a channel that is closed when
// that has changed. What only a leader may do is done while the term stays.
func (n *Node) LeadingTerm() (term uint64, changed <-chan struct{}) { return n.gate.state() }

const (
	// leaderBuffer is how many changes of leader may wait; one that finds no room is seen at the next look.
	leaderBuffer = 64
	leaderPoll   = time.Second
)

// followLeader keeps the route.
func (n *Node) followLeader(ctx context.Context) {
	changes := make(chan raft.Observation, leaderBuffer)
	observer := raft.NewObserver(changes, false, func(o *raft.Observation) bool {
		switch data := o.Data.(type) {
		case raft.LeaderObservation:
			return true
		case raft.RaftState:
			if data == raft.Candidate {
				n.config.Events.stood()
			}
		}
		return false
	})
	n.raft.RegisterObserver(observer)
	defer n.raft.DeregisterObserver(observer)
	tick := time.NewTicker(leaderPoll)
	defer tick.Stop()
	last := ""
	for {
		address, id := n.raft.LeaderWithID()
		if now := string(id); now != "" && now != last {
			last = now
			n.config.Events.leaderChanged(now)
		}
		n.route.set(Leader{NodeID: string(id), Address: string(address)})
		select {
		case <-ctx.Done():
			return
		case <-changes:
		case <-tick.C:
		}
	}
}
