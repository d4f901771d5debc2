package importer

import (
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Texts that stand where the graph wants one and the file has none.
const (
	startText = "(conversation start)"
	emptyText = "(no text)"
	unknown   = "unknown"
)

const defaultTemperature = 0.7

// A promptSpec says what a prompt is. An empty text becomes "(no text)" with custom synthetic=true.
type promptSpec struct {
	where string
	// id is the file's; kept when it is a UUID. key identifies the prompt inside of its session; without both it is known
	// by its number. The specs of responses and calls have the same.
	id   string
	key  []string
	text string
	time *timestamppb.Timestamp
	// model, temperature and tools, when unset, are those of the session.
	model       string
	temperature *float64
	maxTokens   int64
	tools       []string
	custom      []pair
	synthetic   bool
	// follows are the prompts that it follows, in any earlier place: a branch. nil is the prompt told before; one that
	// follows nothing has root set.
	follows []*promptRef
	root    bool
}

// A promptRef is a prompt that was told.
type promptRef struct {
	ref
	node *pb.PromptNode
}

// prompt tells a prompt, with its FOLLOWS edges, and INSTANTIATES edges to the system texts that were told before.
func (s *session) prompt(spec promptSpec) *promptRef {
	custom := make(map[string]string)
	if spec.text == "" {
		spec.text, spec.synthetic = emptyText, true
	}
	if spec.synthetic {
		custom["synthetic"] = "true"
	}
	addMetadata(custom, spec.custom)
	meta := &pb.PromptMetadata{Model: modelName(spec.model, s.spec.model), Temperature: temperature(spec.temperature, s.spec.temperature), Custom: custom}
	if meta.ToolsAvailable = toolNames(spec.tools); spec.tools == nil {
		meta.ToolsAvailable = toolNames(s.spec.tools)
	}
	if spec.maxTokens > 0 && spec.maxTokens == int64(int32(spec.maxTokens)) {
		meta.MaxTokens = proto.Int32(int32(spec.maxTokens))
	}
	p := &pb.PromptNode{SessionId: s.rec.Id, Content: spec.text, Timestamp: spec.time, Metadata: meta}
	p.Id = s.nodeID(spec.id, "prompt", spec.key)
	return s.addPrompt(spec, p)
}

func (s *session) addPrompt(spec promptSpec, p *pb.PromptNode) *promptRef {
	told := &promptRef{node: p}
	told.ref = s.add(spec.where, &pb.Node{Id: p.Id, Type: pb.NodeType_NODE_TYPE_PROMPT, NodeData: &pb.Node_Prompt{Prompt: p}}, p.Content)
	if !told.ok {
		return told
	}
	before := spec.follows
	if before == nil && !spec.root && s.last != nil {
		before = []*promptRef{s.last}
	}
	for _, b := range before {
		s.follows(told, b)
	}
	s.last = told
	s.instantiateWaiting(told)
	return told
}

// opening is the prompt "(conversation start)" for responses that come before any prompt. It is told once.
func (s *session) opening() *promptRef {
	if s.start == nil {
		p := &pb.PromptNode{Id: s.id("", "start", s.identity...), SessionId: s.rec.Id, Content: startText, Metadata: &pb.PromptMetadata{
			Model: modelName("", s.spec.model), Temperature: temperature(nil, s.spec.temperature), ToolsAvailable: toolNames(s.spec.tools),
			Custom: map[string]string{"synthetic": "true"},
		}}
		s.start = s.addPrompt(promptSpec{}, p)
	}
	return s.start
}

// lastOrOpening is the prompt told last, or the opening.
func (s *session) lastOrOpening() *promptRef {
	if s.last != nil {
		return s.last
	}
	return s.opening()
}

// A usage counts tokens; a total of 0 is the sum.
type usage struct{ prompt, completion, total int64 }

// A responseSpec says what a response is. Its text may be empty.
type responseSpec struct {
	where        string
	id           string
	key          []string
	text         string
	time         *timestamppb.Timestamp
	model        string // empty is the session's
	provider     string // goes to custom
	usage        usage
	latencyMs    int64
	finishReason string // empty is stop
	custom       []pair
}

// A responseRef is a response that was told.
type responseRef struct {
	ref
	node  *pb.ResponseNode
	calls int
}

// response tells a response to a prompt, with its RESPONDS_TO edge.
func (s *session) response(to *promptRef, spec responseSpec) *responseRef {
	if to == nil || !to.ok {
		s.problem(s.position(spec.where), "is left out with the prompt that it answers")
		return &responseRef{}
	}
	custom := make(map[string]string)
	if spec.provider != "" {
		addMetadata(custom, []pair{entry("provider", spec.provider)})
	}
	addMetadata(custom, spec.custom)
	meta := &pb.ResponseMetadata{Model: modelName(spec.model, s.spec.model), FinishReason: spec.finishReason, LatencyMs: max(0, spec.latencyMs), Custom: custom}
	if spec.finishReason == "" || len(spec.finishReason) > graph.MaxNameBytes {
		meta.FinishReason = "stop"
	}
	r := &pb.ResponseNode{PromptId: to.id, Content: spec.text, Timestamp: spec.time, TokenUsage: spec.usage.record(), Metadata: meta}
	r.Id = s.nodeID(spec.id, "response", spec.key)
	told := &responseRef{node: r}
	told.ref = s.add(spec.where, &pb.Node{Id: r.Id, Type: pb.NodeType_NODE_TYPE_RESPONSE, NodeData: &pb.Node_Response{Response: r}}, r.Content)
	s.link(edgeSpec{kind: pb.EdgeType_EDGE_TYPE_RESPONDS_TO, from: told.ref, to: to.ref, properties: map[string]string{
		"latency_ms": strconv.FormatInt(meta.LatencyMs, 10), "model": meta.Model,
	}})
	return told
}

func (u usage) record() *pb.TokenUsage {
	r := &pb.TokenUsage{PromptTokens: max(0, u.prompt), CompletionTokens: max(0, u.completion), TotalTokens: max(0, u.total)}
	if r.TotalTokens == 0 {
		r.TotalTokens = max(0, r.PromptTokens+r.CompletionTokens)
	}
	return r
}

// A callSpec says what a tool call is.
type callSpec struct {
	where string
	id    string
	key   []string
	// callID is the id that the provider gave the call; it goes to metadata as tool_call_id.
	callID     string
	name       string
	parameters string
	time       *timestamppb.Timestamp
	retry      int
	metadata   []pair
	running    bool // began, and never ended; else pending until a result comes
}

// A callRef is a tool call that was told, in wait of its result.
type callRef struct {
	ref
	callID  string
	node    *pb.ToolInvocationNode
	edge    *pb.Edge
	settled bool
}

// call tells a tool call of a response, with its INVOKES edge.
func (s *session) call(of *responseRef, spec callSpec) *callRef {
	if of == nil || !of.ok {
		s.problem(s.position(spec.where), "is left out with the response that made it")
		return &callRef{}
	}
	t := &pb.ToolInvocationNode{ResponseId: of.id, ToolName: spec.name, Parameters: spec.parameters, Status: statusPending,
		Timestamp: spec.time, RetryCount: int32(max(0, spec.retry)), Metadata: make(map[string]string)}
	if spec.running {
		t.Status = statusRunning
	}
	if spec.callID != "" {
		addMetadata(t.Metadata, []pair{entry("tool_call_id", spec.callID)})
	}
	addMetadata(t.Metadata, spec.metadata)
	t.Id = s.nodeID(spec.id, "tool", spec.key)
	told := &callRef{node: t, callID: spec.callID}
	if told.ref = s.add(spec.where, &pb.Node{Id: t.Id, Type: pb.NodeType_NODE_TYPE_TOOL_INVOCATION, NodeData: &pb.Node_ToolInvocation{ToolInvocation: t}},
		t.Parameters, t.ToolName); !told.ok {
		of.calls++
		return told
	}
	told.edge = s.link(edgeSpec{kind: pb.EdgeType_EDGE_TYPE_INVOKES, from: of.ref, to: told.ref, properties: map[string]string{
		"invocation_order": strconv.Itoa(of.calls), "success": "false",
	}})
	of.calls++
	return told
}

// A resultSpec says how a tool call ended.
type resultSpec struct {
	where  string
	text   string
	failed bool
	// durationMs is how long it took; 0 is the time from the call to time, when both are known.
	durationMs int64
	time       *timestamppb.Timestamp
	metadata   []pair
}

// result settles a call. What is told of a call that was left out is left out, too.
func (s *session) result(of *callRef, spec resultSpec) {
	if of == nil || !of.ok {
		s.problem(s.position(spec.where), "is left out with the tool call that it answers")
		return
	}
	if err := checkText(spec.text); err != nil {
		s.problem(s.position(spec.where), "the result %v", err)
		return
	}
	of.settled = true
	switch {
	case spec.durationMs > 0:
		of.node.DurationMs = spec.durationMs
	case of.node.DurationMs == 0:
		of.node.DurationMs = elapsed(of.node.Timestamp, spec.time)
	}
	addMetadata(of.node.Metadata, spec.metadata)
	if spec.failed {
		of.node.Status, of.node.Error, of.node.Result = statusFailed, proto.String(spec.text), nil
		return
	}
	of.node.Status, of.node.Result, of.node.Error = statusSuccess, proto.String(spec.text), nil
	of.edge.Properties["success"] = "true"
}

// checkText says what is wrong with a content.
func checkText(text string) error {
	if len(text) > graph.MaxContentBytes {
		return fmt.Errorf("is %d bytes, at most %d", len(text), graph.MaxContentBytes)
	}
	return nil
}

// modelName is the first name that the graph takes.
func modelName(names ...string) string {
	for _, name := range names {
		if name != "" && len(name) <= graph.MaxNameBytes {
			return name
		}
	}
	return unknown
}

// temperature is the first that the graph takes, else the one that the server gives to a prompt that names none.
func temperature(given ...*float64) float64 {
	for _, t := range given {
		if t != nil && *t >= 0 && *t <= graph.MaxTemperature {
			return *t
		}
	}
	return defaultTemperature
}

// toolNames are the names that the graph takes.
func toolNames(names []string) []string {
	var taken []string
	for _, name := range names {
		if name != "" && len(name) <= graph.MaxNameBytes && len(taken) < graph.MaxToolsAvailable {
			taken = append(taken, name)
		}
	}
	return taken
}

// elapsed is the time between two known instants in milliseconds, 0 when one is unknown or they run backwards.
func elapsed(from, to *timestamppb.Timestamp) int64 {
	if from == nil || to == nil {
		return 0
	}
	return max(0, to.AsTime().Sub(from.AsTime()).Milliseconds())
}
