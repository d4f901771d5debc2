package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	peerpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1/graphgrpc"
)

// rounds let any number of readers share the answers to one question: one is asked at a time, and who comes while it is asked waits for
// the next, because the one under way began before.
type rounds struct {
	// ask finds a read index: it is at or past every write that was acknowledged before the call.
	ask func(context.Context) (index uint64, err error)
	// wake has a token when somebody waits.
	wake chan struct{}
	// asked counts questions, for people.
	asked atomic.Uint64

	// mu guards next.
	mu   sync.Mutex
	next *round
}

// A round is one question.
type round struct {
	// done is closed when index and err are there.
	done  chan struct{}
	index uint64
	err   error
}

func newRounds(ask func(context.Context) (uint64, error)) *rounds {
	return &rounds{ask: ask, wake: make(chan struct{}, 1)}
}

// join waits for a round that begins after the call.
func (r *rounds) join(ctx context.Context) (uint64, error) {
	r.mu.Lock()
	if r.next == nil {
		r.next = &round{done: make(chan struct{})}
	}
	mine := r.next
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	select {
	case <-mine.done:
		return mine.index, mine.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// run asks until ctx ends.
func (r *rounds) run(ctx context.Context) {
	for {
		select {
		case <-r.wake:
		case <-ctx.Done():
			r.finish(r.take(), 0, errClosed)
			return
		}
		for one := r.take(); one != nil; one = r.take() {
			r.asked.Add(1)
			index, err := r.ask(ctx)
			r.finish(one, index, err)
		}
	}
}

func (r *rounds) take() *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.next
	r.next = nil
	return one
}

func (*rounds) finish(one *round, index uint64, err error) {
	if one == nil {
		return
	}
	one.index, one.err = index, err
	close(one.done)
}

const (
	// confirmAgain is how often a leader that waits for the majority asks for heartbeats again.
	confirmAgain = 100 * time.Millisecond
	// askTimeout bounds one question to the leader.
	askTimeout = 2 * time.Second
)

var (
	errNoGate    = errors.New("this node does not lead, or has not applied the first entry of its term yet")
	errDeposed   = errors.New("leadership was lost while a majority was asked")
	errNoneLeads = errors.New("nobody is known to lead")
)

// confirm finds a read index on the leader (RAFT.md 4.7): the gate of the term is open, so the commit index is not behind what an earlier
// leader has committed; a majority of voters has answered in this term something sent after the index was taken, so nobody can have
// been elected before that; and the term is still the same. No clocks of two machines are compared.
func (n *Node) confirm(ctx context.Context) (uint64, error) {
	term, closed := n.gate.state()
	index := n.raft.CommitIndex()
	if term == 0 || !n.leads(term) {
		return 0, errNoGate
	}
	transport := n.peers.transport
	since := transport.order.Load()
	self := raft.ServerID(n.Identity().NodeID)
	members := n.members()
	for !transport.haveAcked(since, term, members, self) {
		n.raft.VerifyLeader() // its answer proves nothing; it makes heartbeats leave at once
		if err := n.awaitAcks(ctx, closed, func() bool { return transport.haveAcked(since, term, members, self) }); err != nil {
			return 0, err
		}
	}
	if !n.leads(term) {
		return 0, errDeposed
	}
	return index, nil
}

// awaitAcks waits until enough have answered, or it is time to ask again.
func (n *Node) awaitAcks(ctx context.Context, closed <-chan struct{}, enough func() bool) error {
	again := time.NewTimer(confirmAgain)
	defer again.Stop()
	for {
		select {
		case <-n.peers.transport.acked:
			if enough() {
				return nil
			}
		case <-again.C:
			return nil
		case <-closed:
			return errDeposed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// leads reports that this node leads in a term, as far as it knows.
func (n *Node) leads(term uint64) bool {
	return n.raft.State() == raft.Leader && n.raft.CurrentTerm() == term
}

// askLeader finds a read index elsewhere. It gives up when another node leads.
func (n *Node) askLeader(ctx context.Context) (uint64, error) {
	leader, moved := n.route.get()
	if leader.NodeID == "" || leader.NodeID == n.Identity().NodeID {
		return 0, errNoneLeads
	}
	conn, err := n.connectTo(leader)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	go func() {
		select {
		case <-moved:
			cancel()
		case <-ctx.Done():
		}
	}()
	reply, err := graphgrpc.NewPeerServiceClient(conn).ReadIndex(ctx, &peerpb.ReadIndexRequest{})
	if err != nil {
		return 0, fmt.Errorf("read index of the leader, %s: %w", leader.NodeID, err)
	}
	if reply.Index == 0 {
		return 0, fmt.Errorf("read index of the leader, %s: %s", leader.NodeID, reply.Reason)
	}
	return reply.Index, nil
}

// ReadIndex finds a read index for another node.
func (s *peerServer) ReadIndex(ctx context.Context, _ *peerpb.ReadIndexRequest) (*peerpb.ReadIndexReply, error) {
	index, err := s.node.confirms.join(ctx)
	if err != nil {
		return &peerpb.ReadIndexReply{Reason: err.Error()}, nil
	}
	s.node.peers.readIndexes.Add(1)
	return &peerpb.ReadIndexReply{Index: index, Term: s.node.raft.CurrentTerm()}, nil
}
