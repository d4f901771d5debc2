package client

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Bounds of retries against all nodes together. A client begins with room for one burst: so many calls may be in flight on a node that
// dies, and each needs one retry.
const (
	budgetBurst = 1000
	// budgetRate is how many retries a second there may be when nothing succeeds.
	budgetRate = 10
	// What a success gives back: that of a retry more than it has cost, so that many waiting calls get through within a few rounds once a
	// cluster is back; that of a first attempt a tenth.
	retryReward = 2
	firstReward = 0.1
)

// A budget keeps retries from multiplying the load of a cluster that is in trouble: each costs a token. When none is left,
// retries wait for one instead of failing, each within its deadline. As long as half of the retries succeed they cost nothing in
// the end, and the load is at most double; below that they run dry and trickle.
type budget struct {
	mu     sync.Mutex
	tokens float64
	filled time.Time
}

func newBudget() *budget { return &budget{tokens: budgetBurst, filled: time.Now()} }

// take waits for a token until ctx is done.
func (b *budget) take(ctx context.Context) error {
	for !b.try() {
		if err := pause(ctx, jitter(time.Second/budgetRate)); err != nil {
			return err
		}
	}
	return nil
}

func (b *budget) try() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.addLocked(now.Sub(b.filled).Seconds() * budgetRate)
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// succeeded gives back for a call that a node has answered.
func (b *budget) succeeded(retry bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if retry {
		b.addLocked(retryReward)
	} else {
		b.addLocked(firstReward)
	}
}

func (b *budget) addLocked(tokens float64) { b.tokens = min(b.tokens+tokens, budgetBurst) }

// jitter is d, give or take a quarter.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1)
}

// pause waits for d, or returns why ctx ended before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
