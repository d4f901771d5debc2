package check

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/history"
)

// Operations on the feed.
const (
	// FeedWrite is a change; its value is the list of FeedEvent that it must make, of which Type and About count: the answer's, with ids that the
	// server made and the revision, or that of the call when there was no answer.
	FeedWrite = "feed-write"
	// FeedStream is one connection, from its beginning to its end, however that came: its value is a FeedRequest, its answer a FeedAnswer. A stream
	// that is broken off and resumed is several of them.
	FeedStream = "feed-stream"
)

// FeedRequest says what a stream asks for. Without After it starts at the beginning or, unless FromBeginning, with what comes next.
type FeedRequest struct {
	After         string   `json:"after,omitempty"`
	FromBeginning bool     `json:"from_beginning,omitempty"`
	Session       string   `json:"session,omitempty"`
	Types         []string `json:"types,omitempty"`
}

// FeedAnswer is what a stream was told.
type FeedAnswer struct {
	// Opened is the revision of the answer's header: a stream of what comes next has everything after it.
	Opened uint64      `json:"opened,omitempty"`
	Events []FeedEvent `json:"events"`
	Marks  []FeedMark  `json:"marks,omitempty"`
}

// FeedEvent is an event as it was told. Ids are `<lineage>-<revision>-<ordinal>`, in hex, and sort as text.
type FeedEvent struct {
	ID      string `json:"id,omitempty"`
	Type    string `json:"type"`
	Session string `json:"session,omitempty"`
	// About is the id of the record.
	About string `json:"about"`
	Chain string `json:"chain,omitempty"`
}

// FeedMark says that a stream had been told everything up to a revision, and nothing beyond it, when it had been told so many events.
type FeedMark struct {
	Events   int    `json:"events"`
	Revision uint64 `json:"revision"`
}

// Events says whether every stream tells the same events in the same order, without gap and twice, and all that must be told.
func Events(ops []history.Op) Verdict { return events().check(ops) }

func events() checker[*feedState] {
	return checker[*feedState]{
		name: "events",
		fs:   []string{FeedWrite, FeedStream},
		read: readFeed,
		rules: []rule[*feedState]{
			{"ordered", (*feedState).ordered},
			{"unique", (*feedState).unique},
			{"reliable", (*feedState).reliable},
			{"atomic", (*feedState).atomic},
			{"resumable", (*feedState).resumable},
			{"bookmarkable", (*feedState).bookmarkable},
			{"filtered", (*feedState).filtered},
			{"equal", (*feedState).equal},
			{"complete", (*feedState).complete},
			{"aborted", (*feedState).aborted},
		},
		last: (*feedState).beyond,
	}
}

// feedState is all streams, and all events that any of them was told, in the order of their ids.
type feedState struct {
	streams []feedStream
	writes  []feedWrite
	all     []FeedEvent
	// told is the stream that was told an event first, by the event's id.
	told map[string]feedStream
}

type feedStream struct {
	read[FeedAnswer]
	asked FeedRequest
	has   map[string]bool
}

type feedWrite struct {
	history.Call
	makes []FeedEvent
}

func readFeed(ops []history.Op) (*feedState, map[string]int, error) {
	s := &feedState{told: map[string]feedStream{}}
	calls := named(ops, FeedWrite, FeedStream)
	for _, c := range calls {
		if c.Invoke.F == FeedWrite {
			w := feedWrite{Call: c}
			value := c.Invoke
			if c.Type() == history.OK {
				value = c.Return
			}
			if err := value.Decode(&w.makes); err != nil {
				return nil, nil, err
			}
			s.writes = append(s.writes, w)
		}
	}
	answers, err := reads[FeedAnswer](calls, FeedStream)
	if err != nil {
		return nil, nil, err
	}
	counts := map[string]int{"writes": len(s.writes), "streams": len(answers)}
	for _, a := range answers {
		st := feedStream{read: a, has: map[string]bool{}}
		if err := a.Invoke.Decode(&st.asked); err != nil {
			return nil, counts, err
		}
		for _, e := range a.answer.Events {
			if _, err := revisionOf(e.ID); err != nil {
				return nil, counts, fmt.Errorf("operation %d: %w", a.Return.Index, err)
			}
			counts["told"]++
			st.has[e.ID] = true
			if _, known := s.told[e.ID]; !known {
				s.told[e.ID] = st
				s.all = append(s.all, e)
			}
		}
		s.streams = append(s.streams, st)
	}
	slices.SortFunc(s.all, func(a, b FeedEvent) int { return cmp.Compare(a.ID, b.ID) })
	counts["events"] = len(s.all)
	if len(s.streams) == 0 {
		return nil, counts, errNothing
	}
	return s, counts, nil
}

// revisionOf reads the revision in an event id.
func revisionOf(id string) (uint64, error) {
	parts := strings.Split(id, "-")
	if len(parts) != 3 {
		return 0, fmt.Errorf("event id %q is not <lineage>-<revision>-<ordinal>", id)
	}
	revision, err := strconv.ParseUint(parts[1], 16, 64)
	if err != nil {
		return 0, fmt.Errorf("event id %q: %w", id, err)
	}
	return revision, nil
}

// revision is that of an event whose id was read before.
func (e FeedEvent) revision() uint64 {
	revision, err := revisionOf(e.ID)
	if err != nil {
		panic(err)
	}
	return revision
}

// wants says whether an event is of those that the stream asked for.
func (st feedStream) wants(e FeedEvent) bool {
	return (st.asked.Session == "" || st.asked.Session == e.Session) && (len(st.asked.Types) == 0 || slices.Contains(st.asked.Types, e.Type))
}

// behind says whether an event lies behind the point at which the stream starts.
func (st feedStream) behind(e FeedEvent) bool {
	switch {
	case st.asked.After != "":
		return e.ID > st.asked.After
	case st.asked.FromBeginning:
		return true
	}
	return e.revision() > st.answer.Opened
}

// span is the first and the last id that the stream was told, by their order.
func (st feedStream) span() (first, last string) {
	for _, e := range st.answer.Events {
		if first == "" || e.ID < first {
			first = e.ID
		}
		last = max(last, e.ID)
	}
	return first, last
}

// missing visits the events that a stream was not told and should have been, if they lie in a range of ids.
func (s *feedState) missing(st feedStream, in func(FeedEvent) bool, visit func(e FeedEvent)) {
	for _, e := range s.all {
		if !st.has[e.ID] && st.wants(e) && st.behind(e) && in(e) {
			visit(e)
		}
	}
}

func (s *feedState) ordered(f *findings) {
	for _, st := range s.streams {
		for i, e := range st.answer.Events[min(1, len(st.answer.Events)):] {
			if before := st.answer.Events[i]; e.ID < before.ID {
				f.add("ordered", st.Proof(), "%s after %s at %s", e.ID, before.ID, st.Return.Node)
			}
		}
	}
}

func (s *feedState) unique(f *findings) {
	for _, st := range s.streams {
		seen := map[string]bool{}
		for _, e := range st.answer.Events {
			if seen[e.ID] {
				f.add("unique", st.Proof(), "%s twice at %s", e.ID, st.Return.Node)
			}
			seen[e.ID] = true
		}
	}
}

// reliable: between the first and the last event that a stream was told, it was told all that any stream was told.
func (s *feedState) reliable(f *findings) {
	for _, st := range s.streams {
		first, last := st.span()
		whole := st.revisions()
		s.missing(st, func(e FeedEvent) bool { return e.ID > first && e.ID < last && !whole[e.revision()] }, func(e FeedEvent) {
			f.add("reliable", proof(st.Call, s.told[e.ID].Call), "%s is not told at %s, which goes on to %s", e.ID, st.Return.Node, last)
		})
	}
}

// revisions are those of which a stream was told something.
func (st feedStream) revisions() map[uint64]bool {
	all := map[uint64]bool{}
	for _, e := range st.answer.Events {
		all[e.revision()] = true
	}
	return all
}

// atomic: of a commit, a stream is told all or nothing, unless it ends or was resumed in the middle.
func (s *feedState) atomic(f *findings) {
	for _, st := range s.streams {
		_, last := st.span()
		whole := st.revisions()
		s.missing(st, func(e FeedEvent) bool { return e.ID < last && whole[e.revision()] }, func(e FeedEvent) {
			f.add("atomic", proof(st.Call, s.told[e.ID].Call), "%s is not told at %s, though others of its commit are, and it goes on to %s", e.ID, st.Return.Node, last)
		})
	}
}

// resumable: a stream begins with what follows the point at which it starts.
func (s *feedState) resumable(f *findings) {
	for _, st := range s.streams {
		for _, e := range st.answer.Events {
			if !st.behind(e) {
				f.add("resumable", st.Proof(), "%s was told before the point at which the stream starts", e.ID)
			}
		}
		first, _ := st.span()
		whole := st.revisions()
		s.missing(st, func(e FeedEvent) bool { return e.ID < first && !whole[e.revision()] }, func(e FeedEvent) {
			f.add("resumable", proof(st.Call, s.told[e.ID].Call), "%s is not told at %s, which starts with %s", e.ID, st.Return.Node, first)
		})
	}
}

// bookmarkable: a mark says truly how far the stream has come.
func (s *feedState) bookmarkable(f *findings) {
	for _, st := range s.streams {
		_, last := st.span()
		for _, m := range st.answer.Marks {
			events := st.answer.Events
			if m.Events < 0 || m.Events > len(events) {
				f.add("bookmarkable", st.Proof(), "a mark after %d events of %d", m.Events, len(events))
				continue
			}
			for _, e := range events[m.Events:] {
				if e.revision() <= m.Revision {
					f.add("bookmarkable", st.Proof(), "%s comes after the mark of revision %d", e.ID, m.Revision)
				}
			}
			for _, e := range events[:m.Events] {
				if e.revision() > m.Revision {
					f.add("bookmarkable", st.Proof(), "%s comes before the mark of revision %d", e.ID, m.Revision)
				}
			}
			s.missing(st, func(e FeedEvent) bool { return e.ID > last && e.revision() <= m.Revision }, func(e FeedEvent) {
				f.add("bookmarkable", proof(st.Call, s.told[e.ID].Call), "%s is not told at %s, which says that all up to revision %d was", e.ID, st.Return.Node, m.Revision)
			})
		}
	}
}

func (s *feedState) filtered(f *findings) {
	for _, st := range s.streams {
		for _, e := range st.answer.Events {
			if !st.wants(e) {
				f.add("filtered", st.Proof(), "%s is a %s of session %q, which the stream did not ask for", e.ID, e.Type, e.Session)
			}
		}
	}
}

// equal: an event is the same wherever it is told, and so is everything before it, which its chain sums up.
func (s *feedState) equal(f *findings) {
	first := map[string]FeedEvent{}
	for _, e := range s.all {
		first[e.ID] = e
	}
	for _, st := range s.streams {
		for _, e := range st.answer.Events {
			if was := first[e.ID]; e != was {
				f.add("equal", proof(st.Call, s.told[e.ID].Call), "%s is %+v at %s and %+v at %s", e.ID, e, st.Return.Node, was, s.told[e.ID].Return.Node)
			}
		}
	}
}
