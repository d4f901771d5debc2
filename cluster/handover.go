package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// A leader that goes hands its leadership over: that costs writers a few milliseconds, an election much more.
const (
	handOverTries   = 3
	handOverTimeout = 2 * time.Second
	handOverPause   = 50 * time.Millisecond
)

// TransferLeadership hands leadership to a voter, to the one that is furthest when nodeID is empty, and returns when this node no
// longer leads. Commands wait meanwhile. The error is an [*Error] of the kind NoLeader when this node does not lead.
func (n *Node) TransferLeadership(ctx context.Context, nodeID string) error {
	if err := n.gone(); err != nil {
		return err
	}
	if n.raft.State() != raft.Leader {
		return surely(NoLeader, errors.New("transfer leadership: this node does not lead"))
	}
	if err := await(ctx, n.beginTransfer(nodeID)); err != nil {
		return fmt.Errorf("transfer leadership: %w", err)
	}
	return nil
}

func (n *Node) beginTransfer(nodeID string) raft.Future {
	if nodeID == "" {
		return n.raft.LeadershipTransfer()
	}
	members := n.members()
	for _, s := range members.Servers {
		if string(s.ID) == nodeID && s.Suffrage == raft.Voter {
			return n.raft.LeadershipTransferToServer(s.ID, s.Address)
		}
	}
	return failedFuture{fmt.Errorf("%s is no voter: choose one of them", nodeID)}
}

// failedFuture is the future of what was never begun.
type failedFuture struct{ err error }

func (f failedFuture) Error() error { return f.err }

// HandOver is the first step of a node that is to stop: if it leads others that can, it hands leadership over, in up to three tries
// of two seconds. Everything goes on as before. It returns at once on a node that does not lead, or is the only voter.
func (n *Node) HandOver(ctx context.Context) error {
	var err error
	for try := range handOverTries {
		if n.raft.State() != raft.Leader || n.gone() != nil || n.otherVoters() == 0 {
			return nil
		}
		if try > 0 {
			select {
			case <-time.After(handOverPause):
			case <-ctx.Done():
				return errors.Join(err, ctx.Err())
			}
		}
		one, cancel := context.WithTimeout(ctx, handOverTimeout)
		err = n.TransferLeadership(one, "")
		cancel()
		if err == nil {
			return nil
		}
		n.logger.Warn("hand leadership over", "try", try+1, "error", err)
	}
	return err
}

// otherVoters counts the voters beside this node.
func (n *Node) otherVoters() int {
	voters := 0
	for _, s := range n.members().Servers {
		if s.Suffrage == raft.Voter && string(s.ID) != n.Identity().NodeID {
			voters++
		}
	}
	return voters
}

// stuckAfter is how long a leader may answer that a transfer is in progress. Raft can forget to end one (hashicorp/raft#696), and such a
// leader takes no command any more, nor gives way.
const stuckAfter = 10 * time.Second

// stuckTransfer hears what this node's log answers, nil for success, and ends a node that does not come out of a transfer.
func (n *Node) stuckTransfer(err error) {
	if !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		n.transferring.Store(0)
		return
	}
	now := time.Now().UnixNano()
	if n.transferring.CompareAndSwap(0, now) {
		return
	}
	if since := time.Duration(now - n.transferring.Load()); since > stuckAfter {
		n.fatal(fmt.Errorf("leadership transfer has been in progress for %v: this node would neither lead nor follow: %w", since, err))
	}
}
