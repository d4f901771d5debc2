package rpc

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	protobuf "google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

const (
	// slowestReader is how many bytes a second a reader who holds a snapshot has to take, but for Config.StallTimeout in all.
	slowestReader = 32 << 10
	// looksPerStall is how often a stream is looked at in the time that it may be left waiting.
	looksPerStall = 16
)

var errManySnapshots = errors.New("as many calls read a snapshot of the store as this node keeps at a time")

// A pace cuts off a reader who holds a snapshot of the store and keeps the server waiting for too long: with one message, or
// with all of them together. It looks from time to time, so that sending costs next to nothing.
type pace struct {
	patience time.Duration
	cut      func()
	// waiting says that a message is being sent; sent are messages, bytes those that were.
	waiting     atomic.Bool
	sent, bytes atomic.Int64

	mu    sync.Mutex
	timer *time.Timer
	over  bool
	// last is what was sent at the last look; alone and all are how long the present message and all have waited.
	last       int64
	alone, all time.Duration
}

func newPace(patience time.Duration, cut func()) *pace {
	p := &pace{patience: patience, cut: cut}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(p.every(), p.look)
	return p
}

func (p *pace) every() time.Duration { return max(p.patience/looksPerStall, time.Millisecond) }

func (p *pace) begin() { p.waiting.Store(true) }

func (p *pace) end(bytes int) {
	p.waiting.Store(false)
	p.bytes.Add(int64(bytes))
	p.sent.Add(1)
}

// look counts the time since the last look as waited for the reader if the server waits now.
func (p *pace) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	sent := p.sent.Load()
	if sent != p.last {
		p.last, p.alone = sent, 0
	}
	if p.waiting.Load() {
		p.alone += p.every()
		p.all += p.every()
	}
	allowed := p.patience + time.Duration(float64(p.bytes.Load())/slowestReader*float64(time.Second))
	if p.alone >= p.patience || p.all >= allowed {
		p.over = true
		p.cut()
		return
	}
	p.timer.Reset(p.every())
}

func (p *pace) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.timer.Stop()
}

// sizeOf is how many bytes a message takes on the wire.
func sizeOf(m any) int {
	switch m := m.(type) {
	case encoded:
		return len(m)
	case protobuf.Message:
		return protobuf.Size(m)
	default:
		return 0
	}
}

// A progress is how far a stream has come, for whoever is cut off and goes on from there.
type progress struct {
	mu     sync.Mutex
	place  graph.Place
	passed bool
	tokens tokens
}

// progressOf is that of a call, which is told in tokens of its selection.
func progressOf(ctx context.Context, t tokens) *progress {
	p := callOf(ctx).progress
	if p == nil {
		p = &progress{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens = t
	return p
}

func (p *progress) at(place graph.Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.place, p.passed = place, true
}

// cutOff adds to an error where to go on.
func (p *progress) cutOff(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.passed {
		return err
	}
	place := p.place
	return &notedError{err: err, notes: map[string]string{"page_token": p.tokens.token(&place)}}
}
