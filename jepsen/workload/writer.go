package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

type graph = graphgrpc.MemoryGraphServiceClient

// writer has a session to which nobody else writes, and sends one write after the other, each until it is decided. So what it knows is
// exact.
type writer struct {
	load    *Load
	name    string
	random  *rand.Rand
	count   int
	session string
	// records are those that are there; leaves those that nothing hangs on, prompts those that may get a response.
	records map[string]*record
	leaves  []*record
	prompts []*record
	// register is a prompt whose content is a number that only grows.
	register *register
	uses     int64
	// created, deleted and updated are what must have been told in events, over all time.
	created, deleted map[string]bool
}

// record is one node that a writer made.
type record struct {
	id, content, parent string
	kind                pb.NodeType
	// doomed is set before its deletion is sent, gone when that was acknowledged.
	doomed, gone atomic.Bool
	// revision is what the acknowledgement said.
	revision string
}

// register is one value that a single writer raises and everybody reads.
type register struct {
	id string
	// sent is the highest value that was sent, known the highest that was acknowledged or read.
	sent, known atomic.Int64
	// updates counts the acknowledged ones.
	updates int
}

func newWriter(l *Load, seed uint64, number int) *writer {
	return &writer{
		load: l, name: fmt.Sprintf("%x-%d", seed, number), random: rand.New(rand.NewPCG(seed, uint64(number))),
		records: make(map[string]*record), created: make(map[string]bool), deleted: make(map[string]bool),
		register: &register{},
	}
}

// send sends one write until it is decided; it must succeed. The revision is what the header of the reply says.
func (w *writer) send(ctx context.Context, what string, call func(context.Context, graph, ...grpc.CallOption) error) (revision string, err error) {
	w.count++
	key := fmt.Sprintf("%s-%d", w.name, w.count)
	ctx = metadata.AppendToOutgoingContext(ctx, "idempotency-key", key)
	var header metadata.MD
	o, err := w.load.call(ctx, w.load.config.Writing, func(ctx context.Context, g graph) error {
		header = nil
		return call(ctx, g, grpc.Header(&header))
	})
	if err != nil {
		return "", fmt.Errorf("%w: %s %s: %w", ErrRefused, what, key, err)
	}
	w.load.acknowledged(o)
	return first(header.Get(revisionHeader)), nil
}

const revisionHeader = "memory-graph-revision"

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// open makes the session and the register.
func (w *writer) open(ctx context.Context) error {
	_, err := w.send(ctx, "CreateSession", func(ctx context.Context, g graph, o ...grpc.CallOption) error {
		s, err := g.CreateSession(ctx, &pb.CreateSessionRequest{Metadata: map[string]string{"writer": w.name}}, o...)
		w.session = s.GetId()
		return err
	})
	if err != nil {
		return err
	}
	content := w.value(0)
	var id string
	_, err = w.send(ctx, "AddPrompt", func(ctx context.Context, g graph, o ...grpc.CallOption) error {
		p, err := g.AddPrompt(ctx, &pb.AddPromptRequest{SessionId: w.session, Content: content}, o...)
		id = p.GetId()
		return err
	})
	if err != nil {
		return err
	}
	w.register.id = id
	w.made(&record{id: id, kind: pb.NodeType_NODE_TYPE_PROMPT, content: content})
	w.load.board.register(w.register)
	return nil
}

// value is the content of the register.
func (w *writer) value(n int64) string { return w.name + " = " + strconv.FormatInt(n, 10) }

func parseValue(content string) (int64, error) {
	_, number, _ := strings.Cut(content, " = ")
	return strconv.ParseInt(number, 10, 64)
}

// text is content that no other write has.
func (w *writer) text() string {
	return fmt.Sprintf("%s/%d %x", w.name, w.count, make([]byte, w.random.IntN(200)))
}

// made notes a record that was acknowledged.
func (w *writer) made(r *record) {
	w.records[r.id] = r
	w.created[r.id] = true
}

// write sends one write of a random kind.
func (w *writer) write(ctx context.Context) error {
	switch n := w.random.IntN(100); {
	case n < 25:
		return w.raise(ctx)
	case n < 35:
		return w.instantiate(ctx)
	case n < 45:
		return w.batch(ctx)
	case n < 60 && len(w.leaves) > 0:
		return w.delete(ctx)
	case n < 75 && len(w.prompts) > 0:
		return w.respond(ctx)
	default:
		return w.prompt(ctx)
	}
}

func (w *writer) prompt(ctx context.Context) error {
	r := &record{kind: pb.NodeType_NODE_TYPE_PROMPT, content: w.text()}
	revision, err := w.send(ctx, "AddPrompt", func(ctx context.Context, g graph, o ...grpc.CallOption) error {
		p, err := g.AddPrompt(ctx, &pb.AddPromptRequest{SessionId: w.session, Content: r.content}, o...)
		r.id = p.GetId()
		return err
	})
	if err != nil {
		return err
	}
	r.revision = revision
	w.made(r)
	w.prompts = append(w.prompts, r)
	w.load.board.post(r)
	return nil
}

// respond takes a prompt out of those that may be answered, so that each has one answer at most, and answers it.
func (w *writer) respond(ctx context.Context) error {
	at := w.random.IntN(len(w.prompts))
	parent := w.prompts[at]
	w.prompts[at] = w.prompts[len(w.prompts)-1]
	w.prompts = w.prompts[:len(w.prompts)-1]
	r := &record{kind: pb.NodeType_NODE_TYPE_RESPONSE, content: w.text(), parent: parent.id}
	revision, err := w.send(ctx, "AddResponse", func(ctx context.Context, g graph, o ...grpc.CallOption) error {
		a, err := g.AddResponse(ctx, &pb.AddResponseRequest{
			PromptId: parent.id, Content: r.content, TokenUsage: &pb.TokenUsage{PromptTokens: 1, CompletionTokens: 1},
		}, o...)
		r.id = a.GetId()
		return err
	})
	if err != nil {
		return err
	}
	r.revision = revision
	w.made(r)
	w.leaves = append(w.leaves, r)
	w.load.board.post(r)
	return nil
}

// batch makes a prompt, its response and a tool call at once, under ids of its own.
func (w *writer) batch(ctx context.Context) error {
	text := w.text()
	id := func(part string) string { return fmt.Sprintf("%s-%d-%s", w.name, w.count, part) }
	p, a, t := id("p"), id("r"), id("t")
	nodes := []*pb.Node{
		{Id: p, NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{SessionId: w.session, Content: text}}},
		{Id: a, NodeData: &pb.Node_Response{Response: &pb.ResponseNode{PromptId: p, Content: text, TokenUsage: &pb.TokenUsage{}}}},
		{Id: t, NodeData: &pb.Node_ToolInvocation{ToolInvocation: &pb.ToolInvocationNode{ResponseId: a, ToolName: "tool", Parameters: text}}},
	}
	revision, err := w.send(ctx, "BatchCreateNodes", func(ctx context.Context, g graph, o ...grpc.CallOption) error {
		_, err := g.BatchCreateNodes(ctx, &pb.BatchCreateNodesRequest{Nodes: nodes}, o...)
		return err
	})
	if err != nil {
		return err
	}
	tool := &record{id: t, kind: pb.NodeType_NODE_TYPE_TOOL_INVOCATION, content: text, parent: a, revision: revision}
	w.made(&record{id: p, kind: pb.NodeType_NODE_TYPE_PROMPT, content: text})
	w.made(&record{id: a, kind: pb.NodeType_NODE_TYPE_RESPONSE, content: text, parent: p})
	w.made(tool)
	w.leaves = append(w.leaves, tool)
	w.load.board.post(tool)
	return nil
}

// delete removes a record on which nothing hangs.
func (w *writer) delete(ctx context.Context) error {
	at := w.random.IntN(len(w.leaves))
	r := w.leaves[at]
	w.leaves[at] = w.leaves[len(w.leaves)-1]
	w.leaves = w.leaves[:len(w.leaves)-1]
	r.doomed.Store(true)
	_, err := w.send(ctx, "DeleteNode", func(ctx context.Context, g graph, o ...grpc.CallOption) error {
		_, err := g.DeleteNode(ctx, &pb.DeleteNodeRequest{NodeId: r.id}, o...)
		return err
	})
	if err != nil {
		return err
	}
	r.gone.Store(true)
	delete(w.records, r.id)
	w.deleted[r.id] = true
	return nil
}

// raise writes the next value of the register.
func (w *writer) raise(ctx context.Context) error {
	next := w.register.sent.Add(1)
	content := w.value(next)
	_, err := w.send(ctx, "UpdateNode", func(ctx context.Context, g graph, o ...grpc.CallOption) error {
		_, err := g.UpdateNode(ctx, &pb.UpdateNodeRequest{Node: &pb.Node{
			Id: w.register.id, NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{Content: content}},
		}}, o...)
		return err
	})
	if err != nil {
		return err
	}
	w.register.updates++
	w.records[w.register.id].content = content
	raiseTo(&w.register.known, next)
	return nil
}

// raiseTo makes a value at least n.
func raiseTo(v *atomic.Int64, n int64) {
	for {
		was := v.Load()
		if was >= n || v.CompareAndSwap(was, n) {
			return
		}
	}
}

// instantiate makes a prompt from the template that all share, whose uses are counted.
func (w *writer) instantiate(ctx context.Context) error {
	r := &record{kind: pb.NodeType_NODE_TYPE_PROMPT, content: templateText}
	revision, err := w.send(ctx, "InstantiateTemplate", func(ctx context.Context, g graph, o ...grpc.CallOption) error {
		p, err := g.InstantiateTemplate(ctx, &pb.InstantiateTemplateRequest{TemplateId: w.load.template, SessionId: w.session}, o...)
		r.id = p.GetId()
		return err
	})
	if err != nil {
		return err
	}
	w.uses++
	r.revision = revision
	w.made(r)
	w.prompts = append(w.prompts, r)
	w.load.board.post(r)
	return nil
}

const templateText = "the same for everybody"

func (l *Load) makeTemplate(ctx context.Context) error {
	key := fmt.Sprintf("%x-template", l.config.Seed)
	_, err := l.call(metadata.AppendToOutgoingContext(ctx, "idempotency-key", key), l.config.Writing, func(ctx context.Context, g graph) error {
		t, err := g.CreateTemplate(ctx, &pb.CreateTemplateRequest{Template: &pb.TemplateNode{Name: "shared", TemplateText: templateText}})
		l.template = t.GetId()
		return err
	})
	if err != nil {
		return fmt.Errorf("%w: CreateTemplate: %w", ErrRefused, err)
	}
	return nil
}
