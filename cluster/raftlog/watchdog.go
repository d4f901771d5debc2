package raftlog

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Times after which a write that has not come back is reported and given up (DECISIONS.md D11).
const (
	SlowAfter = 5 * time.Second
	HungAfter = 15 * time.Second
)

// watchTick is how often a running write is looked at; SlowAfter and HungAfter are multiples of it.
const watchTick = time.Second

// Watchdog hears of writes that the disk does not finish. A Raft leader whose disk hangs would stay leader for ever,
// because heartbeats go on; so the process has to end, which is what Hung is for.
//
// What counts is the time in which this process ran: a process that was stopped, or whose machine was paused, has not
// waited for its disk meanwhile, and its writes have not been able to come back.
type Watchdog struct {
	// Slow is called once per write that takes longer than [SlowAfter]. It may be nil and must not block.
	Slow func(operation string, running time.Duration)
	// Hung is called once per write that takes longer than [HungAfter]. The write may still be running and may still
	// succeed, so the only safe answer is to end the process. It may be nil.
	Hung func(error)
	// Stored is called whenever an append of entries came back, well or not. It may be nil and must not block.
	Stored func()

	// after is time.AfterFunc when nil; tests stop the process with it.
	after func(time.Duration, func()) *time.Timer
}

// watch starts the clock of one write; the caller calls the result when the write came back.
func (w Watchdog) watch(operation string) (done func()) {
	if w.after == nil {
		w.after = time.AfterFunc
	}
	r := &watched{dog: w, operation: operation}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timer = w.after(watchTick, r.tick)
	return r.done
}

// watched is one write. Its ticks are a chain, the next is set when the last has come: however long the process stood
// still, that was one tick, and the write has a whole one more to come back.
type watched struct {
	dog       Watchdog
	operation string

	// mu guards what follows.
	mu    sync.Mutex
	timer *time.Timer
	ticks int
	back  bool
}

func (r *watched) done() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.back = true
	r.timer.Stop()
}

// tick is called by the timer.
func (r *watched) tick() {
	switch time.Duration(r.count()) * watchTick {
	case SlowAfter:
		if r.dog.Slow != nil {
			r.dog.Slow(r.operation, SlowAfter)
		}
	case HungAfter:
		if r.dog.Hung != nil {
			r.dog.Hung(fmt.Errorf("%s did not come back for %v: the disk hangs", r.operation, HungAfter))
		}
	}
}

// count counts a tick and sets the next one, up to the last that means something. It is 0 when the write is back.
func (r *watched) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.back {
		return 0
	}
	r.ticks++
	if time.Duration(r.ticks)*watchTick < HungAfter {
		r.timer = r.dog.after(watchTick, r.tick)
	}
	return r.ticks
}

// WatchLogs is a raft.LogStore whose writes are watched.
type WatchLogs struct {
	raft.LogStore
	dog Watchdog
}

// NewWatchLogs watches the writes to inner.
func NewWatchLogs(inner raft.LogStore, dog Watchdog) *WatchLogs {
	return &WatchLogs{LogStore: inner, dog: dog}
}

// StoreLog stores one entry.
func (w *WatchLogs) StoreLog(log *raft.Log) error { return w.StoreLogs([]*raft.Log{log}) }

// StoreLogs stores the entries, watched.
func (w *WatchLogs) StoreLogs(logs []*raft.Log) error {
	defer w.dog.watch("append to the raft log")()
	if w.dog.Stored != nil {
		defer w.dog.Stored()
	}
	return w.LogStore.StoreLogs(logs)
}

// WatchStable is a raft.StableStore whose writes are watched.
type WatchStable struct {
	raft.StableStore
	dog Watchdog
}

// NewWatchStable watches the writes to inner.
func NewWatchStable(inner raft.StableStore, dog Watchdog) *WatchStable {
	return &WatchStable{StableStore: inner, dog: dog}
}

// Set stores the value of the key, watched.
func (w *WatchStable) Set(key, value []byte) error {
	defer w.dog.watch("write of the vote")()
	return w.StableStore.Set(key, value)
}

// SetUint64 stores a number, watched.
func (w *WatchStable) SetUint64(key []byte, value uint64) error {
	defer w.dog.watch("write of the term")()
	return w.StableStore.SetUint64(key, value)
}
