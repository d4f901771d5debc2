package importer

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Graph is one conversation as records, in an order in which each refers only to earlier ones.
type Graph struct {
	// Shared are agents and templates, which belong to no session: other conversations name the same ones.
	Shared []*pb.Node
	// Nodes are the session and, in the order of the conversation, what belongs to it.
	Nodes []*pb.Node
	Edges []*pb.Edge
}

// Texts that stand where the graph wants one and the file has none.
const (
	startText = "(conversation start)"
	emptyText = "(no text)"
	unknown   = "unknown"
)

// A builder turns one conversation into records, message by message.
type builder struct {
	conversation
	problem func(where, format string, args ...any)
	graph   Graph
	edges   map[string]bool
	session *pb.Session
	model   string
	steps   []fields // of a SWE-agent trajectory, one for each assistant message

	templates []*pb.Node // system texts that no prompt has instantiated yet
	prompt    *pb.PromptNode
	last      turn   // of the latest assistant message
	turns     []turn // those with calls
	answers   int    // assistant messages so far
}

// A turn is the calls that one assistant message made.
type turn struct {
	calls []*openCall
	// action says that the call stands in action, and its result in the user message that follows.
	action bool
}

// An openCall is a tool call in wait of its result.
type openCall struct {
	id      string
	tool    *pb.ToolInvocationNode
	edge    *pb.Edge
	settled bool
}

// buildGraph makes the records of a conversation. What it cannot use it reports and leaves out.
func buildGraph(c conversation, problem func(where, format string, args ...any)) Graph {
	b := &builder{conversation: c, problem: problem, edges: make(map[string]bool)}
	b.start()
	for i, raw := range c.messages {
		m, err := readMessage(raw, i, c.format)
		if err == nil {
			err = b.add(m)
		}
		if err != nil {
			problem(fmt.Sprintf("%s, message %d", c.where(), i+1), "%v", err)
		}
	}
	b.instantiate(b.prompt)
	return b.graph
}

// start makes the session from the item's fields.
func (b *builder) start() {
	b.session = &pb.Session{Id: b.id("session"), IsActive: true, Metadata: map[string]string{
		"import_format": string(b.format),
		"import_index":  strconv.Itoa(b.index),
		"import_source": b.digest[:16],
	}}
	b.session.CreatedAt = b.fields.time(timeKeys()...)
	b.model = b.fields.firstText("model")
	if b.format == FormatSWEAgent {
		_ = json.Unmarshal(b.fields["trajectory"], &b.steps) // one of another shape has no steps to offer
	}
	addMetadata(b.session.Metadata, flatten(b.fields.without("trajectory", "tools")))
	b.graph.Nodes = append(b.graph.Nodes, &pb.Node{
		Id: b.session.Id, Type: pb.NodeType_NODE_TYPE_SESSION, NodeData: &pb.Node_Session{Session: b.session},
	})
}

func (b *builder) add(m message) error {
	if b.session.CreatedAt == nil {
		b.session.CreatedAt = m.time
	}
	if len(m.content) > graph.MaxContentBytes {
		return fmt.Errorf("content is %d bytes, at most %d", len(m.content), graph.MaxContentBytes)
	}
	switch m.role {
	case roleSystem:
		b.addTemplate(m.content)
	case roleUser:
		if call := b.awaitsObservation(); call != nil {
			b.settle(call, m)
			return nil
		}
		b.addPrompt(m)
	case roleAssistant:
		b.addResponse(m)
	case roleTool:
		return b.addResult(m)
	default:
		panic(fmt.Sprintf("role %d", m.role))
	}
	return nil
}

// addTemplate makes a system text a template. Its id comes from the text alone, so equal texts are one template
// everywhere. How often it was used is the server's to count from now on: the record says 0.
func (b *builder) addTemplate(text string) {
	if text == "" {
		return
	}
	id := derive("template", text)
	n := &pb.Node{Id: id, Type: pb.NodeType_NODE_TYPE_TEMPLATE, NodeData: &pb.Node_Template{Template: &pb.TemplateNode{
		Id: id, Name: "system-" + id[:8], TemplateText: text, Version: templateVersion,
	}}}
	b.graph.Shared = append(b.graph.Shared, n)
	b.templates = append(b.templates, n)
}

const templateVersion = "1.0.0"

// instantiate links the prompt with the system texts that stood before it.
func (b *builder) instantiate(p *pb.PromptNode) {
	if p == nil {
		return
	}
	for _, t := range b.templates {
		properties := map[string]string{"template_version": templateVersion, "variable_bindings": "{}"}
		if p.Timestamp != nil {
			properties["instantiation_time"] = p.Timestamp.AsTime().Format(timeLayout)
		}
		b.edge(pb.EdgeType_EDGE_TYPE_INSTANTIATES, p.Id, t.Id, properties)
	}
	b.templates = nil
}

// timeLayout is RFC 3339 with as many digits as there are.
const timeLayout = "2006-01-02T15:04:05.999999999Z07:00"

func (b *builder) addPrompt(m message) {
	text := m.content
	if text == "" {
		text = emptyText
	}
	b.setPrompt(&pb.PromptNode{Id: b.id("prompt", m.place), Content: text, Timestamp: m.time}, b.custom(m))
}

func (b *builder) setPrompt(p *pb.PromptNode, custom map[string]string) {
	p.SessionId = b.session.Id
	p.Metadata = &pb.PromptMetadata{Model: b.modelName(b.model), Temperature: b.temperature(), ToolsAvailable: b.tools(), Custom: custom}
	b.node(p.Id, pb.NodeType_NODE_TYPE_PROMPT, &pb.Node{NodeData: &pb.Node_Prompt{Prompt: p}})
	if before := b.prompt; before != nil {
		delta := elapsed(before.Timestamp, p.Timestamp)
		b.edge(pb.EdgeType_EDGE_TYPE_FOLLOWS, p.Id, before.Id, map[string]string{"time_delta_ms": strconv.FormatInt(delta, 10)})
	}
	b.prompt = p
	b.instantiate(p)
}

func (b *builder) addResponse(m message) {
	if b.prompt == nil {
		b.setPrompt(&pb.PromptNode{Id: b.id("start"), Content: startText}, map[string]string{"synthetic": "true"})
	}
	model := m.fields.firstText("model")
	if model == "" {
		model = b.model
	}
	meta := &pb.ResponseMetadata{Model: b.modelName(model), FinishReason: m.finishReason(), LatencyMs: m.fields.whole("latency_ms"), Custom: b.custom(m)}
	r := &pb.ResponseNode{Id: b.id("response", m.place), PromptId: b.prompt.Id, Content: m.content, Timestamp: m.time,
		TokenUsage: m.usage(), Metadata: meta}
	b.node(r.Id, pb.NodeType_NODE_TYPE_RESPONSE, &pb.Node{NodeData: &pb.Node_Response{Response: r}})
	b.edge(pb.EdgeType_EDGE_TYPE_RESPONDS_TO, r.Id, b.prompt.Id, map[string]string{
		"latency_ms": strconv.FormatInt(meta.LatencyMs, 10), "model": meta.Model,
	})
	b.handledBy(r.Id, m.agent)
	b.addCalls(m, r.Id)
	b.answers++
}

// handledBy links an answer and its prompt with the agent that the file names.
func (b *builder) handledBy(response, agent string) {
	if agent == "" {
		return
	}
	id := derive("agent", agent)
	b.graph.Shared = append(b.graph.Shared, &pb.Node{Id: id, Type: pb.NodeType_NODE_TYPE_AGENT,
		NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{Id: id, Name: agent, Status: "idle"}}})
	b.edge(pb.EdgeType_EDGE_TYPE_HANDLED_BY, b.prompt.Id, id, nil)
	b.edge(pb.EdgeType_EDGE_TYPE_HANDLED_BY, response, id, nil)
}

// node completes a node of the session and adds it with its BELONGS_TO edge.
func (b *builder) node(id string, t pb.NodeType, n *pb.Node) {
	n.Id, n.Type, n.SessionId = id, t, b.session.Id
	b.graph.Nodes = append(b.graph.Nodes, n)
	b.edge(pb.EdgeType_EDGE_TYPE_BELONGS_TO, id, b.session.Id, nil)
}

// edge adds an edge unless it is there; its id comes from its type and its ends.
func (b *builder) edge(t pb.EdgeType, from, to string, properties map[string]string) *pb.Edge {
	e := &pb.Edge{Id: derive("edge", t.String(), from, to), FromNodeId: from, ToNodeId: to, Type: t, Properties: properties}
	if !b.edges[e.Id] {
		b.edges[e.Id] = true
		b.graph.Edges = append(b.graph.Edges, e)
	}
	return e
}

// custom is what a message says besides what the records have a place for.
func (b *builder) custom(m message) map[string]string {
	custom := make(map[string]string)
	if m.role == roleUser && m.content == "" {
		custom["synthetic"] = "true"
	}
	if len(m.other) > 0 {
		custom["content_parts"] = cutText(strings.Join(m.other, ","), maxValueBytes)
	}
	if m.role == roleUser && m.name != "" {
		addMetadata(custom, []pair{{key: "name", value: m.name}})
	}
	addMetadata(custom, flatten(m.fields.without(knownKeys()...)))
	return custom
}

func (b *builder) modelName(name string) string {
	if name == "" || len(name) > graph.MaxNameBytes {
		return unknown
	}
	return name
}

// temperature is the item's, else the default that the server gives to a prompt that names none.
func (b *builder) temperature() float64 {
	t, err := strconv.ParseFloat(string(b.fields["temperature"]), 64)
	if err != nil || !(t >= 0 && t <= graph.MaxTemperature) {
		return 0.7
	}
	return t
}

// tools lists the names of the item's tools.
func (b *builder) tools() []string {
	var raws []json.RawMessage
	if err := json.Unmarshal(b.fields["tools"], &raws); err != nil {
		return nil
	}
	var names []string
	for _, raw := range raws {
		f, err := parseFields(raw)
		if err != nil {
			continue
		}
		if nested := f.object("function"); nested != nil {
			f = nested
		}
		name := f.firstText("name")
		if name != "" && len(name) <= graph.MaxNameBytes && len(names) < graph.MaxToolsAvailable {
			names = append(names, name)
		}
	}
	return names
}

func (m message) finishReason() string {
	reason := m.fields.firstText("finish_reason")
	if reason == "" || len(reason) > graph.MaxNameBytes {
		return "stop"
	}
	return reason
}

// usage reads usage under the names of either OpenAI interface. It is there also when the file has none: 0 and 0.
func (m message) usage() *pb.TokenUsage {
	f := m.fields.object("usage")
	u := &pb.TokenUsage{PromptTokens: f.whole("prompt_tokens"), CompletionTokens: f.whole("completion_tokens"), TotalTokens: f.whole("total_tokens")}
	if u.PromptTokens == 0 {
		u.PromptTokens = f.whole("input_tokens")
	}
	if u.CompletionTokens == 0 {
		u.CompletionTokens = f.whole("output_tokens")
	}
	if u.TotalTokens == 0 {
		u.TotalTokens = u.PromptTokens + u.CompletionTokens
	}
	return u
}

// elapsed is the time between two known instants in milliseconds, 0 when one is unknown or they run backwards.
func elapsed(from, to *timestamppb.Timestamp) int64 {
	if from == nil || to == nil {
		return 0
	}
	return max(0, to.AsTime().Sub(from.AsTime()).Milliseconds())
}
