package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// A throttle lets one snapshot at a time through, at a rate: a follower that is far behind must not cost the others their latency.
type throttle struct {
	// rate is in bytes a second.
	rate int64
	turn chan struct{}
	// ctx ends with the node.
	ctx context.Context
	// leads says whether sending makes sense still.
	leads func(term uint64) bool
}

func newThrottle(ctx context.Context, rate int64, leads func(term uint64) bool) *throttle {
	if rate == 0 {
		rate = DefaultSnapshotRate
	}
	return &throttle{rate: rate, turn: make(chan struct{}, 1), ctx: ctx, leads: leads}
}

// leadershipPoll is how often who waits for a turn looks whether it still leads.
const leadershipPoll = 100 * time.Millisecond

// enter waits for the turn of one snapshot; leave gives it back.
func (t *throttle) enter(term uint64) (leave func(), err error) {
	tick := time.NewTicker(leadershipPoll)
	defer tick.Stop()
	for {
		select {
		case t.turn <- struct{}{}:
			return func() { <-t.turn }, nil
		case <-t.ctx.Done():
			return nil, t.ctx.Err()
		case <-tick.C:
			if err := t.check(term); err != nil {
				return nil, err
			}
		}
	}
}

func (t *throttle) check(term uint64) error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	if !t.leads(term) {
		return fmt.Errorf("send snapshot: %w", raft.ErrNotLeader)
	}
	return nil
}

// InstallSnapshot sends a snapshot, in its turn and not too fast. Heartbeats go on meanwhile; they have a goroutine of their own.
func (t *ackTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, request *raft.InstallSnapshotRequest, response *raft.InstallSnapshotResponse, data io.Reader) error {
	leave, err := t.snapshots.enter(request.Term)
	if err != nil {
		return err
	}
	once := sync.OnceFunc(leave)
	defer once()
	// The follower may take its time to install it: the next one's turn begins when all is sent.
	slow := &throttled{from: data, throttle: t.snapshots, term: request.Term, began: time.Now(), sent: once}
	return t.NetworkTransport.InstallSnapshot(id, target, request, response, slow)
}

// throttled reads no faster than its throttle allows, and ends when its node no longer leads.
type throttled struct {
	from     io.Reader
	throttle *throttle
	term     uint64
	began    time.Time
	read     int64
	// sent is called when all was read; it may be nil.
	sent func()
}

// snapshotChunk bounds one read, so that the rate is even.
const snapshotChunk = 256 << 10

// Read reads a part when its time has come.
func (r *throttled) Read(p []byte) (int, error) {
	if err := r.throttle.check(r.term); err != nil {
		return 0, err
	}
	due := r.began.Add(time.Duration(float64(r.read) / float64(r.throttle.rate) * float64(time.Second)))
	if wait := time.Until(due); wait > time.Millisecond {
		select {
		case <-time.After(wait):
		case <-r.throttle.ctx.Done():
			return 0, r.throttle.ctx.Err()
		}
	}
	n, err := r.from.Read(p[:min(len(p), snapshotChunk)])
	r.read += int64(n)
	if errors.Is(err, io.EOF) && r.sent != nil {
		r.sent()
	}
	return n, err
}
