package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	peerpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1/graphgrpc"
)

// Bounds of forwarding.
const (
	// maxBatchesInFlight is how many batches are with the leader and have no answer.
	maxBatchesInFlight = 4
	// retryFor bounds how long a command is tried again: the row that makes a retry take effect once lives 15 minutes (D4).
	retryFor = 5 * time.Minute
	// The pause after a try that did not work, twice as long each time.
	minRetryPause = 5 * time.Millisecond
	maxRetryPause = 100 * time.Millisecond
)

var (
	errHop       = errors.New("forwarded to a node that does not lead")
	errLostTrack = errors.New("leader was lost and the command cannot be tried again")
)

// A forwarder takes commands to the node that leads, and tries them again where that does not work, with the same bytes: the
// request id in them makes them take effect once. Results come from the entries that this node applies.
type forwarder struct {
	self    string
	queue   *queue
	sent    *sentCommands
	route   *route
	gate    *gate
	connect func(Leader) (*grpc.ClientConn, error)
	logger  hclog.Logger
	life    context.Context
	// stuck hears of the errors of this node's own log, nil for none.
	stuck func(error)

	window  chan struct{}
	reading sync.WaitGroup
	// forwarded counts commands, for people.
	forwarded atomic.Uint64
	// failures in a row.
	failures atomic.Int64

	// mu guards stream.
	mu     sync.Mutex
	stream *leaderStream
}

// leader is another node that leads, if one does.
func (f *forwarder) leader() (Leader, <-chan struct{}) {
	if f == nil {
		return Leader{}, nil
	}
	leader, moved := f.route.get()
	if leader.NodeID == f.self || leader.NodeID == "" {
		return Leader{}, moved
	}
	return leader, moved
}

// next takes one batch to the leader; false when ctx ends.
func (f *forwarder) next(ctx context.Context) bool {
	if !f.rest(ctx) {
		return false
	}
	leader, moved := f.leader()
	if leader == (Leader{}) {
		return true
	}
	select {
	case f.window <- struct{}{}:
	case <-moved:
		return true
	case <-ctx.Done():
		return false
	}
	batch := f.sendable(f.queue.take())
	if len(batch) == 0 {
		<-f.window
		return true
	}
	if err := f.send(leader, batch); err != nil {
		f.logger.Debug("forward commands", "to", leader.NodeID, "commands", len(batch), "error", err)
	}
	return true
}

// rest waits a little after a failure, or for the leader to change.
func (f *forwarder) rest(ctx context.Context) bool {
	failures := f.failures.Load()
	if failures == 0 {
		return true
	}
	pause := min(maxRetryPause, minRetryPause<<min(failures-1, 10))
	pause = pause/2 + rand.N(pause/2)
	_, moved := f.route.get()
	_, changed := f.gate.state()
	select {
	case <-time.After(pause):
	case <-moved:
	case <-changed:
	case <-ctx.Done():
		return false
	}
	return true
}

// sendable leaves out what must not be sent: what another node has sent here (one hop), and what cannot be tried again.
func (f *forwarder) sendable(taken []*proposal) []*proposal {
	var batch []*proposal
	for _, p := range taken {
		switch {
		case p.settled.Load():
		case p.tell != nil:
			p.turnAway(NoLeader, errHop)
		case !fsm.Repeatable(p.command):
			p.turnAway(NoLeader, errHop)
		default:
			batch = append(batch, p)
		}
	}
	return batch
}

// send puts a batch on the stream to the leader. Where that fails it has put the batch back.
func (f *forwarder) send(leader Leader, batch []*proposal) error {
	now := time.Now()
	request := &peerpb.ProposeRequest{Commands: make([][]byte, len(batch)), Patience: make([]int64, len(batch))}
	before := make([]bool, len(batch))
	for i, p := range batch {
		p.sent.begin(now)
		request.Commands[i] = p.command
		if !p.deadline.IsZero() {
			request.Patience[i] = max(1, int64(p.deadline.Sub(now)))
		}
		before[i] = p.maybe.Swap(true)
		f.sent.add(p)
	}
	stream, err := f.streamTo(leader)
	if err != nil {
		for i, p := range batch {
			p.maybe.Store(before[i])
		}
		<-f.window
		f.again(batch)
		return err
	}
	f.forwarded.Add(uint64(len(batch)))
	return stream.send(request, &sentBatch{proposals: batch, before: before})
}

// streamTo is the open stream to the leader, or a new one. It is called by one goroutine.
func (f *forwarder) streamTo(leader Leader) (*leaderStream, error) {
	f.mu.Lock()
	stream := f.stream
	f.mu.Unlock()
	if stream != nil && stream.leader == leader && stream.open() {
		return stream, nil
	}
	conn, err := f.connect(leader)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(f.life)
	stream = &leaderStream{forwarder: f, leader: leader, cancel: cancel, batches: map[uint64]*sentBatch{}}
	f.replace(stream) // first, so that watch can end the wait for the connection
	if stream.client, err = graphgrpc.NewPeerServiceClient(conn).Propose(ctx); err != nil {
		f.replace(nil)
		return nil, fmt.Errorf("stream to %s: %w", leader.NodeID, err)
	}
	f.reading.Go(stream.read)
	return stream, nil
}

func (f *forwarder) replace(stream *leaderStream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stream != nil {
		f.stream.cancel()
	}
	f.stream = stream
}

// watch ends the stream to a node that no longer leads: what is on it is tried elsewhere.
func (f *forwarder) watch(ctx context.Context) {
	for {
		leader, moved := f.route.get()
		f.failures.Store(0) // they were another leader's, or of the time without one
		f.endUnless(leader)
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

func (f *forwarder) endUnless(leader Leader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stream != nil && f.stream.leader != leader {
		f.stream.cancel()
	}
}

// again puts commands back into the queue, to be tried once more, or settles those that cannot be.
func (f *forwarder) again(batch []*proposal) {
	f.failures.Add(1)
	now := time.Now()
	var back []*proposal
	for _, p := range batch {
		switch {
		case p.settled.Load():
			f.sent.remove(p)
		case p.maybe.Load() && (p.sent.tooOld(now) || !fsm.Repeatable(p.command)):
			f.sent.remove(p)
			p.settle(outcome{err: perhaps(NoLeader, errLostTrack)})
		default:
			back = append(back, p)
		}
	}
	f.queue.putBack(back)
}

// tryAgain takes over a batch that did not get through this node's own log, when another try is safe. Those that other nodes have sent
// are left to them.
func (f *forwarder) tryAgain(batch []*proposal, err error) bool {
	var failed *Error
	if f == nil || err == nil || !errors.As(err, &failed) || failed.Kind != NoLeader || f.life.Err() != nil {
		return false
	}
	f.stuck(err)
	var own []*proposal
	for _, p := range batch {
		if p.tell != nil {
			p.settle(outcome{err: err})
			continue
		}
		if !failed.NotProposed {
			if fsm.Repeatable(p.command) {
				f.sent.add(p)
			}
			p.maybe.Store(true)
		}
		own = append(own, p)
	}
	f.again(own)
	return true
}

// sendAgain sends the commands again whose entries came in a snapshot, without their results.
func (n *Node) sendAgain(missed []*proposal) {
	if n.forward != nil {
		n.forward.again(missed)
	}
}

// worked notes that this node's own log took an entry.
func (f *forwarder) worked() {
	if f != nil {
		f.failures.Store(0)
		f.stuck(nil)
	}
}

// idle reports that no command is on its way.
func (f *forwarder) idle() bool { return f.sent.count.Load() == 0 }

// abandon lets go of the commands that are on their way.
func (f *forwarder) abandon() {
	if f == nil {
		return
	}
	for _, p := range f.sent.all() {
		f.sent.remove(p)
		p.settle(outcome{err: perhaps(Stopping, errClosed)})
	}
}

// close ends the stream and waits for its reader.
func (f *forwarder) close() {
	f.replace(nil)
	f.reading.Wait()
}
