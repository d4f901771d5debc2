package conformance

import (
	"fmt"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/codes"
)

func batchCases() []Case {
	return []Case{
		{Name: "a_batch_makes_all_in_order", Section: "4", Run: batchInOrder, Calls: []string{batchCreateNodes, getNode, query}},
		{Name: "a_node_of_a_batch_may_refer_to_an_earlier_one", Section: "4", Run: batchReferences,
			Calls: []string{batchCreateNodes, getEdges}},
		{Name: "a_batch_with_one_bad_node_makes_none", Section: "4", Run: batchNone,
			Calls: []string{batchCreateNodes, getNode, getSession, query}},
		{Name: "a_batch_takes_1000_nodes_and_no_more", Section: "D13", Run: batchLimits, Calls: []string{batchCreateNodes, query}},
		{Name: "a_batch_spans_sessions", Section: "4", Run: batchSessions, Calls: []string{batchCreateNodes, query}},
	}
}

func batchInOrder(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	var asked []*graphpb.Node
	for i := range 10 {
		asked = append(asked, promptNode(unique("p"), session, fmt.Sprint("question ", i)))
	}
	asked = append(asked, agentNode(unique("a"), "agent"), templateNode(unique("t"), "template", "text"))
	reply := must(e.Graph.BatchCreateNodes(t.Context(), &graphpb.BatchCreateNodesRequest{Nodes: asked}))(t)
	wantEqual(t, "created_count", int32(12), reply.GetCreatedCount())
	wantEqual(t, "ids", nodeIDs(asked), nodeIDs(reply.GetNodes()))
	for _, node := range reply.GetNodes() {
		wantEqual(t, "node as read", node, e.node(t, node.GetId()))
		wantEqual(t, "revision of the batch", reply.GetNodes()[0].GetRevision(), node.GetRevision())
	}
	prompts := e.query(t, &graphpb.QueryRequest{SessionId: &session, NodeType: graphpb.NodeType_NODE_TYPE_PROMPT.Enum()})
	wantEqual(t, "newest first", reversed(nodeIDs(asked[:10])), nodeIDs(prompts.GetNodes()))
}

func batchReferences(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	p1, r1, t1, p2, r2 := unique("p1"), unique("r1"), unique("t1"), unique("p2"), unique("r2")
	parent := unique("parent")
	child := templateNode("", "child", "t")
	child.GetTemplate().Metadata = map[string]string{"parent_id": parent}
	made := e.batch(t, promptNode(p1, session, "1"), responseNode(r1, p1, "1"), toolNode(t1, r1, "x"), toolNode("", r1, "y"),
		promptNode(p2, session, "2"), responseNode(r2, p2, "2"), templateNode(parent, "parent", "t"), child)
	out, in := graphpb.EdgeDirection_EDGE_DIRECTION_OUTGOING, graphpb.EdgeDirection_EDGE_DIRECTION_INCOMING
	wantEqual(t, "FOLLOWS", p1, e.onlyEdge(t, p2, out, graphpb.EdgeType_EDGE_TYPE_FOLLOWS).GetToNodeId())
	wantEqual(t, "RESPONDS_TO", r1, e.onlyEdge(t, p1, in, graphpb.EdgeType_EDGE_TYPE_RESPONDS_TO).GetFromNodeId())
	wantEqual(t, "RESPONDS_TO", p2, e.onlyEdge(t, r2, out, graphpb.EdgeType_EDGE_TYPE_RESPONDS_TO).GetToNodeId())
	invokes := e.edges(t, r1, out, graphpb.EdgeType_EDGE_TYPE_INVOKES)
	wantEqual(t, "INVOKES", 2, len(invokes))
	wantEqual(t, "first call", t1, invokes[0].GetToNodeId())
	wantEqual(t, "order of the second", "1", invokes[1].GetProperties()["invocation_order"])
	wantEqual(t, "BELONGS_TO", 6, len(e.edges(t, session, in, graphpb.EdgeType_EDGE_TYPE_BELONGS_TO)))
	wantEqual(t, "INHERITS", parent, e.onlyEdge(t, made[7].GetId(), out, graphpb.EdgeType_EDGE_TYPE_INHERITS).GetToNodeId())

	late := unique("late")
	refusal(e.Graph.BatchCreateNodes(t.Context(), &graphpb.BatchCreateNodesRequest{Nodes: []*graphpb.Node{
		responseNode("", late, "refers to a later node"), promptNode(late, session, "x"),
	}}))(t, codes.NotFound, late)
}

func batchNone(t *testing.T, e *Env) {
	made := e.talk(t, 1)
	id := made.session.GetId()
	before := e.getSession(t, id)
	first := unique("first")
	bad := map[codes.Code]*graphpb.Node{
		codes.InvalidArgument: promptNode("", id, ""),
		codes.NotFound:        responseNode("", unique("nobody"), "x"),
		codes.AlreadyExists:   promptNode(made.prompts[0].GetId(), id, "x"),
	}
	for code, node := range bad {
		refusal(e.Graph.BatchCreateNodes(t.Context(), &graphpb.BatchCreateNodesRequest{Nodes: []*graphpb.Node{
			agentNode(first, "a"), promptNode("", id, "fine"), node, agentNode("", "b"),
		}}))(t, code)
		refusal(e.Graph.GetNode(t.Context(), &graphpb.GetNodeRequest{NodeId: first}))(t, codes.NotFound)
	}
	twice := unique("twice")
	refusal(e.Graph.BatchCreateNodes(t.Context(), &graphpb.BatchCreateNodesRequest{Nodes: []*graphpb.Node{
		agentNode(twice, "a"), agentNode(twice, "b"),
	}}))(t, codes.AlreadyExists, twice)
	wantEqual(t, "nodes of the session", int64(4), e.query(t, &graphpb.QueryRequest{SessionId: &id}).GetTotalCount())
	wantEqual(t, "session", before, e.getSession(t, id))
	next := e.prompt(t, id, "next")
	follows := e.onlyEdge(t, next.GetId(), graphpb.EdgeDirection_EDGE_DIRECTION_OUTGOING, graphpb.EdgeType_EDGE_TYPE_FOLLOWS)
	wantEqual(t, "prompt before the next", made.prompts[0].GetId(), follows.GetToNodeId())
}

func batchLimits(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	nodes := make([]*graphpb.Node, 1000)
	for i := range nodes {
		nodes[i] = promptNode("", session, fmt.Sprint("question ", i))
	}
	over := append(append([]*graphpb.Node(nil), nodes...), agentNode("", "one too many"))
	invalid(e.Graph.BatchCreateNodes(t.Context(), &graphpb.BatchCreateNodesRequest{Nodes: over}))(t, "nodes")
	wantEqual(t, "nodes after the refusal", int64(1), e.query(t, &graphpb.QueryRequest{SessionId: &session}).GetTotalCount())
	made := e.batch(t, nodes...)
	all := e.query(t, &graphpb.QueryRequest{SessionId: &session, Limit: 10_000})
	wantEqual(t, "total", int64(1001), all.GetTotalCount())
	wantEqual(t, "newest first", reversed(nodeIDs(made)), nodeIDs(all.GetNodes())[:1000])
	invalid(e.Graph.BatchCreateNodes(t.Context(), &graphpb.BatchCreateNodesRequest{Nodes: []*graphpb.Node{nil}}))(t, "nodes")
}

func batchSessions(t *testing.T, e *Env) {
	one, two := e.session(t).GetId(), e.session(t).GetId()
	e.batch(t, promptNode("", one, "1"), promptNode("", two, "1"), promptNode("", one, "2"), promptNode("", two, "2"))
	for _, session := range []string{one, two} {
		prompts := e.query(t, &graphpb.QueryRequest{SessionId: &session, NodeType: graphpb.NodeType_NODE_TYPE_PROMPT.Enum()}).GetNodes()
		wantEqual(t, "prompts", 2, len(prompts))
		follows := e.onlyEdge(t, prompts[0].GetId(), graphpb.EdgeDirection_EDGE_DIRECTION_OUTGOING, graphpb.EdgeType_EDGE_TYPE_FOLLOWS)
		wantEqual(t, "prompt before", prompts[1].GetId(), follows.GetToNodeId())
	}
}
