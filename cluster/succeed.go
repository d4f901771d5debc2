package cluster

import (
	"cmp"
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// A leader whose process has ended leaves connections that break at once and an address that refuses others. Raft only sees that heartbeats do
// not come, and followers that have not noticed yet keep their votes: together that takes two timeouts. So a follower to which a stream has broken
// looks: when a majority of the voters finds that the leader's address refuses, the one with most of the log asks for votes as if leadership
// had been transferred to it. Whoever cannot tell, as when a machine has gone, leaves it to the timers of Raft.
const (
	// The streams break a moment before the address refuses, and the others look at the same time.
	lostTries = 10
	lostPause = 20 * time.Millisecond
)

// watchLeader looks after the leader whenever a stream from another node has broken.
func (n *Node) watchLeader(ctx context.Context) {
	for {
		select {
		case <-n.peers.transport.streams.broken:
		case <-ctx.Done():
			return
		}
		n.lookAfter(ctx)
		n.refusing.Store(nil) // what was found is of this moment
	}
}

// lookAfter looks whether the process of the leader has ended, and sees to another if so.
func (n *Node) lookAfter(ctx context.Context) {
	leader, _ := n.route.get()
	for range lostTries {
		if now, _ := n.route.get(); now != leader || !n.mayStand(leader) {
			return
		}
		if before, lost := n.hasLost(ctx, leader); lost {
			n.stand(ctx, leader, before)
			return
		}
		select {
		case <-time.After(lostPause):
		case <-ctx.Done():
			return
		}
	}
}

// mayStand reports whether this node follows a leader, and may lead itself.
func (n *Node) mayStand(leader Leader) bool {
	self := n.Identity().NodeID
	if leader.NodeID == "" || leader.NodeID == self || n.raft.State() != raft.Follower || n.Quarantine() != nil || n.failed() != nil {
		return false
	}
	for _, s := range n.members().Servers {
		if string(s.ID) == self {
			return s.Suffrage == raft.Voter
		}
	}
	return false
}

// hasLost reports whether a majority of the voters, this node being one, finds that the process of the leader has ended, and nobody knows
// better. Before counts those voters that should lead rather than this node.
func (n *Node) hasLost(ctx context.Context, leader Leader) (before int, lost bool) {
	if !n.refuses(leader) {
		n.refusing.Store(nil)
		return 0, false
	}
	n.refusing.Store(&leader)
	ctx, cancel := context.WithTimeout(ctx, n.config.Timing.Heartbeat)
	defer cancel()
	others := n.askVoters(ctx, nil)
	index, term := n.lastLog()
	found := 1
	for _, v := range others {
		r := v.reply
		if r.NodeId == leader.NodeID || r.LeaderId != leader.NodeID && r.LeaderId != "" {
			return 0, false
		}
		if r.LeaderRefuses {
			found++
		}
		if cmp.Or(cmp.Compare(r.LastLogTerm, term), cmp.Compare(r.LastLogIndex, index), cmp.Compare(n.Identity().NodeID, r.NodeId)) > 0 {
			before++
		}
	}
	return before, found > (n.otherVoters()+1)/2
}

// refuses reports that nobody listens where the leader was.
func (n *Node) refuses(leader Leader) bool {
	address, ok := n.peers.addresses.find(raft.ServerID(leader.NodeID))
	if !ok {
		return false
	}
	c, err := n.peers.port.Streams().Dial(PeerAddress(leader.NodeID, address), dialTimeout)
	if err == nil {
		_ = c.Close() // somebody is there: that is all
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// stand asks for votes, after those that should lead rather than this node have had their time.
func (n *Node) stand(ctx context.Context, lost Leader, before int) {
	turn := time.After(time.Duration(before) * n.config.Timing.Heartbeat)
	for {
		now, moved := n.route.get()
		if now.NodeID != "" && now != lost {
			return
		}
		select {
		case <-turn:
			if n.raft.State() == raft.Follower {
				n.logger.Info("the process of the leader has ended: this node asks for votes", "leader", lost.NodeID)
				n.peers.transport.stand(ctx)
			}
			return
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}
