// Package history keeps what clients did and what they were told, in the order in which it happened.
//
// It holds a recorder that many goroutines use at once, files of one JSON object a line, their reader, their export to EDN for Jepsen and
// Elle, and the table that says which error leaves a write undecided. It promises that a history which was recorded or read is well formed:
// a process does one thing at a time, and nothing at all after a call whose outcome it never learned. It refuses to know what an operation
// means.
package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Type says which end of a call an operation is.
type Type string

const (
	// Invoke is the call, before it was sent.
	Invoke Type = "invoke"
	// OK is an answer: what was asked for has happened.
	OK Type = "ok"
	// Fail says that it has not happened and will not.
	Fail Type = "fail"
	// Info says that nobody knows: it may have happened, and it may yet.
	Info Type = "info"
)

// Process numbers clients that do one thing at a time, from 0.
type Process int

// Nemesis is the process of whatever was done to the cluster. Its operations need not come in pairs.
const Nemesis Process = -1

const nemesisName = `"nemesis"`

// MarshalJSON writes a number, and the nemesis by its name.
func (p Process) MarshalJSON() ([]byte, error) {
	if p == Nemesis {
		return []byte(nemesisName), nil
	}
	return strconv.AppendInt(nil, int64(p), 10), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (p *Process) UnmarshalJSON(text []byte) error {
	if string(text) == nemesisName {
		*p = Nemesis
		return nil
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 0 {
		return fmt.Errorf("process %s is neither a number from 0 nor %s", text, nemesisName)
	}
	*p = Process(n)
	return nil
}

// Op is one line of a history.
type Op struct {
	// Index counts the lines from 0.
	Index   int     `json:"index"`
	Type    Type    `json:"type"`
	Process Process `json:"process"`
	// Time is since the beginning of the run, by one monotonic clock, in nanoseconds.
	Time time.Duration `json:"time"`
	// F names what is done; the checkers know the names.
	F string `json:"f"`
	// Value is what it is done with, or what was answered, as JSON.
	Value json.RawMessage `json:"value"`
	// Node is the one that was asked, or that answered.
	Node string `json:"node,omitempty"`
	// Error begins with the code of the answer, as Describe writes it.
	Error string `json:"error,omitempty"`
	// Revision is what the answer said of the state that it is about; 0 when it said nothing.
	Revision uint64 `json:"revision,omitempty"`
	RPC      string `json:"rpc,omitempty"`
	// Request is the idempotency key.
	Request string `json:"req,omitempty"`
}

// Decode reads the value. A field that into does not have is an error.
func (o Op) Decode(into any) error {
	d := json.NewDecoder(bytes.NewReader(o.Value))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("operation %d (%s %s): value %.100s: %w", o.Index, o.Type, o.F, o.Value, err)
	}
	return nil
}

// Code is the code of the answer, such as NOT_FOUND; empty when there was no error.
func (o Op) Code() string {
	code, _, _ := strings.Cut(o.Error, ":")
	code, _, _ = strings.Cut(code, " ")
	return code
}

// Never is the index of an end that does not come.
const Never = math.MaxInt

// Call is an invocation with what came of it.
type Call struct {
	Invoke Op
	// Return is the answer; its type is Info, and its value that of Invoke, when none was recorded.
	Return Op
}

// Type is OK, Fail or Info.
func (c Call) Type() Type { return c.Return.Type }

// Begin is the index of the invocation.
func (c Call) Begin() int { return c.Invoke.Index }

// End is the index of the answer, after which it cannot take effect any more; Never for a call whose outcome is unknown.
func (c Call) End() int {
	if c.Return.Type == Info {
		return Never
	}
	return c.Return.Index
}

// Before says whether the call had ended when the other began.
func (c Call) Before(other Call) bool { return c.End() < other.Begin() }

// Proof is the indexes of both its lines.
func (c Call) Proof() []int {
	if c.Return.Index == c.Invoke.Index {
		return []int{c.Invoke.Index}
	}
	return []int{c.Invoke.Index, c.Return.Index}
}

// Calls pairs the operations of all clients, in the order of their invocations. The history must be well formed.
func Calls(ops []Op) []Call {
	var calls []Call
	open := map[Process]int{}
	for _, o := range ops {
		switch {
		case o.Process == Nemesis:
		case o.Type == Invoke:
			open[o.Process] = len(calls)
			c := Call{Invoke: o, Return: o}
			c.Return.Type = Info
			calls = append(calls, c)
		default:
			calls[open[o.Process]].Return = o
		}
	}
	return calls
}
