package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// readClock remembers the newest read index that was applied here, by when it was asked for (DECISIONS.md D12).
type readClock struct {
	mu    sync.Mutex
	asked time.Time
}

// within reports whether a read index asked for no longer ago than staleness has been applied.
func (c *readClock) within(staleness time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.asked.IsZero() && time.Since(c.asked) <= staleness
}

func (c *readClock) applied(asked time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if asked.After(c.asked) {
		c.asked = asked
	}
}

// Barrier waits until the state of this node is fresh: it has every write that was acknowledged before the call, when
// staleness is 0, else before that long ago. Take the snapshot to read from after it. While nobody leads it waits, as long
// as ctx lets it. A read that takes what is there needs no barrier; one that needs a revision calls fsm.Machine's
// WaitRevision. Every error is an [*Error].
func (n *Node) Barrier(ctx context.Context, staleness time.Duration) error {
	for {
		if err := n.gone(); err != nil {
			return err
		}
		if staleness > 0 && n.reads.within(staleness) {
			return nil
		}
		asked := time.Now()
		index, ok := n.readIndex()
		if ok {
			return n.waitApplied(ctx, index, asked)
		}
		if err := n.waitGate(ctx); err != nil {
			return err
		}
	}
}

// readIndex is the index that a read has to have applied. The order matters: the commit index first, then that this node
// still leads in the term whose first entry it has applied. The only voter need not ask anyone whether it still leads.
func (n *Node) readIndex() (index uint64, ok bool) {
	term, _ := n.gate.state()
	if term == 0 {
		return n.raft.CommitIndex(), n.readsAlone()
	}
	index = n.raft.CommitIndex()
	return index, n.raft.State() == raft.Leader && n.raft.CurrentTerm() == term
}

func (n *Node) waitApplied(ctx context.Context, index uint64, asked time.Time) error {
	if n.machine.Applied() >= index { // as nearly always
		n.reads.applied(asked)
		return nil
	}
	ctx, cancel := n.untilDead(ctx)
	defer cancel()
	if err := n.machine.WaitApplied(ctx, index); err != nil {
		if gone := n.gone(); gone != nil {
			return gone
		}
		return &Error{Kind: Interrupted, NotProposed: true, Err: err}
	}
	n.reads.applied(asked)
	return nil
}

// waitGate waits for the gate to move or open.
func (n *Node) waitGate(ctx context.Context) error {
	term, changed := n.gate.state()
	if term != 0 {
		// Leadership has gone and the gate has not been told yet.
		select {
		case <-changed:
			return nil
		case <-n.dead:
			return nil
		case <-ctx.Done():
			return interrupted(ctx, true)
		}
	}
	dead, cancel := n.untilDead(ctx)
	defer cancel()
	if _, err := n.gate.wait(dead); err != nil && ctx.Err() != nil {
		return &Error{Kind: Interrupted, NotProposed: true, Err: n.waitedInVain(ctx.Err())}
	}
	return nil
}

// untilDead ends a context with the node.
func (n *Node) untilDead(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(n.life, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// gone says why this node will not answer any more, nil while it may.
func (n *Node) gone() error {
	if err := n.failed(); err != nil {
		return surely(Failed, err)
	}
	if _, closed := n.queue.state(); closed {
		return surely(Stopping, errClosed)
	}
	return nil
}

// WaitReady waits until Ready is nil.
func (n *Node) WaitReady(ctx context.Context) error { return n.Barrier(ctx, 0) }

// Ready is nil when this node serves reads, and writes unless Limit says otherwise, else an [*Error] that says why not.
func (n *Node) Ready() error {
	if err := n.gone(); err != nil {
		return err
	}
	if _, ok := n.readIndex(); !ok {
		return n.leaderless()
	}
	return nil
}
