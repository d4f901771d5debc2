package cluster

import (
	"container/list"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
)

// A proposal is a command on its way.
type proposal struct {
	command []byte
	// done gets the outcome once, and never blocks whoever sends it; nil when tell does.
	done chan outcome
	// tell is called with the outcome of a command that another node has sent, instead of done.
	tell func(outcome)
	// deadline is when whoever waits gives up; zero for never.
	deadline time.Time
	// settled: it has its outcome, or nobody waits for one any more.
	settled atomic.Bool
	// maybe: a try before may have put it into the log, or may yet.
	maybe atomic.Bool
	// place is where it waits; guarded by queue.mu, nil once it is taken.
	place *list.Element
	// sent is what is kept of it while its result is waited for in the entries that are applied here.
	sent sentProposal
}

// An outcome is what became of a proposal.
type outcome struct {
	result fsm.Result
	err    error
	// index is that of the log entry, 0 where it is not known.
	index uint64
}

func newProposal(command []byte) *proposal {
	return &proposal{command: command, done: make(chan outcome, 1)}
}

// settle hands out the outcome, unless there was one.
func (p *proposal) settle(o outcome) {
	if p.settled.Swap(true) {
		return
	}
	if o.err != nil && p.maybe.Load() {
		o.err = notSurely(o.err)
	}
	if p.tell != nil {
		p.tell(o)
		return
	}
	p.done <- o
}

// turnAway settles a proposal that is not going to be proposed now: surely not, unless an earlier try may have worked.
func (p *proposal) turnAway(kind Kind, why error) { p.settle(outcome{err: surely(kind, why)}) }

var (
	errQueueFull = errors.New("too many commands wait to be proposed")
	errClosed    = errors.New("this node is going down")
)

// A queue holds proposals in the order in which they came, bounded in number and bytes.
type queue struct {
	// wake holds a token when there may be something to take, or the queue was closed.
	wake chan struct{}

	mu      sync.Mutex
	waiting *list.List
	bytes   int
	closed  bool
}

func newQueue() *queue {
	return &queue{wake: make(chan struct{}, 1), waiting: list.New()}
}

// put appends a proposal, or refuses it with errQueueFull or errClosed.
func (q *queue) put(p *proposal) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return errClosed
	case q.waiting.Len() >= MaxQueuedCommands, q.bytes+len(p.command) > MaxQueuedBytes:
		return errQueueFull
	}
	p.place = q.waiting.PushBack(p)
	q.bytes += len(p.command)
	q.signal()
	return nil
}

// putBack puts proposals that were taken before all others, but for those that are settled. It never refuses: they were let in before.
func (q *queue) putBack(again []*proposal) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range slices.Backward(again) {
		if p.place != nil || p.settled.Load() {
			continue
		}
		p.place = q.waiting.PushFront(p)
		q.bytes += len(p.command)
	}
	q.signal()
}

// takeForwarded takes out what other nodes have sent.
func (q *queue) takeForwarded() []*proposal {
	q.mu.Lock()
	defer q.mu.Unlock()
	var taken []*proposal
	for e := q.waiting.Front(); e != nil; {
		p := e.Value.(*proposal)
		e = e.Next()
		if p.tell != nil {
			q.dropLocked(p)
			taken = append(taken, p)
		}
	}
	return taken
}

// remove takes back a proposal that still waits; false when it was taken.
func (q *queue) remove(p *proposal) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if p.place == nil {
		return false
	}
	q.dropLocked(p)
	return true
}

// take returns the next proposals, as many as fit into one entry; at least one unless none waits.
func (q *queue) take() []*proposal {
	q.mu.Lock()
	defer q.mu.Unlock()
	var taken []*proposal
	bytes := 0
	for front := q.waiting.Front(); front != nil && len(taken) < MaxEntryCommands; front = q.waiting.Front() {
		p := front.Value.(*proposal)
		if p.settled.Load() {
			q.dropLocked(p)
			continue
		}
		if len(taken) > 0 && bytes+len(p.command) > MaxEntryBytes {
			break
		}
		bytes += len(p.command)
		q.dropLocked(p)
		taken = append(taken, p)
	}
	return taken
}

// state reports how many wait, and whether the queue is closed.
func (q *queue) state() (waiting int, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting.Len(), q.closed
}

// close refuses everything from now on. What waits stays.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

func (q *queue) dropLocked(p *proposal) {
	q.waiting.Remove(p.place)
	p.place = nil
	q.bytes -= len(p.command)
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
