package conformance

import (
	"testing"
	"time"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func errorCases() []Case {
	return []Case{
		{Name: "a_response_without_usage_is_refused", Section: "2", Run: missingUsage,
			Calls: []string{addResponse, createNode, batchCreateNodes}},
		{Name: "empty_required_fields_are_named", Section: "2", Run: emptyFields,
			Calls: []string{addPrompt, addResponse, addToolInvocation, createTemplate, createNode, getNode, getEdges, deleteEdge,
				deleteNode, updateNode, createEdge, instantiate, batchCreateNodes}},
		{Name: "a_response_may_have_no_text", Section: "2", Run: emptyResponse, Calls: []string{addResponse, createNode}},
		{Name: "a_node_needs_data_that_fits_its_type", Section: "2", Run: nodeWithoutData,
			Calls: []string{createNode, updateNode, batchCreateNodes}},
		{Name: "session_nodes_are_made_by_session_calls_only", Section: "4", Run: sessionNodesRefused,
			Calls: []string{createNode, batchCreateNodes, deleteNode, getSession}},
		{Name: "a_dangling_reference_writes_nothing", Section: "2", Run: dangling,
			Calls: []string{addResponse, addToolInvocation, createEdge, createNode, batchCreateNodes, createTemplate, getSession, query}},
		{Name: "zero_timestamps_mean_unset", Section: "2", Run: zeroTimestamps,
			Calls: []string{createNode, addToolInvocation, query, streamQuery}},
		{Name: "timestamps_too_far_ahead_or_out_of_range_are_refused", Section: "D8", Run: badTimestamps,
			Calls: []string{createNode, addToolInvocation, query}},
		{Name: "negative_limits_and_offsets_are_refused", Section: "2", Run: negativePaging,
			Calls: []string{query, streamQuery, listSessions, getEdges, batchGetNodes}},
		{Name: "numbers_out_of_their_bounds_are_refused", Section: "7", Run: badNumbers,
			Calls: []string{addPrompt, addResponse, addToolInvocation}},
		{Name: "texts_over_their_bounds_are_refused", Section: "D13", Run: longTexts,
			Calls: []string{createSession, addPrompt, addResponse, addToolInvocation, createTemplate, createNode}},
		{Name: "unknown_enum_values_are_refused", Section: "2", Run: unknownEnums,
			Calls: []string{createNode, createEdge, getEdges, query, streamQuery, streamEvents}},
	}
}

func missingUsage(t *testing.T, e *Env) {
	made := e.talk(t, 1)
	prompt := made.prompts[0].GetId()
	invalid(e.Graph.AddResponse(t.Context(), &graphpb.AddResponseRequest{PromptId: prompt, Content: "x"}))(
		t, "token_usage", "Missing token_usage")
	node := responseNode("", prompt, "x")
	node.GetResponse().TokenUsage = nil
	invalid(e.Graph.CreateNode(t.Context(), &graphpb.CreateNodeRequest{Node: node}))(t, "token_usage", "Missing token_usage")
	invalid(e.Graph.BatchCreateNodes(t.Context(), &graphpb.BatchCreateNodesRequest{Nodes: []*graphpb.Node{node}}))(
		t, "token_usage", "Missing token_usage")
}

func emptyFields(t *testing.T, e *Env) {
	ctx := t.Context()
	session := e.session(t).GetId()
	prompt := e.prompt(t, session, "q").GetId()
	response := e.response(t, prompt, "a").GetId()
	invalid(e.Graph.AddPrompt(ctx, &graphpb.AddPromptRequest{SessionId: session}))(t, "content")
	invalid(e.Graph.AddResponse(ctx, &graphpb.AddResponseRequest{Content: "x", TokenUsage: usage()}))(t, "prompt_id")
	invalid(e.Graph.AddToolInvocation(ctx, &graphpb.AddToolInvocationRequest{}))(t, "tool_invocation")
	invalid(e.Graph.AddToolInvocation(ctx, &graphpb.AddToolInvocationRequest{
		ToolInvocation: &graphpb.ToolInvocationNode{ToolName: "x"},
	}))(t, "response_id")
	invalid(e.Graph.AddToolInvocation(ctx, &graphpb.AddToolInvocationRequest{
		ToolInvocation: &graphpb.ToolInvocationNode{ResponseId: response},
	}))(t, "tool_name")
	invalid(e.Graph.CreateTemplate(ctx, &graphpb.CreateTemplateRequest{}))(t, "template")
	invalid(e.Graph.CreateTemplate(ctx, &graphpb.CreateTemplateRequest{
		Template: &graphpb.TemplateNode{TemplateText: "t"},
	}))(t, "name")
	invalid(e.Graph.CreateTemplate(ctx, &graphpb.CreateTemplateRequest{Template: &graphpb.TemplateNode{Name: "n"}}))(
		t, "template_text")
	invalid(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{}))(t, "node")
	invalid(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: agentNode("", "")}))(t, "name")
	invalid(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: promptNode("", session, "")}))(t, "content")
	invalid(e.Graph.GetNode(ctx, &graphpb.GetNodeRequest{}))(t, "node_id")
	invalid(e.Graph.DeleteNode(ctx, &graphpb.DeleteNodeRequest{}))(t, "node_id")
	invalid(e.Graph.GetEdges(ctx, &graphpb.GetEdgesRequest{}))(t, "node_id")
	invalid(e.Graph.DeleteEdge(ctx, &graphpb.DeleteEdgeRequest{}))(t, "edge_id")
	invalid(e.Graph.UpdateNode(ctx, &graphpb.UpdateNodeRequest{}))(t, "node")
	invalid(e.Graph.UpdateNode(ctx, &graphpb.UpdateNodeRequest{Node: agentNode("", "a")}))(t, "id")
	invalid(e.Graph.CreateEdge(ctx, &graphpb.CreateEdgeRequest{}))(t, "edge")
	invalid(e.Graph.CreateEdge(ctx, &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
		Type: graphpb.EdgeType_EDGE_TYPE_REFERENCES, ToNodeId: prompt,
	}}))(t, "from_node_id")
	invalid(e.Graph.CreateEdge(ctx, &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
		Type: graphpb.EdgeType_EDGE_TYPE_REFERENCES, FromNodeId: prompt,
	}}))(t, "to_node_id")
	invalid(e.Graph.InstantiateTemplate(ctx, &graphpb.InstantiateTemplateRequest{SessionId: session}))(t, "template_id")
	invalid(e.Graph.BatchCreateNodes(ctx, &graphpb.BatchCreateNodesRequest{}))(t, "nodes")
}

func emptyResponse(t *testing.T, e *Env) {
	made := e.talk(t, 1)
	prompt := made.prompts[0].GetId()
	response := e.response(t, prompt, "")
	wantEqual(t, "content", "", response.GetContent())
	wantEqual(t, "content as read", "", e.node(t, response.GetId()).GetResponse().GetContent())
	e.create(t, responseNode("", prompt, ""))
}

func nodeWithoutData(t *testing.T, e *Env) {
	ctx := t.Context()
	bare := &graphpb.Node{Id: unique("bare"), Type: graphpb.NodeType_NODE_TYPE_AGENT}
	invalid(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: bare}))(t, "node_data")
	contradicting := agentNode(unique("node"), "a")
	contradicting.Type = graphpb.NodeType_NODE_TYPE_PROMPT
	invalid(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: contradicting}))(t, "type")
	invalid(e.Graph.BatchCreateNodes(ctx, &graphpb.BatchCreateNodesRequest{
		Nodes: []*graphpb.Node{agentNode("", "fine"), contradicting},
	}))(t, "type")
	agreeing := agentNode("", "a")
	agreeing.Type = graphpb.NodeType_NODE_TYPE_AGENT
	made := e.create(t, agreeing)
	wantEqual(t, "type", graphpb.NodeType_NODE_TYPE_AGENT, made.GetType())
	invalid(e.Graph.UpdateNode(ctx, &graphpb.UpdateNodeRequest{
		Node: &graphpb.Node{Id: made.GetId(), Type: graphpb.NodeType_NODE_TYPE_AGENT},
	}))(t, "node_data")
	contradicting.Id = made.GetId()
	invalid(e.Graph.UpdateNode(ctx, &graphpb.UpdateNodeRequest{Node: contradicting}))(t, "type")
	empty := &graphpb.Node{NodeData: &graphpb.Node_Agent{Agent: &graphpb.AgentNode{}}}
	invalid(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: empty}))(t, "name")
}

func sessionNodesRefused(t *testing.T, e *Env) {
	ctx := t.Context()
	session := e.session(t)
	node := &graphpb.Node{NodeData: &graphpb.Node_Session{Session: &graphpb.Session{}}}
	invalid(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: node}))(t, "session")
	invalid(e.Graph.BatchCreateNodes(ctx, &graphpb.BatchCreateNodesRequest{Nodes: []*graphpb.Node{node}}))(t, "session")
	invalid(e.Graph.DeleteNode(ctx, &graphpb.DeleteNodeRequest{NodeId: session.GetId()}))(t, "node_id", "DeleteSession")
	wantEqual(t, "session after refusals", session, e.getSession(t, session.GetId()))
}

func dangling(t *testing.T, e *Env) {
	ctx := t.Context()
	made := e.talk(t, 1)
	nobody := unique("nobody")
	request := &graphpb.QueryRequest{SessionId: &made.session.Id}
	before, session := e.query(t, request), e.getSession(t, made.session.GetId())

	refusal(e.Graph.AddResponse(ctx, &graphpb.AddResponseRequest{
		PromptId: nobody, Content: "x", TokenUsage: usage(),
	}))(t, codes.NotFound, nobody)
	refusal(e.Graph.AddToolInvocation(ctx, &graphpb.AddToolInvocationRequest{
		ToolInvocation: &graphpb.ToolInvocationNode{ResponseId: nobody, ToolName: "x"},
	}))(t, codes.NotFound, nobody)
	refusal(e.Graph.CreateEdge(ctx, &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
		Type: graphpb.EdgeType_EDGE_TYPE_REFERENCES, FromNodeId: made.prompts[0].GetId(), ToNodeId: nobody,
	}}))(t, codes.NotFound, nobody)
	refusal(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: responseNode("", nobody, "x")}))(t, codes.NotFound, nobody)
	refusal(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: toolNode("", nobody, "x")}))(t, codes.NotFound, nobody)
	refusal(e.Graph.BatchCreateNodes(ctx, &graphpb.BatchCreateNodesRequest{Nodes: []*graphpb.Node{
		promptNode("", made.session.GetId(), "fine"), responseNode("", nobody, "x"),
	}}))(t, codes.NotFound, nobody)
	refusal(e.Graph.CreateTemplate(ctx, &graphpb.CreateTemplateRequest{Template: &graphpb.TemplateNode{
		Name: "child", TemplateText: "t", Metadata: map[string]string{"parent_id": nobody},
	}}))(t, codes.NotFound, nobody)

	wantEqual(t, "nodes of the session", before, e.query(t, request))
	wantEqual(t, "session", session, e.getSession(t, made.session.GetId()))
}

func zeroTimestamps(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	node := promptNode("", session, "q")
	node.CreatedAt = &timestamppb.Timestamp{}
	node.GetPrompt().Timestamp = &timestamppb.Timestamp{}
	made := e.create(t, node)
	wantRecent(t, "timestamp", made.GetPrompt().GetTimestamp())
	wantRecent(t, "created_at", made.GetCreatedAt())
	response := e.response(t, made.GetId(), "a")
	tool := must(e.Graph.AddToolInvocation(t.Context(), &graphpb.AddToolInvocationRequest{
		ToolInvocation: &graphpb.ToolInvocationNode{
			ResponseId: response.GetId(), ToolName: "x", Timestamp: &timestamppb.Timestamp{},
		},
	}))(t)
	wantRecent(t, "timestamp of the tool call", tool.GetTimestamp())
	unbounded := &graphpb.QueryRequest{
		SessionId: &session, After: &timestamppb.Timestamp{}, Before: &timestamppb.Timestamp{},
	}
	wantEqual(t, "nodes without bounds", 4, len(e.query(t, unbounded).GetNodes()))
	wantEqual(t, "nodes without bounds, streamed", 4, len(e.streamQuery(t, unbounded)))
}

func wantRecent(t *testing.T, what string, at *timestamppb.Timestamp) {
	t.Helper()
	if !at.IsValid() || time.Since(at.AsTime()).Abs() > 2*time.Minute {
		t.Errorf("%s is %v, want about now", what, at)
	}
}

func badTimestamps(t *testing.T, e *Env) {
	ctx := t.Context()
	session := e.session(t).GetId()
	response := e.response(t, e.prompt(t, session, "q").GetId(), "a").GetId()
	soon := promptAt(session, "soon", time.Now().Add(4*time.Minute))
	wantEqual(t, "timestamp up to 5 minutes ahead", soon.GetPrompt().GetTimestamp(), e.create(t, soon).GetPrompt().GetTimestamp())
	for _, bad := range []*timestamppb.Timestamp{
		timestamppb.New(time.Now().Add(10 * time.Minute)),
		{Seconds: 9e18}, {Seconds: -9e18}, {Seconds: 1, Nanos: -1}, {Seconds: 1, Nanos: 2e9}, {Seconds: 32503680000},
	} {
		node := promptNode("", session, "q")
		node.GetPrompt().Timestamp = bad
		invalid(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: node}))(t, "timestamp")
		invalid(e.Graph.AddToolInvocation(ctx, &graphpb.AddToolInvocationRequest{
			ToolInvocation: &graphpb.ToolInvocationNode{ResponseId: response, ToolName: "x", Timestamp: bad},
		}))(t, "timestamp")
	}
	for _, bad := range []*timestamppb.Timestamp{{Seconds: 9e18}, {Seconds: 1, Nanos: -1}, {Seconds: 1, Nanos: 2e9}} {
		invalid(e.Graph.Query(ctx, &graphpb.QueryRequest{After: bad}))(t, "after")
		invalid(e.Graph.Query(ctx, &graphpb.QueryRequest{Before: bad}))(t, "before")
	}
}

func negativePaging(t *testing.T, e *Env) {
	ctx := t.Context()
	agent := e.agent(t, "a").GetId()
	invalid(e.Graph.Query(ctx, &graphpb.QueryRequest{Limit: -1}))(t, "limit")
	invalid(e.Graph.Query(ctx, &graphpb.QueryRequest{Offset: -1}))(t, "offset")
	invalid(e.Graph.Query(ctx, &graphpb.QueryRequest{Limit: 10_001}))(t, "limit")
	invalid(refusedStream(e.Graph.StreamQuery(open(t), &graphpb.QueryRequest{Limit: -1})))(t, "limit")
	invalid(refusedStream(e.Graph.StreamQuery(open(t), &graphpb.QueryRequest{Offset: -1})))(t, "offset")
	invalid(refusedStream(e.Graph.StreamQuery(open(t), &graphpb.QueryRequest{Limit: 10_001})))(t, "limit")
	invalid(e.Graph.ListSessions(ctx, &graphpb.ListSessionsRequest{Limit: -1}))(t, "limit")
	invalid(e.Graph.ListSessions(ctx, &graphpb.ListSessionsRequest{Offset: -1}))(t, "offset")
	invalid(e.Graph.ListSessions(ctx, &graphpb.ListSessionsRequest{Limit: 10_001}))(t, "limit")
	invalid(e.Graph.GetEdges(ctx, &graphpb.GetEdgesRequest{NodeId: agent, PageSize: -1}))(t, "page_size")
	invalid(e.Graph.GetEdges(ctx, &graphpb.GetEdgesRequest{NodeId: agent, PageSize: 10_001}))(t, "page_size")
	invalid(e.Graph.BatchGetNodes(ctx, &graphpb.BatchGetNodesRequest{NodeIds: []string{agent}, PageSize: -1}))(t, "page_size")
	invalid(e.Graph.BatchGetNodes(ctx, &graphpb.BatchGetNodesRequest{NodeIds: []string{agent}, PageSize: 1001}))(t, "page_size")
	invalid(e.Graph.BatchGetNodes(ctx, &graphpb.BatchGetNodesRequest{NodeIds: make([]string, 1001)}))(t, "node_ids")
}
