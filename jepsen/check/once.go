package check

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/history"
)

// Operations that are sent more than once.
const (
	// OnceSend is one attempt of the request whose id it bears. The value of its answer is what must be equal: ids, not what may have been changed since.
	OnceSend = "once-send"
	// OnceCount answers with how many effects each request has, by its id; those that it leaves out have none.
	OnceCount = "once-count"
)

// Once says whether a request that is sent again takes effect once and is answered alike.
func Once(ops []history.Op) Verdict { return once().check(ops) }

func once() checker[*onceState] {
	return checker[*onceState]{
		name: "once",
		fs:   []string{OnceSend, OnceCount},
		read: readOnce,
		rules: []rule[*onceState]{
			{"twice", (*onceState).twice},
			{"lost", (*onceState).lost},
			{"aborted", (*onceState).aborted},
			{"reply", (*onceState).replies},
			{"outcome", (*onceState).outcomes},
		},
	}
}

type onceState struct {
	attempts map[string][]history.Call
	counts   []read[map[string]int]
}

func readOnce(ops []history.Op) (*onceState, map[string]int, error) {
	s := &onceState{attempts: map[string][]history.Call{}}
	calls := named(ops, OnceSend, OnceCount)
	counts := map[string]int{}
	for _, c := range calls {
		if c.Invoke.F == OnceSend {
			if c.Invoke.Request == "" {
				return nil, counts, fmt.Errorf("operation %d has no request id", c.Begin())
			}
			counts["attempts"]++
			s.attempts[c.Invoke.Request] = append(s.attempts[c.Invoke.Request], c)
		}
	}
	var err error
	if s.counts, err = reads[map[string]int](calls, OnceCount); err != nil {
		return nil, counts, err
	}
	counts["requests"], counts["counts"] = len(s.attempts), len(s.counts)
	if len(s.attempts) == 0 || len(s.counts) == 0 {
		return nil, counts, errNothing
	}
	return s, counts, nil
}

func (s *onceState) twice(f *findings) {
	for _, r := range s.counts {
		for _, id := range sorted(r.answer) {
			if n := r.answer[id]; n > 1 {
				f.add("twice", append(r.Proof(), proof(s.attempts[id]...)...), "request %s took effect %d times", id, n)
			}
		}
	}
}

// lost: what was acknowledged before its effects were counted has one.
func (s *onceState) lost(f *findings) {
	for _, r := range s.counts {
		for _, id := range sorted(s.attempts) {
			for _, c := range s.attempts[id] {
				if c.Type() == history.OK && c.Before(r.Call) && r.answer[id] == 0 {
					f.add("lost", proof(c, r.Call), "request %s was acknowledged and took no effect", id)
					break
				}
			}
		}
	}
}

// aborted: what failed each time it was sent has no effect.
func (s *onceState) aborted(f *findings) {
	for _, r := range s.counts {
		for _, id := range sorted(r.answer) {
			failed := len(s.attempts[id]) > 0
			for _, c := range s.attempts[id] {
				failed = failed && c.Type() == history.Fail
			}
			if failed && r.answer[id] > 0 {
				f.add("aborted", append(r.Proof(), proof(s.attempts[id]...)...), "request %s took effect, but failed each time", id)
			}
		}
	}
}

// replies: two acknowledgements say the same.
func (s *onceState) replies(f *findings) {
	for _, id := range sorted(s.attempts) {
		var first *history.Call
		for _, c := range s.attempts[id] {
			if c.Type() != history.OK {
				continue
			}
			if first == nil {
				first = &c
			} else if !sameJSON(first.Return.Value, c.Return.Value) {
				f.add("reply", proof(*first, c), "request %s is answered %.200s and %.200s", id, first.Return.Value, c.Return.Value)
			}
		}
	}
}

// sameJSON compares without regard to spaces and the order of names.
func sameJSON(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	p, err := json.Marshal(x)
	q, other := json.Marshal(y)
	return err == nil && other == nil && bytes.Equal(p, q)
}

// outcomes: what was acknowledged once is not refused another time, and refusals are alike.
func (s *onceState) outcomes(f *findings) {
	for _, id := range sorted(s.attempts) {
		var first *history.Call
		for _, c := range s.attempts[id] {
			if c.Type() != history.OK && !c.Return.Decided() {
				continue
			}
			if first == nil {
				first = &c
			} else if first.Type() != c.Type() || first.Type() != history.OK && first.Return.Code() != c.Return.Code() {
				f.add("outcome", proof(*first, c), "request %s is %s (%s) and %s (%s)", id, first.Type(), first.Return.Error, c.Type(), c.Return.Error)
			}
		}
	}
}
