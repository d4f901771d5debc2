package cluster

import (
	"context"
	"sync"
)

// A gate is open while this node leads and has applied all that was committed before its term.
type gate struct {
	mu sync.Mutex
	// term is that of the leadership, 0 while the gate is closed.
	term uint64
	// changed is closed and replaced whenever term has moved.
	changed chan struct{}
}

func newGate() *gate { return &gate{changed: make(chan struct{})} }

// set opens the gate for a term, or closes it with 0. It reports whether that was a change.
func (g *gate) set(term uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.term == term {
		return false
	}
	g.term = term
	close(g.changed)
	g.changed = make(chan struct{})
	return true
}

func (g *gate) state() (term uint64, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.term, g.changed
}

func (g *gate) open() bool {
	term, _ := g.state()
	return term != 0
}

// wait returns the term once the gate is open. The error is that of the context.
func (g *gate) wait(ctx context.Context) (uint64, error) {
	for {
		term, changed := g.state()
		if term != 0 {
			return term, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
