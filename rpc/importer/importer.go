// Package importer reads conversations out of chat files and writes them into a graph through GraphTransferService.
//
// It holds four steps that know nothing of each other's insides: a splitter that cuts a file into values, formats of which
// each understands one shape of them, a scribe that writes down what they tell as nodes and edges, and a sender that
// packs those into chunks. It promises that memory is bounded by one conversation whatever the size of a file,
// that texts arrive byte for byte, that what cannot be read is reported and counted and never silently dropped, and
// that the same file gives the same records under the same ids from wherever it is read, so that a second import
// changes nothing. It refuses to know where the server is, what is in its store, and how anything is displayed.
package importer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// Problem is something that could not be read. Each one counts as skipped.
type Problem struct {
	// Source is the name of the file.
	Source string
	// Where is the position inside it, for people: "conversation 3, message 5".
	Where string
	// Reason says what is wrong.
	Reason string
}

// String is the problem as one line.
func (p Problem) String() string {
	if p.Where == "" {
		return p.Source + ": " + p.Reason
	}
	return p.Source + ": " + p.Where + ": " + p.Reason
}

// Note is something that was left out on purpose: lines that a program writes for itself. It does not count as skipped.
type Note Problem

// String is the note as one line.
func (n Note) String() string { return Problem(n).String() }

// Options say how to read and what to tell the caller meanwhile. The zero value reads every format and tells nothing.
type Options struct {
	// Format is FormatAuto when empty.
	Format Format
	// DryRun reads and counts, and sends nothing; the client may then be nil.
	DryRun bool
	// Strict stops at the first problem.
	Strict bool
	// Problem, when set, is called for each problem, never at the same time.
	Problem func(Problem)
	// Note, when set, is called for each note, never at the same time as Problem or itself.
	Note func(Note)
	// Session, when set, is called with the id of each session that was read, in order.
	Session func(id string)
	// Item, when set, is called for each item that a format reads, with the name of the file.
	Item func(source string, f Format)
	// Progress, when set, is called with the bytes that were read since the last call, as they are on disk.
	Progress func(bytes int)
}

func (o Options) problem(p Problem) {
	if o.Problem != nil {
		o.Problem(p)
	}
}

// Summary counts what was read and what became of it.
type Summary struct {
	// Sessions to Skipped count records read, the same on each import of the same files. An agent or template that
	// several conversations share counts once.
	Sessions        int64 `json:"sessions"`
	Prompts         int64 `json:"prompts"`
	Responses       int64 `json:"responses"`
	ToolInvocations int64 `json:"tool_invocations"`
	Templates       int64 `json:"templates"`
	Agents          int64 `json:"agents"`
	Edges           int64 `json:"edges"`
	// Skipped counts problems.
	Skipped int64 `json:"skipped"`
	// FailedToolInvocations are those of ToolInvocations whose status is failed.
	FailedToolInvocations int64 `json:"tool_invocations_failed"`
	// Files counts the sources that were opened.
	Files int64 `json:"files"`
	// Created and Unchanged count nodes and edges as the server answered; both are 0 on a dry run.
	Created   int64 `json:"created"`
	Unchanged int64 `json:"unchanged"`
}

// Stopped is the error of an import under Options.Strict.
type Stopped struct{ Problem Problem }

// Error names the problem.
func (s *Stopped) Error() string { return "stopped at the first problem: " + s.Problem.String() }

// Import reads the sources in order and sends what it finds. The summary is valid beside an error, too: it then says how
// far reading came, and counts what the server has said that it did. A source that cannot be opened or read is a Problem, and
// so is what is wrong inside one, and a record that the server refuses: because it differs from what is stored under its id,
// or refers to what is not there. It is an error when no source could be read at all.
// Other errors of the server come back as they are, wrapped. What was sent before an error stays; importing again
// completes it.
func Import(ctx context.Context, client graphgrpc.GraphTransferServiceClient, sources []Source, o Options) (Summary, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	run := &importRun{options: o, stop: stop, shared: make(map[string]bool)}
	run.sender = newSender(ctx, client, o.DryRun, func(from origin, reason string) {
		run.problem(Problem{Source: from.source, Where: from.position(), Reason: reason})
	})
	defer run.sender.abort()
	err := run.sources(ctx, sources)
	if err == nil {
		err = run.sender.finish()
	}
	done := run.sender.abort()
	run.summary.Created, run.summary.Unchanged = done.created, done.unchanged
	var stopped *Stopped
	if errors.As(context.Cause(ctx), &stopped) {
		err = stopped
	}
	if err != nil {
		err = fmt.Errorf("import: %w", err)
	}
	return run.summary, err
}

// maxShared bounds the ids of agents and templates that a run remembers so as to send and count each once. Beyond it,
// it forgets and begins again: sending one twice is harmless, and its count is then too high.
const maxShared = 100_000

// An importRun is what one call of Import keeps between conversations.
type importRun struct {
	options Options
	summary Summary
	sender  *sender
	shared  map[string]bool
	stop    context.CancelCauseFunc

	problems sync.Mutex // guards summary.Skipped and the calls of options.Problem and options.Note
}

// problem tells of something that was left out; under Strict, it ends the import.
func (r *importRun) problem(p Problem) {
	r.problems.Lock()
	defer r.problems.Unlock()
	r.summary.Skipped++
	r.options.problem(p)
	if r.options.Strict {
		r.stop(&Stopped{p})
	}
}

// sources reads all that can be read. One source that cannot be is a problem, and an error when there is no other.
func (r *importRun) sources(ctx context.Context, sources []Source) error {
	var first error
	unread := 0
	for _, s := range sources {
		unreadable, err := r.source(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		if unreadable == nil {
			continue
		}
		if unread++; first == nil {
			first = fmt.Errorf("%s: %w", s.Name, unreadable)
		}
		r.problem(Problem{Source: s.Name, Reason: unreadable.Error()})
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if unread == len(sources) && r.summary.Records() == 0 {
		return first
	}
	return nil
}

// source reads one source. It tells a fault of the source from an error that ends the import.
func (r *importRun) source(ctx context.Context, s Source) (unreadable, err error) {
	if s.Fault != nil {
		return s.Fault, nil
	}
	r.summary.Files++
	read := &reader{source: s, format: r.options.Format, progress: r.options.Progress}
	read.problem = func(where, format string, args ...any) {
		r.problem(Problem{Source: s.Name, Where: where, Reason: fmt.Sprintf(format, args...)})
	}
	if r.options.Item != nil {
		read.reads = func(f Format) { r.options.Item(s.Name, f) }
	}
	read.note = func(where, format string, args ...any) {
		if r.options.Note != nil {
			r.problems.Lock()
			defer r.problems.Unlock()
			r.options.Note(Note{Source: s.Name, Where: where, Reason: fmt.Sprintf(format, args...)})
		}
	}
	unreadable = read.each(ctx, func(g Graph) error {
		if err = ctx.Err(); err == nil {
			err = r.graph(g, s.Name)
		}
		return err
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return unreadable, nil
}

// graph sends and counts the records of one session, without the agents and templates that went before. Of a session that
// several files tell of, it leaves out all that went before.
func (r *importRun) graph(g Graph, source string) error {
	at := func(i int) origin {
		if i < len(g.Lines) {
			return origin{source: source, line: g.Lines[i]}
		}
		return origin{source: source, where: g.Where}
	}
	for _, n := range g.Shared {
		if err := r.node(n, true, origin{source: source, where: g.Where}); err != nil {
			return err
		}
	}
	for i, n := range g.Nodes {
		if err := r.node(n, g.Keyed, at(i)); err != nil {
			return err
		}
	}
	for i, e := range g.Edges {
		if g.Keyed && r.wasSent(e.Id) {
			continue
		}
		r.summary.Edges++
		if err := r.sender.edge(e, at(len(g.Nodes)+i)); err != nil {
			return err
		}
	}
	return nil
}

func (r *importRun) node(n *pb.Node, once bool, from origin) error {
	if n.Type == pb.NodeType_NODE_TYPE_SESSION && r.options.Session != nil {
		r.options.Session(n.Id)
	}
	if once && r.wasSent(n.Id) {
		return nil
	}
	r.summary.count(n)
	return r.sender.node(n, from)
}

// wasSent says that a record was sent before, and remembers that it now is.
func (r *importRun) wasSent(id string) bool {
	if r.shared[id] {
		return true
	}
	if len(r.shared) >= maxShared {
		clear(r.shared)
	}
	r.shared[id] = true
	return false
}
