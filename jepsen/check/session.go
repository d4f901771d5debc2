package check

import (
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/history"
)

// Operations of clients that go from node to node and say what they have seen. A session is one process.
const (
	// SessionRead answers with a SessionValue, and with the revision at which the node read it.
	SessionRead = "session-read"
	// SessionWrite changes the record that its SessionValue names; the answer has the revision of the change.
	SessionWrite = "session-write"
)

// SessionValue is a record and how new it is.
type SessionValue struct {
	Key string `json:"key"`
	// Modified is the revision of the change that a read saw; 0 for none.
	Modified uint64 `json:"modified,omitempty"`
}

// Sessions says whether each client sees a world that goes forward and has its own changes in it: the four guarantees of Terry and others,
// "Session Guarantees for Weakly Consistent Replicated Data", 1994, over revisions; and whether a node that claims a revision shows it.
func Sessions(ops []history.Op) Verdict { return sessions().check(ops) }

func sessions() checker[*sessionState] {
	return checker[*sessionState]{
		name: "session",
		fs:   []string{SessionRead, SessionWrite},
		read: readSessions,
		rules: []rule[*sessionState]{
			{"monotonic-reads", (*sessionState).monotonicReads},
			{"monotonic-writes", (*sessionState).monotonicWrites},
			{"read-your-writes", (*sessionState).readYourWrites},
			{"writes-follow-reads", (*sessionState).writesFollowReads},
			{"shows-its-revision", (*sessionState).showsItsRevision},
			{"beyond-its-revision", (*sessionState).beyondItsRevision},
		},
	}
}

type sessionState struct {
	// bySession are the answered calls of each process, in order; all are those of every process.
	bySession map[history.Process][]sessionCall
	all       []sessionCall
}

type sessionCall struct {
	history.Call
	value SessionValue
}

func (c sessionCall) reads() bool      { return c.Invoke.F == SessionRead }
func (c sessionCall) revision() uint64 { return c.Return.Revision }

func readSessions(ops []history.Op) (*sessionState, map[string]int, error) {
	s := &sessionState{bySession: map[history.Process][]sessionCall{}}
	counts := map[string]int{}
	for _, c := range named(ops, SessionRead, SessionWrite) {
		if c.Type() != history.OK {
			continue
		}
		call := sessionCall{Call: c}
		if err := c.Return.Decode(&call.value); err != nil {
			return nil, counts, err
		}
		counts[c.Invoke.F]++
		s.bySession[c.Invoke.Process] = append(s.bySession[c.Invoke.Process], call)
		s.all = append(s.all, call)
	}
	counts["sessions"] = len(s.bySession)
	if counts[SessionRead] == 0 {
		return nil, counts, errNothing
	}
	return s, counts, nil
}

// newest follows one kind of call through each session and visits the calls of another kind with the newest of the first before it.
func (s *sessionState) newest(first, then func(sessionCall) bool, visit func(before, c sessionCall)) {
	for _, process := range sorted(s.bySession) {
		var newest *sessionCall
		for _, c := range s.bySession[process] {
			if newest != nil && then(c) {
				visit(*newest, c)
			}
			if first(c) && (newest == nil || c.revision() > newest.revision()) {
				newest = &c
			}
		}
	}
}

func isRead(c sessionCall) bool  { return c.reads() }
func isWrite(c sessionCall) bool { return !c.reads() }

func (s *sessionState) monotonicReads(f *findings) {
	s.newest(isRead, isRead, func(before, c sessionCall) {
		if c.revision() < before.revision() {
			f.add("monotonic-reads", proof(before.Call, c.Call), "process %d reads at revision %d after it read at %d", c.Invoke.Process, c.revision(), before.revision())
		}
	})
}

// monotonicWrites: a change that was asked for after another was acknowledged has a higher revision, unless it is that one, sent again.
func (s *sessionState) monotonicWrites(f *findings) {
	s.newest(isWrite, isWrite, func(before, c sessionCall) {
		if c.revision() <= before.revision() && (c.Invoke.Request == "" || c.Invoke.Request != before.Invoke.Request) {
			f.add("monotonic-writes", proof(before.Call, c.Call), "process %d writes at revision %d after it wrote at %d", c.Invoke.Process, c.revision(), before.revision())
		}
	})
}

func (s *sessionState) readYourWrites(f *findings) {
	s.newest(isWrite, isRead, func(before, c sessionCall) {
		if c.revision() < before.revision() {
			f.add("read-your-writes", proof(before.Call, c.Call), "process %d reads at revision %d after it wrote at %d", c.Invoke.Process, c.revision(), before.revision())
		}
	})
}

func (s *sessionState) writesFollowReads(f *findings) {
	s.newest(isRead, isWrite, func(before, c sessionCall) {
		if c.revision() <= before.revision() {
			f.add("writes-follow-reads", proof(before.Call, c.Call), "process %d writes at revision %d after it read at %d", c.Invoke.Process, c.revision(), before.revision())
		}
	})
}

// showsItsRevision: what was changed up to the revision of a read is in it.
func (s *sessionState) showsItsRevision(f *findings) {
	writes := map[string][]sessionCall{}
	for _, c := range s.all {
		if !c.reads() {
			writes[c.value.Key] = append(writes[c.value.Key], c)
		}
	}
	for _, r := range s.all {
		if !r.reads() {
			continue
		}
		for _, w := range writes[r.value.Key] {
			if at := w.revision(); r.value.Modified < at && at <= r.revision() {
				f.add("shows-its-revision", proof(w.Call, r.Call), "%s reads %q at revision %d, as it was at %d, but it was changed at %d",
					r.Return.Node, r.value.Key, r.revision(), r.value.Modified, at)
			}
		}
	}
}

// beyondItsRevision: what was changed after the revision of a read is not in it.
func (s *sessionState) beyondItsRevision(f *findings) {
	for _, r := range s.all {
		if r.reads() && r.value.Modified > r.revision() {
			f.add("beyond-its-revision", r.Proof(), "%s reads %q at revision %d as it was at %d", r.Return.Node, r.value.Key, r.revision(), r.value.Modified)
		}
	}
}
