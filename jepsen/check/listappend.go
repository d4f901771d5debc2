package check

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/history"
)

// ListAppend says whether transactions that append to lists and read them are strictly serializable. It reads operations named
// history.Transaction, whose value is a list of `["append", key, element]` and `["r", key, elements]`; keys and elements are any JSON, and no
// element is appended twice to a key. The order in which a list grew is that of its longest read; after the last element that anybody read
// come those whose append was acknowledged and that nobody read. From it follows what came before what, and nothing may come before itself.
// The method is Elle's (Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations", 2020).
func ListAppend(ops []history.Op) Verdict { return listAppend().check(ops) }

// Why one transaction came before another.
const (
	writeWrite = "ww"
	writeRead  = "wr"
	readWrite  = "rw"
	realTime   = "realtime"
)

func listAppend() checker[*lists] {
	return checker[*lists]{
		name: "list-append",
		fs:   []string{history.Transaction},
		read: readLists,
		rules: []rule[*lists]{
			{"unwritten", (*lists).unwritten},
			{"aborted-read", (*lists).abortedReads},
			{"intermediate-read", (*lists).intermediateReads},
			{"duplicate", (*lists).duplicates},
			{"incompatible-order", (*lists).incompatibleOrders},
			{"append-order", (*lists).appendOrders},
			{"internal", (*lists).internal},
			{writeWrite, (*lists).writeWrite},
			{writeRead, (*lists).writeRead},
			{readWrite, (*lists).readWrite},
			{"lost-append", (*lists).lostAppends},
			{realTime, (*lists).realTime},
		},
		last: (*lists).cycles,
	}
}

// cell is an element of a list, by numbers that stand for the JSON of key and element.
type cell struct{ key, element int }

// microOp is one step of a transaction.
type microOp struct {
	read    bool
	key     int
	element int
	// elements are what was read, if the transaction was answered.
	elements []int
}

type transaction struct {
	history.Call
	steps []microOp
}

// lists is a history of transactions, by number.
type lists struct {
	names        []string
	transactions []transaction
	writer       map[cell]int
	// longest is the longest read of each key.
	longest    map[int][]int
	precedence *precedence
}

func readLists(ops []history.Op) (*lists, map[string]int, error) {
	l := &lists{writer: map[cell]int{}, longest: map[int][]int{}}
	numbers := map[string]int{}
	number := func(raw json.RawMessage) int {
		name := string(raw)
		if _, known := numbers[name]; !known {
			numbers[name] = len(l.names)
			l.names = append(l.names, name)
		}
		return numbers[name]
	}
	answered := 0
	for _, c := range named(ops, history.Transaction) {
		value := c.Invoke
		if c.Type() == history.OK {
			value = c.Return
			answered++
		}
		steps, err := parseSteps(value, number)
		if err != nil {
			return nil, nil, err
		}
		l.transactions = append(l.transactions, transaction{c, steps})
	}
	counts := map[string]int{"transactions": len(l.transactions), "answered": answered}
	if answered == 0 {
		return nil, counts, errNothing
	}
	for n, t := range l.transactions {
		for _, s := range t.steps {
			switch {
			case s.read:
				if t.Type() == history.OK && len(s.elements) > len(l.longest[s.key]) {
					l.longest[s.key] = s.elements
				}
			default:
				at := cell{s.key, s.element}
				if _, twice := l.writer[at]; twice {
					return nil, counts, fmt.Errorf("operation %d appends %s to %s, which was appended before: elements must be unique", t.Begin(), l.names[s.element], l.names[s.key])
				}
				l.writer[at] = n
			}
		}
	}
	l.precedence = newPrecedence(len(l.transactions))
	return l, counts, nil
}

func parseSteps(o history.Op, number func(json.RawMessage) int) ([]microOp, error) {
	var raw [][]json.RawMessage
	if err := o.Decode(&raw); err != nil {
		return nil, err
	}
	steps := make([]microOp, 0, len(raw))
	for _, parts := range raw {
		if len(parts) != 3 {
			return nil, fmt.Errorf("operation %d: a micro-operation has %d parts, want 3", o.Index, len(parts))
		}
		s := microOp{key: number(parts[1])}
		switch name := string(parts[0]); name {
		case `"append"`:
			s.element = number(parts[2])
		case `"r"`:
			s.read = true
			var elements []json.RawMessage
			if err := json.Unmarshal(parts[2], &elements); err != nil {
				return nil, fmt.Errorf("operation %d reads %.100s, want a list: %w", o.Index, parts[2], err)
			}
			for _, e := range elements {
				s.elements = append(s.elements, number(e))
			}
		default:
			return nil, fmt.Errorf("operation %d: micro-operation %s, want append or r", o.Index, name)
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// everyRead visits each answered read with the number of its transaction and its place there.
func (l *lists) everyRead(visit func(n, at int, t transaction, s microOp)) {
	for n, t := range l.transactions {
		if t.Type() != history.OK {
			continue
		}
		for at, s := range t.steps {
			if s.read {
				visit(n, at, t, s)
			}
		}
	}
}

func (l *lists) unwritten(f *findings) {
	l.everyRead(func(_, _ int, t transaction, s microOp) {
		for _, e := range s.elements {
			if _, known := l.writer[cell{s.key, e}]; !known {
				f.add("unwritten", t.Proof(), "list %s has %s, which nobody appended", l.names[s.key], l.names[e])
			}
		}
	})
}

// abortedReads is G1a: what failed was read.
func (l *lists) abortedReads(f *findings) {
	l.everyRead(func(_, _ int, t transaction, s microOp) {
		for _, e := range s.elements {
			if w, known := l.writer[cell{s.key, e}]; known && l.transactions[w].Type() == history.Fail {
				f.add("aborted-read", proof(t.Call, l.transactions[w].Call), "list %s has %s, whose append failed", l.names[s.key], l.names[e])
			}
		}
	})
}

// last is what the transaction appended last to a list.
func (t transaction) last(key int) int {
	last := 0
	for _, s := range t.steps {
		if !s.read && s.key == key {
			last = s.element
		}
	}
	return last
}

// intermediateReads is G1b: a transaction was seen half done.
func (l *lists) intermediateReads(f *findings) {
	l.everyRead(func(n, _ int, t transaction, s microOp) {
		if len(s.elements) == 0 {
			return
		}
		e := s.elements[len(s.elements)-1]
		w, known := l.writer[cell{s.key, e}]
		if !known || w == n {
			return
		}
		last := l.transactions[w].last(s.key)
		if last != e {
			f.add("intermediate-read", proof(t.Call, l.transactions[w].Call), "list %s ends with %s, but the same transaction appended %s after it",
				l.names[s.key], l.names[e], l.names[last])
		}
	})
}

func (l *lists) duplicates(f *findings) {
	l.everyRead(func(_, _ int, t transaction, s microOp) {
		seen := make(map[int]bool, len(s.elements))
		for _, e := range s.elements {
			if seen[e] {
				f.add("duplicate", t.Proof(), "list %s has %s twice", l.names[s.key], l.names[e])
			}
			seen[e] = true
		}
	})
}

// incompatibleOrders: every read is the beginning of the longest.
func (l *lists) incompatibleOrders(f *findings) {
	l.everyRead(func(_, _ int, t transaction, s microOp) {
		longest := l.longest[s.key]
		if !slices.Equal(s.elements, longest[:len(s.elements)]) {
			f.add("incompatible-order", t.Proof(), "list %s reads %s here and %s elsewhere", l.names[s.key], l.list(s.elements), l.list(longest))
		}
	})
}

// appendOrders: what one transaction appended stands in the list in the order in which it did.
func (l *lists) appendOrders(f *findings) {
	place := map[cell]int{}
	for key, list := range l.longest {
		for at, e := range list {
			place[cell{key, e}] = at
		}
	}
	for _, t := range l.transactions {
		before := map[int]int{}
		for _, s := range t.steps {
			at, there := place[cell{s.key, s.element}]
			if s.read || !there {
				continue
			}
			if at < before[s.key] {
				f.add("append-order", t.Proof(), "list %s has %s before what the same transaction appended first: %s",
					l.names[s.key], l.names[s.element], l.list(l.longest[s.key]))
			}
			before[s.key] = at
		}
	}
}

// internal: a transaction sees what it read and appended before.
func (l *lists) internal(f *findings) {
	for _, t := range l.transactions {
		if t.Type() != history.OK {
			continue
		}
		read := map[int]bool{}
		expect := map[int][]int{} // the whole list once it was read, and its end before that
		for _, s := range t.steps {
			want := expect[s.key]
			switch {
			case !s.read:
				expect[s.key] = append(slices.Clip(want), s.element)
				continue
			case read[s.key] && !slices.Equal(s.elements, want),
				!read[s.key] && !endsWith(s.elements, want):
				f.add("internal", t.Proof(), "list %s reads %s in a transaction that must see %s", l.names[s.key], l.list(s.elements), l.list(want))
			}
			read[s.key], expect[s.key] = true, s.elements
		}
	}
}

func endsWith(list, end []int) bool {
	return len(list) >= len(end) && slices.Equal(list[len(list)-len(end):], end)
}

// writeWrite: appends came in the order of the list.
func (l *lists) writeWrite(*findings) {
	for _, key := range sorted(l.longest) {
		list := l.longest[key]
		for i := 1; i < len(list); i++ {
			l.before(cell{key, list[i-1]}, cell{key, list[i]}, writeWrite)
		}
	}
}

// before adds that the append of one element came before that of another.
func (l *lists) before(a, b cell, why string) {
	from, known := l.writer[a]
	to, too := l.writer[b]
	if known && too {
		l.add(from, to, why)
	}
}

// add leaves out what failed: it is nowhere in the order.
func (l *lists) add(from, to int, why string) {
	if l.transactions[from].Type() != history.Fail && l.transactions[to].Type() != history.Fail {
		l.precedence.add(from, to, why)
	}
}

// firstReads visits the reads that show a list as it was before the transaction: its first step on that key.
func (l *lists) firstReads(visit func(n int, s microOp)) {
	l.everyRead(func(n, at int, t transaction, s microOp) {
		if !slices.ContainsFunc(t.steps[:at], func(before microOp) bool { return before.key == s.key }) {
			visit(n, s)
		}
	})
}

// writeRead: what was read had been appended.
func (l *lists) writeRead(*findings) {
	l.firstReads(func(n int, s microOp) {
		if len(s.elements) == 0 {
			return
		}
		if w, known := l.writer[cell{s.key, s.elements[len(s.elements)-1]}]; known {
			l.add(w, n, writeRead)
		}
	})
}

// readWrite: what was not read had not been appended.
func (l *lists) readWrite(*findings) {
	l.firstReads(func(n int, s microOp) {
		longest := l.longest[s.key]
		if len(s.elements) >= len(longest) {
			return
		}
		if w, known := l.writer[cell{s.key, longest[len(s.elements)]}]; known {
			l.add(n, w, readWrite)
		}
	})
}

// lostAppends: what was acknowledged and never read came after everything that was read.
func (l *lists) lostAppends(*findings) {
	unread := l.unread()
	for _, key := range sorted(unread) {
		list := l.longest[key]
		if len(list) == 0 {
			continue
		}
		if w, known := l.writer[cell{key, list[len(list)-1]}]; known {
			for _, n := range unread[key] {
				l.add(w, n, writeWrite)
			}
		}
	}
	l.firstReads(func(n int, s microOp) {
		if len(s.elements) == len(l.longest[s.key]) {
			for _, w := range unread[s.key] {
				l.add(n, w, readWrite)
			}
		}
	})
}

// unread are the transactions of which it is known that they appended something to a key that nobody read, by key. It is known of those that
// were acknowledged, and of those whose other appends were read.
func (l *lists) unread() map[int][]int {
	wasRead := map[cell]bool{}
	happened := map[int]bool{}
	halfway := map[cell]bool{} // by key and transaction: what was read ends in the middle of it
	for _, key := range sorted(l.longest) {
		list := l.longest[key]
		for _, e := range list {
			wasRead[cell{key, e}] = true
			if w, known := l.writer[cell{key, e}]; known {
				happened[w] = true
			}
		}
		if len(list) == 0 {
			continue
		}
		last := list[len(list)-1]
		if w, known := l.writer[cell{key, last}]; known {
			halfway[cell{key, w}] = l.transactions[w].last(key) != last
		}
	}
	unread := map[int][]int{}
	for n, t := range l.transactions {
		for _, s := range t.steps {
			if s.read || wasRead[cell{s.key, s.element}] {
				continue
			}
			// What was read up to the middle of a transaction is intermediateReads' business.
			if t.Type() == history.OK || happened[n] && !halfway[cell{s.key, n}] {
				unread[s.key] = append(unread[s.key], n)
			}
		}
	}
	return unread
}

// realTime: a transaction that had ended came before those that began after it. Only the newest of those that had ended are linked: what
// ended before one of them began is linked through it.
func (l *lists) realTime(*findings) {
	type end struct {
		at    int
		begin bool
		n     int
	}
	var ends []end
	for n, t := range l.transactions {
		ends = append(ends, end{t.Begin(), true, n})
		if t.Type() == history.OK {
			ends = append(ends, end{t.End(), false, n})
		}
	}
	slices.SortFunc(ends, func(a, b end) int { return a.at - b.at })
	var newest []int
	for _, e := range ends {
		if e.begin {
			for _, before := range newest {
				l.add(before, e.n, realTime)
			}
			continue
		}
		begin := l.transactions[e.n].Begin()
		newest = slices.DeleteFunc(newest, func(n int) bool { return l.transactions[n].End() < begin })
		newest = append(newest, e.n)
	}
}

// cycles looks for transactions that come before themselves.
func (l *lists) cycles(_ func(string) bool, f *findings) {
	for _, component := range l.precedence.components() {
		way := l.precedence.cycle(component)
		var calls []history.Call
		var said strings.Builder
		for _, s := range way {
			calls = append(calls, l.transactions[s.from].Call)
			fmt.Fprintf(&said, "%d %s ", l.transactions[s.from].Begin(), s.why)
		}
		f.add(class(way), proof(calls...), "operations before each other: %s%d (among %d that are)", said.String(), calls[0].Begin(), len(component))
	}
}

// class is the name of a cycle in Adya's "Weak Consistency", 1999, as Elle extends it.
func class(way []step) string {
	count := map[string]int{}
	for _, s := range way {
		count[s.why]++
	}
	name := "G2"
	switch {
	case count[readWrite] == 0 && count[writeRead] == 0:
		name = "G0"
	case count[readWrite] == 0:
		name = "G1c"
	case count[readWrite] == 1:
		name = "G-single"
	}
	if count[realTime] > 0 {
		name += "-realtime"
	}
	return name
}

func (l *lists) list(elements []int) string {
	names := make([]string, 0, len(elements))
	for _, e := range elements {
		names = append(names, l.names[e])
	}
	return "[" + strings.Join(names, " ") + "]"
}
