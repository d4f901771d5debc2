package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// tell sends chunks down one stream and returns the answer.
func (r *rig) tell(chunks ...*pb.ImportRequest) (*pb.ImportResponse, error) {
	r.t.Helper()
	stream := must[grpc.ClientStreamingClient[pb.ImportRequest, pb.ImportResponse]](r.t)(r.transfer.Import(r.ctx()))
	for _, c := range chunks {
		if err := stream.Send(c); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			r.t.Fatal(err)
		}
	}
	return stream.CloseAndRecv()
}

// export collects an export.
func (r *rig) export(sessions ...string) (chunks []*pb.ImportRequest, nodes map[string]*pb.Node, edges map[string]*pb.Edge) {
	r.t.Helper()
	stream := must[grpc.ServerStreamingClient[pb.ExportResponse]](r.t)(r.transfer.Export(r.ctx(), &pb.ExportRequest{SessionIds: sessions}))
	nodes, edges = map[string]*pb.Node{}, map[string]*pb.Edge{}
	revision := uint64(0)
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return chunks, nodes, edges
		}
		if err != nil {
			r.t.Fatal(err)
		}
		if m.Revision == 0 || (revision != 0 && m.Revision != revision) {
			r.t.Errorf("revision %d after %d", m.Revision, revision)
		}
		revision = m.Revision
		for _, n := range m.Nodes {
			if n.SessionId != "" && nodes[n.SessionId] == nil && n.Id != n.SessionId {
				r.t.Errorf("%s comes before its session", n.Id)
			}
			nodes[n.Id] = proto.CloneOf(n)
			nodes[n.Id].Revision = 0
		}
		for _, e := range m.Edges {
			edges[e.Id] = proto.CloneOf(e)
			edges[e.Id].Revision = 0
		}
		chunks = append(chunks, &pb.ImportRequest{Nodes: m.Nodes, Edges: m.Edges})
	}
}

// furnish makes two sessions that share an agent and a template, with an edge from the first into the second.
func (r *rig) furnish() (first, second *pb.Session, agent *pb.Node) {
	r.t.Helper()
	first, second, agent = r.session(), r.session(), r.agent("coder")
	r.agent("bystander")
	tpl := r.template()
	for _, s := range []*pb.Session{first, second} {
		p := r.prompt(s.Id, "x")
		a := r.response(p.Id, strings.Repeat("y", 300_000))
		must[*pb.ToolInvocationNode](r.t)(r.AddToolInvocation(r.ctx(), &pb.AddToolInvocationRequest{
			ToolInvocation: &pb.ToolInvocationNode{ResponseId: a.Id, ToolName: "t", Parameters: strings.Repeat("z", 800_000)},
		}))
		must[*pb.Edge](r.t)(r.CreateEdge(r.ctx(), &pb.CreateEdgeRequest{Edge: &pb.Edge{
			FromNodeId: a.Id, ToNodeId: agent.Id, Type: pb.EdgeType_EDGE_TYPE_HANDLED_BY,
		}}))
		must[*pb.PromptNode](r.t)(r.InstantiateTemplate(r.ctx(), &pb.InstantiateTemplateRequest{
			TemplateId: tpl.Id, SessionId: s.Id, VariableValues: map[string]string{"name": "A"},
		}))
	}
	must[*pb.Edge](r.t)(r.CreateEdge(r.ctx(), &pb.CreateEdgeRequest{Edge: &pb.Edge{
		Id: "cross", FromNodeId: first.Id, ToNodeId: second.Id, Type: pb.EdgeType_EDGE_TYPE_REFERENCES,
	}}))
	return first, second, agent
}

func TestAnExportGivesBackTheSameGraph(t *testing.T) {
	from, to := start(t), start(t)
	from.furnish()
	chunks, nodes, edges := from.export()
	if len(nodes) != 2+2+1+2*4 || len(edges) == 0 || len(chunks) < 2 {
		t.Errorf("%d nodes, %d edges in %d messages", len(nodes), len(edges), len(chunks))
	}
	done := must[*pb.ImportResponse](t)(to.tell(chunks...))
	if int(done.NodesCreated) != len(nodes) || int(done.EdgesCreated) != len(edges) {
		t.Errorf("imported %v", done)
	}
	_, gotNodes, gotEdges := to.export()
	if diff := cmp.Diff(nodes, gotNodes, protocmp.Transform()); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(edges, gotEdges, protocmp.Transform()); diff != "" {
		t.Errorf("edges (-want +got):\n%s", diff)
	}
	again := must[*pb.ImportResponse](t)(to.tell(chunks...))
	if again.NodesCreated+again.EdgesCreated != 0 || int(again.NodesUnchanged) != len(nodes) || int(again.EdgesUnchanged) != len(edges) {
		t.Errorf("the second import did %v", again)
	}
}

func TestAnExportOfSessions(t *testing.T) {
	r := start(t)
	first, second, agent := r.furnish()
	_, nodes, edges := r.export(first.Id, strings.ToUpper(first.Id))
	if nodes[second.Id] != nil || nodes[first.Id] == nil || nodes[agent.Id] == nil || len(nodes) != 1+4+2 {
		t.Errorf("%d nodes", len(nodes))
	}
	if edges["cross"] == nil {
		t.Error("the edge out of the session is missing")
	}
	_, _, edges = r.export(second.Id)
	if edges["cross"] == nil {
		t.Error("the edge into the session is missing")
	}
	for id, e := range edges {
		if e.Type == pb.EdgeType_EDGE_TYPE_HANDLED_BY && e.ToNodeId != agent.Id {
			t.Errorf("edge %s is %v", id, e)
		}
	}
	for _, c := range []struct {
		req   *pb.ExportRequest
		code  codes.Code
		field string
	}{
		{&pb.ExportRequest{SessionIds: []string{"x"}}, codes.InvalidArgument, "session_ids[0]"},
		{&pb.ExportRequest{SessionIds: make([]string, 10_001)}, codes.InvalidArgument, "session_ids"},
		{&pb.ExportRequest{SessionIds: []string{"00000000-0000-4000-8000-000000000000"}}, codes.NotFound, ""},
	} {
		stream := must[grpc.ServerStreamingClient[pb.ExportResponse]](t)(r.transfer.Export(r.ctx(), c.req))
		_, err := stream.Recv()
		refusedWith(t, err, c.code, "", c.field)
	}
}

// exportAs collects an export of any kind, in order, and how many edges it left out.
func (r *rig) exportAs(req *pb.ExportRequest) (chunks []*pb.ImportRequest, leftOut int64) {
	r.t.Helper()
	stream := must[grpc.ServerStreamingClient[pb.ExportResponse]](r.t)(r.transfer.Export(r.ctx(), req))
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return chunks, leftOut
		}
		if err != nil {
			r.t.Fatal(err)
		}
		chunks, leftOut = append(chunks, &pb.ImportRequest{Nodes: m.Nodes, Edges: m.Edges}), m.EdgesLeftOut
	}
}

// TestASelfContainedExportGoesIntoAnEmptyStore: its edges end at what it holds, templates bring what they inherit from.
func TestASelfContainedExportGoesIntoAnEmptyStore(t *testing.T) {
	r := start(t)
	first, second, agent := r.furnish()
	parent := r.template()
	child := must[*pb.TemplateNode](t)(r.CreateTemplate(r.ctx(), &pb.CreateTemplateRequest{Template: &pb.TemplateNode{
		Name: "child", TemplateText: "x", Metadata: map[string]string{"parent_id": parent.Id},
	}}))
	must[*pb.PromptNode](t)(r.InstantiateTemplate(r.ctx(), &pb.InstantiateTemplateRequest{TemplateId: child.Id, SessionId: first.Id}))
	must[*pb.Edge](t)(r.CreateEdge(r.ctx(), &pb.CreateEdgeRequest{Edge: &pb.Edge{
		Id: "from an agent", FromNodeId: agent.Id, ToNodeId: first.Id, Type: pb.EdgeType_EDGE_TYPE_REFERENCES,
	}}))
	chunks, leftOut := r.exportAs(&pb.ExportRequest{SessionIds: []string{first.Id}, SelfContained: true})
	if leftOut != 1 {
		t.Errorf("%d edges left out, want the one into the other session", leftOut)
	}
	to := start(t)
	must[*pb.ImportResponse](t)(to.tell(chunks...))
	_, nodes, edges := to.export()
	if nodes[parent.Id] == nil || nodes[second.Id] != nil || edges["from an agent"] == nil || edges["cross"] != nil {
		t.Errorf("%d nodes, %d edges", len(nodes), len(edges))
	}
	chunks, leftOut = r.exportAs(&pb.ExportRequest{SessionIds: []string{first.Id, second.Id}, SelfContained: true})
	if last := chunks[len(chunks)-1].Edges; leftOut != 0 || last[len(last)-1].Id != "from an agent" && last[len(last)-1].Id != "cross" {
		t.Errorf("%d edges left out, the last of the rest is %v", leftOut, last[len(last)-1])
	}
}

func TestAnExportOfWhatMovedSince(t *testing.T) {
	r := start(t)
	first, second := r.session(), r.session()
	r.prompt(first.Id, "x")
	moved := must[*pb.Session](t)(r.GetSession(r.ctx(), &pb.GetSessionRequest{SessionId: first.Id}))
	for _, c := range []struct {
		req  *pb.ExportRequest
		want int
	}{
		{&pb.ExportRequest{UpdatedSince: moved.UpdatedAt}, 2},
		{&pb.ExportRequest{UpdatedSince: second.UpdatedAt}, 3},
		{&pb.ExportRequest{UpdatedSince: moved.UpdatedAt, SessionIds: []string{second.Id}}, 0},
		{&pb.ExportRequest{UpdatedSince: timestamppb.New(moved.UpdatedAt.AsTime().Add(1))}, 0},
	} {
		chunks, _ := r.exportAs(c.req)
		nodes := 0
		for _, chunk := range chunks {
			nodes += len(chunk.Nodes)
		}
		if nodes != c.want {
			t.Errorf("%v: %d nodes, want %d", c.req, nodes, c.want)
		}
	}
	stream := must[grpc.ServerStreamingClient[pb.ExportResponse]](t)(r.transfer.Export(r.ctx(), &pb.ExportRequest{UpdatedSince: &timestamppb.Timestamp{Nanos: -1}}))
	_, err := stream.Recv()
	refusedWith(t, err, codes.InvalidArgument, "", "updated_since")
}

func TestAnExportOfNothingTellsItsRevision(t *testing.T) {
	r := start(t)
	chunks, nodes, _ := r.export()
	if len(chunks) != 1 || len(nodes) != 0 {
		t.Errorf("%d messages", len(chunks))
	}
}

func agentChunk(names ...string) *pb.ImportRequest {
	req := &pb.ImportRequest{}
	for _, name := range names {
		req.Nodes = append(req.Nodes, &pb.Node{Id: name, NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{Name: name}}})
	}
	return req
}

func TestAnImportResumes(t *testing.T) {
	r := start(t)
	bad := &pb.ImportRequest{Edges: []*pb.Edge{{Id: "e", FromNodeId: "a", ToNodeId: "nobody", Type: pb.EdgeType_EDGE_TYPE_REFERENCES}}}
	_, err := r.tell(agentChunk("a", "b"), &pb.ImportRequest{}, bad)
	refusedWith(t, err, codes.NotFound, "Node not found: nobody", "")
	token := infoOf(err).Metadata["resume_token"]
	if notes := infoOf(err).Metadata; notes["chunks"] != "2" || notes["nodes_created"] != "2" || notes["edges_unchanged"] != "0" {
		t.Errorf("the error notes %v", notes)
	}
	if token == "" {
		t.Fatal("no resume_token")
	}
	with := func(c *pb.ImportRequest, token string) *pb.ImportRequest {
		c.ResumeToken = token
		return c
	}
	_, err = r.tell(with(agentChunk("a", "c"), token), &pb.ImportRequest{}, agentChunk("d"))
	refusedWith(t, err, codes.InvalidArgument, "resume_token: belongs to other chunks than these", "resume_token")
	_, err = r.tell(with(agentChunk("a", "b"), token))
	refusedWith(t, err, codes.InvalidArgument, "", "resume_token")
	_, err = r.tell(with(agentChunk("a", "b"), "AAAA"))
	refusedWith(t, err, codes.InvalidArgument, "", "resume_token")
	_, err = r.tell(agentChunk("a", "b"), with(&pb.ImportRequest{}, token))
	refusedWith(t, err, codes.InvalidArgument, "", "resume_token")
	done := must[*pb.ImportResponse](t)(r.tell(with(agentChunk("a", "b"), token), &pb.ImportRequest{}, agentChunk("d")))
	if done.NodesCreated != 1 || done.NodesUnchanged != 0 {
		t.Errorf("resumed to %v", done)
	}
	done = must[*pb.ImportResponse](t)(r.tell(with(agentChunk("a", "b"), done.ResumeToken), &pb.ImportRequest{}, agentChunk("d")))
	if done.NodesCreated+done.NodesUnchanged != 0 || done.ResumeToken == "" {
		t.Errorf("nothing was left, but it did %v", done)
	}
}

func TestBadImports(t *testing.T) {
	r := start(t)
	must[*pb.ImportResponse](t)(r.tell(agentChunk("a")))
	many := &pb.ImportRequest{}
	for i := range 1001 {
		many.Nodes = append(many.Nodes, agentChunk(fmt.Sprint(i)).Nodes...)
	}
	for _, c := range []struct {
		chunk *pb.ImportRequest
		code  codes.Code
		field string
	}{
		{many, codes.InvalidArgument, "nodes"},
		{&pb.ImportRequest{Nodes: []*pb.Node{{}}}, codes.InvalidArgument, "nodes[0].node_data"},
		{&pb.ImportRequest{Edges: []*pb.Edge{{FromNodeId: "a", ToNodeId: "a"}}}, codes.InvalidArgument, "edges[0].id"},
		{&pb.ImportRequest{Nodes: []*pb.Node{{Id: "a", NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{Name: "other"}}}}}, codes.AlreadyExists, ""},
	} {
		_, err := r.tell(c.chunk)
		refusedWith(t, err, c.code, "", c.field)
		if infoOf(err).Metadata["resume_token"] != "" {
			t.Error("a token names nothing")
		}
	}
	empty := must[*pb.ImportResponse](t)(r.tell())
	if empty.NodesCreated != 0 {
		t.Errorf("an empty import did %v", empty)
	}
}

// TestAKeyedImportTellsTheSameAgain: each chunk is a change of its own under the key.
func TestAKeyedImportTellsTheSameAgain(t *testing.T) {
	r := start(t)
	send := func() *pb.ImportResponse {
		stream := must[grpc.ClientStreamingClient[pb.ImportRequest, pb.ImportResponse]](t)(r.transfer.Import(r.ctx(keyIdempotency, "k")))
		for _, c := range []*pb.ImportRequest{agentChunk("a"), agentChunk("b")} {
			if err := stream.Send(c); err != nil {
				t.Fatal(err)
			}
		}
		return must[*pb.ImportResponse](t)(stream.CloseAndRecv())
	}
	first, again := send(), send()
	if diff := cmp.Diff(first, again, protocmp.Transform()); diff != "" || first.NodesCreated != 2 {
		t.Errorf("first %v (-first +again):\n%s", first, diff)
	}
}

// TestWalksEndWithTheCall: a call that is over reads no further.
func TestWalksEndWithTheCall(t *testing.T) {
	r := start(t)
	nodes := make([]*pb.Node, 600)
	for i := range nodes {
		nodes[i] = &pb.Node{NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{Name: "x"}}}
	}
	must[*pb.BatchCreateNodesResponse](t)(r.BatchCreateNodes(r.ctx(), &pb.BatchCreateNodesRequest{Nodes: nodes}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	st := must[*state](t)(r.server.open(ctx))
	defer st.Close()
	seen := 0
	for _, err := range st.view.Walk(graph.Walk{}) {
		if err != nil {
			if !errors.Is(err, context.Canceled) || seen != 255 {
				t.Errorf("after %d entries: %v", seen, err)
			}
			return
		}
		seen++
	}
	t.Errorf("read all %d entries", seen)
}

// TestWalksEndWithTheCallAmongHiddenRows: so does one that finds only what a deletion has hidden.
func TestWalksEndWithTheCallAmongHiddenRows(t *testing.T) {
	r := start(t)
	s := r.session()
	for range 4 {
		nodes := make([]*pb.Node, 1000)
		for i := range nodes {
			nodes[i] = &pb.Node{NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{SessionId: s.Id, Content: "x"}}}
		}
		must[*pb.BatchCreateNodesResponse](t)(r.BatchCreateNodes(r.ctx(), &pb.BatchCreateNodesRequest{Nodes: nodes}))
	}
	r.deleted(s.Id)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	st := must[*state](t)(r.server.open(ctx))
	defer st.Close()
	for e, err := range st.view.Walk(graph.Walk{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v, %v", e, err)
		}
		return
	}
	t.Error("read all rows")
}
