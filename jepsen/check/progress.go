package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/history"
)

// What the nemesis does. An injection is invoke, before anything is done, and ok when the fault was proven to be in force, or fail; a healing
// likewise. Between the invoke of the one and the ok of the other the fault is on.
const (
	NemesisInject = "inject"
	NemesisHeal   = "heal"
)

// NemesisFault is the value of these operations.
type NemesisFault struct {
	// Fault is its name; one of a name is on at a time.
	Fault string `json:"fault"`
	// Detail is for people.
	Detail string `json:"detail,omitempty"`
	// NoMajority says that with it no majority of the voters is alive and connected, so that nothing can be written.
	NoMajority bool `json:"no_majority,omitempty"`
}

// Limits are what a run allows.
type Limits struct {
	// Search bounds the search for an order of one record's operations.
	Search time.Duration
	// Resume is how long after the last fault was healed a write is acknowledged again at the latest.
	Resume time.Duration
	// Election is how long a change of the cluster, an injection or a healing, may stop the writes.
	Election time.Duration
	// Window is how long the windows are of which a share of Share, from 0 to 1, must have an acknowledged write.
	Window time.Duration
	Share  float64
}

// DefaultLimits are those for clusters with the timeouts of a local network.
func DefaultLimits() Limits {
	return Limits{Search: time.Minute, Resume: 10 * time.Second, Election: 3 * time.Second, Window: time.Second, Share: 0.999}
}

// Progress says whether the cluster is available when it can be, and comes back when it can. It reads the nemesis and every write of the
// history, and takes it that clients want to write all the time, until the last of them does.
func Progress(ops []history.Op, limits Limits) Verdict { return progress(limits).check(ops) }

func progress(limits Limits) checker[*progressState] {
	return checker[*progressState]{
		name: "progress",
		fs:   []string{NemesisInject, NemesisHeal},
		read: func(ops []history.Op) (*progressState, map[string]int, error) { return readProgress(ops, limits) },
		rules: []rule[*progressState]{
			{"resume", (*progressState).resume},
			{"share", (*progressState).share},
			{"in-force", (*progressState).inForce},
			{"unhealed", (*progressState).unhealed},
		},
	}
}

// isWriteName says which operations change something when they are acknowledged.
func isWriteName(f string) bool {
	return slices.Contains([]string{
		RegisterWrite, RegisterCreate, RegisterUpdate, RegisterCAS, RegisterDelete, SetAdd, CountAdd, FeedWrite, SessionWrite, GraphAdd, GraphDelete, OnceSend,
	}, f)
}

// appends says whether a transaction appends something.
func appends(o history.Op) bool {
	var steps [][]any
	return o.F == history.Transaction && o.Decode(&steps) == nil &&
		slices.ContainsFunc(steps, func(s []any) bool { return len(s) > 0 && s[0] == "append" })
}

type progressState struct {
	limits Limits
	faults []nemesisOp
	// writes are the acknowledgements, in order.
	writes []history.Op
	// from is the first of them, to the last time at which anybody wrote or tried to.
	from, to time.Duration
}

type nemesisOp struct {
	history.Op
	fault NemesisFault
}

// span is a time of the run.
type span struct{ from, to time.Duration }

func readProgress(ops []history.Op, limits Limits) (*progressState, map[string]int, error) {
	s := &progressState{limits: limits}
	for _, o := range ops {
		switch {
		case o.Process == history.Nemesis && (o.F == NemesisInject || o.F == NemesisHeal):
			n := nemesisOp{Op: o}
			if err := o.Decode(&n.fault); err != nil {
				return nil, nil, err
			}
			s.faults = append(s.faults, n)
		case o.Process != history.Nemesis && (isWriteName(o.F) || appends(o)):
			s.to = o.Time
			if o.Type == history.OK {
				s.writes = append(s.writes, o)
			}
		}
	}
	counts := map[string]int{"writes": len(s.writes), "nemesis": len(s.faults)}
	if len(s.writes) == 0 {
		return nil, counts, fmt.Errorf("%w: no write was acknowledged", errNothing)
	}
	s.from = s.writes[0].Time
	counts["healed"] = len(s.quiet())
	counts["windows"], counts["written"], _ = s.windows()
	return s, counts, nil
}

// quiet are the spans without any fault, each with the operation that began it.
func (s *progressState) quiet() []quietSpan {
	var all []quietSpan
	on := map[string]bool{}
	var now *quietSpan
	for _, n := range s.faults {
		switch {
		case n.F == NemesisInject && n.Type == history.Invoke:
			on[n.fault.Fault] = true
			if now != nil {
				now.to = n.Time
				all = append(all, *now)
				now = nil
			}
		case n.F == NemesisInject && n.Type == history.Fail, n.F == NemesisHeal && n.Type == history.OK:
			was := len(on)
			delete(on, n.fault.Fault)
			if was > 0 && len(on) == 0 {
				now = &quietSpan{healed: n, span: span{n.Time, s.to}}
			}
		}
	}
	if now != nil {
		all = append(all, *now)
	}
	return all
}

type quietSpan struct {
	healed nemesisOp
	span
}

// resume: when all faults are healed, writes are acknowledged again soon. A span that is shorter than that says nothing.
func (s *progressState) resume(f *findings) {
	for _, q := range s.quiet() {
		if q.to-q.from < s.limits.Resume {
			continue
		}
		next, found := s.next(q.from)
		if !found || next.Time-q.from > s.limits.Resume {
			lines := []int{q.healed.Index}
			said := "none was to the end"
			if found {
				lines = append(lines, next.Index)
				said = fmt.Sprintf("the next was after %v", next.Time-q.from)
			}
			f.add("resume", lines, "no write was acknowledged for %v after %q was healed: %s", s.limits.Resume, q.healed.fault.Fault, said)
		}
	}
}

// next is the first acknowledgement not before a time.
func (s *progressState) next(from time.Duration) (history.Op, bool) {
	at, _ := slices.BinarySearchFunc(s.writes, from, func(o history.Op, t time.Duration) int { return int(o.Time - t) })
	if at == len(s.writes) {
		return history.Op{}, false
	}
	return s.writes[at], true
}

// excused are the spans in which nothing needs to be written: after every change of the cluster, and without a majority.
func (s *progressState) excused() []span {
	var spans []span
	down := map[string]time.Duration{}
	for _, n := range s.faults {
		spans = append(spans, span{n.Time, n.Time + s.limits.Election})
		if !n.fault.NoMajority {
			continue
		}
		began, on := down[n.fault.Fault]
		switch {
		case n.F == NemesisInject && n.Type == history.Invoke:
			down[n.fault.Fault] = n.Time
		case on && (n.F == NemesisInject && n.Type == history.Fail || n.F == NemesisHeal && n.Type == history.OK):
			spans = append(spans, span{began, n.Time + s.limits.Election})
			delete(down, n.fault.Fault)
		}
	}
	for _, fault := range sorted(down) {
		spans = append(spans, span{down[fault], s.to})
	}
	return spans
}

// windows counts those that are not excused, and of them those with an acknowledgement; empty are the first few others.
func (s *progressState) windows() (all, written int, empty []span) {
	excused := s.excused()
	for w := (span{s.from, s.from + s.limits.Window}); w.to <= s.to; w = (span{w.to, w.to + s.limits.Window}) {
		if slices.ContainsFunc(excused, func(e span) bool { return e.from < w.to && w.from < e.to }) {
			continue
		}
		all++
		if next, found := s.next(w.from); found && next.Time < w.to {
			written++
		} else if len(empty) < maxAnomalies {
			empty = append(empty, w)
		}
	}
	return all, written, empty
}

// share: while a majority is connected and nothing was changed just now, writes are acknowledged all the time.
func (s *progressState) share(f *findings) {
	all, written, empty := s.windows()
	if all == 0 || float64(written)/float64(all) >= s.limits.Share {
		return
	}
	var lines []int
	for _, w := range empty {
		if next, found := s.next(w.from); found {
			lines = append(lines, next.Index)
		}
	}
	f.add("share", lines, "only %d of %d windows of %v have an acknowledged write, among those without at %v", written, all, s.limits.Window, empty[0].from)
}

// inForce: a fault that was not proven to be in force has tested nothing.
func (s *progressState) inForce(f *findings) {
	for _, n := range s.faults {
		if n.F == NemesisInject && n.Type != history.Invoke && n.Type != history.OK {
			f.unknown("operation %d: %q was not in force, so nothing was tested: %s %s", n.Index, n.fault.Fault, n.fault.Detail, n.Error)
		}
	}
}

// unhealed: a run ends with a cluster that is well.
func (s *progressState) unhealed(f *findings) {
	on := map[string]int{}
	for _, n := range s.faults {
		switch {
		case n.F == NemesisInject && n.Type == history.Invoke:
			on[n.fault.Fault] = n.Index
		case n.F == NemesisInject && n.Type == history.Fail, n.F == NemesisHeal && n.Type == history.OK:
			delete(on, n.fault.Fault)
		}
	}
	for _, fault := range sorted(on) {
		f.add("unhealed", []int{on[fault]}, "%q was never healed", fault)
	}
}
