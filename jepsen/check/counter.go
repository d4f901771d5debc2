package check

import (
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/history"
)

// Operations on counters that only grow.
const (
	// CountAdd adds one to the counter that its value names, a string. Those with one request id are one addition, however often it was sent.
	CountAdd = "count-add"
	// CountRead answers with a CountAnswer.
	CountRead = "count-read"
)

// CountAnswer is what a node says of a counter.
type CountAnswer struct {
	Key   string `json:"key"`
	Value int    `json:"value"`
	// Records counts the records that the additions left behind, in the same answer; absent where nobody looked.
	Records *int `json:"records,omitempty"`
}

// Counter says whether each addition counts once.
func Counter(ops []history.Op) Verdict { return counters().check(ops) }

func counters() checker[*counterState] {
	return checker[*counterState]{
		name: "counter",
		fs:   []string{CountAdd, CountRead},
		read: readCounters,
		rules: []rule[*counterState]{
			{"below", (*counterState).below},
			{"above", (*counterState).above},
			{"back", (*counterState).back},
			{"records", (*counterState).records},
		},
	}
}

type counterState struct {
	additions map[string][]addition
	reads     []read[CountAnswer]
}

// addition is all attempts of one request.
type addition struct{ calls []history.Call }

// acknowledged is the first attempt that was, if any was.
func (a addition) acknowledged() (history.Call, bool) {
	var first history.Call
	found := false
	for _, c := range a.calls {
		if c.Type() == history.OK && (!found || c.End() < first.End()) {
			first, found = c, true
		}
	}
	return first, found
}

// possible is the first attempt that may have taken effect, if one may.
func (a addition) possible() (history.Call, bool) {
	for _, c := range a.calls {
		if c.Type() != history.Fail {
			return c, true
		}
	}
	return history.Call{}, false
}

func readCounters(ops []history.Op) (*counterState, map[string]int, error) {
	s := &counterState{additions: map[string][]addition{}}
	calls := named(ops, CountAdd, CountRead)
	type request struct{ key, id string }
	place := map[request]int{}
	counts := map[string]int{}
	for _, c := range calls {
		if c.Invoke.F != CountAdd {
			continue
		}
		counts["adds"]++
		var key string
		if err := c.Invoke.Decode(&key); err != nil {
			return nil, counts, err
		}
		id := request{key, c.Invoke.Request}
		if at, known := place[id]; known && id.id != "" {
			s.additions[key][at].calls = append(s.additions[key][at].calls, c)
			continue
		}
		place[id] = len(s.additions[key])
		s.additions[key] = append(s.additions[key], addition{[]history.Call{c}})
	}
	var err error
	if s.reads, err = reads[CountAnswer](calls, CountRead); err != nil {
		return nil, counts, err
	}
	counts["reads"] = len(s.reads)
	if len(s.reads) == 0 {
		return nil, counts, errNothing
	}
	return s, counts, nil
}

// below: a counter has everything that was acknowledged before it was read.
func (s *counterState) below(f *findings) {
	for _, r := range s.reads {
		had := func(a addition) bool {
			c, ok := a.acknowledged()
			return ok && c.Before(r.Call)
		}
		if least := s.count(r, had); r.answer.Value < least {
			f.add("below", s.lines(r, had), "%q is %d, but %d additions were acknowledged before", r.answer.Key, r.answer.Value, least)
		}
	}
}

// above: it has nothing beyond what may have been added by then.
func (s *counterState) above(f *findings) {
	for _, r := range s.reads {
		can := func(a addition) bool {
			c, ok := a.possible()
			return ok && !r.Before(c)
		}
		if most := s.count(r, can); r.answer.Value > most {
			f.add("above", s.lines(r, can), "%q is %d, but only %d additions can have been made", r.answer.Key, r.answer.Value, most)
		}
	}
}

// count is of the additions to what was read for which something holds; lines are those that say so, beside the read.
func (s *counterState) count(r read[CountAnswer], holds func(addition) bool) int {
	n := 0
	for _, a := range s.additions[r.answer.Key] {
		if holds(a) {
			n++
		}
	}
	return n
}

func (s *counterState) lines(r read[CountAnswer], holds func(addition) bool) []int {
	lines := r.Proof()
	for _, a := range s.additions[r.answer.Key] {
		if holds(a) {
			lines = append(lines, proof(a.calls...)...)
		}
	}
	return lines
}

// back: it is never less than it was.
func (s *counterState) back(f *findings) {
	highest := map[string]read[CountAnswer]{}
	sweep(s.reads, func(before read[CountAnswer]) {
		if was, known := highest[before.answer.Key]; !known || before.answer.Value > was.answer.Value {
			highest[before.answer.Key] = before
		}
	}, func(r read[CountAnswer]) {
		if was, known := highest[r.answer.Key]; known && r.answer.Value < was.answer.Value {
			f.add("back", proof(was.Call, r.Call), "%q is %d after it was %d", r.answer.Key, r.answer.Value, was.answer.Value)
		}
	})
}

// records: the counter says how many records there are.
func (s *counterState) records(f *findings) {
	for _, r := range s.reads {
		if n := r.answer.Records; n != nil && *n != r.answer.Value {
			f.add("records", r.Proof(), "%q is %d, but there are %d records", r.answer.Key, r.answer.Value, *n)
		}
	}
}
