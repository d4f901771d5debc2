package conformance

import (
	"fmt"
	"math"
	"strings"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/protobuf/proto"
)

const (
	maxContent  = 1_000_000
	maxName     = 256
	maxEntries  = 64
	maxMetadata = 16 << 10
)

func badNumbers(t *testing.T, e *Env) {
	made := e.talk(t, 1)
	for _, temperature := range []float64{-0.1, 100.5, math.NaN(), math.Inf(1), math.Inf(-1)} {
		e.refusedPrompt(t, made, &graphpb.PromptMetadata{Temperature: temperature}, "temperature")
	}
	e.refusedPrompt(t, made, &graphpb.PromptMetadata{MaxTokens: proto.Int32(-1)}, "max_tokens")
	for field, bad := range map[string]*graphpb.TokenUsage{
		"prompt_tokens":     {PromptTokens: -1},
		"completion_tokens": {CompletionTokens: -1},
		"total_tokens":      {TotalTokens: -1},
	} {
		invalid(e.Graph.AddResponse(t.Context(), &graphpb.AddResponseRequest{
			PromptId: made.prompts[0].GetId(), TokenUsage: bad,
		}))(t, field)
	}
	invalid(e.Graph.AddResponse(t.Context(), &graphpb.AddResponseRequest{
		PromptId: made.prompts[0].GetId(), TokenUsage: usage(), Metadata: &graphpb.ResponseMetadata{LatencyMs: -1},
	}))(t, "latency_ms")
	e.refusedTool(t, made, &graphpb.ToolInvocationNode{ToolName: "x", DurationMs: -1}, "duration_ms")
	e.refusedTool(t, made, &graphpb.ToolInvocationNode{ToolName: "x", RetryCount: -1}, "retry_count")
}

func (e *Env) refusedPrompt(t *testing.T, made talk, metadata *graphpb.PromptMetadata, field string) {
	t.Helper()
	invalid(e.Graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{
		SessionId: made.session.GetId(), Content: "x", Metadata: metadata,
	}))(t, field)
}

func (e *Env) refusedTool(t *testing.T, made talk, tool *graphpb.ToolInvocationNode, field string) {
	t.Helper()
	tool.ResponseId = made.responses[0].GetId()
	invalid(e.Graph.AddToolInvocation(t.Context(), &graphpb.AddToolInvocationRequest{ToolInvocation: tool}))(t, field)
}

func longTexts(t *testing.T, e *Env) {
	ctx := t.Context()
	made := e.talk(t, 1)
	session, prompt := made.session.GetId(), made.prompts[0].GetId()
	most, over := strings.Repeat("y", maxContent), strings.Repeat("y", maxContent+1)
	wantEqual(t, "longest content", maxContent, len(e.prompt(t, session, most).GetContent()))
	invalid(e.Graph.AddPrompt(ctx, &graphpb.AddPromptRequest{SessionId: session, Content: over}))(t, "content")
	invalid(e.Graph.AddResponse(ctx, &graphpb.AddResponseRequest{PromptId: prompt, Content: over, TokenUsage: usage()}))(t, "content")
	e.refusedTool(t, made, &graphpb.ToolInvocationNode{ToolName: "x", Parameters: over}, "parameters")
	e.refusedTool(t, made, &graphpb.ToolInvocationNode{ToolName: "x", Result: &over}, "result")
	e.refusedTool(t, made, &graphpb.ToolInvocationNode{ToolName: "x", Error: &over}, "error")
	invalid(e.Graph.CreateTemplate(ctx, &graphpb.CreateTemplateRequest{
		Template: &graphpb.TemplateNode{Name: "n", TemplateText: over},
	}))(t, "template_text")

	name := strings.Repeat("n", maxName+1)
	e.refusedTool(t, made, &graphpb.ToolInvocationNode{ToolName: name}, "tool_name")
	e.refusedPrompt(t, made, &graphpb.PromptMetadata{Model: name}, "model")
	e.refusedPrompt(t, made, &graphpb.PromptMetadata{ToolsAvailable: []string{name}}, "tools_available")
	e.refusedPrompt(t, made, &graphpb.PromptMetadata{ToolsAvailable: make([]string, 1001)}, "tools_available")
	invalid(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: agentNode("", name)}))(t, "name")
	crowd := agentNode("", "a")
	crowd.GetAgent().Capabilities = strings.Split(strings.Repeat("x,", 64)+"x", ",")
	invalid(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: crowd}))(t, "capabilities")

	for what, bad := range badMetadata() {
		t.Log(what)
		invalid(e.Graph.CreateSession(ctx, &graphpb.CreateSessionRequest{Metadata: bad}))(t, "metadata")
		e.refusedPrompt(t, made, &graphpb.PromptMetadata{Custom: bad}, "custom")
		e.refusedTool(t, made, &graphpb.ToolInvocationNode{ToolName: "x", Metadata: bad}, "metadata")
		invalid(e.Graph.CreateTemplate(ctx, &graphpb.CreateTemplateRequest{
			Template: &graphpb.TemplateNode{Name: "n", TemplateText: "t", Metadata: bad},
		}))(t, "metadata")
	}
	most64 := make(map[string]string, maxEntries)
	for i := range maxEntries {
		most64[fmt.Sprintf("key-%02d", i)] = "v"
	}
	full := must(e.Graph.CreateSession(ctx, &graphpb.CreateSessionRequest{Metadata: most64}))(t)
	wantEqual(t, "metadata of 64 entries", most64, full.GetMetadata())
}

func badMetadata() map[string]map[string]string {
	crowded := make(map[string]string, maxEntries+1)
	for i := range maxEntries + 1 {
		crowded[fmt.Sprintf("key-%02d", i)] = "v"
	}
	return map[string]map[string]string{
		"65 entries":       crowded,
		"over 16 KiB":      {"key": strings.Repeat("v", maxMetadata+1)},
		"empty key":        {"": "v"},
		"key of 257 bytes": {strings.Repeat("k", maxName+1): "v"},
	}
}

func unknownEnums(t *testing.T, e *Env) {
	ctx := t.Context()
	agent := e.agent(t, "a").GetId()
	for _, number := range []int32{99, -1} {
		node := agentNode("", "a")
		node.Type = graphpb.NodeType(number)
		invalid(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: node}))(t, "type")
		invalid(e.Graph.CreateEdge(ctx, &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
			Type: graphpb.EdgeType(number), FromNodeId: agent, ToNodeId: agent,
		}}))(t, "type")
		invalid(e.Graph.GetEdges(ctx, &graphpb.GetEdgesRequest{
			NodeId: agent, Direction: graphpb.EdgeDirection(number).Enum(),
		}))(t, "direction")
		invalid(e.Graph.GetEdges(ctx, &graphpb.GetEdgesRequest{NodeId: agent, Type: graphpb.EdgeType(number).Enum()}))(t, "type")
		bad := &graphpb.QueryRequest{NodeType: graphpb.NodeType(number).Enum()}
		invalid(e.Graph.Query(ctx, bad))(t, "node_type")
		invalid(refusedStream(e.Graph.StreamQuery(open(t), bad)))(t, "node_type")
		invalid(refusedStream(e.Graph.StreamEvents(open(t), &graphpb.StreamEventsRequest{
			EventTypes: []graphpb.EventType{graphpb.EventType(number)},
		})))(t, "event_types")
	}
	invalid(refusedStream(e.Graph.StreamEvents(open(t), &graphpb.StreamEventsRequest{
		EventTypes: []graphpb.EventType{graphpb.EventType_EVENT_TYPE_NODE_CREATED, graphpb.EventType_EVENT_TYPE_UNSPECIFIED},
	})))(t, "event_types")
}
