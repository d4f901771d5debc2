package conformance

import (
	"math"
	"strings"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/protobuf/proto"
)

func recordCases() []Case {
	return []Case{
		{Name: "absent_metadata_is_filled_in", Section: "7", Run: defaults, Calls: []string{addPrompt, addResponse, createNode, getNode}},
		{Name: "given_metadata_is_kept", Section: "7", Run: metadataKept, Calls: []string{addPrompt, addResponse, getNode}},
		{Name: "total_tokens_0_becomes_the_sum", Section: "7", Run: tokenTotals, Calls: []string{addResponse}},
		{Name: "tool_statuses_come_out_in_lower_case", Section: "7", Run: toolStatuses,
			Calls: []string{addToolInvocation, createNode, getNode}},
		{Name: "success_clears_error_and_failed_clears_result", Section: "7", Run: resultAndError,
			Calls: []string{addToolInvocation, updateNode, getNode}},
		{Name: "agent_statuses_come_out_in_lower_case", Section: "7", Run: agentStatuses, Calls: []string{createNode, getNode}},
		{Name: "texts_survive_byte_for_byte", Section: "7", Run: textsSurvive,
			Calls: []string{addPrompt, addResponse, addToolInvocation, createTemplate, createNode, getNode, streamQuery}},
		{Name: "parameters_need_not_be_json", Section: "7", Run: parametersAnyText, Calls: []string{addToolInvocation, getNode}},
		{Name: "numbers_keep_their_extremes", Section: "7", Run: extremes, Calls: []string{addPrompt, addResponse, addToolInvocation, getNode}},
	}
}

func defaults(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	prompt := e.prompt(t, session, "q")
	wantEqual(t, "prompt metadata", &graphpb.PromptMetadata{Model: "unknown", Temperature: 0.7}, prompt.GetMetadata())
	response := e.response(t, prompt.GetId(), "a")
	wantEqual(t, "response metadata", &graphpb.ResponseMetadata{Model: "unknown", FinishReason: "stop"}, response.GetMetadata())
	made := e.create(t, promptNode("", session, "q"))
	wantEqual(t, "prompt metadata by CreateNode", prompt.GetMetadata(), made.GetPrompt().GetMetadata())
	wantEqual(t, "prompt as read", prompt, e.node(t, prompt.GetId()).GetPrompt())
	wantEqual(t, "response as read", response, e.node(t, response.GetId()).GetResponse())

	empty := must(e.Graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{
		SessionId: session, Content: "q", Metadata: &graphpb.PromptMetadata{},
	}))(t)
	wantEqual(t, "empty prompt metadata", &graphpb.PromptMetadata{Model: "unknown"}, empty.GetMetadata())
	bare := must(e.Graph.AddResponse(t.Context(), &graphpb.AddResponseRequest{
		PromptId: prompt.GetId(), TokenUsage: usage(), Metadata: &graphpb.ResponseMetadata{LatencyMs: 3},
	}))(t)
	wantEqual(t, "bare response metadata",
		&graphpb.ResponseMetadata{Model: "unknown", FinishReason: "stop", LatencyMs: 3}, bare.GetMetadata())
}

func metadataKept(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	metadata := &graphpb.PromptMetadata{
		Model: "gpt-4", Temperature: 0.7, MaxTokens: proto.Int32(0), ToolsAvailable: []string{"search", "search", "calc"},
		Custom: oddTexts(),
	}
	prompt := must(e.Graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{
		SessionId: session, Content: "q", Metadata: metadata,
	}))(t)
	wantEqual(t, "prompt metadata", metadata, prompt.GetMetadata())
	wantEqual(t, "prompt metadata as read", metadata, e.node(t, prompt.GetId()).GetPrompt().GetMetadata())
	answered := &graphpb.ResponseMetadata{Model: "gpt-4-0613", FinishReason: "tool_calls", LatencyMs: 1234, Custom: oddTexts()}
	response := must(e.Graph.AddResponse(t.Context(), &graphpb.AddResponseRequest{
		PromptId: prompt.GetId(), Content: "a", TokenUsage: usage(), Metadata: answered,
	}))(t)
	wantEqual(t, "response metadata", answered, response.GetMetadata())
	wantEqual(t, "response metadata as read", answered, e.node(t, response.GetId()).GetResponse().GetMetadata())
}

func tokenTotals(t *testing.T, e *Env) {
	prompt := e.prompt(t, e.session(t).GetId(), "q").GetId()
	for _, c := range []struct{ given, want *graphpb.TokenUsage }{
		{&graphpb.TokenUsage{PromptTokens: 15, CompletionTokens: 25}, usage()},
		{usage(), usage()},
		{&graphpb.TokenUsage{PromptTokens: 15, CompletionTokens: 25, TotalTokens: 99},
			&graphpb.TokenUsage{PromptTokens: 15, CompletionTokens: 25, TotalTokens: 99}},
		{&graphpb.TokenUsage{}, &graphpb.TokenUsage{}},
	} {
		made := must(e.Graph.AddResponse(t.Context(), &graphpb.AddResponseRequest{PromptId: prompt, TokenUsage: c.given}))(t)
		wantEqual(t, "usage", c.want, made.GetTokenUsage())
	}
}

func toolStatuses(t *testing.T, e *Env) {
	response := e.talk(t, 1).responses[0].GetId()
	for given, want := range map[string]string{
		"": "pending", "pending": "pending", "Running": "running", "SUCCESS": "success", "fAiLeD": "failed",
	} {
		tool := must(e.Graph.AddToolInvocation(t.Context(), &graphpb.AddToolInvocationRequest{
			ToolInvocation: &graphpb.ToolInvocationNode{ResponseId: response, ToolName: "x", Status: given},
		}))(t)
		wantEqual(t, "status of "+given, want, tool.GetStatus())
		wantEqual(t, "status as read", want, e.node(t, tool.GetId()).GetToolInvocation().GetStatus())
	}
	for _, bad := range []string{"done", "ok", " success", "error", "\x00"} {
		invalid(e.Graph.AddToolInvocation(t.Context(), &graphpb.AddToolInvocationRequest{
			ToolInvocation: &graphpb.ToolInvocationNode{ResponseId: response, ToolName: "x", Status: bad},
		}))(t, "status")
		node := toolNode("", response, "x")
		node.GetToolInvocation().Status = bad
		invalid(e.Graph.CreateNode(t.Context(), &graphpb.CreateNodeRequest{Node: node}))(t, "status")
	}
}

func resultAndError(t *testing.T, e *Env) {
	response := e.talk(t, 1).responses[0].GetId()
	record := func(status string, result, failure *string) *graphpb.ToolInvocationNode {
		t.Helper()
		tool := must(e.Graph.AddToolInvocation(t.Context(), &graphpb.AddToolInvocationRequest{
			ToolInvocation: &graphpb.ToolInvocationNode{
				ResponseId: response, ToolName: "x", Status: status, Result: result, Error: failure,
			},
		}))(t)
		wantEqual(t, "tool call as read", tool, e.node(t, tool.GetId()).GetToolInvocation())
		return tool
	}
	result, failure := proto.String("fine"), proto.String("broken")
	tool := record("success", result, failure)
	wantEqual(t, "result of success", result, tool.Result)
	wantEqual(t, "error of success", (*string)(nil), tool.Error)
	tool = record("failed", result, failure)
	wantEqual(t, "result of failed", (*string)(nil), tool.Result)
	wantEqual(t, "error of failed", failure, tool.Error)
	tool = record("pending", nil, nil)
	wantEqual(t, "absent result", (*string)(nil), tool.Result)
	wantEqual(t, "absent error", (*string)(nil), tool.Error)
	tool = record("success", proto.String(""), nil)
	wantEqual(t, "empty result", proto.String(""), tool.Result)
	tool = record("running", proto.String("half"), nil)
	wantEqual(t, "result while it runs", proto.String("half"), tool.Result)

	failed := clone(tool)
	failed.Status, failed.Error = "FAILED", failure
	updated := e.update(t, &graphpb.Node{NodeData: &graphpb.Node_ToolInvocation{ToolInvocation: failed}}).GetToolInvocation()
	wantEqual(t, "status after the update", "failed", updated.GetStatus())
	wantEqual(t, "result after the update", (*string)(nil), updated.Result)
	wantEqual(t, "error after the update", failure, updated.Error)
}

func agentStatuses(t *testing.T, e *Env) {
	for given, want := range map[string]string{
		"": "idle", "Active": "active", "idle": "idle", "BUSY": "busy", "paused": "paused", "Terminated": "terminated",
		"inactive": "inactive",
	} {
		node := agentNode("", "a")
		node.GetAgent().Status = given
		made := e.create(t, node)
		wantEqual(t, "status of "+given, want, made.GetAgent().GetStatus())
		wantEqual(t, "agent as read", made, e.node(t, made.GetId()))
	}
	for _, bad := range []string{"pending", "asleep", "idle "} {
		node := agentNode("", "a")
		node.GetAgent().Status = bad
		invalid(e.Graph.CreateNode(t.Context(), &graphpb.CreateNodeRequest{Node: node}))(t, "status")
	}
}

func textsSurvive(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	made := make(map[string]*graphpb.Node)
	for _, text := range oddTexts() {
		prompt := e.prompt(t, session, text)
		response := e.response(t, prompt.GetId(), text)
		tool := must(e.Graph.AddToolInvocation(t.Context(), &graphpb.AddToolInvocationRequest{
			ToolInvocation: &graphpb.ToolInvocationNode{
				ResponseId: response.GetId(), ToolName: text, Parameters: text, Result: &text,
				Metadata: map[string]string{text: text},
			},
		}))(t)
		agent := agentNode("", text)
		agent.GetAgent().Role, agent.GetAgent().Capabilities = text, []string{text}
		agent.GetAgent().Metadata = map[string]string{"k": text}
		template := e.template(t, &graphpb.TemplateNode{Name: text, TemplateText: text})
		wantEqual(t, "prompt", text, e.node(t, prompt.GetId()).GetPrompt().GetContent())
		wantEqual(t, "response", text, e.node(t, response.GetId()).GetResponse().GetContent())
		read := e.node(t, tool.GetId()).GetToolInvocation()
		wantEqual(t, "tool call", []string{text, text, text, text},
			[]string{read.GetToolName(), read.GetParameters(), read.GetResult(), read.GetMetadata()[text]})
		helper := e.node(t, e.create(t, agent).GetId()).GetAgent()
		wantEqual(t, "agent", []string{text, text, text, text},
			[]string{helper.GetName(), helper.GetRole(), helper.GetCapabilities()[0], helper.GetMetadata()["k"]})
		wantEqual(t, "template", text, e.node(t, template.GetId()).GetTemplate().GetTemplateText())
		for _, id := range []string{prompt.GetId(), response.GetId(), tool.GetId()} {
			made[id] = e.node(t, id)
		}
	}
	for _, node := range e.streamQuery(t, &graphpb.QueryRequest{SessionId: &session}) {
		if want, ok := made[node.GetId()]; ok {
			wantEqual(t, "node as streamed", want, node)
		}
	}
}

func parametersAnyText(t *testing.T, e *Env) {
	response := e.talk(t, 1).responses[0].GetId()
	for _, text := range []string{
		"", "not json", `{"a":1,"a":2}`, `{"b":1, "a" : 1e400}`, `{`, `[[[[[[`, `{'single': True}`,
		strings.Repeat("[", 10_000), "\x00", `{"n":12345678901234567890.123456789}`,
	} {
		tool := must(e.Graph.AddToolInvocation(t.Context(), &graphpb.AddToolInvocationRequest{
			ToolInvocation: &graphpb.ToolInvocationNode{
				ResponseId: response, ToolName: "x", Parameters: text, Status: "success", Result: &text,
			},
		}))(t)
		read := e.node(t, tool.GetId()).GetToolInvocation()
		wantEqual(t, "parameters", text, read.GetParameters())
		wantEqual(t, "result", text, read.GetResult())
	}
}

func extremes(t *testing.T, e *Env) {
	made := e.talk(t, 1)
	prompt := must(e.Graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{
		SessionId: made.session.GetId(), Content: "q",
		Metadata: &graphpb.PromptMetadata{Temperature: 100, MaxTokens: proto.Int32(math.MaxInt32)},
	}))(t)
	wantEqual(t, "prompt", prompt, e.node(t, prompt.GetId()).GetPrompt())
	wantEqual(t, "max_tokens", int32(math.MaxInt32), prompt.GetMetadata().GetMaxTokens())
	response := must(e.Graph.AddResponse(t.Context(), &graphpb.AddResponseRequest{
		PromptId: prompt.GetId(), TokenUsage: &graphpb.TokenUsage{PromptTokens: 1, TotalTokens: math.MaxInt64},
		Metadata: &graphpb.ResponseMetadata{LatencyMs: math.MaxInt64},
	}))(t)
	wantEqual(t, "response", response, e.node(t, response.GetId()).GetResponse())
	wantEqual(t, "total_tokens", int64(math.MaxInt64), response.GetTokenUsage().GetTotalTokens())
	invalid(e.Graph.AddResponse(t.Context(), &graphpb.AddResponseRequest{
		PromptId: prompt.GetId(), TokenUsage: &graphpb.TokenUsage{PromptTokens: math.MaxInt64, CompletionTokens: 1},
	}))(t, "token")
	tool := must(e.Graph.AddToolInvocation(t.Context(), &graphpb.AddToolInvocationRequest{
		ToolInvocation: &graphpb.ToolInvocationNode{
			ResponseId: response.GetId(), ToolName: "x", DurationMs: math.MaxInt64, RetryCount: math.MaxInt32,
		},
	}))(t)
	wantEqual(t, "tool call", tool, e.node(t, tool.GetId()).GetToolInvocation())
	wantEqual(t, "retry_count", int32(math.MaxInt32), tool.GetRetryCount())
}
