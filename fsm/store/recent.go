package store

import (
	"slices"
	"sync"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// maxRecent is how many events are remembered, at the least, for followers that are up to date: 40 bytes each.
const maxRecent = 1 << 13

// A Mark is what is remembered of a recent event: what tells whether a follower is concerned.
type Mark struct {
	Key     EventKey
	Tenant  graph.Tenant
	Session graph.Position // of the node it is about, 0 for none
	Type    pb.EventType
}

// recent is the last events of all tenants. A follower of one session learns from it that a commit is none of its
// business, without a look at the rows.
type recent struct {
	mu    sync.RWMutex
	from  EventKey // guarded by mu: marks has all events after it
	marks []Mark   // guarded by mu: in order
	upTo  graph.Revision
}

// add takes in the events of a commit.
func (r *recent) add(marks []Mark, revision graph.Revision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marks = append(r.marks, marks...)
	r.upTo = revision
	if over := len(r.marks) - maxRecent; over > maxRecent {
		r.from = r.marks[over-1].Key
		r.marks = append(r.marks[:0], r.marks[over:]...)
	}
}

// restart forgets all: the rows have become others.
func (r *recent) restart(sys System) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.from, r.marks, r.upTo = sys.LastEvent, nil, sys.revision()
}

// Quiet reports that no event after a place concerns a follower, up to and with a revision. It says false also when it does
// not know. concerns is asked under a lock.
func (s *Store) Quiet(after EventKey, concerns func(Mark) bool) (upTo graph.Revision, quiet bool) {
	r := &s.recent
	r.mu.RLock()
	defer r.mu.RUnlock()
	if after.Less(r.from) {
		return 0, false
	}
	next, _ := slices.BinarySearchFunc(r.marks, after, func(m Mark, k EventKey) int {
		if k.Less(m.Key) {
			return 1
		}
		return -1
	})
	return r.upTo, !slices.ContainsFunc(r.marks[next:], concerns)
}

func (s System) revision() graph.Revision { return graph.Revision(s.Applied + s.Base) }
