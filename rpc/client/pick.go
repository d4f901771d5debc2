package client

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// good reports that nothing speaks against a node. Called with pool.mu held.
func (n *node) good(k kind, now time.Time) bool {
	return n.usable() && n.serving && !now.Before(n.ejected) && (k == reads || k == readStreams || k == feeds || !now.Before(n.noWrites))
}

// usable reports that a call may reach the node.
func (n *node) usable() bool { return n.connected && !n.silent }

// better orders nodes for a call: first those that nothing speaks against, then those that it has tried least, then those that serve.
func (n *node) better(o *node, k kind, tried *tries, now time.Time) bool {
	if a, b := n.good(k, now), o.good(k, now); a != b {
		return a
	}
	if a, b := tried.times(n), tried.times(o); a != b {
		return a < b
	}
	return n.serving && !o.serving
}

// best is the node for the next attempt, nil for none yet; wait is for how long it makes sense to wait for another one.
func (p *pool) bestLocked(k kind, tried *tries, now time.Time) (best *node, wait time.Duration) {
	for i := range p.nodes {
		n := p.nodes[(p.next+i)%len(p.nodes)]
		if left := n.settling.Sub(now); !n.settling.IsZero() && left > wait {
			wait = left
		}
		if n.usable() && (best == nil || n.better(best, k, tried, now)) {
			best = n
		}
	}
	if best != nil && best.good(k, now) {
		wait = 0
	}
	return best, wait
}

// pick takes the best node for an attempt and counts it there; release it. It waits for one as long as ctx lives; with failFast
// it gives up when none can be reached.
func (p *pool) pick(ctx context.Context, k kind, tried *tries, failFast bool) (*node, error) {
	for {
		p.mu.Lock()
		now := time.Now()
		best, wait := p.bestLocked(k, tried, now)
		changed := p.changed
		switch {
		case p.closed:
			p.mu.Unlock()
			return nil, ErrClosed
		case best != nil && wait == 0:
			p.next++
			best.underway++
			p.mu.Unlock()
			return best, nil
		case best == nil && failFast && p.hopelessLocked():
			err := p.whyLocked(tried)
			p.mu.Unlock()
			return nil, err
		}
		p.mu.Unlock()
		if err := await(ctx, changed, wait); err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			return nil, fmt.Errorf("%w: %w", p.whyLocked(tried), err)
		}
	}
}

// await waits for a change, for no longer than a while if that is not 0. The error is why ctx ended.
func await(ctx context.Context, changed <-chan struct{}, wait time.Duration) error {
	var enough <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		enough = timer.C
	}
	select {
	case <-changed:
		return nil
	case <-enough:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hopelessLocked reports that every node has refused to be connected to.
func (p *pool) hopelessLocked() bool {
	for _, n := range p.nodes {
		if n.failure == nil {
			return false
		}
	}
	return p.known
}

// whyLocked notes in tried why each node could not be reached, and returns what there is to say beyond.
func (p *pool) whyLocked(tried *tries) error {
	for _, n := range p.nodes {
		switch {
		case n.silent:
			tried.unreachable(n, errSilent)
		case n.failure != nil:
			tried.unreachable(n, n.failure)
		case !n.connected:
			tried.unreachable(n, errors.New("it does not answer"))
		}
	}
	if p.lookup != nil {
		return fmt.Errorf("%w: %w", errUnreachable, p.lookup)
	}
	return errUnreachable
}

// errUnreachable ends calls that have found no node.
var errUnreachable = errors.New("no node can be reached")

// another reports that a node stands ready that the call has not tried yet.
func (p *pool) another(k kind, tried *tries) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, n := range p.nodes {
		if n.good(k, now) && tried.times(n) == 0 {
			return true
		}
	}
	return false
}

// release gives a node back after an attempt.
func (p *pool) release(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.underway--
	if n.gone && n.underway == 0 && !p.closed {
		p.closeLocked(n)
	}
}

// maxTried bounds the addresses that an error names.
const maxTried = 16

// tries are the attempts of one call. Not for concurrent use.
type tries struct {
	all   []Attempts
	nodes []*node
	count int
}

func (t *tries) index(n *node) int {
	for i, o := range t.nodes {
		if o == n {
			return i
		}
	}
	return -1
}

// times is how often the call has tried a node.
func (t *tries) times(n *node) int {
	if i := t.index(n); i >= 0 {
		return t.all[i].Times
	}
	return 0
}

// failed notes an attempt. What was said last stands last, so that it is the one that counts.
func (t *tries) failed(n *node, err error) {
	t.count++
	t.note(n, err, 1)
}

// unreachable notes that a node could not be asked.
func (t *tries) unreachable(n *node, err error) {
	if t.times(n) == 0 {
		t.note(n, err, 0)
	}
}

func (t *tries) note(n *node, err error, times int) {
	i := t.index(n)
	if i < 0 {
		if len(t.all) == maxTried {
			t.all, t.nodes = t.all[1:], t.nodes[1:]
		}
		t.all, t.nodes = append(t.all, Attempts{Address: n.dial}), append(t.nodes, n)
		i = len(t.all) - 1
	}
	t.all[i].Times += times
	t.all[i].Err = err
}
