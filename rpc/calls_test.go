package rpc

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func unmarshal(b []byte, m proto.Message) error { return proto.Unmarshal(b, m) }

func TestSessions(t *testing.T) {
	r := start(t)
	meta := map[string]string{"user": "alice"}
	s := must[*pb.Session](t)(r.CreateSession(r.ctx(), &pb.CreateSessionRequest{Metadata: meta}))
	if !s.IsActive || s.CreatedAt == nil || !proto.Equal(s.CreatedAt, s.UpdatedAt) {
		t.Errorf("a new session is %v", s)
	}
	got := must[*pb.Session](t)(r.GetSession(r.ctx(), &pb.GetSessionRequest{SessionId: strings.ToUpper(s.Id)}))
	if diff := cmp.Diff(s, got, protocmp.Transform()); diff != "" {
		t.Errorf("got another session (-made +got):\n%s", diff)
	}
	closed := must[*pb.Session](t)(r.CloseSession(r.ctx(), &pb.CloseSessionRequest{SessionId: s.Id}))
	if closed.IsActive {
		t.Error("a closed session is active")
	}
	_, err := r.AddPrompt(r.ctx(), &pb.AddPromptRequest{SessionId: s.Id, Content: "x"})
	refusedWith(t, err, codes.FailedPrecondition, "", "")
	if got := infoOf(err).Reason; got != graph.ReasonSessionClosed {
		t.Errorf("reason is %q", got)
	}
	if _, err := r.DeleteSession(r.ctx(), &pb.DeleteSessionRequest{SessionId: s.Id}); err != nil {
		t.Fatal(err)
	}
	_, err = r.GetSession(r.ctx(), &pb.GetSessionRequest{SessionId: s.Id})
	refusedWith(t, err, codes.NotFound, "Session not found: "+s.Id, "")
}

func TestListSessionsPages(t *testing.T) {
	r := start(t)
	var want []string
	for range 5 {
		want = append([]string{r.session().Id}, want...)
	}
	var got []string
	req := &pb.ListSessionsRequest{Limit: 2}
	for {
		page := must[*pb.ListSessionsResponse](t)(r.ListSessions(r.ctx(), req))
		if page.TotalCount != 5 {
			t.Errorf("total is %d", page.TotalCount)
		}
		for _, s := range page.Sessions {
			got = append(got, s.Id)
		}
		if page.NextPageToken == "" {
			break
		}
		req = &pb.ListSessionsRequest{Limit: 3, PageToken: page.NextPageToken}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sessions (-want +got):\n%s", diff)
	}
	rest := must[*pb.ListSessionsResponse](t)(r.ListSessions(r.ctx(), &pb.ListSessionsRequest{Offset: 4}))
	if len(rest.Sessions) != 1 || rest.Sessions[0].Id != want[4] {
		t.Errorf("offset 4 gives %v", rest.Sessions)
	}
}

func TestTheConversation(t *testing.T) {
	r := start(t)
	s := r.session()
	p := r.prompt(s.Id, "What is the capital of France?")
	if p.Metadata.Model != "unknown" || p.Metadata.Temperature != 0.7 || p.Timestamp == nil {
		t.Errorf("prompt is %v", p)
	}
	a := r.response(p.Id, "Paris")
	if a.TokenUsage.TotalTokens != 40 || a.Metadata.FinishReason != "stop" {
		t.Errorf("response is %v", a)
	}
	tool := must[*pb.ToolInvocationNode](t)(r.AddToolInvocation(r.ctx(), &pb.AddToolInvocationRequest{
		ToolInvocation: &pb.ToolInvocationNode{ResponseId: a.Id, ToolName: "search", Parameters: "{}"},
	}))
	if tool.Status != "pending" || tool.Result != nil {
		t.Errorf("tool invocation is %v", tool)
	}
	n := must[*pb.Node](t)(r.GetNode(r.ctx(), &pb.GetNodeRequest{NodeId: tool.Id}))
	n.GetToolInvocation().Status, n.GetToolInvocation().Result = "SUCCESS", proto.String(`{"hits":3}`)
	stale := n.Revision - 1
	_, err := r.UpdateNode(r.ctx(), &pb.UpdateNodeRequest{Node: proto.CloneOf(n), ExpectedRevision: &stale})
	refusedWith(t, err, codes.Aborted, "", "")
	updated := must[*pb.Node](t)(r.UpdateNode(r.ctx(), &pb.UpdateNodeRequest{Node: n, ExpectedRevision: &n.Revision}))
	if got := updated.GetToolInvocation(); got.Status != "success" || got.GetResult() != `{"hits":3}` {
		t.Errorf("updated to %v", got)
	}
	edges := must[*pb.GetEdgesResponse](t)(r.GetEdges(r.ctx(), &pb.GetEdgesRequest{
		NodeId: p.Id, Direction: pb.EdgeDirection_EDGE_DIRECTION_BOTH.Enum(),
	}))
	if len(edges.Edges) != 2 {
		t.Errorf("edges of the prompt: %v", edges.Edges)
	}
	_, err = r.DeleteEdge(r.ctx(), &pb.DeleteEdgeRequest{EdgeId: edges.Edges[0].Id})
	refusedWith(t, err, codes.FailedPrecondition, "", "")
	if _, err := r.DeleteNode(r.ctx(keyCascade, "true"), &pb.DeleteNodeRequest{NodeId: p.Id}); err != nil {
		t.Fatal(err)
	}
	_, err = r.GetNode(r.ctx(), &pb.GetNodeRequest{NodeId: tool.Id})
	refusedWith(t, err, codes.NotFound, "Node not found: "+tool.Id, "")
}

func TestDeleteNodeWithoutCascadeKeepsWhatHangsBelow(t *testing.T) {
	r := start(t)
	p := r.prompt(r.session().Id, "x")
	a := r.response(p.Id, "y")
	if _, err := r.DeleteNode(r.ctx(keyCascade, "false"), &pb.DeleteNodeRequest{NodeId: p.Id}); err != nil {
		t.Fatal(err)
	}
	must[*pb.Node](t)(r.GetNode(r.ctx(), &pb.GetNodeRequest{NodeId: a.Id}))
}

func TestBatches(t *testing.T) {
	r := start(t)
	s := r.session()
	made := must[*pb.BatchCreateNodesResponse](t)(r.BatchCreateNodes(r.ctx(), &pb.BatchCreateNodesRequest{Nodes: []*pb.Node{
		{Id: "p1", NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{SessionId: s.Id, Content: "x"}}},
		{NodeData: &pb.Node_Response{Response: &pb.ResponseNode{PromptId: "p1", TokenUsage: &pb.TokenUsage{}}}},
	}}))
	if made.CreatedCount != 2 || made.Nodes[0].Id != "p1" || made.Nodes[1].Id == "" {
		t.Errorf("made %v", made)
	}
	got := must[*pb.BatchGetNodesResponse](t)(r.BatchGetNodes(r.ctx(), &pb.BatchGetNodesRequest{
		NodeIds: []string{made.Nodes[1].Id, "nobody", "p1", "p1"},
	}))
	var ids []string
	for _, n := range got.Nodes {
		ids = append(ids, n.Id)
	}
	if diff := cmp.Diff([]string{made.Nodes[1].Id, "p1", "p1"}, ids); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	_, err := r.BatchCreateNodes(r.ctx(), &pb.BatchCreateNodesRequest{Nodes: []*pb.Node{
		{Id: "p2", NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{SessionId: s.Id, Content: "x"}}},
		{Id: "p1", NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{SessionId: s.Id, Content: "x"}}},
	}})
	refusedWith(t, err, codes.AlreadyExists, "", "")
	_, err = r.GetNode(r.ctx(), &pb.GetNodeRequest{NodeId: "p2"})
	refusedWith(t, err, codes.NotFound, "Node not found: p2", "")
}

func TestBatchGetPages(t *testing.T) {
	r := start(t)
	ids := []string{r.agent("a").Id, "nobody", r.agent("b").Id, r.agent("c").Id}
	var got []string
	req := &pb.BatchGetNodesRequest{NodeIds: ids, PageSize: 2}
	for {
		page := must[*pb.BatchGetNodesResponse](t)(r.BatchGetNodes(r.ctx(), req))
		for _, n := range page.Nodes {
			got = append(got, n.Id)
		}
		if page.NextPageToken == "" {
			break
		}
		req = &pb.BatchGetNodesRequest{NodeIds: ids, PageSize: 1, PageToken: page.NextPageToken}
	}
	if diff := cmp.Diff([]string{ids[0], ids[2], ids[3]}, got); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
}

func TestEdges(t *testing.T) {
	r := start(t)
	p := r.prompt(r.session().Id, "x")
	a := r.response(p.Id, "y")
	agent := r.agent("coder")
	for range 3 {
		e := must[*pb.Edge](t)(r.CreateEdge(r.ctx(), &pb.CreateEdgeRequest{Edge: &pb.Edge{
			FromNodeId: a.Id, ToNodeId: agent.Id, Type: pb.EdgeType_EDGE_TYPE_TRANSFERS_TO,
			Properties: map[string]string{"priority": "high"},
		}}))
		if e.Id == "" || e.Revision == 0 || e.Properties["priority"] != "high" {
			t.Errorf("edge is %v", e)
		}
	}
	all := must[*pb.GetEdgesResponse](t)(r.GetEdges(r.ctx(), &pb.GetEdgesRequest{NodeId: a.Id, Direction: pb.EdgeDirection_EDGE_DIRECTION_BOTH.Enum()}))
	var paged []*pb.Edge
	req := &pb.GetEdgesRequest{NodeId: a.Id, Direction: pb.EdgeDirection_EDGE_DIRECTION_BOTH.Enum(), PageSize: 2}
	for {
		page := must[*pb.GetEdgesResponse](t)(r.GetEdges(r.ctx(), req))
		paged = append(paged, page.Edges...)
		if req.PageToken = page.NextPageToken; req.PageToken == "" {
			break
		}
	}
	if diff := cmp.Diff(all.Edges, paged, protocmp.Transform()); diff != "" || len(all.Edges) != 5 {
		t.Errorf("%d edges; paged differently (-all +paged):\n%s", len(all.Edges), diff)
	}
	if _, err := r.DeleteEdge(r.ctx(), &pb.DeleteEdgeRequest{EdgeId: all.Edges[4].Id}); err != nil {
		t.Error(err)
	}
}

func TestQueryPages(t *testing.T) {
	r := start(t)
	s := r.session()
	var want []string
	for _, content := range []string{"one", "two", "three", "four", "five"} {
		want = append([]string{r.prompt(s.Id, content).Id}, want...)
	}
	kind := pb.NodeType_NODE_TYPE_PROMPT.Enum()
	var got []string
	req := &pb.QueryRequest{SessionId: &s.Id, NodeType: kind, Limit: 2}
	for {
		page := must[*pb.QueryResponse](t)(r.Query(r.ctx(), req))
		if page.TotalCount != 5 {
			t.Errorf("total is %d", page.TotalCount)
		}
		for _, n := range page.Nodes {
			got = append(got, n.Id)
		}
		if req.PageToken = page.NextPageToken; req.PageToken == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("prompts (-want +got):\n%s", diff)
	}
	beyond := must[*pb.QueryResponse](t)(r.Query(r.ctx(), &pb.QueryRequest{SessionId: &s.Id, Offset: 100, SkipTotal: true}))
	if len(beyond.Nodes) != 0 || beyond.TotalCount != 0 {
		t.Errorf("beyond the end: %v", beyond)
	}
	for _, c := range []struct {
		req  *pb.QueryRequest
		want []string
	}{
		{&pb.QueryRequest{SessionId: &s.Id, NodeType: kind}, want},
		{&pb.QueryRequest{SessionId: &s.Id, NodeType: kind, Limit: 2, Offset: 1}, want[1:3]},
		{&pb.QueryRequest{NodeType: kind, Filters: map[string]string{"content": "e"}}, []string{want[0], want[2], want[4]}},
	} {
		if diff := cmp.Diff(c.want, r.streamQuery(c.req)); diff != "" {
			t.Errorf("StreamQuery %v (-want +got):\n%s", c.req, diff)
		}
	}
	page := must[*pb.QueryResponse](t)(r.Query(r.ctx(), &pb.QueryRequest{NodeType: kind, Limit: 2}))
	rest := r.streamQuery(&pb.QueryRequest{NodeType: kind, PageToken: page.NextPageToken, Offset: 7})
	if diff := cmp.Diff(want[2:], rest); diff != "" {
		t.Errorf("StreamQuery after a page (-want +got):\n%s", diff)
	}
}

func (r *rig) streamQuery(req *pb.QueryRequest) []string {
	r.t.Helper()
	stream, err := r.StreamQuery(r.ctx(), req)
	if err != nil {
		r.t.Fatal(err)
	}
	var ids []string
	for {
		n, err := stream.Recv()
		if err == io.EOF {
			return ids
		}
		if err != nil {
			r.t.Fatal(err)
		}
		ids = append(ids, n.Id)
	}
}

func (r *rig) template() *pb.TemplateNode {
	r.t.Helper()
	return must[*pb.TemplateNode](r.t)(r.CreateTemplate(r.ctx(), &pb.CreateTemplateRequest{Template: &pb.TemplateNode{
		Name: "greeting", TemplateText: "Hey {{name}}, {{what}}", Variables: []*pb.VariableSpec{
			{Name: "name", Required: true}, {Name: "what", DefaultValue: proto.String("welcome")},
		},
	}}))
}

func TestTemplates(t *testing.T) {
	r := start(t)
	s, tpl := r.session(), r.template()
	p := must[*pb.PromptNode](t)(r.InstantiateTemplate(r.ctx(), &pb.InstantiateTemplateRequest{
		TemplateId: tpl.Id, SessionId: s.Id, VariableValues: map[string]string{"name": "Alice", "other": "x"},
	}))
	if p.Content != "Hey Alice, welcome" {
		t.Errorf("content is %q", p.Content)
	}
	edges := must[*pb.GetEdgesResponse](t)(r.GetEdges(r.ctx(), &pb.GetEdgesRequest{
		NodeId: p.Id, Type: pb.EdgeType_EDGE_TYPE_INSTANTIATES.Enum(),
	}))
	if len(edges.Edges) != 1 || edges.Edges[0].Properties["variable_bindings"] != `{"name":"Alice","what":"welcome"}` {
		t.Errorf("edges are %v", edges.Edges)
	}
	n := must[*pb.Node](t)(r.GetNode(r.ctx(), &pb.GetNodeRequest{NodeId: tpl.Id}))
	if n.GetTemplate().UsageCount != 1 {
		t.Errorf("usage_count is %d", n.GetTemplate().UsageCount)
	}
	_, err := r.InstantiateTemplate(r.ctx(), &pb.InstantiateTemplateRequest{TemplateId: tpl.Id, SessionId: s.Id})
	refusedWith(t, err, codes.InvalidArgument, "Required variable 'name' is missing", "variable_values[name]")
	_, err = r.InstantiateTemplate(r.ctx(), &pb.InstantiateTemplateRequest{TemplateId: "nobody", SessionId: s.Id})
	refusedWith(t, err, codes.NotFound, "Template not found: nobody", "")
	_, err = r.InstantiateTemplate(r.ctx(), &pb.InstantiateTemplateRequest{TemplateId: p.Id, SessionId: s.Id})
	refusedWith(t, err, codes.InvalidArgument, "", "template_id")
}

// TestATemplateThatMovesIsRenderedAgain: what was rendered from an older text is not committed.
func TestATemplateThatMovesIsRenderedAgain(t *testing.T) {
	r := start(t)
	s, tpl := r.session(), r.template()
	moves := 2
	r.log.set(func() {
		r.log.meddle = func(c *logpb.Command) {
			if c.GetInstantiate() == nil || moves == 0 {
				return
			}
			moves--
			moved := proto.CloneOf(tpl)
			moved.TemplateText = strings.Repeat("Hello ", moves+1) + "{{name}}"
			n := &pb.Node{Id: tpl.Id, Type: pb.NodeType_NODE_TYPE_TEMPLATE, NodeData: &pb.Node_Template{Template: moved}}
			command := must[[]byte](t)(encodeUpdate(n))
			if res := r.log.applyLocked(command); res.Err != nil {
				t.Error(res.Err)
			}
		}
	})
	p := must[*pb.PromptNode](t)(r.InstantiateTemplate(r.ctx(keyIdempotency, "once"), &pb.InstantiateTemplateRequest{
		TemplateId: tpl.Id, SessionId: s.Id, VariableValues: map[string]string{"name": "Bob"},
	}))
	if p.Content != "Hello Bob" {
		t.Errorf("content is %q", p.Content)
	}
	moves = maxRenders
	_, err := r.InstantiateTemplate(r.ctx(), &pb.InstantiateTemplateRequest{
		TemplateId: tpl.Id, SessionId: s.Id, VariableValues: map[string]string{"name": "Bob"},
	})
	refusedWith(t, err, codes.Aborted, "", "")
	if got := infoOf(err).Reason; got != graph.ReasonTemplateStale {
		t.Errorf("reason is %q", got)
	}
}

func encodeUpdate(n *pb.Node) ([]byte, error) {
	return proto.Marshal(&logpb.Command{Tenant: uint32(graph.DefaultTenant), Operation: &logpb.Command_UpdateNode{
		UpdateNode: &logpb.UpdateNode{Node: n},
	}})
}
