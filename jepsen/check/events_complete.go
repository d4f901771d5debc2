package check

import (
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/history"
)

// subject is what an event tells of: that something happened to a record.
type subject struct{ kind, about string }

// complete: every acknowledged change has its events, at its revision. It is judged by the streams that ask for everything and have come so far.
func (s *feedState) complete(f *findings) {
	told := map[uint64]map[subject]bool{}
	for _, e := range s.all {
		at := e.revision()
		if told[at] == nil {
			told[at] = map[subject]bool{}
		}
		told[at][subject{e.Type, e.About}] = true
	}
	covered := s.covered()
	for _, w := range s.writes {
		revision := w.Return.Revision
		if w.Type() != history.OK || !covered(revision) {
			continue
		}
		for _, e := range w.makes {
			if !told[revision][subject{e.Type, e.About}] {
				f.add("complete", w.Proof(), "nobody was told %s of %s, acknowledged at revision %d", e.Type, e.About, revision)
			}
		}
	}
}

// covered says of a revision whether a stream without filter has come past it.
func (s *feedState) covered() func(revision uint64) bool {
	type span struct{ from, to uint64 } // after from, up to and with to
	var spans []span
	for _, st := range s.streams {
		if st.asked.Session != "" || len(st.asked.Types) != 0 {
			continue
		}
		from := st.answer.Opened
		switch {
		case st.asked.After != "":
			after, err := revisionOf(st.asked.After)
			if err != nil || after == 0 {
				continue
			}
			from = after - 1 // whoever knows an event was told what came before it in its commit
		case st.asked.FromBeginning:
			from = 0
		}
		var to uint64
		for _, e := range st.answer.Events {
			to = max(to, e.revision()-1)
		}
		for _, m := range st.answer.Marks {
			to = max(to, m.Revision)
		}
		spans = append(spans, span{from, to})
	}
	return func(revision uint64) bool {
		for _, s := range spans {
			if s.from < revision && revision <= s.to {
				return true
			}
		}
		return false
	}
}

// beyond: a change that no stream has come to cannot be judged. The last thing a run does is to wait for marks.
func (s *feedState) beyond(on func(string) bool, f *findings) {
	if !on("complete") {
		return
	}
	covered := s.covered()
	n := 0
	for _, w := range s.writes {
		if w.Type() == history.OK && !covered(w.Return.Revision) {
			n++
		}
	}
	if n > 0 {
		f.unknown("%d acknowledged changes lie beyond what any stream of all events was told", n)
	}
}

// aborted: what failed is not told.
func (s *feedState) aborted(f *findings) {
	failed := map[subject][]history.Call{}
	possible := map[subject]bool{}
	for _, w := range s.writes {
		for _, e := range w.makes {
			what := subject{e.Type, e.About}
			failed[what] = append(failed[what], w.Call)
			possible[what] = possible[what] || w.Type() != history.Fail
		}
	}
	for _, e := range s.all {
		what := subject{e.Type, e.About}
		if calls := failed[what]; len(calls) > 0 && !possible[what] {
			f.add("aborted", append(proof(calls...), s.told[e.ID].Proof()...), "%s tells %s of %s, which failed", e.ID, e.Type, e.About)
		}
	}
}
