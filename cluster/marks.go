package cluster

import (
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
)

// maxMarks is how many marks a node remembers: those of an hour of comparing, and more.
const maxMarks = 128

// A Mark is the digest of a node's state right after one entry of the log, at a place where every node takes one: an entry without
// commands. So states can be compared at one revision while writes go on.
type Mark struct {
	Index, Revision uint64
	Digest          [32]byte
}

// isMark reports an entry after which every node takes the digest of its state: one that a leader has put into the log without
// commands, as each does when it begins.
func isMark(log *raft.Log) bool {
	if log.Type != raft.LogCommand || len(log.Data) > maxMarkBytes {
		return false
	}
	commands, err := fsm.DecodeEntry(log.Data)
	return err == nil && len(commands) == 0
}

// maxMarkBytes is more than an entry without commands has, and less than one with a command that does something.
const maxMarkBytes = 8

// upToMark is how many of the entries, one at least, go up to the first mark, or all.
func upToMark(logs []*raft.Log) int {
	for i, log := range logs {
		if isMark(log) {
			return i + 1
		}
	}
	return len(logs)
}

// marks are the newest ones of a node.
type marks struct {
	// mu guards what follows.
	mu sync.Mutex
	// all are in the order of their indexes, upTo is the last entry that was applied.
	all  []Mark
	upTo uint64
	// moved is closed when upTo moves; nil while nobody waits.
	moved chan struct{}
}

// pass notes that entries were applied, up to an index, with a mark there or not.
func (m *marks) pass(upTo uint64, mark *Mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.upTo = upTo
	if mark != nil {
		if len(m.all) == maxMarks {
			m.all = append(m.all[:0], m.all[1:]...)
		}
		m.all = append(m.all, *mark)
	}
	if m.moved != nil {
		close(m.moved)
		m.moved = nil
	}
}

// forget is for a state that came with a snapshot, which ends at an index: what was marked before says nothing of it.
func (m *marks) forget(upTo uint64) {
	m.mu.Lock()
	m.all = m.all[:0]
	m.mu.Unlock()
	m.pass(upTo, nil)
}

// at is the mark after an entry, if it is known; passed says that the entry was applied. Moved is closed when there may be news.
func (m *marks) at(index uint64) (mark Mark, known, passed bool, moved <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.all {
		if one.Index == index {
			mark, known = one, true
		}
	}
	if m.moved == nil {
		m.moved = make(chan struct{})
	}
	return mark, known, m.upTo >= index, m.moved
}

// newest is the newest mark that is known, its index 0 for none. Moved is closed when there may be another.
func (m *marks) newest() (mark Mark, moved <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.moved == nil {
		m.moved = make(chan struct{})
	}
	if len(m.all) > 0 {
		mark = m.all[len(m.all)-1]
	}
	return mark, m.moved
}

// ErrNoMark says that the digest at a revision is not known: no entry without commands is there, or it is too long ago, or came with a
// snapshot.
type ErrNoMark struct{ Index uint64 }

func (e *ErrNoMark) Error() string {
	return fmt.Sprintf("the digest after entry %d is not known here: make another mark", e.Index)
}

// wait is the mark after an entry, once that is applied. The error is that of ctx, or an [*ErrNoMark].
func (m *marks) wait(ctx context.Context, index uint64) (Mark, error) {
	for {
		mark, known, passed, moved := m.at(index)
		switch {
		case known:
			return mark, nil
		case passed:
			return Mark{}, &ErrNoMark{Index: index}
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return Mark{}, fmt.Errorf("digest after entry %d: %w", index, ctx.Err())
		}
	}
}
