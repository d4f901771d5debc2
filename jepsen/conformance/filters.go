package conformance

import (
	"fmt"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/protobuf/proto"
)

func filterCases() []Case {
	return []Case{
		{Name: "each_filter_selects_what_it_names", Section: "8", Run: eachFilter, Calls: []string{query, streamQuery}},
		{Name: "all_filters_must_hold", Section: "8", Run: filtersTogether, Calls: []string{query, streamQuery}},
		{Name: "filters_on_templates_and_agents", Section: "8", Run: filtersElsewhere, Calls: []string{query, streamQuery}},
		{Name: "an_unknown_filter_lists_the_known_ones", Section: "8", Run: unknownFilter, Calls: []string{query, streamQuery}},
	}
}

// filtered is a session with one record for each answer of a filter; ids by a short name.
func (e *Env) filtered(t *testing.T) (session string, ids map[string]string) {
	t.Helper()
	session = e.session(t, "team", "search").GetId()
	ids = map[string]string{"session": session}
	prompt := func(name, model, content, key string) {
		ids[name] = must(e.Graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{
			SessionId: session, Content: content,
			Metadata: &graphpb.PromptMetadata{Model: model, Custom: map[string]string{"user": key, "odd key.": "1"}},
		}))(t).GetId()
	}
	prompt("p1", "gpt-4", "What is the Capital of France?", "ann")
	prompt("p2", "claude", "capital letters, 100% of them", "bob")
	response := func(name, parent, model, finish string, latency, total int64) {
		ids[name] = must(e.Graph.AddResponse(t.Context(), &graphpb.AddResponseRequest{
			PromptId: ids[parent], Content: "The capital is " + name, TokenUsage: &graphpb.TokenUsage{TotalTokens: total},
			Metadata: &graphpb.ResponseMetadata{
				Model: model, FinishReason: finish, LatencyMs: latency, Custom: map[string]string{"user": "ann"},
			},
		}))(t).GetId()
	}
	response("r1", "p1", "gpt-4", "stop", 100, 10)
	response("r2", "p2", "claude", "length", 250, 40)
	response("r3", "p2", "claude", "stop", 251, 0)
	tool := func(name, parent, toolName, status string, duration int64, region string) {
		ids[name] = must(e.Graph.AddToolInvocation(t.Context(), &graphpb.AddToolInvocationRequest{
			ToolInvocation: &graphpb.ToolInvocationNode{
				ResponseId: ids[parent], ToolName: toolName, Status: status, DurationMs: duration,
				Metadata: map[string]string{"region": region, "team": "tools"}, Result: proto.String("capital"),
			},
		}))(t).GetId()
	}
	tool("t1", "r1", "search", "success", 450, "eu")
	tool("t2", "r1", "search", "failed", 5, "us")
	tool("t3", "r2", "calc", "success", 0, "eu")
	return session, ids
}

func eachFilter(t *testing.T, e *Env) {
	session, ids := e.filtered(t)
	for _, c := range []struct {
		key, value string
		want       []string
	}{
		{"model", "gpt-4", []string{"r1", "p1"}},
		{"model", "claude", []string{"r3", "r2", "p2"}},
		{"model", "gpt", nil},
		{"model", "GPT-4", nil},
		{"finish_reason", "stop", []string{"r3", "r1"}},
		{"finish_reason", "length", []string{"r2"}},
		{"tool_name", "search", []string{"t2", "t1"}},
		{"tool_name", "sear", nil},
		{"status", "success", []string{"t3", "t1"}},
		{"status", "failed", []string{"t2"}},
		{"status", "pending", nil},
		{"content", "apital", []string{"r3", "r2", "r1", "p2", "p1"}},
		{"content", "Capital of", []string{"p1"}},
		{"content", "100% of", []string{"p2"}},
		{"content", "nowhere", nil},
		{"metadata.region", "eu", []string{"t3", "t1"}},
		{"metadata.region", "e", nil},
		{"metadata.team", "search", []string{"session"}},
		{"metadata.team", "tools", []string{"t3", "t2", "t1"}},
		{"metadata.absent", "", nil},
		{"custom.user", "ann", []string{"r3", "r2", "r1", "p1"}},
		{"custom.odd key.", "1", []string{"p2", "p1"}},
		{"latency_ms", "250", []string{"r2"}},
		{"latency_ms>", "100", []string{"r3", "r2"}},
		{"latency_ms>", "251", nil},
		{"latency_ms<", "251", []string{"r2", "r1"}},
		{"duration_ms", "450", []string{"t1"}},
		{"duration_ms", "0", []string{"t3"}},
		{"duration_ms>", "4", []string{"t2", "t1"}},
		{"duration_ms<", "450", []string{"t3", "t2"}},
		{"total_tokens", "40", []string{"r2"}},
		{"total_tokens>", "10", []string{"r2"}},
		{"total_tokens<", "40", []string{"r3", "r1"}},
		{"total_tokens>", "-1", []string{"r3", "r2", "r1"}},
	} {
		want := make([]string, 0, len(c.want))
		for _, name := range c.want {
			want = append(want, ids[name])
		}
		e.wantQuery(t, fmt.Sprintf("filter %s=%s", c.key, c.value), &graphpb.QueryRequest{
			SessionId: &session, Filters: map[string]string{c.key: c.value},
		}, want)
	}
}

func filtersTogether(t *testing.T, e *Env) {
	session, ids := e.filtered(t)
	for _, c := range []struct {
		filters map[string]string
		kind    graphpb.NodeType
		want    []string
	}{
		{map[string]string{"model": "claude", "finish_reason": "stop"}, 0, []string{ids["r3"]}},
		{map[string]string{"model": "claude", "finish_reason": "stop", "latency_ms>": "251"}, 0, []string{}},
		{map[string]string{"tool_name": "search", "status": "success", "metadata.region": "eu"}, 0, []string{ids["t1"]}},
		{map[string]string{"latency_ms>": "100", "latency_ms<": "251"}, 0, []string{ids["r2"]}},
		{map[string]string{"model": "gpt-4", "tool_name": "search"}, 0, []string{}},
		{map[string]string{"model": "gpt-4"}, graphpb.NodeType_NODE_TYPE_PROMPT, []string{ids["p1"]}},
		{map[string]string{"content": "capital"}, graphpb.NodeType_NODE_TYPE_RESPONSE, []string{ids["r3"], ids["r2"], ids["r1"]}},
		{map[string]string{"status": "success"}, graphpb.NodeType_NODE_TYPE_PROMPT, []string{}},
	} {
		e.wantQuery(t, fmt.Sprint(c.filters, c.kind), &graphpb.QueryRequest{
			SessionId: &session, NodeType: c.kind.Enum(), Filters: c.filters,
		}, c.want)
	}
	page := e.query(t, &graphpb.QueryRequest{SessionId: &session, Limit: 1, Offset: 1, Filters: map[string]string{"model": "claude"}})
	wantEqual(t, "page of a filtered query", []string{ids["r2"]}, nodeIDs(page.GetNodes()))
	wantEqual(t, "total of a filtered query", int64(3), page.GetTotalCount())
	walked := e.pages(t, &graphpb.QueryRequest{SessionId: &session, Limit: 1, Filters: map[string]string{"content": "capital"}})
	wantEqual(t, "filtered pages", []string{ids["r3"], ids["r2"], ids["r1"], ids["p2"]}, nodeIDs(walked))
}

func filtersElsewhere(t *testing.T, e *Env) {
	name, role := unique("name"), unique("role")
	agent := agentNode("", name)
	agent.GetAgent().Role, agent.GetAgent().Status = role, "busy"
	agent.GetAgent().Metadata = map[string]string{"tier": name}
	made := e.create(t, agent).GetId()
	template := e.template(t, &graphpb.TemplateNode{
		Name: name, TemplateText: "t", Version: "3.1.4", Metadata: map[string]string{"tier": name},
	}).GetId()
	e.wantQuery(t, "name", &graphpb.QueryRequest{Filters: map[string]string{"name": name}}, []string{template, made})
	e.wantQuery(t, "role", &graphpb.QueryRequest{Filters: map[string]string{"role": role}}, []string{made})
	e.wantQuery(t, "version", &graphpb.QueryRequest{Filters: map[string]string{"version": "3.1.4", "name": name}}, []string{template})
	e.wantQuery(t, "status of agents", &graphpb.QueryRequest{Filters: map[string]string{"status": "busy", "name": name}}, []string{made})
	e.wantQuery(t, "metadata", &graphpb.QueryRequest{Filters: map[string]string{"metadata.tier": name}}, []string{template, made})
	e.wantQuery(t, "agents by name", &graphpb.QueryRequest{
		NodeType: graphpb.NodeType_NODE_TYPE_AGENT.Enum(), Filters: map[string]string{"name": name},
	}, []string{made})
}

func unknownFilter(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	known := []string{
		"model", "finish_reason", "tool_name", "status", "role", "name", "version", "content", "metadata.", "custom.",
		"latency_ms", "duration_ms", "total_tokens",
	}
	for _, key := range []string{"colour", "", "Model", "model>", "latency_ms>=", "latency_ms<>", "metadata", "custom", "content<", "\x00"} {
		bad := &graphpb.QueryRequest{SessionId: &session, Filters: map[string]string{key: "1"}}
		invalid(e.Graph.Query(t.Context(), bad))(t, "filters", known...)
		invalid(refusedStream(e.Graph.StreamQuery(open(t), bad)))(t, "filters", known...)
	}
	for _, key := range []string{"latency_ms", "duration_ms>", "total_tokens<"} {
		for _, value := range []string{"many", "", "1.5", "99999999999999999999"} {
			invalid(e.Graph.Query(t.Context(), &graphpb.QueryRequest{
				SessionId: &session, Filters: map[string]string{key: value},
			}))(t, "filters")
		}
	}
}
