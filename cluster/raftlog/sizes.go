package raftlog

import (
	"cmp"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// sizes knows how many bytes each entry in the log has. Safe for concurrent use.
type sizes struct {
	mu sync.Mutex
	// entries are in the order of their indexes, total is the sum of their bytes.
	entries []sized
	total   uint64
}

type sized struct{ index, bytes uint64 }

func (s *sizes) find(index uint64) (at int, found bool) {
	return slices.BinarySearchFunc(s.entries, index, func(e sized, index uint64) int { return cmp.Compare(e.index, index) })
}

// put notes the size of an entry, in the place of what was noted at its index.
func (s *sizes) put(index, bytes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total += bytes
	at, found := s.find(index)
	if found {
		s.total -= s.entries[at].bytes
		s.entries[at].bytes = bytes
		return
	}
	s.entries = slices.Insert(s.entries, at, sized{index, bytes})
}

// drop forgets the entries from low to high, both included.
func (s *sizes) drop(low, high uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, _ := s.find(low)
	to, found := s.find(high)
	if found {
		to++
	}
	if from >= to {
		return
	}
	for _, e := range s.entries[from:to] {
		s.total -= e.bytes
	}
	s.entries = slices.Delete(s.entries, from, to)
}

func (s *sizes) sum() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// newest counts the newest entries that have no more than so many bytes together. A hole between them counts as if there
// were entries in it, because Raft counts indexes.
func (s *sizes) newest(bytes uint64) (entries uint64, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total <= bytes {
		if len(s.entries) > 0 {
			entries = s.entries[len(s.entries)-1].index - s.entries[0].index + 1
		}
		return entries, true
	}
	last := s.entries[len(s.entries)-1].index
	for _, e := range slices.Backward(s.entries) {
		if e.bytes > bytes {
			return last - e.index, false
		}
		bytes -= e.bytes
	}
	return last - s.entries[0].index + 1, true
}

// storedBytes is what the values of an entry have when they are sealed.
func storedBytes(log *raft.Log) uint64 {
	bytes := uint64(len(log.Data) + SealOverheadBytes)
	if len(log.Extensions) > 0 {
		bytes += uint64(len(log.Extensions) + SealOverheadBytes)
	}
	return bytes
}
