package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/history"
)

// Operations on records that many clients write: a record is absent, before it is made and after it was deleted, or has one value.
const (
	RegisterRead = "read"
	// RegisterWrite sets the value whatever is there.
	RegisterWrite = "write"
	// RegisterCreate makes what is not there; refused with ALREADY_EXISTS.
	RegisterCreate = "create"
	// RegisterUpdate sets what is there; refused with NOT_FOUND.
	RegisterUpdate = "update"
	// RegisterCAS sets what has the value From; refused with NOT_FOUND, and with ABORTED when it has another.
	RegisterCAS = "cas"
	// RegisterDelete takes away what is there; refused with NOT_FOUND.
	RegisterDelete = "delete"
)

// Register is the value of these operations. A read answers with the value, or null where nothing is.
type Register struct {
	Key   string  `json:"key"`
	Value *string `json:"value"`
	From  string  `json:"from,omitempty"`
}

// Registers says whether each record behaves as one copy that is read and written at once: linearizability. The search for an order may
// take search for each record, and is without a verdict then.
func Registers(ops []history.Op, search time.Duration) Verdict { return registers(search).check(ops) }

// The rules are the clauses of the model: what each answer says about the record at that moment.
const (
	answeredRead  = "read"
	createdNew    = "create"
	createRefused = "create-refused"
	changedThere  = "change"
	changeRefused = "change-refused"
	swapped       = "cas"
	swapRefused   = "cas-refused"
)

func registers(search time.Duration) checker[*registerState] {
	return checker[*registerState]{
		name: "register",
		fs:   []string{RegisterRead, RegisterWrite, RegisterCreate, RegisterUpdate, RegisterCAS, RegisterDelete},
		read: readRegisters,
		rules: []rule[*registerState]{
			{name: answeredRead}, {name: createdNew}, {name: createRefused}, {name: changedThere}, {name: changeRefused}, {name: swapped}, {name: swapRefused},
		},
		last: func(s *registerState, on func(string) bool, f *findings) { s.search(search, on, f) },
	}
}

// registerState is the operations on each record.
type registerState struct {
	calls map[string][]porcupine.Operation
}

// registerInput is an operation, registerOutput its answer, registerValue what is there: comparable, as porcupine likes it.
type registerInput struct{ f, value, from string }

type registerOutput struct {
	answer registerAnswer
	value  registerValue
}

type registerAnswer int

const (
	done registerAnswer = iota
	refusedThere
	refusedAbsent
	refusedOther
	// unlearned is a call that takes effect later, if its condition holds then, or never.
	unlearned
)

type registerValue struct {
	there bool
	value string
}

func readRegisters(ops []history.Op) (*registerState, map[string]int, error) {
	s := &registerState{calls: map[string][]porcupine.Operation{}}
	counts := map[string]int{}
	for _, c := range named(ops, registers(0).fs...) {
		var sent, got Register
		if err := c.Invoke.Decode(&sent); err != nil {
			return nil, counts, err
		}
		if err := c.Return.Decode(&got); err != nil {
			return nil, counts, err
		}
		answer, tells := registerAnswerOf(c)
		if !tells {
			continue
		}
		o := porcupine.Operation{
			ClientId: int(c.Invoke.Process), Call: int64(c.Begin()), Return: int64(c.End()), Metadata: c,
			Input:  registerInput{f: c.Invoke.F, value: text(sent.Value), from: sent.From},
			Output: registerOutput{answer: answer, value: registerValue{got.Value != nil, text(got.Value)}},
		}
		s.calls[sent.Key] = append(s.calls[sent.Key], o)
		counts["operations"]++
	}
	counts["keys"] = len(s.calls)
	if counts["operations"] == 0 {
		return nil, counts, errNothing
	}
	return s, counts, nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// registerAnswerOf says what an answer tells of the record; false when it tells nothing, because nothing happened.
func registerAnswerOf(c history.Call) (registerAnswer, bool) {
	switch t := c.Type(); {
	case t == history.OK:
		return done, true
	case c.Invoke.F == RegisterRead:
		return 0, false
	case t == history.Info:
		return unlearned, true
	}
	switch code, f := c.Return.Code(), c.Invoke.F; {
	case code == "ALREADY_EXISTS" && f == RegisterCreate:
		return refusedThere, true
	case code == "NOT_FOUND" && (f == RegisterUpdate || f == RegisterCAS || f == RegisterDelete):
		return refusedAbsent, true
	case code == "ABORTED" && f == RegisterCAS:
		return refusedOther, true
	}
	return 0, false
}

// search asks porcupine for an order of each record's operations.
func (s *registerState) search(limit time.Duration, on func(string) bool, f *findings) {
	model := registerModel(on)
	for _, key := range sorted(s.calls) {
		calls := s.calls[key]
		switch porcupine.CheckOperationsTimeout(model, calls, limit) {
		case porcupine.Ok:
		case porcupine.Illegal:
			_, info := porcupine.CheckOperationsVerbose(model, calls, limit)
			stuck := leftOver(calls, info)
			f.add("linearizable", stuck, "record %q: no order of its %d operations fits their answers; as far as one goes, these are left over", key, len(calls))
			f.draw(fmt.Sprintf("register-%d", len(f.verdict.Pictures)+1), model, info)
		default:
			f.unknown("record %q: no order of its %d operations was found or excluded in %v", key, len(calls), limit)
		}
	}
}

// leftOver are the operations that the longest order leaves over, the first few of them. Of several such orders it is the first by number.
func leftOver(calls []porcupine.Operation, info porcupine.LinearizationInfo) []int {
	var longest []int
	for _, partition := range info.PartialLinearizations() {
		for _, order := range partition {
			if n := len(order) - len(longest); n > 0 || n == 0 && slices.Compare(order, longest) < 0 {
				longest = order
			}
		}
	}
	placed := map[int]bool{}
	for _, n := range longest {
		placed[n] = true
	}
	var left []history.Call
	for n, o := range calls {
		if !placed[n] && len(left) < maxAnomalies {
			left = append(left, o.Metadata.(history.Call))
		}
	}
	return proof(left...)
}

// draw adds porcupine's page to the verdict, for the first few records.
func (f *findings) draw(name string, model porcupine.Model, info porcupine.LinearizationInfo) {
	if len(f.verdict.Pictures) >= maxAnomalies {
		return
	}
	var page bytes.Buffer
	if err := porcupine.Visualize(model, info, &page); err != nil {
		f.unknown("picture of %s: %v", name, err)
		return
	}
	f.verdict.Pictures = append(f.verdict.Pictures, Picture{Name: name, HTML: page.Bytes()})
}

// registerModel is one record.
func registerModel(on func(string) bool) porcupine.Model {
	clauses := map[string]bool{}
	for _, name := range registers(0).names() {
		clauses[name] = on(name)
	}
	return porcupine.Model{
		Init: func() any { return registerValue{} },
		Step: func(state, input, output any) (bool, any) {
			return registerStep(clauses, state.(registerValue), input.(registerInput), output.(registerOutput))
		},
		DescribeOperation: func(input, output any) string {
			return describe(input.(registerInput), output.(registerOutput))
		},
		DescribeState:             func(state any) string { return state.(registerValue).String() },
		DescribeOperationMetadata: func(any) string { return "" },
	}
}

// registerStep says whether a record in a state gives an answer, and its state afterwards.
func registerStep(on map[string]bool, was registerValue, in registerInput, out registerOutput) (bool, registerValue) {
	holds := func(rule string, condition bool) bool { return condition || !on[rule] }
	is := registerValue{there: true, value: in.value}
	expected := was.there && was.value == in.from
	switch out.answer {
	case refusedThere:
		return holds(createRefused, was.there), was
	case refusedAbsent:
		return holds(changeRefused, !was.there), was
	case refusedOther:
		return holds(swapRefused, !expected), was
	}
	sure := out.answer == done
	var allowed, ok bool
	switch in.f {
	case RegisterRead:
		return holds(answeredRead, was == out.value), was
	case RegisterWrite:
		return true, is
	case RegisterCreate:
		allowed, ok = !was.there, holds(createdNew, !was.there)
	case RegisterUpdate:
		allowed, ok = was.there, holds(changedThere, was.there)
	case RegisterDelete:
		allowed, ok, is = was.there, holds(changedThere, was.there), registerValue{}
	case RegisterCAS:
		allowed, ok = expected, holds(swapped, expected)
	}
	switch {
	case sure:
		return ok, is
	case allowed:
		return true, is
	}
	return true, was
}

// String is for pictures, where it becomes HTML: JSON writes <, > and & as \u003c, \u003e and \u0026.
func (v registerValue) String() string {
	if !v.there {
		return "absent"
	}
	return quoted(v.value)
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return "?"
	}
	return string(b)
}

func describe(in registerInput, out registerOutput) string {
	call := in.f
	switch in.f {
	case RegisterWrite, RegisterCreate, RegisterUpdate:
		call += " " + quoted(in.value)
	case RegisterCAS:
		call += " " + quoted(in.from) + " to " + quoted(in.value)
	}
	answers := map[registerAnswer]string{done: "done", refusedThere: "there already", refusedAbsent: "not there", refusedOther: "other value", unlearned: "unknown"}
	if in.f == RegisterRead {
		return call + ": " + out.value.String()
	}
	return call + ": " + answers[out.answer]
}
