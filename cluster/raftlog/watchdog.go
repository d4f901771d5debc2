package raftlog

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Times after which a write that has not come back is reported and given up (DECISIONS.md D11).
const (
	SlowAfter = 5 * time.Second
	HungAfter = 15 * time.Second
)

// Watchdog hears of writes that the disk does not finish. A Raft leader whose disk hangs would stay leader for ever,
// because heartbeats go on; so the process has to end, which is what Hung is for.
type Watchdog struct {
	// Slow is called once per write that takes longer than [SlowAfter]. It may be nil and must not block.
	Slow func(operation string, running time.Duration)
	// Hung is called once per write that takes longer than [HungAfter]. The write may still be running and may still
	// succeed, so the only safe answer is to end the process. It may be nil.
	Hung func(error)
}

// watch starts the clocks of one write; the caller calls the result when the write came back.
func (w Watchdog) watch(operation string) (done func()) {
	slow := time.AfterFunc(SlowAfter, func() {
		if w.Slow != nil {
			w.Slow(operation, SlowAfter)
		}
	})
	hung := time.AfterFunc(HungAfter, func() {
		if w.Hung != nil {
			w.Hung(fmt.Errorf("%s did not come back for %v: the disk hangs", operation, HungAfter))
		}
	})
	return func() {
		slow.Stop()
		hung.Stop()
	}
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
