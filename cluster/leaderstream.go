package cluster

import (
	"errors"
	"sync"

	"google.golang.org/grpc"

	peerpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1"
)

// A leaderStream carries batches to one leader and verdicts back.
type leaderStream struct {
	forwarder *forwarder
	leader    Leader
	client    grpc.BidiStreamingClient[peerpb.ProposeRequest, peerpb.ProposeReply]
	cancel    func()

	// mu guards what follows, and is held while something is sent, so that batches are in the order of their numbers.
	mu      sync.Mutex
	last    uint64
	batches map[uint64]*sentBatch
	ended   bool
}

// A sentBatch waits for its verdicts.
type sentBatch struct {
	proposals []*proposal
	// before is what was known of each before it was sent: whether an earlier try may have worked.
	before []bool
}

var errStreamEnded = errors.New("stream to the leader has ended")

func (s *leaderStream) open() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.ended
}

// send sends a batch. One that finds the stream ended is put back; else the reader does that when the stream ends.
func (s *leaderStream) send(request *peerpb.ProposeRequest, batch *sentBatch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		<-s.forwarder.window
		for i, p := range batch.proposals {
			p.maybe.Store(batch.before[i])
		}
		s.forwarder.again(batch.proposals)
		return errStreamEnded
	}
	s.last++
	request.Batch = s.last
	s.batches[s.last] = batch
	if err := s.client.Send(request); err != nil {
		s.cancel() // the reader sees to the rest
		return err
	}
	return nil
}

// read takes in verdicts until the stream ends, and puts back what has none.
func (s *leaderStream) read() {
	defer s.cancel()
	for {
		reply, err := s.client.Recv()
		if err != nil {
			break
		}
		batch := s.answered(reply)
		if batch == nil {
			break
		}
		<-s.forwarder.window
		s.forwarder.judge(batch, reply.Verdicts)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, batch := range s.batches {
		<-s.forwarder.window
		s.forwarder.again(batch.proposals)
	}
	clear(s.batches)
}

// answered is the batch that a reply is about, nil when it is about none: then it is no reply of ours.
func (s *leaderStream) answered(reply *peerpb.ProposeReply) *sentBatch {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := s.batches[reply.Batch]
	if batch == nil || len(reply.Verdicts) != len(batch.proposals) {
		return nil
	}
	delete(s.batches, reply.Batch)
	return batch
}

// judge does what the verdicts on a batch ask for.
func (f *forwarder) judge(batch *sentBatch, verdicts []*peerpb.Verdict) {
	var again []*proposal
	for i, p := range batch.proposals {
		if f.tryOnceMore(p, batch.before[i], verdicts[i]) {
			again = append(again, p)
		}
	}
	if len(again) == 0 {
		f.failures.Store(0)
		return
	}
	f.again(again)
}

// tryOnceMore takes in the verdict on one command. A refusal ends it, unless an earlier try may have worked: only another can tell.
func (f *forwarder) tryOnceMore(p *proposal, before bool, v *peerpb.Verdict) bool {
	switch v.Kind {
	case peerpb.Verdict_ACCEPTED:
		return f.sent.accept(p, v.Index)
	case peerpb.Verdict_NOT_LEADER, peerpb.Verdict_STOPPING:
		p.maybe.Store(before)
		return true
	case peerpb.Verdict_OVERLOADED, peerpb.Verdict_NO_ROOM, peerpb.Verdict_TOO_LATE, peerpb.Verdict_INVALID:
		p.maybe.Store(before)
		if before && v.Kind != peerpb.Verdict_INVALID {
			return true
		}
		f.sent.remove(p)
		p.turnAway(kindOf(v.Kind), errors.New("the leader, "+f.leaderName()+", says: "+v.Reason))
		return false
	default: // it may be in the log
		return true
	}
}

func (f *forwarder) leaderName() string {
	leader, _ := f.route.get()
	return leader.NodeID
}

// kindOf is what a refusal of the leader is here.
func kindOf(v peerpb.Verdict_Kind) Kind {
	switch v {
	case peerpb.Verdict_OVERLOADED:
		return Overloaded
	case peerpb.Verdict_NO_ROOM:
		return NoRoom
	case peerpb.Verdict_TOO_LATE:
		return Interrupted
	default:
		return Failed
	}
}

// verdictOn is the verdict on a command of another node.
func verdictOn(o outcome) *peerpb.Verdict {
	if o.err == nil {
		return &peerpb.Verdict{Kind: peerpb.Verdict_ACCEPTED, Index: o.index}
	}
	v := &peerpb.Verdict{Kind: peerpb.Verdict_MAYBE, Reason: o.err.Error()}
	var bad *badCommand
	if errors.As(o.err, &bad) {
		v.Kind = peerpb.Verdict_INVALID
		return v
	}
	var e *Error
	if !errors.As(o.err, &e) || !e.NotProposed {
		return v
	}
	switch e.Kind {
	case NoLeader:
		v.Kind = peerpb.Verdict_NOT_LEADER
	case Overloaded:
		v.Kind = peerpb.Verdict_OVERLOADED
	case NoRoom:
		v.Kind = peerpb.Verdict_NO_ROOM
	case Stopping, Failed:
		v.Kind = peerpb.Verdict_STOPPING
	case Interrupted:
		v.Kind = peerpb.Verdict_TOO_LATE
	}
	return v
}
