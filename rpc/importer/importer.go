// Package importer reads conversations out of chat files and writes them into a graph through GraphTransferService.
//
// It holds three steps that know nothing of each other's insides: a reader that recognises the shape of a file and
// yields one conversation after the other, a builder that turns one conversation into nodes and edges, and a sender
// that packs those into chunks. It promises that memory is bounded by one conversation whatever the size of a file,
// that texts arrive byte for byte, that what cannot be read is reported and counted and never silently dropped, and
// that the same file gives the same records under the same ids from wherever it is read, so that a second import
// changes nothing. It refuses to know where the server is, what is in its store, and how anything is displayed.
package importer

import (
	"context"
	"fmt"
	"strings"

	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// Format names a shape of chat file.
type Format string

// The formats. Each of them is recognised by content under FormatAuto; naming one refuses everything else.
const (
	// FormatAuto recognises each conversation by its content.
	FormatAuto Format = "auto"
	// FormatOpenAI is OpenAI chat messages: a list of {role, content, tool_calls, …}, bare or under the key messages,
	// conversations, traj or history, alone, in an array, or one a line.
	FormatOpenAI Format = "openai"
	// FormatOpenAILines is FormatOpenAI read line by line whatever the file looks like.
	FormatOpenAILines Format = "openai-jsonl"
	// FormatSWEAgent is a SWE-agent trajectory: OpenAI chat messages under history, whose text variants carry tool
	// calls in action and tool results in the user message that follows.
	FormatSWEAgent Format = "swe-agent"
	// FormatKdConv is KdConv: messages without roles, whose speakers take turns.
	FormatKdConv Format = "kdconv"
)

// Formats lists every format, FormatAuto first.
func Formats() []Format {
	return []Format{FormatAuto, FormatOpenAI, FormatOpenAILines, FormatSWEAgent, FormatKdConv}
}

// ParseFormat returns the format of that name; empty is FormatAuto.
func ParseFormat(name string) (Format, error) {
	if name == "" {
		return FormatAuto, nil
	}
	var known []string
	for _, f := range Formats() {
		if string(f) == name {
			return f, nil
		}
		known = append(known, string(f))
	}
	return "", fmt.Errorf("format %q is unknown; use one of %s", name, strings.Join(known, ", "))
}

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

// Options say how to read and what to tell the caller meanwhile. The zero value reads every format and tells nothing.
type Options struct {
	// Format is FormatAuto when empty.
	Format Format
	// DryRun reads and counts, and sends nothing; the client may then be nil.
	DryRun bool
	// Problem, when set, is called for each problem, in order.
	Problem func(Problem)
	// Session, when set, is called with the id of each session that was read, in order.
	Session func(id string)
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

// Import reads the sources in order and sends what it finds, as one stream. The summary is valid beside an error, too:
// it then says how far reading came. A source that cannot be opened or read is an error; what is wrong inside one is a
// Problem. The server's refusals come back as they are, wrapped.
func Import(ctx context.Context, client graphgrpc.GraphTransferServiceClient, sources []Source, o Options) (Summary, error) {
	out := &sender{ctx: ctx, client: client, dry: o.DryRun}
	run := &importRun{options: o, sender: out, shared: make(map[string]bool)}
	defer out.abort()
	for _, s := range sources {
		if err := run.source(ctx, s); err != nil {
			return run.summary, fmt.Errorf("import %s: %w", s.Name, err)
		}
	}
	answer, err := out.finish()
	if err != nil {
		return run.summary, fmt.Errorf("import: %w", err)
	}
	run.summary.Created = answer.GetNodesCreated() + answer.GetEdgesCreated()
	run.summary.Unchanged = answer.GetNodesUnchanged() + answer.GetEdgesUnchanged()
	return run.summary, nil
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
}

func (r *importRun) source(ctx context.Context, s Source) error {
	r.summary.Files++
	problems := func(where, format string, args ...any) {
		r.summary.Skipped++
		r.options.problem(Problem{Source: s.Name, Where: where, Reason: fmt.Sprintf(format, args...)})
	}
	read := &reader{source: s, format: r.options.Format, problem: problems, progress: r.options.Progress}
	return read.each(ctx, func(c conversation) error {
		return r.graph(buildGraph(c, problems))
	})
}

// graph sends and counts one conversation, without the agents and templates that went before.
func (r *importRun) graph(g Graph) error {
	for _, n := range g.Shared {
		if r.shared[n.Id] {
			continue
		}
		if len(r.shared) >= maxShared {
			clear(r.shared)
		}
		r.shared[n.Id] = true
		r.summary.count(n)
		if err := r.sender.node(n); err != nil {
			return err
		}
	}
	if r.options.Session != nil {
		r.options.Session(g.Nodes[0].Id)
	}
	for _, n := range g.Nodes {
		r.summary.count(n)
		if err := r.sender.node(n); err != nil {
			return err
		}
	}
	for _, e := range g.Edges {
		r.summary.Edges++
		if err := r.sender.edge(e); err != nil {
			return err
		}
	}
	return nil
}
