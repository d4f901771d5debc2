package conformance

import (
	"strings"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
)

func idCases() []Case {
	return []Case{
		{Name: "a_session_is_its_own_node", Section: "1", Run: sessionIsNode,
			Calls: []string{createSession, getSession, getNode}},
		{Name: "a_session_id_that_is_no_uuid_is_refused_by_every_call", Section: "1", Run: sessionIDNoUUID,
			Calls: []string{getSession, deleteSession, closeSession, addPrompt, instantiate, createNode, query, streamQuery,
				streamEvents, subscribe, exportRecords}},
		{Name: "supplied_ids_are_kept", Section: "1", Run: suppliedIDs,
			Calls: []string{createNode, addToolInvocation, createTemplate, createEdge, batchCreateNodes, getNode}},
		{Name: "an_id_in_use_is_already_exists", Section: "1", Run: idsInUse,
			Calls: []string{createNode, addToolInvocation, createTemplate, createEdge, batchCreateNodes}},
		{Name: "ids_are_1_to_128_bytes_of_printable_text", Section: "1", Run: idShapes,
			Calls: []string{createNode, createEdge, createTemplate, addToolInvocation, batchCreateNodes}},
		{Name: "an_empty_id_becomes_a_uuid", Section: "1", Run: mintedIDs,
			Calls: []string{createNode, addPrompt, addResponse, addToolInvocation, createTemplate, createEdge, batchCreateNodes}},
		{Name: "outer_and_inner_id_of_a_node_agree", Section: "D18", Run: innerAndOuterID,
			Calls: []string{createNode, updateNode, batchCreateNodes}},
		{Name: "unknown_ids_are_not_found", Section: "1", Run: unknownIDs,
			Calls: []string{getSession, deleteSession, closeSession, getNode, updateNode, deleteNode, getEdges, deleteEdge,
				addPrompt, addResponse, addToolInvocation, createEdge, instantiate, streamEvents, subscribe}},
	}
}

func sessionIsNode(t *testing.T, e *Env) {
	session := e.session(t, "team", "search")
	if _, err := uuid.Parse(session.GetId()); err != nil {
		t.Errorf("session id %q is no UUID: %v", session.GetId(), err)
	}
	node := e.node(t, session.GetId())
	if node.GetType() != graphpb.NodeType_NODE_TYPE_SESSION || node.GetId() != session.GetId() {
		t.Errorf("node of the session is %v %q", node.GetType(), node.GetId())
	}
	wantEqual(t, "session in its node", session, node.GetSession())
	wantEqual(t, "created_at of the node", session.GetCreatedAt(), node.GetCreatedAt())
	wantEqual(t, "session as read", session, e.getSession(t, session.GetId()))
}

func sessionIDNoUUID(t *testing.T, e *Env) {
	template := e.template(t, &graphpb.TemplateNode{Name: "plain", TemplateText: "hello"})
	ctx := t.Context()
	for _, id := range []string{"invalid-uuid", "node-123", "00000000-0000-0000-0000-00000000000g", strings.Repeat("0", 129)} {
		invalid(e.Graph.GetSession(ctx, &graphpb.GetSessionRequest{SessionId: id}))(t, "session_id")
		invalid(e.Graph.DeleteSession(ctx, &graphpb.DeleteSessionRequest{SessionId: id}))(t, "session_id")
		invalid(e.Graph.CloseSession(ctx, &graphpb.CloseSessionRequest{SessionId: id}))(t, "session_id")
		invalid(e.Graph.AddPrompt(ctx, &graphpb.AddPromptRequest{SessionId: id, Content: "x"}))(t, "session_id")
		invalid(e.Graph.InstantiateTemplate(ctx, &graphpb.InstantiateTemplateRequest{
			TemplateId: template.GetId(), SessionId: id,
		}))(t, "session_id")
		invalid(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: promptNode("", id, "x")}))(t, "session_id")
		invalid(e.Graph.Query(ctx, &graphpb.QueryRequest{SessionId: &id}))(t, "session_id")
		invalid(refusedStream(e.Graph.StreamQuery(open(t), &graphpb.QueryRequest{SessionId: &id})))(t, "session_id")
		invalid(refusedStream(e.Graph.StreamEvents(open(t), &graphpb.StreamEventsRequest{SessionId: &id})))(t, "session_id")
		invalid(refusedStream(e.Graph.SubscribeToSession(open(t), &graphpb.SubscribeRequest{SessionId: id})))(t, "session_id")
		invalid(refusedStream(e.Transfer.Export(open(t), &graphpb.ExportRequest{SessionIds: []string{id}})))(t, "session_ids")
	}
	invalid(e.Graph.GetSession(ctx, &graphpb.GetSessionRequest{}))(t, "session_id")
	invalid(e.Graph.AddPrompt(ctx, &graphpb.AddPromptRequest{Content: "x"}))(t, "session_id")
	invalid(refusedStream(e.Graph.SubscribeToSession(open(t), &graphpb.SubscribeRequest{})))(t, "session_id")
}

func suppliedIDs(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	agent, prompt, response, tool := unique("node-123"), unique("prompt"), unique("Antwort-日本-ü"), unique("tool")
	wantEqual(t, "agent id", agent, e.create(t, agentNode(agent, "a")).GetId())
	wantEqual(t, "prompt id", prompt, e.create(t, promptNode(prompt, session, "q")).GetPrompt().GetId())
	wantEqual(t, "response id", response, e.create(t, responseNode(response, prompt, "a")).GetResponse().GetId())
	made := must(e.Graph.AddToolInvocation(t.Context(), &graphpb.AddToolInvocationRequest{
		ToolInvocation: &graphpb.ToolInvocationNode{Id: tool, ResponseId: response, ToolName: "search"},
	}))(t)
	wantEqual(t, "tool id", tool, made.GetId())
	template := unique("template")
	wantEqual(t, "template id", template,
		e.template(t, &graphpb.TemplateNode{Id: template, Name: "n", TemplateText: "t"}).GetId())
	edge := unique("edge")
	linked := must(e.Graph.CreateEdge(t.Context(), &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
		Id: edge, Type: graphpb.EdgeType_EDGE_TYPE_HANDLED_BY, FromNodeId: prompt, ToNodeId: agent,
	}}))(t)
	wantEqual(t, "edge id", edge, linked.GetId())
	inBatch := unique("batch")
	wantEqual(t, "batch id", inBatch, e.batch(t, agentNode(inBatch, "b"))[0].GetId())
	for _, id := range []string{agent, prompt, response, tool, template, inBatch} {
		wantEqual(t, "id as read", id, e.node(t, id).GetId())
	}
}

func idsInUse(t *testing.T, e *Env) {
	ctx := t.Context()
	made := e.talk(t, 1)
	agent := e.agent(t, "a").GetId()
	template := e.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "t"}).GetId()
	before := e.query(t, &graphpb.QueryRequest{SessionId: &made.session.Id}).GetTotalCount()
	for _, taken := range append(made.nodeIDs(), agent, template) {
		refusal(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: agentNode(taken, "b")}))(t, codes.AlreadyExists, taken)
		refusal(e.Graph.CreateTemplate(ctx, &graphpb.CreateTemplateRequest{
			Template: &graphpb.TemplateNode{Id: taken, Name: "n", TemplateText: "t"},
		}))(t, codes.AlreadyExists, taken)
		refusal(e.Graph.AddToolInvocation(ctx, &graphpb.AddToolInvocationRequest{
			ToolInvocation: &graphpb.ToolInvocationNode{Id: taken, ResponseId: made.responses[0].GetId(), ToolName: "x"},
		}))(t, codes.AlreadyExists, taken)
		refusal(e.Graph.BatchCreateNodes(ctx, &graphpb.BatchCreateNodesRequest{
			Nodes: []*graphpb.Node{agentNode("", "new"), agentNode(taken, "old")},
		}))(t, codes.AlreadyExists, taken)
	}
	edge := e.edge(t, graphpb.EdgeType_EDGE_TYPE_REFERENCES, agent, template)
	refusal(e.Graph.CreateEdge(ctx, &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
		Id: edge.GetId(), Type: graphpb.EdgeType_EDGE_TYPE_REFERENCES, FromNodeId: agent, ToNodeId: agent,
	}}))(t, codes.AlreadyExists, edge.GetId())
	wantEqual(t, "nodes of the session", before, e.query(t, &graphpb.QueryRequest{SessionId: &made.session.Id}).GetTotalCount())
	e.deleteNode(t, agent)
	wantEqual(t, "id that is free again", agent, e.create(t, agentNode(agent, "again")).GetId())
}

func idShapes(t *testing.T, e *Env) {
	ctx := t.Context()
	made := e.talk(t, 1)
	fill := strings.Repeat("x", 128-len(unique("")))
	wantEqual(t, "id of 128 bytes", 128, len(e.create(t, agentNode(unique(fill), "a")).GetId()))
	for _, bad := range []string{
		unique(fill + "x"), unique("nul\x00"), unique("line\n"), unique("esc\x1b[31m"), unique("bell\a"), unique("del\x7f"),
	} {
		invalid(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: agentNode(bad, "a")}))(t, "id")
		invalid(e.Graph.CreateTemplate(ctx, &graphpb.CreateTemplateRequest{
			Template: &graphpb.TemplateNode{Id: bad, Name: "n", TemplateText: "t"},
		}))(t, "id")
		invalid(e.Graph.AddToolInvocation(ctx, &graphpb.AddToolInvocationRequest{
			ToolInvocation: &graphpb.ToolInvocationNode{Id: bad, ResponseId: made.responses[0].GetId(), ToolName: "x"},
		}))(t, "id")
		invalid(e.Graph.CreateEdge(ctx, &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
			Id: bad, Type: graphpb.EdgeType_EDGE_TYPE_REFERENCES,
			FromNodeId: made.prompts[0].GetId(), ToNodeId: made.responses[0].GetId(),
		}}))(t, "id")
		invalid(e.Graph.BatchCreateNodes(ctx, &graphpb.BatchCreateNodesRequest{
			Nodes: []*graphpb.Node{agentNode("", "a"), agentNode(bad, "b")},
		}))(t, "id")
	}
}

func mintedIDs(t *testing.T, e *Env) {
	made := e.talk(t, 1)
	agent := e.agent(t, "a").GetId()
	template := e.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "t"}).GetId()
	edge := e.edge(t, graphpb.EdgeType_EDGE_TYPE_REFERENCES, agent, template).GetId()
	batch := e.batch(t, agentNode("", "b"), promptNode("", made.session.GetId(), "p"))
	ids := append(made.nodeIDs(), agent, template, edge, batch[0].GetId(), batch[1].GetId())
	seen := make(map[string]bool)
	for _, id := range ids {
		if _, err := uuid.Parse(id); err != nil {
			t.Errorf("made id %q is no UUID: %v", id, err)
		}
		if seen[id] {
			t.Errorf("id %q was made twice", id)
		}
		seen[id] = true
	}
	for _, node := range batch {
		wantEqual(t, "version of a made id", uuid.Version(7), uuid.MustParse(node.GetId()).Version())
	}
}

func innerAndOuterID(t *testing.T, e *Env) {
	ctx := t.Context()
	both := func(outer, inner string) *graphpb.Node {
		node := agentNode(outer, "a")
		node.GetAgent().Id = inner
		return node
	}
	inner := unique("inner")
	made := e.create(t, both("", inner))
	wantEqual(t, "outer id taken from inside", inner, made.GetId())
	outer := unique("outer")
	made = e.create(t, both(outer, ""))
	wantEqual(t, "inner id taken from outside", outer, made.GetAgent().GetId())
	same := unique("same")
	e.create(t, both(same, same))
	invalid(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: both(unique("a"), unique("b"))}))(t, "id")
	invalid(e.Graph.BatchCreateNodes(ctx, &graphpb.BatchCreateNodesRequest{
		Nodes: []*graphpb.Node{both(unique("a"), unique("b"))},
	}))(t, "id")
	invalid(e.Graph.UpdateNode(ctx, &graphpb.UpdateNodeRequest{Node: both(same, outer)}))(t, "id")
	wantEqual(t, "node updated by its inner id alone", same, e.update(t, both("", same)).GetId())
}

func unknownIDs(t *testing.T, e *Env) {
	ctx := t.Context()
	session, node := uuid.NewString(), unique("nobody")
	here := e.session(t).GetId()
	agent := e.agent(t, "a").GetId()
	template := e.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "t"}).GetId()
	noSession, noNode := "Session not found: "+session, "Node not found: "+node

	got := refusal(e.Graph.GetSession(ctx, &graphpb.GetSessionRequest{SessionId: session}))(t, codes.NotFound, noSession)
	wantResource(t, got.Details(), session)
	refusal(e.Graph.DeleteSession(ctx, &graphpb.DeleteSessionRequest{SessionId: session}))(t, codes.NotFound, noSession)
	refusal(e.Graph.CloseSession(ctx, &graphpb.CloseSessionRequest{SessionId: session}))(t, codes.NotFound, noSession)
	refusal(e.Graph.AddPrompt(ctx, &graphpb.AddPromptRequest{SessionId: session, Content: "x"}))(t, codes.NotFound, noSession)
	refusal(refusedStream(e.Graph.StreamEvents(open(t), &graphpb.StreamEventsRequest{SessionId: &session})))(t, codes.NotFound, session)
	refusal(refusedStream(e.Graph.SubscribeToSession(open(t), &graphpb.SubscribeRequest{SessionId: session})))(t, codes.NotFound, session)
	refusal(e.Graph.InstantiateTemplate(ctx, &graphpb.InstantiateTemplateRequest{
		TemplateId: template, SessionId: session,
	}))(t, codes.NotFound, session)
	refusal(e.Graph.InstantiateTemplate(ctx, &graphpb.InstantiateTemplateRequest{
		TemplateId: node, SessionId: here,
	}))(t, codes.NotFound, node)

	got = refusal(e.Graph.GetNode(ctx, &graphpb.GetNodeRequest{NodeId: node}))(t, codes.NotFound, noNode)
	wantResource(t, got.Details(), node)
	refusal(e.Graph.UpdateNode(ctx, &graphpb.UpdateNodeRequest{Node: agentNode(node, "a")}))(t, codes.NotFound, noNode)
	refusal(e.Graph.DeleteNode(ctx, &graphpb.DeleteNodeRequest{NodeId: node}))(t, codes.NotFound, noNode)
	refusal(e.Graph.GetEdges(ctx, &graphpb.GetEdgesRequest{NodeId: node}))(t, codes.NotFound, node)
	refusal(e.Graph.DeleteEdge(ctx, &graphpb.DeleteEdgeRequest{EdgeId: node}))(t, codes.NotFound, node)
	refusal(e.Graph.AddResponse(ctx, &graphpb.AddResponseRequest{PromptId: node, TokenUsage: usage()}))(t, codes.NotFound, node)
	refusal(e.Graph.AddToolInvocation(ctx, &graphpb.AddToolInvocationRequest{
		ToolInvocation: &graphpb.ToolInvocationNode{ResponseId: node, ToolName: "x"},
	}))(t, codes.NotFound, node)
	for _, ends := range [][2]string{{node, agent}, {agent, node}} {
		refusal(e.Graph.CreateEdge(ctx, &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
			Type: graphpb.EdgeType_EDGE_TYPE_REFERENCES, FromNodeId: ends[0], ToNodeId: ends[1],
		}}))(t, codes.NotFound, node)
	}
}

// wantResource wants a ResourceInfo that names what was not there.
func wantResource(t *testing.T, details []any, name string) {
	t.Helper()
	for _, detail := range details {
		if info, ok := detail.(*errdetails.ResourceInfo); ok && info.GetResourceName() == name {
			return
		}
	}
	t.Errorf("details %v have no ResourceInfo of %s", details, name)
}
