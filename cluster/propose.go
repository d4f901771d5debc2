package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
)

// enqueueTimeout is how long Raft may take to accept an entry before it is surely not proposed. Its main loop is blocked
// for so long only when the disk is, and then the watchdog acts.
const enqueueTimeout = 10 * time.Second

// Propose puts a command, encoded by [fsm.EncodeCommand] and of at most [MaxCommandBytes], into the log and waits until
// this node has applied it. A command that breaks a rule is a result with Err, not an error. While nobody leads it waits,
// as long as ctx lets it. Every error is an [*Error], but for a *graph.Error when the command is too large.
func (n *Node) Propose(ctx context.Context, command []byte) (fsm.Result, error) {
	if len(command) > MaxCommandBytes {
		return fsm.Result{}, &graph.Error{
			Kind: graph.Exhausted, Message: fmt.Sprintf("command has %d bytes, at most %d", len(command), MaxCommandBytes),
		}
	}
	if ctx.Err() != nil {
		return fsm.Result{}, interrupted(ctx, true)
	}
	if err := n.Quarantine(); err != nil {
		return fsm.Result{}, err
	}
	if err := n.room.Refusal(); err != nil {
		return fsm.Result{}, surely(NoRoom, err)
	}
	return n.submit(ctx, command)
}

// submit puts a command into the queue and waits for its outcome.
func (n *Node) submit(ctx context.Context, command []byte) (fsm.Result, error) {
	if err := n.failed(); err != nil {
		return fsm.Result{}, surely(Failed, err)
	}
	p := newProposal(command)
	p.deadline, _ = ctx.Deadline()
	if err := n.queue.put(p); err == errQueueFull {
		n.config.Events.refused()
		return fsm.Result{}, surely(Overloaded, err)
	} else if err != nil {
		return fsm.Result{}, surely(Stopping, err)
	}
	if err := n.Quarantine(); err != nil { // begun meanwhile
		return n.giveUp(p, Quarantined, err)
	}
	select {
	case o := <-p.done:
		return o.result, o.err
	case <-ctx.Done():
		return n.giveUp(p, Interrupted, ctx.Err())
	case <-n.dead:
		return n.giveUp(p, Stopping, errClosed)
	}
}

// giveUp ends the wait for a proposal: it is surely not proposed when it still waits and was never on its way.
func (n *Node) giveUp(p *proposal, kind Kind, why error) (fsm.Result, error) {
	waited := n.queue.remove(p)
	if p.settled.Swap(true) {
		o := <-p.done
		return o.result, o.err
	}
	n.sent.remove(p)
	return fsm.Result{}, &Error{Kind: kind, NotProposed: waited && !p.maybe.Load(), Err: why}
}

// applyLog is what a proposer needs of Raft.
type applyLog interface {
	Apply(data []byte, timeout time.Duration) raft.ApplyFuture
}

// A proposer turns what waits in a queue into log entries. There is one, so that stamps are in the order of the log.
//
// It batches by itself: while all entries that may be in flight are, commands gather; as soon as one is applied, all that
// gathered goes into the next. An idle node has entries of one command and no delay (RAFT.md 4.1).
type proposer struct {
	queue  *queue
	gate   *gate
	log    applyLog
	clock  func() time.Time
	events Events
	// forward takes commands to another node that leads; nil on a node without others.
	forward *forwarder

	slots   chan struct{}
	flights sync.WaitGroup
	// stored has a token when the log has taken entries; nil where nobody says so.
	stored <-chan struct{}
	// term, last and newest are of the run goroutine: the term that the last stamp was made in, the stamp, and what is closed
	// when the newest entry has its outcome, nil when the log has taken that entry.
	term   uint64
	last   int64
	newest <-chan struct{}
	// instant reads the last instant of the state machine.
	instant func() int64
}

// run proposes until the queue is closed and empty, or ctx ends. What then still waits is surely not proposed. It returns
// when every entry in flight has its outcome.
func (p *proposer) run(ctx context.Context) {
	for p.next(ctx) {
	}
	for {
		left := p.queue.take()
		if len(left) == 0 {
			break
		}
		for _, q := range left {
			q.turnAway(Stopping, errClosed)
		}
	}
	p.flights.Wait()
	p.forward.abandon()
}

// next proposes one entry; false when there is nothing more to do.
func (p *proposer) next(ctx context.Context) bool {
	busy := p.busy() // before the queue is looked at: what is on its way may come back to it
	waiting, closed := p.queue.state()
	if waiting == 0 {
		return p.idle(ctx, closed, busy)
	}
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	if !p.gather(ctx) {
		return false
	}
	term, err := p.way(ctx)
	if err != nil {
		return false
	}
	if term == 0 {
		<-p.slots
		return p.forward.next(ctx)
	}
	batch := onTime(p.queue.take())
	if len(batch) == 0 {
		<-p.slots // all of it was taken back
		return true
	}
	p.propose(term, batch)
	return true
}

// idle waits for something to take. When the queue is closed it waits for what may come back to be tried again; false when that is
// nothing, or ctx ends.
func (p *proposer) idle(ctx context.Context, closed, busy bool) bool {
	var look <-chan time.Time
	if closed {
		if !busy {
			return false
		}
		look = time.After(drainPoll)
	}
	select {
	case <-p.queue.wake:
		return true
	case <-look:
		return true
	case <-ctx.Done():
		return false
	}
}

// drainPoll is how often a node that stops looks whether its commands are done.
const drainPoll = 5 * time.Millisecond

// busy reports that there are commands on their way that may have to be tried again.
func (p *proposer) busy() bool { return p.forward != nil && (!p.forward.idle() || len(p.slots) > 0) }

// way waits until commands can go somewhere: into the log of this node, in a term, or to another node, which is 0.
func (p *proposer) way(ctx context.Context) (term uint64, err error) {
	for {
		term, changed := p.gate.state()
		if term != 0 {
			return term, nil
		}
		leader, moved := p.forward.leader()
		if leader != (Leader{}) {
			return 0, nil
		}
		select {
		case <-changed:
		case <-moved:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// gather waits until the log has taken the entry before: Raft does not begin another one until then, so what comes meanwhile
// goes into it. Without that every second entry under load is one of a single command. False when ctx ends.
func (p *proposer) gather(ctx context.Context) bool {
	if p.stored == nil || p.newest == nil {
		return true
	}
	select {
	case <-p.stored:
	case <-p.newest:
	case <-ctx.Done():
		return false
	}
	p.newest = nil
	return true
}

// logStored says that the log has taken entries.
func (n *Node) logStored() {
	select {
	case n.stored <- struct{}{}:
	default:
	}
}

func (p *proposer) propose(term uint64, batch []*proposal) {
	data, err := fsm.EncodeEntry(p.stamp(term, batch))
	if err != nil {
		p.settle(batch, nil, 0, surely(Failed, err))
		return
	}
	select {
	case <-p.stored: // of an entry before
	default:
	}
	start := time.Now()
	for _, q := range batch {
		q.sent.begin(start)
	}
	future := p.log.Apply(data, enqueueTimeout)
	over := make(chan struct{})
	p.newest = over
	p.flights.Go(func() {
		var results []fsm.Result
		err := future.Error()
		close(over)
		if err != nil {
			err = applyError(err)
		} else {
			results, err = resultsOf(future.Response())
		}
		p.events.entry(len(batch), len(data), time.Since(start), err)
		if p.forward.tryAgain(batch, err) {
			p.forward.rest(p.forward.life)
			<-p.slots
			return
		}
		if err == nil {
			p.forward.worked()
		}
		p.settle(batch, results, future.Index(), err)
	})
}

// stamp gives every command its moment, later than all before it (D7).
func (p *proposer) stamp(term uint64, batch []*proposal) []*logpb.Stamped {
	if term != p.term {
		p.term, p.last = term, p.instant()
	}
	out := make([]*logpb.Stamped, len(batch))
	for i, q := range batch {
		p.last = max(p.clock().UnixNano(), p.last+1)
		out[i] = &logpb.Stamped{Stamp: p.last, Command: q.command}
	}
	return out
}

// settle hands out the results and gives the slot back.
func (p *proposer) settle(batch []*proposal, results []fsm.Result, index uint64, err error) {
	if err == nil && len(results) != len(batch) {
		err = perhaps(Failed, fmt.Errorf("%d results for %d commands", len(results), len(batch)))
	}
	for i, q := range batch {
		if err != nil {
			q.settle(outcome{err: err})
			continue
		}
		q.settle(outcome{result: results[i], index: index})
	}
	<-p.slots
}

// resultsOf reads what the state machine answered for one entry.
func resultsOf(response any) ([]fsm.Result, error) {
	switch r := response.(type) {
	case []fsm.Result:
		return r, nil
	case error:
		return nil, perhaps(Failed, r)
	default:
		return nil, perhaps(Failed, fmt.Errorf("state machine answered %T", response))
	}
}
