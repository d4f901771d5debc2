package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Recorder writes a history while it happens. Many goroutines may use it, each with a Worker of its own.
type Recorder struct {
	now func() time.Duration

	mu        sync.Mutex
	out       *bufio.Writer
	length    int
	processes Process
	last      time.Duration
	errs      []error
}

// maxRecorderErrors is how many of its errors a recorder keeps.
const maxRecorderErrors = 8

// NewRecorder writes to out, which Close does not close. now is the time since the beginning of the run, by a monotonic clock.
func NewRecorder(out io.Writer, now func() time.Duration) *Recorder {
	return &Recorder{now: now, out: bufio.NewWriter(out)}
}

// Close writes what is left and returns what went wrong since the beginning: a history with an error is not complete.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.out.Flush(); err != nil {
		r.noteLocked(err)
	}
	return errors.Join(r.errs...)
}

// Nemesis records what is done to the cluster: what is about to be done with Invoke; that it was proven to be in force, or undone, with OK; that
// it was not with Fail.
func (r *Recorder) Nemesis(t Type, f string, value any) {
	r.add(Op{Type: t, Process: Nemesis, F: f}, value)
}

// Worker is a new client, which does one thing at a time.
func (r *Recorder) Worker() *Worker { return &Worker{recorder: r, process: r.process()} }

// process is a number that nobody has had.
func (r *Recorder) process() Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.processes++
	return r.processes - 1
}

// add gives an operation its place: the order of the lines is the order in which they were added.
func (r *Recorder) add(o Op, value any) Op {
	encoded, err := json.Marshal(value)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.noteLocked(fmt.Errorf("value of %s: %w", o.F, err))
		encoded = json.RawMessage("null")
	}
	r.last = max(r.last, r.now())
	o.Index, o.Time, o.Value = r.length, r.last, encoded
	r.length++
	line, err := json.Marshal(o)
	if err == nil {
		_, err = r.out.Write(append(line, '\n'))
	}
	if err != nil {
		r.noteLocked(err)
	}
	return o
}

func (r *Recorder) noteLocked(err error) {
	if len(r.errs) < maxRecorderErrors {
		r.errs = append(r.errs, fmt.Errorf("record a history: %w", err))
	}
}

// Worker is a client of one goroutine. After a call whose outcome it does not learn it goes on as another process.
type Worker struct {
	recorder *Recorder
	process  Process
	open     *Pending
}

// What is a call as it is sent.
type What struct {
	F         string
	Value     any
	Node, RPC string
	// Request is the idempotency key.
	Request string
}

// Reply is what came back. What is left zero is as in the call.
type Reply struct {
	Value    any
	Node     string
	Revision uint64
}

// Pending is a call that has been sent.
type Pending struct {
	worker *Worker
	what   What
}

// Process is the number under which the next call of the worker will be.
func (w *Worker) Process() Process { return w.process }

// Call records a call that is about to be sent. It panics when the one before has not ended.
func (w *Worker) Call(what What) *Pending {
	if w.open != nil {
		panic(fmt.Sprintf("history: process %d calls %s while its %s is open", w.process, what.F, w.open.what.F))
	}
	w.open = &Pending{worker: w, what: what}
	w.recorder.add(Op{Type: Invoke, Process: w.process, F: what.F, Node: what.Node, RPC: what.RPC, Request: what.Request}, what.Value)
	return w.open
}

// Wrote records how a write ended, and returns what Classify makes of its error.
func (p *Pending) Wrote(reply Reply, err error) Type { return p.end(Classify(err), reply, err) }

// Answered records how a read ended. One that was not answered is Fail: it has changed nothing.
func (p *Pending) Answered(reply Reply, err error) Type {
	if err != nil {
		return p.end(Fail, reply, err)
	}
	return p.end(OK, reply, nil)
}

func (p *Pending) end(t Type, reply Reply, err error) Type {
	w := p.worker
	if w.open != p {
		panic(fmt.Sprintf("history: %s ends twice", p.what.F))
	}
	w.open = nil
	o := Op{
		Type: t, Process: w.process, F: p.what.F, Node: reply.Node, Error: Describe(err), Revision: reply.Revision, RPC: p.what.RPC, Request: p.what.Request,
	}
	if o.Node == "" {
		o.Node = p.what.Node
	}
	value := reply.Value
	if value == nil {
		value = p.what.Value
	}
	if t == Info { // the number is free before the line is: whoever reads the line may look for the next one
		w.process = w.recorder.process()
	}
	w.recorder.add(o, value)
	return t
}
