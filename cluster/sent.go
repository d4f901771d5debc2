package cluster

import (
	"bytes"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
)

// sentProposal is what is kept of a proposal that is on its way through a leader, or was.
type sentProposal struct {
	// first is when it was first on its way, into this node's log or another's; only the goroutine that has the proposal in its
	// hands uses it.
	first time.Time
	// hash is that of its command, while registered; both are guarded by sentCommands.mu, accepted too.
	hash       uint64
	registered bool
	// accepted is the index of the log entry that has it, as a leader says; 0 for none.
	accepted uint64
}

// begin notes when a proposal is on its way, if it is for the first time.
func (s *sentProposal) begin(now time.Time) {
	if s.first.IsZero() {
		s.first = now
	}
}

// tooOld reports that another try might take effect again.
func (s *sentProposal) tooOld(now time.Time) bool {
	return !s.first.IsZero() && now.Sub(s.first) > retryFor
}

// sentCommands are the commands that this node waits to see in the log: it applies them itself, so no result has to travel. One is
// known by all its bytes: two calls may share a request id and differ.
type sentCommands struct {
	seed maphash.Seed
	// count lets the many entries without one by.
	count atomic.Int64
	// upTo is the last entry that was looked at.
	upTo atomic.Uint64

	// mu guards waiting, by the hash of the command.
	mu      sync.Mutex
	waiting map[uint64][]*proposal
}

func newSentCommands() *sentCommands {
	return &sentCommands{seed: maphash.MakeSeed(), waiting: map[uint64][]*proposal{}}
}

// add begins to wait for a command.
func (s *sentCommands) add(p *proposal) {
	hash := maphash.Bytes(s.seed, p.command)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.sent.accepted = 0
	if p.sent.registered {
		return
	}
	p.sent.hash, p.sent.registered = hash, true
	s.waiting[hash] = append(s.waiting[hash], p)
	s.count.Add(1)
}

// remove ends the wait.
func (s *sentCommands) remove(p *proposal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(p)
}

func (s *sentCommands) removeLocked(p *proposal) {
	if !p.sent.registered {
		return
	}
	p.sent.registered = false
	s.count.Add(-1)
	left := s.waiting[p.sent.hash][:0]
	for _, q := range s.waiting[p.sent.hash] {
		if q != p {
			left = append(left, q)
		}
	}
	if len(left) == 0 {
		delete(s.waiting, p.sent.hash)
		return
	}
	clear(s.waiting[p.sent.hash][len(left):])
	s.waiting[p.sent.hash] = left
}

// applied looks for commands that wait among entries that were just applied, and settles them.
func (s *sentCommands) applied(entries []fsm.LogEntry, results [][]fsm.Result) error {
	if len(entries) == 0 {
		return nil
	}
	defer s.upTo.Store(entries[len(entries)-1].Index)
	if s.count.Load() == 0 {
		return nil
	}
	for i, e := range entries {
		if len(results[i]) == 0 {
			continue
		}
		commands, err := fsm.DecodeEntry(e.Data)
		if err != nil {
			return err
		}
		for j, c := range commands {
			if p := s.take(c.Command); p != nil {
				p.settle(outcome{result: results[i][j], index: e.Index})
			}
		}
	}
	return nil
}

// take ends the wait for one command with these bytes, the first that came.
func (s *sentCommands) take(command []byte) *proposal {
	hash := maphash.Bytes(s.seed, command)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.waiting[hash] {
		if bytes.Equal(p.command, command) {
			s.removeLocked(p)
			return p
		}
	}
	return nil
}

// accept notes the entry that has a command. It reports whether the command was missed: its entry came with a snapshot, and
// only another try can tell the result.
func (s *sentCommands) accept(p *proposal, index uint64) (missed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.sent.accepted = index
	return p.sent.registered && s.upTo.Load() >= index
}

// skipped ends the look at entries up to an index that came with a snapshot, and returns the commands that were in them.
func (s *sentCommands) skipped(index uint64) []*proposal {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.upTo.Store(index)
	var missed []*proposal
	for _, all := range s.waiting {
		for _, p := range all {
			if p.sent.accepted != 0 && p.sent.accepted <= index {
				missed = append(missed, p)
			}
		}
	}
	return missed
}

// all are the commands that wait.
func (s *sentCommands) all() []*proposal {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*proposal
	for _, some := range s.waiting {
		all = append(all, some...)
	}
	return all
}
