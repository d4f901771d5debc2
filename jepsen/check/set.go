package check

import (
	"slices"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/history"
)

// Operations on a set that only grows.
const (
	// SetAdd adds the element that its value names, a string.
	SetAdd = "set-add"
	// SetRead answers with a SetAnswer.
	SetRead = "set-read"
)

// SetAnswer is what a node says is in the set.
type SetAnswer struct {
	Elements []string `json:"elements"`
	// Total is what the node says how many there are; absent where it says nothing.
	Total *int `json:"total,omitempty"`
	// Final says that the read was made when nothing was added any more.
	Final bool `json:"final,omitempty"`
}

// Set says whether everything that was added is there, once, and nothing else.
func Set(ops []history.Op) Verdict { return sets().check(ops) }

func sets() checker[*setState] {
	return checker[*setState]{
		name: "set",
		fs:   []string{SetAdd, SetRead},
		read: readSets,
		rules: []rule[*setState]{
			{"lost", (*setState).lost},
			{"vanished", (*setState).vanished},
			{"unexpected", (*setState).unexpected},
			{"aborted", (*setState).aborted},
			{"early", (*setState).early},
			{"duplicate", (*setState).duplicates},
			{"total", (*setState).totals},
			{"agree", (*setState).agree},
		},
	}
}

type setState struct {
	adds map[string]history.Call
	// added are the elements of adds, in order.
	added []string
	reads []setRead
}

type setRead struct {
	read[SetAnswer]
	has map[string]bool
	// fresh are the elements that nobody was told of when the read began, in order.
	fresh []string
}

func readSets(ops []history.Op) (*setState, map[string]int, error) {
	s := &setState{adds: map[string]history.Call{}}
	calls := named(ops, SetAdd, SetRead)
	for _, c := range calls {
		if c.Invoke.F != SetAdd {
			continue
		}
		var element string
		if err := c.Invoke.Decode(&element); err != nil {
			return nil, nil, err
		}
		s.adds[element] = c
	}
	answers, err := reads[SetAnswer](calls, SetRead)
	if err != nil {
		return nil, nil, err
	}
	s.added = sorted(s.adds)
	for _, a := range answers {
		r := setRead{read: a, has: map[string]bool{}}
		for _, e := range a.answer.Elements {
			r.has[e] = true
		}
		for _, e := range sorted(r.has) {
			if add, known := s.adds[e]; known && !add.Before(a.Call) {
				r.fresh = append(r.fresh, e)
			}
		}
		s.reads = append(s.reads, r)
	}
	counts := map[string]int{"adds": len(s.adds), "reads": len(s.reads)}
	if len(s.reads) == 0 {
		return nil, counts, errNothing
	}
	return s, counts, nil
}

// lost: what was acknowledged before a read began is in it.
func (s *setState) lost(f *findings) {
	for _, r := range s.reads {
		for _, e := range s.added {
			if add := s.adds[e]; add.Type() == history.OK && add.Before(r.Call) && !r.has[e] {
				f.add("lost", proof(add, r.Call), "%q was acknowledged and is not there at %s", e, r.Return.Node)
			}
		}
	}
}

// vanished: what one read saw, those that began after it see, too. What was acknowledged before the first of them is lost's business.
func (s *setState) vanished(f *findings) {
	for i, r := range s.reads {
		for _, later := range s.reads[i+1:] {
			if !r.Before(later.Call) {
				continue
			}
			for _, e := range r.fresh {
				if !later.has[e] {
					f.add("vanished", proof(r.Call, later.Call), "%q was there at %s and is not at %s later", e, r.Return.Node, later.Return.Node)
				}
			}
		}
	}
}

func (s *setState) unexpected(f *findings) {
	s.members(func(r setRead, e string, add history.Call, known bool) {
		if !known {
			f.add("unexpected", r.Proof(), "%q was never added", e)
		}
	})
}

func (s *setState) aborted(f *findings) {
	s.members(func(r setRead, e string, add history.Call, known bool) {
		if known && add.Type() == history.Fail {
			f.add("aborted", proof(r.Call, add), "%q is there, but adding it failed", e)
		}
	})
}

// early: nothing is there before somebody began to add it.
func (s *setState) early(f *findings) {
	s.members(func(r setRead, e string, add history.Call, known bool) {
		if known && r.Before(add) {
			f.add("early", proof(r.Call, add), "%q was there before it was added", e)
		}
	})
}

func (s *setState) members(visit func(r setRead, element string, add history.Call, known bool)) {
	for _, r := range s.reads {
		for _, e := range sorted(r.has) {
			add, known := s.adds[e]
			visit(r, e, add, known)
		}
	}
}

func (s *setState) duplicates(f *findings) {
	for _, r := range s.reads {
		seen := map[string]bool{}
		for _, e := range r.answer.Elements {
			if seen[e] {
				f.add("duplicate", r.Proof(), "%q is there twice", e)
			}
			seen[e] = true
		}
	}
}

func (s *setState) totals(f *findings) {
	for _, r := range s.reads {
		if total, n := r.answer.Total, len(r.answer.Elements); total != nil && *total != n {
			f.add("total", r.Proof(), "%s counts %d and shows %d", r.Return.Node, *total, n)
		}
	}
}

// agree: all final reads are the same.
func (s *setState) agree(f *findings) {
	final := slices.DeleteFunc(slices.Clone(s.reads), func(r setRead) bool { return !r.answer.Final })
	for i := 1; i < len(final); i++ {
		a, b := final[0], final[i]
		for _, e := range sorted(a.has) {
			if !b.has[e] {
				f.add("agree", proof(a.Call, b.Call), "%q is there at %s and not at %s", e, a.Return.Node, b.Return.Node)
			}
		}
		for _, e := range sorted(b.has) {
			if !a.has[e] {
				f.add("agree", proof(a.Call, b.Call), "%q is there at %s and not at %s", e, b.Return.Node, a.Return.Node)
			}
		}
	}
}
