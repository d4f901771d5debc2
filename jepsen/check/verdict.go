// Package check says whether a history keeps the promises.
//
// It holds one checker for each promise, and each checker is a list of named rules; All runs those that a history concerns. Every checker is
// a function of the history alone: same history, same verdict, whatever the machine (but for the search for an order of a register, which may
// run out of time, and says so). An anomaly names the operations that prove it. The package refuses to know how a history came about.
//
// What a promise is not about is no anomaly: a checker looks at the operations that bear its names, listed beside it, and at no others.
package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/history"
)

// Verdict is what a checker says of a history.
type Verdict struct {
	Checker string `json:"checker"`
	// Valid is false when an anomaly was found.
	Valid bool `json:"valid"`
	// Unknown says why the checker could not judge all of it; empty when it could. A run without a verdict has failed.
	Unknown string `json:"unknown,omitempty"`
	// Anomalies are the first few of each rule, Found how many there were in all.
	Anomalies []Anomaly      `json:"anomalies,omitempty"`
	Found     map[string]int `json:"found,omitempty"`
	// Counts says how much was looked at.
	Counts map[string]int `json:"counts"`
	// Pictures show anomalies to people.
	Pictures []Picture `json:"-"`
}

// Anomaly is one breach of a promise.
type Anomaly struct {
	Rule string `json:"rule"`
	What string `json:"what"`
	// Proof is the indexes of the operations that cannot all be true.
	Proof []int `json:"proof"`
}

// Picture is a page that stands for itself.
type Picture struct {
	// Name is a word for a file, without extension.
	Name string
	HTML []byte
}

// Passed says that the history was judged and found good.
func (v Verdict) Passed() bool { return v.Valid && v.Unknown == "" }

// String is one line for people.
func (v Verdict) String() string {
	var b strings.Builder
	switch {
	case !v.Valid:
		b.WriteString("INVALID ")
	case v.Unknown != "":
		b.WriteString("UNKNOWN ")
	default:
		b.WriteString("valid   ")
	}
	b.WriteString(v.Checker)
	for _, name := range sorted(v.Counts) {
		fmt.Fprintf(&b, " %s=%d", name, v.Counts[name])
	}
	for _, rule := range sorted(v.Found) {
		fmt.Fprintf(&b, " %s:%d", rule, v.Found[rule])
	}
	if v.Unknown != "" {
		b.WriteString(" (" + v.Unknown + ")")
	}
	return b.String()
}

const (
	// maxAnomalies is how many anomalies of one rule a verdict shows.
	maxAnomalies = 10
	// maxProof is how many operations it shows of each: the last ones, which contradict those before.
	maxProof = 64
)

// findings collects what the rules find.
type findings struct{ verdict Verdict }

// add notes an anomaly. The proof is put in order.
func (f *findings) add(rule string, proof []int, format string, args ...any) {
	f.verdict.Valid = false
	f.verdict.Found[rule]++
	if f.verdict.Found[rule] > maxAnomalies {
		return
	}
	proof = slices.Clone(proof)
	slices.Sort(proof)
	proof = slices.Compact(proof)
	proof = proof[max(0, len(proof)-maxProof):]
	f.verdict.Anomalies = append(f.verdict.Anomalies, Anomaly{Rule: rule, What: fmt.Sprintf(format, args...), Proof: proof})
}

// unknown notes why there is no verdict.
func (f *findings) unknown(format string, args ...any) {
	if f.verdict.Unknown == "" {
		f.verdict.Unknown = fmt.Sprintf(format, args...)
	}
}

// A rule is one thing that a checker demands. Those without a function change how the checker's last step looks at the history.
type rule[S any] struct {
	name string
	find func(state S, f *findings)
}

// checker reads what it needs of a history once and shows it to its rules.
type checker[S any] struct {
	name string
	// fs are the names of the operations that it is about.
	fs    []string
	read  func(ops []history.Op) (state S, counts map[string]int, err error)
	rules []rule[S]
	// last draws the conclusion from what the rules have put into the state; nil for none.
	last func(state S, on func(rule string) bool, f *findings)
}

// errNothing is returned for a history that leaves nothing to judge by.
var errNothing = errors.New("nothing to judge by")

// check judges a history. Rules that are named in without are left out: a test shows with it what each of them is there for.
func (c checker[S]) check(ops []history.Op, without ...string) Verdict {
	state, counts, err := c.read(ops)
	if err != nil {
		f := c.findings(counts)
		f.unknown("%v", err)
		return f.verdict
	}
	return c.judge(state, counts, without...)
}

// judge is check of what was read.
func (c checker[S]) judge(state S, counts map[string]int, without ...string) Verdict {
	f := c.findings(counts)
	on := func(name string) bool { return !slices.Contains(without, name) }
	for _, r := range c.rules {
		if r.find != nil && on(r.name) {
			r.find(state, f)
		}
	}
	if c.last != nil {
		c.last(state, on, f)
	}
	return f.verdict
}

func (c checker[S]) findings(counts map[string]int) *findings {
	if counts == nil {
		counts = map[string]int{}
	}
	return &findings{verdict: Verdict{Checker: c.name, Valid: true, Found: map[string]int{}, Counts: counts}}
}

// title, names and about let different checkers stand in one list.
func (c checker[S]) title() string { return c.name }

func (c checker[S]) names() []string {
	names := make([]string, 0, len(c.rules))
	for _, r := range c.rules {
		names = append(names, r.name)
	}
	return names
}

func (c checker[S]) about(ops []history.Op) bool {
	return slices.ContainsFunc(ops, func(o history.Op) bool { return slices.Contains(c.fs, o.F) })
}

// judge is a checker of any state.
type judge interface {
	title() string
	names() []string
	about(ops []history.Op) bool
	check(ops []history.Op, without ...string) Verdict
}

// judges are all checkers there are.
func judges(limits Limits) []judge {
	return []judge{
		registers(limits.Search), listAppend(), sets(), counters(), events(), sessions(), replicas(), graphs(), once(), progress(limits),
	}
}

// All asks every checker that the history concerns.
func All(ops []history.Op, limits Limits) []Verdict {
	var verdicts []Verdict
	for _, j := range judges(limits) {
		if j.about(ops) {
			verdicts = append(verdicts, j.check(ops))
		}
	}
	return verdicts
}

// named are the calls with one of the given names.
func named(ops []history.Op, fs ...string) []history.Call {
	return slices.DeleteFunc(history.Calls(ops), func(c history.Call) bool { return !slices.Contains(fs, c.Invoke.F) })
}

// reads are the answered calls of one name, with their answers.
func reads[A any](calls []history.Call, f string) ([]read[A], error) {
	var all []read[A]
	for _, c := range calls {
		if c.Invoke.F != f || c.Type() != history.OK {
			continue
		}
		r := read[A]{Call: c}
		if err := c.Return.Decode(&r.answer); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// read is an answered call with its answer.
type read[A any] struct {
	history.Call
	answer A
}

// proof is the lines of several calls.
func proof(calls ...history.Call) []int {
	var all []int
	for _, c := range calls {
		all = append(all, c.Proof()...)
	}
	return all
}
