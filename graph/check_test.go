package graph_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

const sessionID = "6f1c2a34-0000-4000-8000-00000000000a"

func aPrompt() *pb.Node {
	return &pb.Node{Id: "p1", NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{SessionId: sessionID, Content: "hello"}}}
}

func aResponse() *pb.Node {
	return &pb.Node{Id: "r1", NodeData: &pb.Node_Response{Response: &pb.ResponseNode{
		PromptId: "p1", Content: "hi", TokenUsage: &pb.TokenUsage{PromptTokens: 15, CompletionTokens: 25},
	}}}
}

func aTool() *pb.Node {
	return &pb.Node{Id: "t1", NodeData: &pb.Node_ToolInvocation{ToolInvocation: &pb.ToolInvocationNode{
		ResponseId: "r1", ToolName: "search", Parameters: "not json",
	}}}
}

func anAgent() *pb.Node {
	return &pb.Node{Id: "a1", NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{Name: "ada"}}}
}

func aTemplate() *pb.Node {
	return &pb.Node{Id: "m1", NodeData: &pb.Node_Template{Template: &pb.TemplateNode{
		Name: "greeting", TemplateText: "Hey {{name}}", Variables: []*pb.VariableSpec{{Name: "name", Required: true}},
	}}}
}

func aSession() *pb.Node {
	return &pb.Node{Id: sessionID, NodeData: &pb.Node_Session{Session: &pb.Session{}}}
}

// entries is metadata with n entries.
func entries(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprint("key", i)] = "v"
	}
	return m
}

func items(n int, text string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = text
	}
	return out
}

func at(seconds int64, nanos int32) *timestamppb.Timestamp {
	return &timestamppb.Timestamp{Seconds: seconds, Nanos: nanos}
}

// wantField fails unless err is a refusal of bad input in a field; no field means no refusal.
func wantField(t *testing.T, err error, field string) {
	t.Helper()
	if field == "" {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	var refusal *graph.Error
	if !errors.As(err, &refusal) {
		t.Errorf("got %v, want a refusal of %s", err, field)
		return
	}
	if refusal.Kind != graph.Invalid || refusal.Field != field {
		t.Errorf("got %v of field %q (%s), want invalid %q", refusal.Kind, refusal.Field, refusal.Message, field)
	}
	if !errors.Is(err, graph.Invalid) || errors.Is(err, graph.NotFound) {
		t.Error("a refusal is its kind and no other")
	}
}

// Each case changes a good node; field is what is refused then, empty for nothing.
type nodeCase struct {
	name   string
	make   func() *pb.Node
	change func(n *pb.Node)
	field  string
}

func text(n int) string { return strings.Repeat("x", n) }

func of(change func(p *pb.PromptNode)) func(*pb.Node) {
	return func(n *pb.Node) { change(n.GetPrompt()) }
}

func ofResponse(change func(r *pb.ResponseNode)) func(*pb.Node) {
	return func(n *pb.Node) { change(n.GetResponse()) }
}

func ofTool(change func(r *pb.ToolInvocationNode)) func(*pb.Node) {
	return func(n *pb.Node) { change(n.GetToolInvocation()) }
}

func ofAgent(change func(r *pb.AgentNode)) func(*pb.Node) {
	return func(n *pb.Node) { change(n.GetAgent()) }
}

func ofTemplate(change func(r *pb.TemplateNode)) func(*pb.Node) {
	return func(n *pb.Node) { change(n.GetTemplate()) }
}

func ofVariable(change func(v *pb.VariableSpec)) func(*pb.Node) {
	return func(n *pb.Node) { change(n.GetTemplate().Variables[0]) }
}

var identityCases = []nodeCase{
	{"no data", aPrompt, func(n *pb.Node) { n.NodeData = nil }, "node.node_data"},
	{"nil data", aPrompt, func(n *pb.Node) { n.NodeData = &pb.Node_Prompt{} }, "node.node_data"},
	{"nil data of a type", aPrompt, func(n *pb.Node) { n.Type, n.NodeData = 2, &pb.Node_Agent{} }, "node.type"},
	{"the type said", aPrompt, func(n *pb.Node) { n.Type = pb.NodeType_NODE_TYPE_PROMPT }, ""},
	{"another type", aPrompt, func(n *pb.Node) { n.Type = pb.NodeType_NODE_TYPE_AGENT }, "node.type"},
	{"an unknown type", aPrompt, func(n *pb.Node) { n.Type = 99 }, "node.type"},
	{"no id", aPrompt, func(n *pb.Node) { n.Id = "" }, ""},
	{"two equal ids", aPrompt, of(func(p *pb.PromptNode) { p.Id = "p1" }), ""},
	{"two ids", aPrompt, of(func(p *pb.PromptNode) { p.Id = "p2" }), "node.id"},
	{"an id of 128 bytes", aPrompt, func(n *pb.Node) { n.Id = text(128) }, ""},
	{"an id of 129 bytes", aPrompt, func(n *pb.Node) { n.Id = text(129) }, "node.id"},
	{"an id with spaces and umlauts", aPrompt, func(n *pb.Node) { n.Id = "zwölf Äpfel" }, ""},
	{"an id with NUL", aPrompt, func(n *pb.Node) { n.Id = "a\x00b" }, "node.id"},
	{"an id with a line break", aPrompt, func(n *pb.Node) { n.Id = "a\nb" }, "node.id"},
	{"a long id inside", aPrompt, func(n *pb.Node) { n.Id, n.GetPrompt().Id = "", text(129) }, "node.id"},
	{"a session", aSession, func(*pb.Node) {}, "node.session"},
	{"a broken created_at is ignored", aPrompt, func(n *pb.Node) { n.CreatedAt = at(0, -5) }, ""},
}

var promptCases = []nodeCase{
	{"session_id missing", aPrompt, of(func(p *pb.PromptNode) { p.SessionId = "" }), "node.prompt.session_id"},
	{"session_id no UUID", aPrompt, of(func(p *pb.PromptNode) { p.SessionId = "node-123" }), "node.prompt.session_id"},
	{"session_id without hyphens", aPrompt, of(func(p *pb.PromptNode) { p.SessionId = text(36) }), "node.prompt.session_id"},
	{"session_id with a wrong digit", aPrompt, of(func(p *pb.PromptNode) { p.SessionId = sessionID[:35] + "g" }), "node.prompt.session_id"},
	{"session_id in capitals", aPrompt, of(func(p *pb.PromptNode) { p.SessionId = strings.ToUpper(sessionID) }), ""},
	{"content missing", aPrompt, of(func(p *pb.PromptNode) { p.Content = "" }), "node.prompt.content"},
	{"content of 1,000,000 bytes", aPrompt, of(func(p *pb.PromptNode) { p.Content = text(1_000_000) }), ""},
	{"content of 1,000,001 bytes", aPrompt, of(func(p *pb.PromptNode) { p.Content = text(1_000_001) }), "node.prompt.content"},
	{"content of anything", aPrompt, of(func(p *pb.PromptNode) { p.Content = "\x00\x1b[31m\ufeff\u2028\u202e" }), ""},
	{"timestamp", aPrompt, of(func(p *pb.PromptNode) { p.Timestamp = at(-1, 999_999_999) }), ""},
	{"nanos below 0", aPrompt, of(func(p *pb.PromptNode) { p.Timestamp = at(1, -1) }), "node.prompt.timestamp"},
	{"nanos of a second", aPrompt, of(func(p *pb.PromptNode) { p.Timestamp = at(1, 1_000_000_000) }), "node.prompt.timestamp"},
	{"the last second", aPrompt, of(func(p *pb.PromptNode) { p.Timestamp = at(9_223_372_035, 999_999_999) }), ""},
	{"too late", aPrompt, of(func(p *pb.PromptNode) { p.Timestamp = at(9_223_372_036, 0) }), "node.prompt.timestamp"},
	{"the first second", aPrompt, of(func(p *pb.PromptNode) { p.Timestamp = at(-9_223_372_035, 0) }), ""},
	{"too early", aPrompt, of(func(p *pb.PromptNode) { p.Timestamp = at(-9_223_372_036, 0) }), "node.prompt.timestamp"},
	{"model of 256 bytes", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.Model = text(256) }), ""},
	{"model of 257 bytes", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.Model = text(257) }), "node.prompt.metadata.model"},
	{"temperature 0", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.Temperature = 0 }), ""},
	{"temperature 100", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.Temperature = 100 }), ""},
	{"temperature over 100", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.Temperature = 100.01 }), "node.prompt.metadata.temperature"},
	{"temperature below 0", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.Temperature = -0.1 }), "node.prompt.metadata.temperature"},
	{"temperature NaN", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.Temperature = math.NaN() }), "node.prompt.metadata.temperature"},
	{"temperature infinite", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.Temperature = math.Inf(1) }), "node.prompt.metadata.temperature"},
	{"max_tokens 0", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.MaxTokens = new(int32) }), ""},
	{"max_tokens below 0", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.MaxTokens = proto.Int32(-1) }), "node.prompt.metadata.max_tokens"},
	{"1000 tools", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.ToolsAvailable = items(1000, "") }), ""},
	{"1001 tools", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.ToolsAvailable = items(1001, "t") }), "node.prompt.metadata.tools_available"},
	{"a long tool", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.ToolsAvailable = []string{"a", text(257)} }), "node.prompt.metadata.tools_available[1]"},
	{"64 entries", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.Custom = entries(64) }), ""},
	{"65 entries", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.Custom = entries(65) }), "node.prompt.metadata.custom"},
	{"an empty key", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.Custom = map[string]string{"": "v"} }), "node.prompt.metadata.custom"},
	{"a key of 256 bytes", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.Custom = map[string]string{text(256): ""} }), ""},
	{"a key of 257 bytes", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.Custom = map[string]string{text(257): ""} }), "node.prompt.metadata.custom"},
	{"16 KiB", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.Custom = map[string]string{"k": text(16<<10 - 1)} }), ""},
	{"over 16 KiB", aPrompt, ofPromptMetadata(func(m *pb.PromptMetadata) { m.Custom = map[string]string{"k": text(16 << 10)} }), "node.prompt.metadata.custom"},
}

func ofPromptMetadata(change func(m *pb.PromptMetadata)) func(*pb.Node) {
	return func(n *pb.Node) {
		n.GetPrompt().Metadata = &pb.PromptMetadata{}
		change(n.GetPrompt().Metadata)
	}
}

func ofResponseMetadata(change func(m *pb.ResponseMetadata)) func(*pb.Node) {
	return func(n *pb.Node) {
		n.GetResponse().Metadata = &pb.ResponseMetadata{}
		change(n.GetResponse().Metadata)
	}
}

var responseCases = []nodeCase{
	{"prompt_id missing", aResponse, ofResponse(func(r *pb.ResponseNode) { r.PromptId = "" }), "node.response.prompt_id"},
	{"prompt_id of 129 bytes", aResponse, ofResponse(func(r *pb.ResponseNode) { r.PromptId = text(129) }), "node.response.prompt_id"},
	{"content empty", aResponse, ofResponse(func(r *pb.ResponseNode) { r.Content = "" }), ""},
	{"content of 1,000,001 bytes", aResponse, ofResponse(func(r *pb.ResponseNode) { r.Content = text(1_000_001) }), "node.response.content"},
	{"timestamp", aResponse, ofResponse(func(r *pb.ResponseNode) { r.Timestamp = at(1, -1) }), "node.response.timestamp"},
	{"no usage", aResponse, ofResponse(func(r *pb.ResponseNode) { r.TokenUsage = nil }), "node.response.token_usage"},
	{"zero usage", aResponse, ofResponse(func(r *pb.ResponseNode) { r.TokenUsage = &pb.TokenUsage{} }), ""},
	{"prompt tokens below 0", aResponse, ofResponse(func(r *pb.ResponseNode) { r.TokenUsage.PromptTokens = -1 }), "node.response.token_usage.prompt_tokens"},
	{"completion tokens below 0", aResponse, ofResponse(func(r *pb.ResponseNode) { r.TokenUsage.CompletionTokens = -1 }), "node.response.token_usage.completion_tokens"},
	{"total below 0", aResponse, ofResponse(func(r *pb.ResponseNode) { r.TokenUsage.TotalTokens = -1 }), "node.response.token_usage.total_tokens"},
	{"sum over int64", aResponse, ofResponse(func(r *pb.ResponseNode) { r.TokenUsage.PromptTokens = math.MaxInt64 }), "node.response.token_usage.total_tokens"},
	{"sum over int64, total given", aResponse, ofResponse(func(r *pb.ResponseNode) { r.TokenUsage.PromptTokens, r.TokenUsage.TotalTokens = math.MaxInt64, 1 }), ""},
	{"model of 257 bytes", aResponse, ofResponseMetadata(func(m *pb.ResponseMetadata) { m.Model = text(257) }), "node.response.metadata.model"},
	{"finish_reason of 256 bytes", aResponse, ofResponseMetadata(func(m *pb.ResponseMetadata) { m.FinishReason = text(256) }), ""},
	{"finish_reason of 257 bytes", aResponse, ofResponseMetadata(func(m *pb.ResponseMetadata) { m.FinishReason = text(257) }), "node.response.metadata.finish_reason"},
	{"latency below 0", aResponse, ofResponseMetadata(func(m *pb.ResponseMetadata) { m.LatencyMs = -1 }), "node.response.metadata.latency_ms"},
	{"65 entries", aResponse, ofResponseMetadata(func(m *pb.ResponseMetadata) { m.Custom = entries(65) }), "node.response.metadata.custom"},
}

var toolCases = []nodeCase{
	{"response_id missing", aTool, ofTool(func(r *pb.ToolInvocationNode) { r.ResponseId = "" }), "node.tool_invocation.response_id"},
	{"tool_name missing", aTool, ofTool(func(r *pb.ToolInvocationNode) { r.ToolName = "" }), "node.tool_invocation.tool_name"},
	{"tool_name of 256 bytes", aTool, ofTool(func(r *pb.ToolInvocationNode) { r.ToolName = text(256) }), ""},
	{"tool_name of 257 bytes", aTool, ofTool(func(r *pb.ToolInvocationNode) { r.ToolName = text(257) }), "node.tool_invocation.tool_name"},
	{"parameters of 1,000,001 bytes", aTool, ofTool(func(r *pb.ToolInvocationNode) { r.Parameters = text(1_000_001) }), "node.tool_invocation.parameters"},
	{"result of 1,000,001 bytes", aTool, ofTool(func(r *pb.ToolInvocationNode) { r.Result = proto.String(text(1_000_001)) }), "node.tool_invocation.result"},
	{"error of 1,000,001 bytes", aTool, ofTool(func(r *pb.ToolInvocationNode) { r.Error = proto.String(text(1_000_001)) }), "node.tool_invocation.error"},
	{"duration below 0", aTool, ofTool(func(r *pb.ToolInvocationNode) { r.DurationMs = -1 }), "node.tool_invocation.duration_ms"},
	{"retries below 0", aTool, ofTool(func(r *pb.ToolInvocationNode) { r.RetryCount = -1 }), "node.tool_invocation.retry_count"},
	{"timestamp", aTool, ofTool(func(r *pb.ToolInvocationNode) { r.Timestamp = at(1, -1) }), "node.tool_invocation.timestamp"},
	{"65 entries", aTool, ofTool(func(r *pb.ToolInvocationNode) { r.Metadata = entries(65) }), "node.tool_invocation.metadata"},
	{"an unknown status", aTool, ofTool(func(r *pb.ToolInvocationNode) { r.Status = "done" }), "node.tool_invocation.status"},
	{"a status that is long", aTool, ofTool(func(r *pb.ToolInvocationNode) { r.Status = text(500) }), "node.tool_invocation.status"},
}

var agentCases = []nodeCase{
	{"name missing", anAgent, ofAgent(func(a *pb.AgentNode) { a.Name = "" }), "node.agent.name"},
	{"name of 257 bytes", anAgent, ofAgent(func(a *pb.AgentNode) { a.Name = text(257) }), "node.agent.name"},
	{"role of 257 bytes", anAgent, ofAgent(func(a *pb.AgentNode) { a.Role = text(257) }), "node.agent.role"},
	{"64 capabilities", anAgent, ofAgent(func(a *pb.AgentNode) { a.Capabilities = items(64, text(256)) }), ""},
	{"65 capabilities", anAgent, ofAgent(func(a *pb.AgentNode) { a.Capabilities = items(65, "") }), "node.agent.capabilities"},
	{"a long capability", anAgent, ofAgent(func(a *pb.AgentNode) { a.Capabilities = items(1, text(257)) }), "node.agent.capabilities[0]"},
	{"an unknown status", anAgent, ofAgent(func(a *pb.AgentNode) { a.Status = "asleep" }), "node.agent.status"},
	{"65 entries", anAgent, ofAgent(func(a *pb.AgentNode) { a.Metadata = entries(65) }), "node.agent.metadata"},
}

var templateCases = []nodeCase{
	{"name missing", aTemplate, ofTemplate(func(m *pb.TemplateNode) { m.Name = "" }), "node.template.name"},
	{"text missing", aTemplate, ofTemplate(func(m *pb.TemplateNode) { m.TemplateText = "" }), "node.template.template_text"},
	{"text of 1,000,001 bytes", aTemplate, ofTemplate(func(m *pb.TemplateNode) { m.TemplateText = text(1_000_001) }), "node.template.template_text"},
	{"65 entries", aTemplate, ofTemplate(func(m *pb.TemplateNode) { m.Metadata = entries(65) }), "node.template.metadata"},
	{"an empty parent", aTemplate, ofTemplate(func(m *pb.TemplateNode) { m.Metadata = map[string]string{"parent_id": ""} }), "node.template.metadata.parent_id"},
	{"a version", aTemplate, ofTemplate(func(m *pb.TemplateNode) { m.Version = "0.10.999999999" }), ""},
	{"a version of two", aTemplate, ofTemplate(func(m *pb.TemplateNode) { m.Version = "1.0" }), "node.template.version"},
	{"a version with a v", aTemplate, ofTemplate(func(m *pb.TemplateNode) { m.Version = "v1.0.0" }), "node.template.version"},
	{"a version with a zero before", aTemplate, ofTemplate(func(m *pb.TemplateNode) { m.Version = "1.02.0" }), "node.template.version"},
	{"a version with ten digits", aTemplate, ofTemplate(func(m *pb.TemplateNode) { m.Version = "1.0.1234567890" }), "node.template.version"},
	{"a version with a suffix", aTemplate, ofTemplate(func(m *pb.TemplateNode) { m.Version = "1.0.0-rc1" }), "node.template.version"},
	{"a version with an empty part", aTemplate, ofTemplate(func(m *pb.TemplateNode) { m.Version = "1..0" }), "node.template.version"},
	{"64 variables", aTemplate, ofTemplate(func(m *pb.TemplateNode) { m.Variables = variables(64) }), ""},
	{"65 variables", aTemplate, ofTemplate(func(m *pb.TemplateNode) { m.Variables = variables(65) }), "node.template.variables"},
	{"a variable twice", aTemplate, ofTemplate(func(m *pb.TemplateNode) { m.Variables = append(variables(2), variables(1)...) }), "node.template.variables[2].name"},
	{"a variable without name", aTemplate, ofVariable(func(v *pb.VariableSpec) { v.Name = "" }), "node.template.variables[0].name"},
	{"a variable of 256 bytes", aTemplate, ofVariable(func(v *pb.VariableSpec) { v.Name = text(256) }), ""},
	{"a variable of 257 bytes", aTemplate, ofVariable(func(v *pb.VariableSpec) { v.Name = text(257) }), "node.template.variables[0].name"},
	{"a variable with a brace", aTemplate, ofVariable(func(v *pb.VariableSpec) { v.Name = "a}" }), "node.template.variables[0].name"},
	{"a free hint", aTemplate, ofVariable(func(v *pb.VariableSpec) { v.TypeHint = "date" }), ""},
	{"a long hint", aTemplate, ofVariable(func(v *pb.VariableSpec) { v.TypeHint = text(257) }), "node.template.variables[0].type_hint"},
	{"a description of 4096 bytes", aTemplate, ofVariable(func(v *pb.VariableSpec) { v.Description = text(4096) }), ""},
	{"a description of 4097 bytes", aTemplate, ofVariable(func(v *pb.VariableSpec) { v.Description = text(4097) }), "node.template.variables[0].description"},
	{"a long default", aTemplate, ofVariable(func(v *pb.VariableSpec) { v.DefaultValue = proto.String(text(1_000_001)) }), "node.template.variables[0].default_value"},
	{"an empty pattern", aTemplate, ofVariable(func(v *pb.VariableSpec) { v.ValidationPattern = proto.String("") }), ""},
	{"a pattern of 1024 bytes", aTemplate, ofVariable(func(v *pb.VariableSpec) { v.ValidationPattern = proto.String(text(1024)) }), ""},
	{"a pattern of 1025 bytes", aTemplate, ofVariable(func(v *pb.VariableSpec) { v.ValidationPattern = proto.String(text(1025)) }), "node.template.variables[0].validation_pattern"},
	{"64 classes", aTemplate, ofVariable(func(v *pb.VariableSpec) { v.ValidationPattern = proto.String(strings.Repeat(`\w`, 64)) }), ""},
	{"65 classes", aTemplate, ofVariable(func(v *pb.VariableSpec) { v.ValidationPattern = proto.String(strings.Repeat(`\w`, 65)) }), "node.template.variables[0].validation_pattern"},
	{"a pattern that does not compile", aTemplate, ofVariable(func(v *pb.VariableSpec) { v.ValidationPattern = proto.String("(") }), "node.template.variables[0].validation_pattern"},
	{"a pattern with a look-ahead", aTemplate, ofVariable(func(v *pb.VariableSpec) { v.ValidationPattern = proto.String("(?=a)") }), "node.template.variables[0].validation_pattern"},
}

func variables(n int) []*pb.VariableSpec {
	out := make([]*pb.VariableSpec, n)
	for i := range out {
		out[i] = &pb.VariableSpec{Name: fmt.Sprint("v", i)}
	}
	return out
}

func TestCheckNode(t *testing.T) {
	for name, cases := range map[string][]nodeCase{
		"identity": identityCases, "prompt": promptCases, "response": responseCases,
		"tool": toolCases, "agent": agentCases, "template": templateCases,
	} {
		for _, c := range cases {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				n := c.make()
				c.change(n)
				wantField(t, graph.CheckNode("node", n), c.field)
			})
		}
	}
}

func TestTheFirstFaultIsNamed(t *testing.T) {
	n := aPrompt()
	n.GetPrompt().SessionId, n.GetPrompt().Content = "", ""
	wantField(t, graph.CheckNode("nodes[3]", n), "nodes[3].prompt.session_id")
	wantField(t, graph.CheckNode("nodes[3]", nil), "nodes[3].node_data")
}

func TestMissingUsageIsSaidAsPublished(t *testing.T) {
	n := aResponse()
	n.GetResponse().TokenUsage = nil
	if err := graph.CheckAdd("", n); err == nil || err.Error() != "Missing token_usage" {
		t.Errorf("got %v", err)
	}
}

func TestErrorsRepeatLittleOfTheInput(t *testing.T) {
	n := aTool()
	n.GetToolInvocation().Status = strings.Repeat("ä", 1000)
	err := graph.CheckNode("node", n)
	if err == nil || len(err.Error()) > 250 || !strings.Contains(err.Error(), "ää…") {
		t.Errorf("got %v", err)
	}
}

func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		name string
		got  *pb.Node
		want *pb.Node
	}{
		{"prompt", aPrompt(), &pb.Node{Id: "p1", Type: pb.NodeType_NODE_TYPE_PROMPT, NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{
			Id: "p1", SessionId: sessionID, Content: "hello", Metadata: &pb.PromptMetadata{Model: "unknown", Temperature: 0.7},
		}}}},
		{"response", aResponse(), &pb.Node{Id: "r1", Type: pb.NodeType_NODE_TYPE_RESPONSE, NodeData: &pb.Node_Response{Response: &pb.ResponseNode{
			Id: "r1", PromptId: "p1", Content: "hi", TokenUsage: &pb.TokenUsage{PromptTokens: 15, CompletionTokens: 25, TotalTokens: 40},
			Metadata: &pb.ResponseMetadata{Model: "unknown", FinishReason: "stop"},
		}}}},
		{"tool", aTool(), &pb.Node{Id: "t1", Type: pb.NodeType_NODE_TYPE_TOOL_INVOCATION, NodeData: &pb.Node_ToolInvocation{ToolInvocation: &pb.ToolInvocationNode{
			Id: "t1", ResponseId: "r1", ToolName: "search", Parameters: "not json", Status: "pending",
		}}}},
		{"agent", anAgent(), &pb.Node{Id: "a1", Type: pb.NodeType_NODE_TYPE_AGENT, NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{
			Id: "a1", Name: "ada", Status: "idle",
		}}}},
		{"template", aTemplate(), &pb.Node{Id: "m1", Type: pb.NodeType_NODE_TYPE_TEMPLATE, NodeData: &pb.Node_Template{Template: &pb.TemplateNode{
			Id: "m1", Name: "greeting", TemplateText: "Hey {{name}}", Version: "1.0.0", Variables: []*pb.VariableSpec{{Name: "name", Required: true}},
		}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := graph.CheckNode("node", c.got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, c.got, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGivenValuesAreKept(t *testing.T) {
	p := aPrompt()
	p.GetPrompt().SessionId = strings.ToUpper(sessionID)
	p.GetPrompt().Metadata = &pb.PromptMetadata{}
	r := aResponse()
	r.GetResponse().TokenUsage.TotalTokens = 7
	m := aTemplate()
	m.GetTemplate().UsageCount, m.GetTemplate().CreatedAt = 9, at(9, 9)
	for _, n := range []*pb.Node{p, r, m} {
		if err := graph.CheckNode("node", n); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.GetPrompt(); got.SessionId != sessionID || got.Metadata.Temperature != 0 || got.Metadata.Model != "unknown" {
		t.Errorf("prompt: %v", got)
	}
	if got := r.GetResponse().TokenUsage.TotalTokens; got != 7 {
		t.Errorf("a total that contradicts its parts became %d", got)
	}
	if got := m.GetTemplate(); got.UsageCount != 0 || got.CreatedAt != nil {
		t.Errorf("what the server sets was taken from the caller: %v", got)
	}
}

func TestStatuses(t *testing.T) {
	for _, s := range []string{"pending", "running", "success", "failed"} {
		n := aTool()
		n.GetToolInvocation().Status = strings.ToUpper(s)
		n.GetToolInvocation().Result, n.GetToolInvocation().Error = proto.String("r"), proto.String("e")
		if err := graph.CheckNode("node", n); err != nil {
			t.Fatal(err)
		}
		got := n.GetToolInvocation()
		if got.Status != s || (got.Result == nil) != (s == "failed") || (got.Error == nil) != (s == "success") {
			t.Errorf("%s: got %v", s, got)
		}
	}
	for _, s := range []string{"active", "idle", "busy", "paused", "terminated", "inactive"} {
		n := anAgent()
		n.GetAgent().Status = strings.ToUpper(s[:1]) + s[1:]
		if err := graph.CheckNode("node", n); err != nil || n.GetAgent().Status != s {
			t.Errorf("%s: got %v, %v", s, n.GetAgent(), err)
		}
	}
}
