package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
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
// as ctx lets it. A read that takes what is there needs no barrier; one that needs a revision calls fsm.Machine's WaitRevision. Every error is
// an [*Error]; it says which node the wait was for, and how far that one is behind.
func (n *Node) Barrier(ctx context.Context, staleness time.Duration) error {
	var last error
	for {
		if err := n.fit(); err != nil {
			return err
		}
		if staleness > 0 && n.reads.within(staleness) {
			return nil
		}
		asked := time.Now()
		index, ok := n.readIndex()
		if !ok && n.peers != nil {
			index, ok, last = n.askRound(ctx)
		}
		if ok {
			return n.waitApplied(ctx, index, asked)
		}
		if err := n.waitForLeader(ctx, last); err != nil {
			return err
		}
	}
}

// askRound asks for a read index, here where this node leads, else the leader. The error says why there is none.
func (n *Node) askRound(ctx context.Context) (index uint64, ok bool, err error) {
	ctx, cancel := n.untilDead(ctx)
	defer cancel()
	ask := n.asks
	if term, _ := n.gate.state(); term != 0 {
		ask = n.confirms
	}
	index, err = ask.join(ctx)
	return index, err == nil, err
}

// readIndex is the index that a read has to have applied, where that can be said without asking others: on the only voter. The order
// matters: the commit index first, then that this node still leads in the term whose first entry it has applied, and that there is nobody
// else.
func (n *Node) readIndex() (index uint64, ok bool) {
	term, _ := n.gate.state()
	index = n.raft.CommitIndex()
	if term == 0 {
		return index, n.readsAlone()
	}
	return index, n.leads(term) && (n.peers == nil || n.alone())
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

// askPause is how long a reader waits after a leader gave no read index, unless the leader changes before.
const askPause = 20 * time.Millisecond

// waitForLeader waits for a leader, or for another, or just a little where one is known that did not answer; last says why it did not.
func (n *Node) waitForLeader(ctx context.Context, last error) error {
	if n.peers == nil {
		return n.waitGate(ctx)
	}
	leader, moved := n.route.get()
	_, changed := n.gate.state()
	var pause <-chan time.Time
	if leader.NodeID != "" {
		pause = time.After(askPause)
	}
	select {
	case <-moved:
	case <-changed:
	case <-pause:
	case <-n.dead:
	case <-ctx.Done():
		if leader.NodeID == "" {
			return &Error{Kind: Interrupted, NotProposed: true, Err: n.waitedInVain(ctx.Err())}
		}
		return &Error{Kind: Interrupted, NotProposed: true, Err: fmt.Errorf("no read index: %w: %w", last, ctx.Err())}
	}
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

// fit says why this node's rows must not be read, nil while they may.
func (n *Node) fit() error {
	if err := n.gone(); err != nil {
		return err
	}
	return n.Quarantine()
}

// WaitReady waits until Ready is nil.
func (n *Node) WaitReady(ctx context.Context) error { return n.Barrier(ctx, 0) }

// Ready is nil when this node serves reads, and writes unless Limit says otherwise, else an [*Error] that says why not. A node that
// follows is ready when it knows who leads and has not long ago applied a read index that it had asked for.
func (n *Node) Ready() error {
	if err := n.fit(); err != nil {
		return err
	}
	if n.peers != nil {
		return n.readyAmongPeers()
	}
	if _, ok := n.readIndex(); !ok {
		return n.leaderless()
	}
	return nil
}

const (
	// readyWithin is how old the newest read index of a node may be that is ready, keepWithin when one that follows asks for another.
	readyWithin = 10 * time.Second
	keepWithin  = 3 * time.Second
	keepPause   = time.Second
)

func (n *Node) readyAmongPeers() error {
	if n.Identity().Waits() {
		return surely(NoLeader, errWaits)
	}
	if term, _ := n.gate.state(); term != 0 && n.leads(term) {
		return nil
	}
	leader, _ := n.route.get()
	switch {
	case n.alone() && n.readsAlone():
		return nil
	case leader.NodeID == "" || leader.NodeID == n.Identity().NodeID:
		return n.leaderless()
	case !n.reads.within(readyWithin):
		return surely(NoLeader, fmt.Errorf("%s has applied up to entry %d, and no read index of the leader, %s, in the last %v", n.Identity().NodeID, n.machine.Applied(), leader.NodeID, readyWithin))
	}
	return nil
}

var errWaits = errors.New("this node waits for a cluster to take it in")

// keepFresh asks for a read index now and then while this node follows, so that Ready says the truth.
func (n *Node) keepFresh(ctx context.Context) {
	tick := time.NewTicker(keepPause)
	defer tick.Stop()
	_, moved := n.route.get()
	for {
		select {
		case <-ctx.Done():
			return
		case <-moved:
		case <-tick.C:
		}
		var leader Leader
		leader, moved = n.route.get()
		if leader.NodeID == "" || leader.NodeID == n.Identity().NodeID || n.reads.within(keepWithin) {
			continue
		}
		one, cancel := context.WithTimeout(ctx, keepWithin)
		if err := n.Barrier(one, 0); err != nil && ctx.Err() == nil {
			n.logger.Debug("read index", "error", err)
		}
		cancel()
	}
}
