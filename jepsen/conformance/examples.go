package conformance

import (
	"fmt"
	"sync"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/protobuf/proto"
)

// exampleCases are the black-box cases of section 15 that no other case is about.
func exampleCases() []Case {
	return []Case{
		{Name: "prompt_metadata_gpt_4_with_temperature_exactly_0_7", Section: "15", Run: exampleMetadata, Calls: []string{addPrompt, getNode}},
		{Name: "response_with_usage_15_25_40", Section: "15", Run: exampleUsage, Calls: []string{addResponse, getNode}},
		{Name: "one_session_two_prompts_two_responses_are_five_nodes", Section: "15", Run: exampleFiveNodes,
			Calls: []string{query, batchGetNodes, getEdges}},
		{Name: "ten_concurrent_sessions_and_prompts_are_unique", Section: "15", Run: exampleConcurrent,
			Calls: []string{createSession, addPrompt, getNode}},
		{Name: "twenty_concurrent_reads_agree", Section: "15", Run: exampleReads, Calls: []string{getNode}},
		{Name: "fifty_prompts_then_a_batch_of_fifty", Section: "15", Run: exampleFifty, Calls: []string{addPrompt, batchGetNodes}},
		{Name: "a_thread_keeps_its_order", Section: "15", Run: exampleThread, Calls: []string{addPrompt, getEdges, query}},
		{Name: "template_hey_alice", Section: "15", Run: exampleTemplate, Calls: []string{createTemplate, instantiate, getNode}},
		{Name: "several_tools_per_response_with_retries", Section: "15", Run: exampleTools,
			Calls: []string{addToolInvocation, getEdges, getNode}},
		{Name: "hammered_session_keeps_one_chain", Section: "5", Run: exampleHammer, Calls: []string{addPrompt, getEdges, query}},
	}
}

func exampleMetadata(t *testing.T, e *Env) {
	prompt := must(e.Graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{
		SessionId: e.session(t).GetId(), Content: "What is the capital of France?",
		Metadata: &graphpb.PromptMetadata{Model: "gpt-4", Temperature: 0.7, MaxTokens: proto.Int32(150)},
	}))(t)
	got := e.node(t, prompt.GetId()).GetPrompt()
	wantEqual(t, "content", "What is the capital of France?", got.GetContent())
	wantRecent(t, "timestamp", got.GetTimestamp())
	wantEqual(t, "model", "gpt-4", got.GetMetadata().GetModel())
	if got.GetMetadata().GetTemperature() != 0.7 {
		t.Errorf("temperature is %v, want exactly 0.7", got.GetMetadata().GetTemperature())
	}
	wantEqual(t, "max_tokens", int32(150), got.GetMetadata().GetMaxTokens())
}

func exampleUsage(t *testing.T, e *Env) {
	response := e.response(t, e.prompt(t, e.session(t).GetId(), "q").GetId(), "Paris")
	wantEqual(t, "usage", usage(), e.node(t, response.GetId()).GetResponse().GetTokenUsage())
	wantEqual(t, "content", "Paris", response.GetContent())
}

func exampleFiveNodes(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	var prompts, responses []string
	for i := range 2 {
		prompts = append(prompts, e.prompt(t, session, fmt.Sprint("q", i)).GetId())
		responses = append(responses, e.response(t, prompts[i], fmt.Sprint("a", i)).GetId())
	}
	if n := len(e.query(t, &graphpb.QueryRequest{SessionId: &session}).GetNodes()); n != 5 {
		t.Errorf("the session has %d nodes, want 5", n)
	}
	got := must(e.Graph.BatchGetNodes(t.Context(), &graphpb.BatchGetNodesRequest{NodeIds: prompts}))(t)
	wantEqual(t, "batch of 2", prompts, nodeIDs(got.GetNodes()))
	if len(e.edges(t, prompts[0], outgoing, 0)) == 0 {
		t.Error("a prompt has no outgoing edges")
	}
	wantEqual(t, "answer", responses[0], e.onlyEdge(t, prompts[0], incoming, respondsTo).GetFromNodeId())
}

func exampleConcurrent(t *testing.T, e *Env) {
	var mu sync.Mutex
	seen := make(map[string]bool)
	inParallel(t, 10, func(i int) error {
		session, err := e.Graph.CreateSession(t.Context(), &graphpb.CreateSessionRequest{})
		if err != nil {
			return err
		}
		prompt, err := e.Graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{
			SessionId: session.GetId(), Content: fmt.Sprint("question ", i),
		})
		mu.Lock()
		defer mu.Unlock()
		seen[session.GetId()], seen[prompt.GetId()] = true, true
		return err
	})
	wantEqual(t, "ids", 20, len(seen))
	for id := range seen {
		e.node(t, id)
	}
}

func exampleReads(t *testing.T, e *Env) {
	prompt := e.prompt(t, e.session(t).GetId(), "q")
	want := e.node(t, prompt.GetId())
	inParallel(t, 20, func(int) error {
		got, err := e.Graph.GetNode(t.Context(), &graphpb.GetNodeRequest{NodeId: prompt.GetId()})
		if err == nil && !proto.Equal(want, got) {
			t.Errorf("read %v, want %v", got, want)
		}
		return err
	})
}

func exampleFifty(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	var ids []string
	for i := range 50 {
		ids = append(ids, e.prompt(t, session, fmt.Sprint("question ", i)).GetId())
	}
	got := must(e.Graph.BatchGetNodes(t.Context(), &graphpb.BatchGetNodesRequest{NodeIds: ids}))(t)
	wantEqual(t, "ids", ids, nodeIDs(got.GetNodes()))
	for i, node := range got.GetNodes() {
		wantEqual(t, "content", fmt.Sprint("question ", i), node.GetPrompt().GetContent())
	}
}

// thread walks the FOLLOWS chain of a session from its newest prompt back.
func (e *Env) thread(t *testing.T, newest string) []string {
	t.Helper()
	walked := []string{newest}
	for at := newest; ; {
		next := e.edges(t, at, outgoing, follows)
		if len(next) == 0 {
			return walked
		}
		if len(next) > 1 || len(walked) > 10_000 {
			t.Fatalf("prompt %s follows %d others after %d steps", at, len(next), len(walked))
		}
		at = next[0].GetToNodeId()
		walked = append(walked, at)
	}
}

func exampleThread(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	var ids []string
	for i := range 6 {
		ids = append(ids, e.prompt(t, session, fmt.Sprint("q", i)).GetId())
	}
	wantEqual(t, "chain", reversed(ids), e.thread(t, ids[5]))
	prompts := e.query(t, &graphpb.QueryRequest{SessionId: &session, NodeType: graphpb.NodeType_NODE_TYPE_PROMPT.Enum()})
	wantEqual(t, "query", reversed(ids), nodeIDs(prompts.GetNodes()))
	for i := 1; i < len(ids); i++ {
		earlier, later := e.node(t, ids[i-1]).GetPrompt(), e.node(t, ids[i]).GetPrompt()
		if !later.GetTimestamp().AsTime().After(earlier.GetTimestamp().AsTime()) {
			t.Errorf("prompt %d is of %v, the one before of %v", i, later.GetTimestamp(), earlier.GetTimestamp())
		}
	}
}

func exampleTemplate(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	template := e.template(t, &graphpb.TemplateNode{
		Name: "greeting", TemplateText: "Hey {{name}}, welcome to {{place}}!",
		Variables: []*graphpb.VariableSpec{
			{Name: "name", TypeHint: "string", Required: true},
			{Name: "place", TypeHint: "string", DefaultValue: proto.String("Paris")},
		},
	})
	for want, values := range map[string]map[string]string{
		"Hey Alice, welcome to Paris!": {"name": "Alice"},
		"Hey Bob, welcome to Rome!":    {"name": "Bob", "place": "Rome"},
	} {
		prompt := must(e.Graph.InstantiateTemplate(t.Context(), &graphpb.InstantiateTemplateRequest{
			TemplateId: template.GetId(), SessionId: session, VariableValues: values,
		}))(t)
		wantEqual(t, "content", want, e.node(t, prompt.GetId()).GetPrompt().GetContent())
		wantEqual(t, "session", session, prompt.GetSessionId())
	}
	wantEqual(t, "usage_count", int64(2), e.node(t, template.GetId()).GetTemplate().GetUsageCount())
}

func exampleTools(t *testing.T, e *Env) {
	response := e.response(t, e.prompt(t, e.session(t).GetId(), "q").GetId(), "")
	var ids []string
	for i := range 4 {
		tool := must(e.Graph.AddToolInvocation(t.Context(), &graphpb.AddToolInvocationRequest{
			ToolInvocation: &graphpb.ToolInvocationNode{
				ResponseId: response.GetId(), ToolName: fmt.Sprint("tool", i), Parameters: fmt.Sprintf(`{"n":%d}`, i),
				RetryCount: int32(i), Status: "running", DurationMs: int64(i) * 100,
			},
		}))(t)
		wantEqual(t, "retry_count", int32(i), e.node(t, tool.GetId()).GetToolInvocation().GetRetryCount())
		ids = append(ids, tool.GetId())
	}
	var order, to []string
	for _, edge := range e.edges(t, response.GetId(), outgoing, invokes) {
		order, to = append(order, edge.GetProperties()["invocation_order"]), append(to, edge.GetToNodeId())
	}
	wantEqual(t, "orders", []string{"0", "1", "2", "3"}, order)
	wantEqual(t, "calls", ids, to)
}

func exampleHammer(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	const prompts = 60
	inParallel(t, prompts, func(i int) error {
		_, err := e.Graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{SessionId: session, Content: fmt.Sprint("q", i)})
		return err
	})
	page := e.query(t, &graphpb.QueryRequest{SessionId: &session, NodeType: graphpb.NodeType_NODE_TYPE_PROMPT.Enum()})
	wantEqual(t, "prompts", prompts, len(page.GetNodes()))
	wantEqual(t, "chain and query", nodeIDs(page.GetNodes()), e.thread(t, page.GetNodes()[0].GetId()))
}
