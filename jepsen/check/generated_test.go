package check

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/history"
)

// store keeps lists as a database would, and every state that they were in. With faults it does what a bad one does.
type store struct {
	random *rand.Rand
	states []map[string][]int
	// fault is the chance that a step of a transaction goes wrong.
	fault float64
}

type listStep struct {
	read    bool
	key     string
	element int
	list    []int
}

func (s listStep) MarshalJSON() ([]byte, error) {
	if s.read {
		return json.Marshal([]any{"r", s.key, s.list})
	}
	return json.Marshal([]any{"append", s.key, s.element})
}

// apply executes a transaction at once, and fills in what it reads.
func (d *store) apply(steps []listStep) {
	last := d.states[len(d.states)-1]
	now := last
	if d.fault > 0 { // or else nobody looks at what was
		now = maps.Clone(last)
		d.states = append(d.states, now)
	}
	for i := range steps {
		s := &steps[i]
		wrong := d.random.Float64() < d.fault
		switch {
		case s.read && wrong:
			s.list = d.states[d.random.IntN(len(d.states))][s.key]
		case s.read:
			s.list = now[s.key]
		case wrong && len(now[s.key]) > 0 && d.random.IntN(2) == 0: // in the wrong place
			l := now[s.key]
			now[s.key] = slices.Insert(slices.Clone(l), d.random.IntN(len(l)), s.element)
		case wrong: // lost
		default:
			now[s.key] = append(slices.Clip(now[s.key]), s.element)
		}
		if s.read && s.list == nil {
			s.list = []int{}
		}
	}
}

// generated is how a history is made up.
type generated struct {
	seed                uint64
	transactions, steps int
	clients, keys       int
	// perKey is after how many transactions other keys are used; 0 for never.
	perKey int
	// fail and info are the chances of those outcomes.
	fail, info, fault float64
}

// history runs clients against a store, in turns that chance decides, and reads every key at the end.
func (g generated) history(t *testing.T) []history.Op {
	t.Helper()
	random := rand.New(rand.NewPCG(g.seed, 7))
	d := &store{random: random, states: []map[string][]int{{}}, fault: g.fault}
	type client struct {
		process history.Process
		steps   []listStep
		open    bool
		applied bool
		outcome history.Type
	}
	clients := make([]client, g.clients)
	processes := history.Process(0)
	for i := range clients {
		clients[i].process = processes
		processes++
	}
	var ops []history.Op
	add := func(kind history.Type, c *client) {
		value, err := json.Marshal(c.steps)
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, history.Op{Index: len(ops), Time: time.Duration(len(ops)), Type: kind, Process: c.process, F: history.Transaction, Value: value})
	}
	begun, element := 0, 0
	begin := func(c *client) {
		c.steps, c.open, c.applied = nil, true, false
		for range 1 + random.IntN(g.steps) {
			generation := 0
			if g.perKey > 0 {
				generation = begun / g.perKey
			}
			s := listStep{key: fmt.Sprintf("%d-%d", generation, random.IntN(g.keys)), read: random.IntN(2) == 0}
			if !s.read {
				element++
				s.element = element
			}
			c.steps = append(c.steps, s)
		}
		switch x := random.Float64(); {
		case x < g.fail:
			c.outcome = history.Fail
		case x < g.fail+g.info:
			c.outcome = history.Info
		default:
			c.outcome = history.OK
		}
		begun++
		add(history.Invoke, c)
	}
	// turn lets a client go on; false when it has nothing to do any more.
	turn := func(c *client) bool {
		switch {
		case !c.open && begun == g.transactions:
			return false
		case !c.open:
			begin(c)
		case !c.applied:
			c.applied = true
			if c.outcome == history.OK || c.outcome == history.Info && random.IntN(2) == 0 {
				d.apply(c.steps)
			}
		default:
			c.open = false
			add(c.outcome, c)
			if c.outcome == history.Info {
				c.process = processes
				processes++
			}
		}
		return true
	}
	for busy := true; busy; {
		busy = false
		for range clients {
			busy = turn(&clients[random.IntN(len(clients))]) || busy
		}
		if !busy { // chance may have passed over somebody
			for i := range clients {
				busy = turn(&clients[i]) || busy
			}
		}
	}
	last := &client{process: processes}
	for _, key := range sorted(d.states[len(d.states)-1]) {
		last.steps = append(last.steps, listStep{read: true, key: key, list: []int{}})
	}
	add(history.Invoke, last)
	g.fault, d.fault = 0, 0
	d.apply(last.steps)
	add(history.OK, last)
	return ops
}

// TestManyTransactionsAreJudged: a large history that is good passes, and one stale read in it is found.
func TestManyTransactionsAreJudged(t *testing.T) {
	const n = 20_000 / everyNth
	good := generated{seed: 1, transactions: n, steps: 4, clients: 20, keys: 5, perKey: 500, fail: 0.05, info: 0.05}
	ops := good.history(t)
	v := ListAppend(ops)
	if !v.Passed() || v.Counts["transactions"] != n+1 {
		t.Errorf("%v %+v", v, v.Anomalies)
	}
	if v := ListAppend(stale(t, ops)); v.Valid {
		t.Errorf("%v, though a read in the middle is stale", v)
	}
}

// stale takes the last element out of the first read in the second half that has one whose append was acknowledged long before.
func stale(t *testing.T, ops []history.Op) []history.Op {
	t.Helper()
	acknowledged := map[string]bool{}
	for i, o := range ops {
		if o.Type != history.OK {
			continue
		}
		var steps [][]any
		if err := o.Decode(&steps); err != nil {
			t.Fatal(err)
		}
		for n, s := range steps {
			if s[0] == "append" {
				acknowledged[fmt.Sprint(s[1], s[2])] = true
				continue
			}
			list := s[2].([]any)
			first := !slices.ContainsFunc(steps[:n], func(before []any) bool { return before[1] == s[1] })
			begun := slices.ContainsFunc(ops[i-1:i], func(b history.Op) bool { return b.Type == history.Invoke && b.Process == o.Process })
			if i < len(ops)/2 || len(list) == 0 || !first || !begun || !acknowledged[fmt.Sprint(s[1], list[len(list)-1])] {
				continue
			}
			s[2] = list[:len(list)-1]
			value, err := json.Marshal(steps)
			if err != nil {
				t.Fatal(err)
			}
			bad := slices.Clone(ops)
			bad[i].Value = value
			return bad
		}
	}
	t.Fatal("the history has no read that could be made stale")
	return nil
}

// TestListAppendAgainstEveryOrder: on small histories whose lists were all read at the end, the verdict is that of trying every order.
func TestListAppendAgainstEveryOrder(t *testing.T) {
	count := map[bool]int{}
	for seed := range uint64(4000 / everyNth) {
		g := generated{seed: seed, transactions: 3 + int(seed%3), steps: 3, clients: 3, keys: 2, fail: 0.1, info: 0.15}
		if seed%4 != 0 {
			g.fault = 0.15
		}
		ops := g.history(t)
		want := someOrderFits(t, ops)
		v := ListAppend(ops)
		count[want]++
		if v.Valid != want || v.Unknown != "" {
			t.Errorf("seed %d: %v, but that an order fits is %v: %+v", seed, v, want, v.Anomalies)
			for _, o := range ops {
				t.Logf("%d %s %d %s", o.Index, o.Type, o.Process, o.Value)
			}
			if t.Failed() && count[want] > 3 {
				return
			}
		}
	}
	t.Logf("%d histories with an order, %d without", count[true], count[false])
	if count[true] == 0 || count[false] == 0 {
		t.Error("all histories are of one kind")
	}
}

// attempt is a transaction of a small history.
type attempt struct {
	history.Call
	steps [][]json.RawMessage
}

// someOrderFits tries every order of the transactions that were acknowledged and any of those whose outcome is unknown.
func someOrderFits(t *testing.T, ops []history.Op) bool {
	t.Helper()
	var all []attempt
	for _, c := range history.Calls(ops) {
		if c.Type() == history.Fail {
			continue
		}
		a := attempt{Call: c}
		value := c.Invoke
		if c.Type() == history.OK {
			value = c.Return
		}
		if err := value.Decode(&a.steps); err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	return fits(all, make([]bool, len(all)), map[string][]string{})
}

func fits(all []attempt, placed []bool, state map[string][]string) bool {
	left := false
	for i, a := range all {
		left = left || !placed[i] && a.Type() == history.OK
	}
	if !left {
		return true
	}
	for i, a := range all {
		if placed[i] || mustWait(all, placed, a) {
			continue
		}
		if next, ok := execute(a, state); ok {
			placed[i] = true
			if fits(all, placed, next) {
				return true
			}
			placed[i] = false
		}
	}
	return false
}

// mustWait says whether something that is not placed yet had ended when a transaction began.
func mustWait(all []attempt, placed []bool, a attempt) bool {
	for i, b := range all {
		if !placed[i] && b.Before(a.Call) {
			return true
		}
	}
	return false
}

func execute(a attempt, state map[string][]string) (map[string][]string, bool) {
	next := make(map[string][]string, len(state))
	for k, l := range state {
		next[k] = l
	}
	for _, s := range a.steps {
		key := string(s[1])
		if string(s[0]) == `"append"` {
			next[key] = append(slices.Clip(next[key]), string(s[2]))
			continue
		}
		if a.Type() != history.OK {
			continue
		}
		var list []json.RawMessage
		if json.Unmarshal(s[2], &list) != nil || len(list) != len(next[key]) {
			return nil, false
		}
		for i, e := range list {
			if string(e) != next[key][i] {
				return nil, false
			}
		}
	}
	return next, true
}

// TestManyReadsAndWritesAreJudged: many operations on many records, some of them without a known outcome, are judged, and one stale read is found.
func TestManyReadsAndWritesAreJudged(t *testing.T) {
	const n, keys = 2_000 / everyNth * 10, 100
	random := rand.New(rand.NewPCG(3, 7))
	values := map[string]*string{}
	var ops []history.Op
	processes := history.Process(10)
	add := func(kind history.Type, p history.Process, f string, r Register) {
		value, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, history.Op{Index: len(ops), Type: kind, Process: p, F: f, Value: value})
	}
	for i := 0; i < n; i += 10 {
		// Ten clients begin, each call takes effect in some order, then all end.
		order := random.Perm(10)
		type call struct {
			f      string
			r      Register
			client history.Process
		}
		calls := make([]call, 10)
		for c := range calls {
			v := fmt.Sprint(i + c)
			calls[c] = call{RegisterRead, Register{Key: fmt.Sprint(random.IntN(keys))}, history.Process(c)}
			if random.IntN(2) == 0 {
				calls[c].f, calls[c].r.Value = RegisterWrite, &v
			}
			if calls[c].f == RegisterWrite && random.IntN(50) == 0 {
				calls[c].client = processes
				processes++
			}
			add(history.Invoke, calls[c].client, calls[c].f, calls[c].r)
		}
		for _, c := range order {
			k := &calls[c]
			switch {
			case k.f == RegisterRead:
				k.r.Value = values[k.r.Key]
			case k.client < 10 || random.IntN(2) == 0:
				values[k.r.Key] = k.r.Value
			}
		}
		for _, k := range calls {
			kind := history.OK
			if k.client >= 10 {
				kind = history.Info
			}
			add(kind, k.client, k.f, k.r)
		}
	}
	if v := Registers(ops, 5*time.Minute); !v.Passed() || v.Counts["operations"] != n {
		t.Errorf("%v", v)
	}
	never := "never written"
	for i := len(ops) / 2; i < len(ops); i++ {
		if ops[i].Type == history.OK && ops[i].F == RegisterRead {
			var r Register
			if err := ops[i].Decode(&r); err != nil {
				t.Fatal(err)
			}
			r.Value = &never
			value, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			ops[i].Value = value
			break
		}
	}
	if v := Registers(ops, 5*time.Minute); v.Found["linearizable"] != 1 {
		t.Errorf("%v, though a read answers with what nobody wrote", v)
	}
}
