package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// A Server is one member of the Raft configuration.
type Server struct {
	NodeID string
	// Address of its peer port as the configuration has it.
	Address string
	// Voter, or one that only follows.
	Voter bool
}

// Configuration is who belongs to the cluster.
type Configuration struct {
	Servers []Server
	// Committed: it is the one that the rows have, as of Index. Else it is newer, and nobody knows yet whether it will be.
	Committed bool
	// Index of its log entry when it is committed, else 0.
	Index uint64
}

// Find returns the member with this id.
func (c Configuration) Find(nodeID string) (Server, bool) {
	for _, s := range c.Servers {
		if s.NodeID == nodeID {
			return s, true
		}
	}
	return Server{}, false
}

// Voters counts those who vote.
func (c Configuration) Voters() int {
	voters := 0
	for _, s := range c.Servers {
		if s.Voter {
			voters++
		}
	}
	return voters
}

// RaftHandle is what raft-autopilot needs of Raft. It is no way to propose anything.
type RaftHandle interface {
	AddNonvoter(id raft.ServerID, address raft.ServerAddress, prevIndex uint64, timeout time.Duration) raft.IndexFuture
	AddVoter(id raft.ServerID, address raft.ServerAddress, prevIndex uint64, timeout time.Duration) raft.IndexFuture
	DemoteVoter(id raft.ServerID, prevIndex uint64, timeout time.Duration) raft.IndexFuture
	RemoveServer(id raft.ServerID, prevIndex uint64, timeout time.Duration) raft.IndexFuture
	LastIndex() uint64
	Leader() raft.ServerAddress
	LeaderWithID() (raft.ServerAddress, raft.ServerID)
	GetConfiguration() raft.ConfigurationFuture
	Stats() map[string]string
	LeadershipTransferToServer(id raft.ServerID, address raft.ServerAddress) raft.Future
	State() raft.RaftState
}

// Raft is the Raft of this node, for membership.
func (n *Node) Raft() RaftHandle { return n.raft }

// Configuration is the newest configuration that this node knows; it has no servers while the node is of no cluster.
func (n *Node) Configuration() (Configuration, error) {
	future := n.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return Configuration{}, fmt.Errorf("configuration: %w", err)
	}
	latest := future.Configuration()
	c := Configuration{Servers: serversOf(latest)}
	// Raft does not tell the index of its newest configuration; the rows have that of the one applied.
	if sys := n.machine.Store().System(); bytes.Equal(sys.Config, raft.EncodeConfiguration(latest)) {
		c.Committed, c.Index = true, sys.ConfigIndex
	}
	return c, nil
}

func serversOf(c raft.Configuration) []Server {
	servers := make([]Server, len(c.Servers))
	for i, s := range c.Servers {
		servers[i] = Server{NodeID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter}
	}
	return servers
}

// AddVoter makes a node a voter, or gives a voter another address. prevIndex is the Index of the configuration that the decision was
// made on, 0 for whatever it is now: another one is refused. It returns the index of the new configuration once that is
// committed. Only the leader can; one change at a time. The error is an [*Error] of the kind NoLeader on another node.
func (n *Node) AddVoter(ctx context.Context, nodeID, address string, prevIndex uint64) (uint64, error) {
	return n.change(ctx, "add voter "+nodeID, func(patience time.Duration) raft.IndexFuture {
		return n.raft.AddVoter(raft.ServerID(nodeID), raft.ServerAddress(address), prevIndex, patience)
	})
}

// AddNonvoter makes a node a member that only follows, or gives such a one another address. Otherwise it is like AddVoter.
func (n *Node) AddNonvoter(ctx context.Context, nodeID, address string, prevIndex uint64) (uint64, error) {
	return n.change(ctx, "add non-voter "+nodeID, func(patience time.Duration) raft.IndexFuture {
		return n.raft.AddNonvoter(raft.ServerID(nodeID), raft.ServerAddress(address), prevIndex, patience)
	})
}

// DemoteVoter makes a voter a member that only follows. Otherwise it is like AddVoter.
func (n *Node) DemoteVoter(ctx context.Context, nodeID string, prevIndex uint64) (uint64, error) {
	return n.change(ctx, "demote "+nodeID, func(patience time.Duration) raft.IndexFuture {
		return n.raft.DemoteVoter(raft.ServerID(nodeID), prevIndex, patience)
	})
}

// RemoveServer takes a node out of the cluster. Otherwise it is like AddVoter.
func (n *Node) RemoveServer(ctx context.Context, nodeID string, prevIndex uint64) (uint64, error) {
	return n.change(ctx, "remove "+nodeID, func(patience time.Duration) raft.IndexFuture {
		return n.raft.RemoveServer(raft.ServerID(nodeID), prevIndex, patience)
	})
}

// change waits for one change of the configuration, for as long as ctx lets it. When that ends the change may still come.
func (n *Node) change(ctx context.Context, what string, begin func(patience time.Duration) raft.IndexFuture) (uint64, error) {
	if err := n.gone(); err != nil {
		return 0, err
	}
	patience := enqueueTimeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = max(time.Millisecond, min(patience, time.Until(deadline)))
	}
	future := begin(patience)
	if err := await(ctx, future); err != nil {
		if ctx.Err() != nil {
			return 0, &Error{Kind: Interrupted, Err: fmt.Errorf("%s: %w", what, err)}
		}
		return 0, fmt.Errorf("%s: %w", what, changeError(err))
	}
	return future.Index(), nil
}

func changeError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrEnqueueTimeout),
		errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrRaftShutdown):
		return applyError(err)
	default:
		return err
	}
}

// await waits for a future of Raft, which comes to an end by itself at the latest when Raft does.
func await(ctx context.Context, future raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- future.Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// LastContact is when this node last heard from the leader; zero for never. On the leader it means nothing. A figure for people: no
// read decides by it (DECISIONS.md D12).
func (n *Node) LastContact() time.Time { return n.raft.LastContact() }

// Progress is how far the leader knows another member to be.
type Progress struct {
	NodeID string
	// Match is the last entry that the member is known to have, 0 when it is not known in this term.
	Match uint64
	// LastSent is when the newest request was sent that the member answered; zero for none in this term.
	LastSent time.Time
}

// Progress is how far the other members are, as the leader knows it; nothing elsewhere.
func (n *Node) Progress() []Progress {
	term := n.raft.CurrentTerm()
	if n.peers == nil || n.raft.State() != raft.Leader {
		return nil
	}
	var all []Progress
	for _, s := range n.members().Servers {
		if string(s.ID) == n.Identity().NodeID {
			continue
		}
		p := Progress{NodeID: string(s.ID)}
		if a, ok := n.peers.transport.ack(s.ID, term); ok {
			p.Match, p.LastSent = a.match, a.sentAt
		}
		all = append(all, p)
	}
	return all
}
