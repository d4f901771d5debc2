package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// How long a node that fails is used only for want of a better one: doubled with each failure in a row, give or take a quarter.
const (
	firstEjection = 200 * time.Millisecond
	lastEjection  = 10 * time.Second
	// settleTime is how long a new connection is waited for when no node is known to serve.
	settleTime = time.Second
	// asideGrace is how long a node may say that it does not serve before streams of events move to one that does: an election
	// is no reason to move.
	asideGrace = 3 * time.Second
)

// A pool is the nodes that there are, and which of them is the best for a call.
type pool struct {
	cfg     Config
	options []grpc.DialOption
	// lost is told, without waiting, that a node cannot be reached.
	lost chan struct{}
	all  sync.WaitGroup

	mu    sync.Mutex
	nodes []*node
	// leaving are nodes whose address is gone and on which calls still run.
	leaving []*node
	next    int
	// known says that every host name has been looked up at least once; lookup is why one could not be.
	known  bool
	lookup error
	closed bool
	// changed is closed, and replaced, when a node has become better or the nodes are others.
	changed chan struct{}
}

func newPool(cfg Config, options []grpc.DialOption) *pool {
	return &pool{cfg: cfg, options: options, lost: make(chan struct{}, 1), changed: make(chan struct{})}
}

func (p *pool) changeLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// set makes these the nodes. One that was there stays; one that is gone takes no new calls, and ends with its last.
func (p *pool) set(endpoints []endpoint, lookup error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.known, p.lookup = true, lookup
	var failed error
	var now []*node
	for _, e := range endpoints[:min(len(endpoints), MaxNodes)] {
		if slices.ContainsFunc(now, func(n *node) bool { return n.endpoint == e }) {
			continue
		}
		if i := slices.IndexFunc(p.nodes, func(n *node) bool { return n.endpoint == e }); i >= 0 {
			now = append(now, p.nodes[i])
			continue
		}
		n, err := p.startLocked(e)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("address %s: %w", e.dial, err))
			continue
		}
		now = append(now, n)
	}
	for _, n := range p.nodes {
		if !slices.Contains(now, n) {
			p.retireLocked(n)
		}
	}
	p.nodes = now
	p.changeLocked()
	return failed
}

func (p *pool) startLocked(e endpoint) (*node, error) {
	target := e.dial
	if p.cfg.Dialer != nil || !strings.HasPrefix(target, "unix:") {
		target = "passthrough:///" + target
	}
	conn, err := grpc.NewClient(target, append(slices.Clone(p.options), p.cfg.credentialsFor(e), grpc.WithAuthority(e.host))...)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	n := &node{endpoint: e, pool: p, conn: conn, stop: stop, done: make(chan struct{}), settling: time.Now().Add(settleTime), calls: newLife(), feed: newLife()}
	p.all.Go(func() { n.run(ctx) })
	return n, nil
}

// retireLocked lets go of a node whose address is gone: streams of events move at once, calls may finish.
func (p *pool) retireLocked(n *node) {
	n.gone = true
	p.leaving = append(p.leaving, n)
	n.feed.end(errAside)
	if n.underway == 0 {
		p.closeLocked(n)
	}
}

// closeLocked ends a node on which nothing runs, or no longer will.
func (p *pool) closeLocked(n *node) {
	p.leaving = slices.DeleteFunc(p.leaving, func(o *node) bool { return o == n })
	n.stop()
	p.all.Go(func() {
		<-n.done
		_ = n.conn.Close() // what it says is that it was closed before
	})
}

// close ends all nodes and what runs on them, and waits for the last goroutine.
func (p *pool) close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		for _, n := range slices.Concat(p.nodes, p.leaving) {
			n.gone = true
			n.calls.end(ErrClosed)
			n.feed.end(ErrClosed)
			p.closeLocked(n)
		}
		p.nodes = nil
		p.changeLocked()
	}
	p.mu.Unlock()
	p.all.Wait()
}

// reached notes that a node is connected; its first word is waited for.
func (p *pool) reached(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.connected, n.serving, n.silent, n.failure, n.aside = true, false, false, nil, time.Time{}
	n.settling = time.Now().Add(settleTime)
	p.changeLocked()
}

// unreachable notes that a node is not connected, and why.
func (p *pool) unreachable(n *node, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.connected, n.serving, n.silent, n.failure, n.aside = false, false, false, why, time.Time{}
	n.settling = time.Time{}
	p.changeLocked()
	select {
	case p.lost <- struct{}{}:
	default:
	}
}

// says notes what a node says of itself.
func (p *pool) says(n *node, serving bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !serving && n.aside.IsZero() {
		n.aside = time.Now()
	}
	if serving {
		n.aside = time.Time{}
	}
	n.settling = time.Time{}
	if n.serving = serving; serving {
		p.changeLocked()
	}
}

// doubtful reports a node that should give a sign of life and has not.
func (p *pool) doubtful(n *node) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return n.silent || n.underway > 0
}

// silence gives up a node that has not answered: what runs on it ends, and nothing new comes until it speaks.
func (p *pool) silence(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.silent = true
	n.calls.end(errSilent)
	n.feed.end(errSilent)
	n.calls, n.feed = newLife(), newLife()
	p.changeLocked()
}

// speaks notes a sign of life.
func (p *pool) speaks(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n.silent {
		n.silent = false
		p.changeLocked()
	}
}

// moveAside moves streams of events from a node that has not served for a while to one that does.
func (p *pool) moveAside(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if n.aside.IsZero() || now.Sub(n.aside) < asideGrace || !slices.ContainsFunc(p.nodes, func(o *node) bool { return o != n && o.good(reads, now) }) {
		return
	}
	n.feed.end(errAside)
	n.feed = newLife()
}

// judged notes what an answer told of a node.
func (p *pool) judged(n *node, v verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch v.node {
	case well:
		n.strikes, n.ejected = 0, time.Time{}
	case failing:
		if now.Before(n.ejected) {
			return // calls that began together fail together
		}
		n.strikes++
		n.ejected = now.Add(jitter(min(firstEjection<<min(n.strikes-1, 10), lastEjection)))
	case busy:
		n.noWrites = now.Add(jitter(max(v.after, firstEjection)))
	}
}
