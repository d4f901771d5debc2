package conformance

import (
	"strings"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// publishedClientCases send what the published npm client sends once its field names are repaired: no metadata, a Date as
// a Timestamp that is there but empty, ids of the caller's making, and a client that takes no message over 4 MiB.
func publishedClientCases() []Case {
	return []Case{
		{Name: "empty_timestamps_are_no_times", Section: "9", Run: emptyTimestamps,
			Calls: []string{createNode, updateNode, batchCreateNodes, createEdge, query, streamQuery, addToolInvocation, createTemplate}},
		{Name: "no_page_is_larger_than_a_client_takes", Section: "9", Run: pagesFit, Calls: []string{query}},
	}
}

func emptyTimestamps(t *testing.T, e *Env) {
	ctx, none := t.Context(), &timestamppb.Timestamp{}
	made := e.talk(t, 1)
	session := made.session.GetId()
	prompt := func(id, content string) *graphpb.Node {
		node := promptNode(id, session, content)
		node.Type, node.CreatedAt, node.GetPrompt().Timestamp = graphpb.NodeType_NODE_TYPE_PROMPT, none, none
		return node
	}
	node := e.create(t, prompt(unique("node"), "first"))
	for field, at := range map[string]*timestamppb.Timestamp{
		"created_at": node.GetCreatedAt(), "prompt.timestamp": node.GetPrompt().GetTimestamp(),
	} {
		if at.GetSeconds() == 0 {
			t.Errorf("%s of a prompt with empty timestamps is %v, want the instant of the commit", field, at)
		}
	}
	updated := e.update(t, prompt(node.GetId(), "second"))
	wantEqual(t, "time after an update", node.GetPrompt().GetTimestamp(), updated.GetPrompt().GetTimestamp())
	must(e.Graph.BatchCreateNodes(ctx, &graphpb.BatchCreateNodesRequest{Nodes: []*graphpb.Node{prompt(unique("node"), "third")}}))(t)
	edge := must(e.Graph.CreateEdge(ctx, &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
		FromNodeId: node.GetId(), ToNodeId: session, Type: graphpb.EdgeType_EDGE_TYPE_REFERENCES, CreatedAt: none,
	}}))(t)
	tool := must(e.Graph.AddToolInvocation(ctx, &graphpb.AddToolInvocationRequest{ToolInvocation: &graphpb.ToolInvocationNode{
		ResponseId: made.responses[0].GetId(), ToolName: "search", Timestamp: none,
	}}))(t)
	template := must(e.Graph.CreateTemplate(ctx, &graphpb.CreateTemplateRequest{Template: &graphpb.TemplateNode{
		Name: "greeting", TemplateText: "Hello", CreatedAt: none,
	}}))(t)
	for what, at := range map[string]*timestamppb.Timestamp{
		"edge": edge.GetCreatedAt(), "tool invocation": tool.GetTimestamp(), "template": template.GetCreatedAt(),
	} {
		if at.GetSeconds() == 0 {
			t.Errorf("the time of the %s is %v", what, at)
		}
	}
	request := &graphpb.QueryRequest{SessionId: &session, After: none, Before: none}
	page := e.query(t, request)
	wantEqual(t, "nodes between two empty timestamps", 7, int(page.GetTotalCount()))
	wantEqual(t, "the same as a stream", page.GetNodes(), e.streamQuery(t, request))
}

func pagesFit(t *testing.T, e *Env) {
	const takes = 4 << 20
	session := e.session(t).GetId()
	for range 6 {
		e.prompt(t, session, strings.Repeat("x", 900_000))
	}
	request := &graphpb.QueryRequest{SessionId: &session}
	seen := 0
	for {
		page := e.query(t, request)
		if size := proto.Size(page); size > takes {
			t.Fatalf("a page has %d bytes, more than a client takes", size)
		}
		seen += len(page.GetNodes())
		wantEqual(t, "total on every page", 7, int(page.GetTotalCount()))
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			break
		}
	}
	wantEqual(t, "nodes on all pages", 7, seen)
}
