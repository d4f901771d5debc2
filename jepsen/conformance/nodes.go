package conformance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func nodeCases() []Case {
	return []Case{
		{Name: "created_at_is_the_servers_and_true", Section: "4", Run: createdAt, Calls: []string{createNode, getNode, updateNode}},
		{Name: "a_node_says_the_session_it_belongs_to", Section: "D18", Run: nodeMembership,
			Calls: []string{createNode, addPrompt, addResponse, addToolInvocation, createTemplate, getNode}},
		{Name: "create_node_does_what_the_add_calls_do", Section: "4", Run: createNodeLikeAdd,
			Calls: []string{createNode, addPrompt, addResponse, addToolInvocation, createTemplate, getEdges}},
		{Name: "fields_of_the_server_are_ignored_on_input", Section: "D8", Run: serverFields,
			Calls: []string{createNode, createTemplate, createEdge}},
		{Name: "batch_get_keeps_the_order_and_leaves_unknown_ids_out", Section: "4", Run: batchGet, Calls: []string{batchGetNodes}},
		{Name: "batch_get_pages_visit_all", Section: "D15", Run: batchGetPages, Calls: []string{batchGetNodes}},
		{Name: "batch_get_over_4_MiB_names_page_size", Section: "D15", Run: batchGetLarge,
			Calls: []string{batchGetNodes, query, addPrompt}},
		{Name: "deleting_a_prompt_closes_the_follows_chain", Section: "4", Run: chainCloses,
			Calls: []string{createNode, deleteNode, getEdges, addPrompt}},
		{Name: "deleting_a_node_takes_its_edges_and_leaves_its_children", Section: "4", Run: deleteLeavesChildren,
			Calls: []string{deleteNode, getNode, getEdges, query}},
		{Name: "a_cascade_takes_what_hangs_below", Section: "4", Run: cascade, Calls: []string{deleteNode, getNode, query}},
		{Name: "deleting_a_template_or_agent_takes_its_edges", Section: "4", Run: deleteSessionless,
			Calls: []string{deleteNode, getEdges, instantiate, getNode}},
	}
}

func createdAt(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	past := moment()
	node := promptAt(session, "long ago", past)
	node.CreatedAt = timestamppb.New(past)
	made := e.create(t, node)
	wantRecent(t, "created_at", made.GetCreatedAt())
	wantEqual(t, "timestamp", timestamppb.New(past), made.GetPrompt().GetTimestamp())
	wantEqual(t, "created_at as read", made.GetCreatedAt(), e.node(t, made.GetId()).GetCreatedAt())
	updated := e.update(t, promptNode(made.GetId(), "", "changed"))
	wantEqual(t, "created_at after an update", made.GetCreatedAt(), updated.GetCreatedAt())
	wantEqual(t, "timestamp after an update", made.GetPrompt().GetTimestamp(), updated.GetPrompt().GetTimestamp())
}

func nodeMembership(t *testing.T, e *Env) {
	made := e.talk(t, 1)
	for _, id := range made.nodeIDs()[1:] {
		wantEqual(t, "session of "+id, made.session.GetId(), e.node(t, id).GetSessionId())
	}
	wantEqual(t, "session of a prompt", made.session.GetId(), made.prompts[0].GetSessionId())
	wantEqual(t, "session of an agent", "", e.agent(t, "a").GetSessionId())
	template := e.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "t"})
	wantEqual(t, "session of a template", "", e.node(t, template.GetId()).GetSessionId())
}

// relations says from what to what and with which properties the edges of a node go, without ids and times.
func (e *Env) relations(t *testing.T, id string, names map[string]string) []string {
	t.Helper()
	var found []string
	for _, edge := range e.edges(t, id, graphpb.EdgeDirection_EDGE_DIRECTION_BOTH, 0) {
		properties := clone(edge).GetProperties()
		delete(properties, "time_delta_ms")
		found = append(found, fmt.Sprint(names[edge.GetFromNodeId()], edge.GetType(), names[edge.GetToNodeId()], properties))
	}
	return found
}

func createNodeLikeAdd(t *testing.T, e *Env) {
	added := e.talk(t, 2)
	created := talk{session: e.session(t)}
	for i := range 2 {
		prompt := e.create(t, promptNode("", created.session.GetId(), fmt.Sprintf("question %d", i)))
		response := e.create(t, responseNode("", prompt.GetId(), fmt.Sprintf("answer %d", i)))
		tool := e.create(t, toolNode("", response.GetId(), fmt.Sprintf("tool-%d", i)))
		wantEqual(t, "type", graphpb.NodeType_NODE_TYPE_TOOL_INVOCATION, tool.GetType())
		created.prompts = append(created.prompts, prompt.GetPrompt())
		created.responses = append(created.responses, response.GetResponse())
		created.tools = append(created.tools, tool.GetToolInvocation())
	}
	names := make(map[string]string)
	for i, id := range added.nodeIDs() {
		names[id] = fmt.Sprint(i)
		names[created.nodeIDs()[i]] = fmt.Sprint(i)
	}
	for i, id := range added.nodeIDs() {
		wantEqual(t, fmt.Sprintf("edges of node %d", i), e.relations(t, id, names), e.relations(t, created.nodeIDs()[i], names))
	}
	for i := range 2 {
		ignore := func(p *graphpb.PromptNode) *graphpb.PromptNode {
			p = clone(p)
			p.Id, p.SessionId, p.Timestamp = "", "", nil
			return p
		}
		wantEqual(t, "prompt", ignore(added.prompts[i]), ignore(created.prompts[i]))
	}
	template := e.create(t, templateNode("", "n", "Hi {{x}}"))
	again := e.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "Hi {{x}}"})
	again.Id, again.CreatedAt = template.GetId(), template.GetTemplate().GetCreatedAt()
	wantEqual(t, "template", again, template.GetTemplate())
}

func serverFields(t *testing.T, e *Env) {
	past := timestamppb.New(moment())
	node := agentNode("", "a")
	node.CreatedAt, node.Revision, node.SessionId = past, 1<<60, e.session(t).GetId()
	node.GetAgent().CreatedAt = past
	made := e.create(t, node)
	wantRecent(t, "created_at of the node", made.GetCreatedAt())
	wantRecent(t, "created_at of the agent", made.GetAgent().GetCreatedAt())
	wantEqual(t, "created_at inside and outside", made.GetCreatedAt(), made.GetAgent().GetCreatedAt())
	wantEqual(t, "session", "", made.GetSessionId())
	if made.GetRevision() >= 1<<60 {
		t.Error("the revision of the client was taken")
	}
	template := e.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "t", UsageCount: 41, CreatedAt: past})
	wantEqual(t, "usage_count", int64(0), template.GetUsageCount())
	wantRecent(t, "created_at of the template", template.GetCreatedAt())
	edge := must(e.Graph.CreateEdge(t.Context(), &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
		Type: graphpb.EdgeType_EDGE_TYPE_REFERENCES, FromNodeId: made.GetId(), ToNodeId: template.GetId(),
		CreatedAt: past, Revision: 1 << 60,
	}}))(t)
	wantRecent(t, "created_at of the edge", edge.GetCreatedAt())
	if edge.GetRevision() >= 1<<60 || edge.GetRevision() == 0 {
		t.Errorf("revision of the edge is %d", edge.GetRevision())
	}
}

func batchGet(t *testing.T, e *Env) {
	made := e.talk(t, 2)
	ids := made.nodeIDs()
	asked := []string{ids[5], unique("nobody"), ids[0], ids[3], unique("nobody"), ids[1]}
	got := must(e.Graph.BatchGetNodes(t.Context(), &graphpb.BatchGetNodesRequest{NodeIds: asked}))(t)
	wantEqual(t, "ids", []string{ids[5], ids[0], ids[3], ids[1]}, nodeIDs(got.GetNodes()))
	for _, node := range got.GetNodes() {
		wantEqual(t, "node "+node.GetId(), e.node(t, node.GetId()), node)
	}
	none := must(e.Graph.BatchGetNodes(t.Context(), &graphpb.BatchGetNodesRequest{NodeIds: []string{unique("nobody")}}))(t)
	wantEqual(t, "nodes of unknown ids", 0, len(none.GetNodes()))
}

func batchGetPages(t *testing.T, e *Env) {
	ids := e.talk(t, 4).nodeIDs()
	asked := append([]string{unique("nobody")}, ids...)
	var seen []string
	request := &graphpb.BatchGetNodesRequest{NodeIds: asked, PageSize: 5}
	for {
		page := must(e.Graph.BatchGetNodes(t.Context(), request))(t)
		if len(page.GetNodes()) > 5 {
			t.Errorf("page of %d nodes", len(page.GetNodes()))
		}
		seen = append(seen, nodeIDs(page.GetNodes())...)
		if page.GetNextPageToken() == "" {
			break
		}
		request.PageToken = page.GetNextPageToken()
	}
	wantEqual(t, "nodes of all pages", ids, seen)
}

func batchGetLarge(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	text := strings.Repeat("z", 900_000)
	var ids []string
	for range 6 {
		ids = append(ids, e.prompt(t, session, text).GetId())
	}
	refusal(e.Graph.BatchGetNodes(t.Context(), &graphpb.BatchGetNodesRequest{NodeIds: ids}))(
		t, codes.ResourceExhausted, "page_size")
	var seen []string
	request := &graphpb.BatchGetNodesRequest{NodeIds: ids, PageSize: 3}
	for pages := 0; pages < 10; pages++ {
		page := must(e.Graph.BatchGetNodes(t.Context(), request))(t)
		seen = append(seen, nodeIDs(page.GetNodes())...)
		if page.GetNextPageToken() == "" {
			break
		}
		request.PageToken = page.GetNextPageToken()
	}
	wantEqual(t, "nodes of all pages", ids, seen)

	found := e.query(t, &graphpb.QueryRequest{SessionId: &session, NodeType: graphpb.NodeType_NODE_TYPE_PROMPT.Enum()})
	if n := len(found.GetNodes()); n == 0 || n >= 6 || found.GetNextPageToken() == "" {
		t.Errorf("page of %d nodes with token %q, want it cut at 4 MiB", n, found.GetNextPageToken())
	}
	wantEqual(t, "total of the cut page", int64(6), found.GetTotalCount())
	if size := proto.Size(found); size > 4<<20 {
		t.Errorf("page of %d bytes", size)
	}
	all := e.pages(t, &graphpb.QueryRequest{SessionId: &session, NodeType: graphpb.NodeType_NODE_TYPE_PROMPT.Enum()})
	wantEqual(t, "nodes of all pages of the query", reversed(ids), nodeIDs(all))
}

func chainCloses(t *testing.T, e *Env) {
	session, start := e.session(t).GetId(), moment()
	var ids []string
	for i := range 5 {
		at := start.Add(time.Duration(i*i) * time.Second)
		ids = append(ids, e.create(t, promptAt(session, fmt.Sprint("q", i), at)).GetId())
	}
	follows := func(id string) *graphpb.Edge {
		return e.onlyEdge(t, id, graphpb.EdgeDirection_EDGE_DIRECTION_OUTGOING, graphpb.EdgeType_EDGE_TYPE_FOLLOWS)
	}
	wantEqual(t, "delta before", "7000", follows(ids[4]).GetProperties()["time_delta_ms"])
	e.deleteNode(t, ids[2])
	closed := follows(ids[3])
	wantEqual(t, "prompt before the gap", ids[1], closed.GetToNodeId())
	wantEqual(t, "delta over the gap", "8000", closed.GetProperties()["time_delta_ms"])
	back := e.onlyEdge(t, ids[1], graphpb.EdgeDirection_EDGE_DIRECTION_INCOMING, graphpb.EdgeType_EDGE_TYPE_FOLLOWS)
	wantEqual(t, "the same edge from the other side", closed, back)

	e.deleteNode(t, ids[0])
	wantEqual(t, "edges of the new first prompt", 0,
		len(e.edges(t, ids[1], graphpb.EdgeDirection_EDGE_DIRECTION_OUTGOING, graphpb.EdgeType_EDGE_TYPE_FOLLOWS)))
	e.deleteNode(t, ids[4])
	wantEqual(t, "edges to the new last prompt", 0,
		len(e.edges(t, ids[3], graphpb.EdgeDirection_EDGE_DIRECTION_INCOMING, graphpb.EdgeType_EDGE_TYPE_FOLLOWS)))
	next := e.prompt(t, session, "next")
	wantEqual(t, "prompt before the next", ids[3], follows(next.GetId()).GetToNodeId())
	for _, id := range []string{ids[1], ids[3], next.GetId()} {
		e.deleteNode(t, id)
	}
	alone := e.prompt(t, session, "the only one")
	wantEqual(t, "edges of the only prompt", 0,
		len(e.edges(t, alone.GetId(), graphpb.EdgeDirection_EDGE_DIRECTION_OUTGOING, graphpb.EdgeType_EDGE_TYPE_FOLLOWS)))
}

func deleteLeavesChildren(t *testing.T, e *Env) {
	made := e.talk(t, 2)
	prompt, response, tool := made.prompts[0].GetId(), made.responses[0].GetId(), made.tools[0].GetId()
	agent := e.agent(t, "a").GetId()
	e.edge(t, graphpb.EdgeType_EDGE_TYPE_HANDLED_BY, prompt, agent)
	e.edge(t, graphpb.EdgeType_EDGE_TYPE_REFERENCES, agent, prompt)
	e.deleteNode(t, prompt)
	refusal(e.Graph.GetNode(t.Context(), &graphpb.GetNodeRequest{NodeId: prompt}))(t, codes.NotFound)
	refusal(e.Graph.DeleteNode(t.Context(), &graphpb.DeleteNodeRequest{NodeId: prompt}))(t, codes.NotFound)
	wantEqual(t, "response that stays", prompt, e.node(t, response).GetResponse().GetPromptId())
	e.node(t, tool)
	wantEqual(t, "edges of the agent", 0, len(e.edges(t, agent, graphpb.EdgeDirection_EDGE_DIRECTION_BOTH, 0)))
	wantEqual(t, "RESPONDS_TO of the response", 0,
		len(e.edges(t, response, graphpb.EdgeDirection_EDGE_DIRECTION_OUTGOING, graphpb.EdgeType_EDGE_TYPE_RESPONDS_TO)))
	wantEqual(t, "nodes of the session", int64(6), e.query(t, &graphpb.QueryRequest{SessionId: &made.session.Id}).GetTotalCount())
	for _, edge := range e.edges(t, made.session.GetId(), graphpb.EdgeDirection_EDGE_DIRECTION_INCOMING, 0) {
		if edge.GetFromNodeId() == prompt {
			t.Errorf("the session still has the edge %v", edge)
		}
	}
}

func cascade(t *testing.T, e *Env) {
	made := e.talk(t, 2)
	second := e.response(t, made.prompts[0].GetId(), "another answer")
	deep := e.tool(t, second.GetId(), "deep")
	ctx := with(t.Context(), "memory-graph-cascade", "true")
	must(e.Graph.DeleteNode(ctx, &graphpb.DeleteNodeRequest{NodeId: made.prompts[0].GetId()}))(t)
	for _, id := range []string{
		made.prompts[0].GetId(), made.responses[0].GetId(), made.tools[0].GetId(), second.GetId(), deep.GetId(),
	} {
		refusal(e.Graph.GetNode(t.Context(), &graphpb.GetNodeRequest{NodeId: id}))(t, codes.NotFound)
	}
	left := e.query(t, &graphpb.QueryRequest{SessionId: &made.session.Id})
	want := []string{made.tools[1].GetId(), made.responses[1].GetId(), made.prompts[1].GetId(), made.session.GetId()}
	wantEqual(t, "nodes that stay", want, nodeIDs(left.GetNodes()))
	must(e.Graph.DeleteNode(ctx, &graphpb.DeleteNodeRequest{NodeId: made.responses[1].GetId()}))(t)
	left = e.query(t, &graphpb.QueryRequest{SessionId: &made.session.Id})
	wantEqual(t, "nodes that stay at last", want[2:], nodeIDs(left.GetNodes()))
}

func deleteSessionless(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	parent := e.template(t, &graphpb.TemplateNode{Name: "p", TemplateText: "t"})
	child := e.template(t, &graphpb.TemplateNode{
		Name: "c", TemplateText: "t", Metadata: map[string]string{"parent_id": parent.GetId()},
	})
	prompt := must(e.Graph.InstantiateTemplate(t.Context(), &graphpb.InstantiateTemplateRequest{
		TemplateId: parent.GetId(), SessionId: session,
	}))(t)
	e.deleteNode(t, parent.GetId())
	wantEqual(t, "edges of the child", 0, len(e.edges(t, child.GetId(), graphpb.EdgeDirection_EDGE_DIRECTION_BOTH, 0)))
	wantEqual(t, "INSTANTIATES of the prompt", 0,
		len(e.edges(t, prompt.GetId(), graphpb.EdgeDirection_EDGE_DIRECTION_OUTGOING, graphpb.EdgeType_EDGE_TYPE_INSTANTIATES)))
	wantEqual(t, "content of the prompt", "t", e.node(t, prompt.GetId()).GetPrompt().GetContent())
	refusal(e.Graph.InstantiateTemplate(t.Context(), &graphpb.InstantiateTemplateRequest{
		TemplateId: parent.GetId(), SessionId: session,
	}))(t, codes.NotFound)
}
