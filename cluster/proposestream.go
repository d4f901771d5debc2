package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	peerpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1"
)

// maxBatchesHeld bounds the batches of one stream that wait for their verdicts here. A node of ours has fewer.
const maxBatchesHeld = 64

var errNotLeading = errors.New("this node does not lead")

// Propose puts the commands of another node into the queue of this one, which leads. It is one hop: they are never sent on.
func (s *peerServer) Propose(stream grpc.BidiStreamingServer[peerpb.ProposeRequest, peerpb.ProposeReply]) error {
	held := make(chan struct{}, maxBatchesHeld)
	replies := make(chan *peerpb.ProposeReply, maxBatchesHeld)
	ctx, cancel := context.WithCancel(stream.Context())
	var sending sync.WaitGroup
	sending.Go(func() {
		defer cancel()
		for {
			select {
			case reply := <-replies:
				if stream.Send(reply) != nil {
					return
				}
				<-held
			case <-ctx.Done():
				return
			}
		}
	})
	defer sending.Wait()
	defer cancel()
	for {
		request, err := stream.Recv()
		if err != nil {
			return nil // the other node has ended it, or is gone
		}
		if len(request.Commands) == 0 || len(request.Commands) > MaxEntryCommands || len(request.Patience) != len(request.Commands) {
			return fmt.Errorf("batch of %d commands with %d patiences: want up to %d of each", len(request.Commands), len(request.Patience), MaxEntryCommands)
		}
		select {
		case held <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		s.node.takeIn(request, func(reply *peerpb.ProposeReply) { replies <- reply })
	}
}

// takeIn proposes a batch of another node, and answers when every command has its verdict.
func (n *Node) takeIn(request *peerpb.ProposeRequest, answer func(*peerpb.ProposeReply)) {
	reply := &peerpb.ProposeReply{Batch: request.Batch, Verdicts: make([]*peerpb.Verdict, len(request.Commands))}
	var left atomic.Int64
	left.Store(int64(len(request.Commands)))
	now := time.Now()
	for i, command := range request.Commands {
		p := &proposal{command: command, tell: func(o outcome) {
			reply.Verdicts[i] = verdictOn(o)
			if left.Add(-1) == 0 {
				answer(reply)
			}
		}}
		if patience := request.Patience[i]; patience > 0 {
			p.deadline = now.Add(time.Duration(patience))
		}
		n.takeInOne(p)
	}
}

func (n *Node) takeInOne(p *proposal) {
	if err := checkForwarded(p.command); err != nil {
		p.settle(outcome{err: &badCommand{err}})
		return
	}
	if n.failed() != nil || n.raft.State() != raft.Leader {
		p.turnAway(NoLeader, errNotLeading)
		return
	}
	if err := n.Quarantine(); err != nil {
		p.turnAway(NoLeader, err)
		return
	}
	if err := n.room.Refusal(); err != nil {
		p.turnAway(NoRoom, err)
		return
	}
	switch err := n.queue.put(p); err {
	case nil:
	case errQueueFull:
		n.config.Events.refused()
		p.turnAway(Overloaded, err)
	default:
		p.turnAway(Stopping, err)
	}
}

// badCommand says that another node sent what must not come into the log.
type badCommand struct{ err error }

func (b *badCommand) Error() string { return b.err.Error() }

// checkForwarded lets only commands of clients in: what cannot be applied would stop every node, and what keeps the cluster itself is for
// its leader alone.
func checkForwarded(command []byte) error {
	if len(command) > MaxCommandBytes {
		return fmt.Errorf("command has %d bytes, at most %d", len(command), MaxCommandBytes)
	}
	c, err := fsm.DecodeCommand(command)
	if err != nil {
		return err
	}
	switch c.Operation.(type) {
	case *logpb.Command_Bootstrap, *logpb.Command_RaiseFeatureLevel, *logpb.Command_Sweep, *logpb.Command_TrimEvents:
		return errors.New("command of the system")
	}
	if len(c.RequestId) != fsm.RequestIDBytes {
		return errors.New("command without a request id")
	}
	return nil
}

// refuseForwarded gives back what other nodes have sent and still waits, for this node no longer leads.
func (n *Node) refuseForwarded() {
	for _, p := range n.queue.takeForwarded() {
		p.turnAway(NoLeader, errNotLeading)
	}
}

// onTime leaves out the commands of other nodes for which nobody waits any more.
func onTime(batch []*proposal) []*proposal {
	late := false
	for _, p := range batch {
		late = late || p.tell != nil && !p.deadline.IsZero()
	}
	if !late {
		return batch
	}
	now := time.Now()
	left := batch[:0]
	for _, p := range batch {
		if p.tell != nil && !p.deadline.IsZero() && now.After(p.deadline) {
			p.turnAway(Interrupted, context.DeadlineExceeded)
			continue
		}
		left = append(left, p)
	}
	return left
}
