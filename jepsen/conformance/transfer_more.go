package conformance

import (
	"fmt"
	"slices"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func importGoesOn(t *testing.T, e *Env) {
	nodes, edges := conversation()
	must(e.sendImport(t, &graphpb.ImportRequest{Nodes: nodes, Edges: edges}))(t)
	session, prompt, response := nodes[0].GetId(), nodes[1].GetId(), nodes[2].GetId()
	next := e.prompt(t, session, "and now?")
	wantEqual(t, "prompt before", prompt, e.onlyEdge(t, next.GetId(), outgoing, follows).GetToNodeId())
	e.tool(t, response, "another")
	calls := e.edges(t, response, outgoing, invokes)
	wantEqual(t, "order of the next call", "1", calls[len(calls)-1].GetProperties()["invocation_order"])
	refusal(e.Graph.DeleteEdge(t.Context(), &graphpb.DeleteEdgeRequest{EdgeId: calls[1].GetId()}))(t, codes.FailedPrecondition)
	e.closeSession(t, session)
	refusal(e.Graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{SessionId: session, Content: "x"}))(t, codes.FailedPrecondition)

	closed, _ := conversation()
	closed[0].GetSession().IsActive = false
	must(e.sendImport(t, &graphpb.ImportRequest{Nodes: closed}))(t)
	wantEqual(t, "active", false, e.getSession(t, closed[0].GetId()).GetIsActive())
	refusal(e.Graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{
		SessionId: closed[0].GetId(), Content: "x",
	}))(t, codes.FailedPrecondition)
}

func importMalformed(t *testing.T, e *Env) {
	canary := agentNode(unique("canary"), "a")
	check := func(code codes.Code, chunk *graphpb.ImportRequest) {
		t.Helper()
		chunk.Nodes = append([]*graphpb.Node{canary}, chunk.GetNodes()...)
		refusal(e.sendImport(t, chunk))(t, code)
		refusal(e.Graph.GetNode(t.Context(), &graphpb.GetNodeRequest{NodeId: canary.GetId()}))(t, codes.NotFound)
	}
	of := func(nodes ...*graphpb.Node) *graphpb.ImportRequest { return &graphpb.ImportRequest{Nodes: nodes} }
	nodes, edges := conversation()
	check(codes.NotFound, of(nodes[1]))
	orphan := clone(nodes[2])
	orphan.SessionId = "" // to be taken from the prompt, which is not there
	check(codes.NotFound, of(nodes[0], orphan))
	check(codes.NotFound, &graphpb.ImportRequest{Edges: edges[:1]})
	check(codes.InvalidArgument, of(&graphpb.Node{Id: unique("bare")}))
	noUUID := clone(nodes[0])
	noUUID.Id, noUUID.GetSession().Id, noUUID.SessionId = "session-1", "session-1", ""
	check(codes.InvalidArgument, of(noUUID))
	late := agentNode(unique("late"), "a")
	late.CreatedAt = &timestamppb.Timestamp{Seconds: 9e18}
	check(codes.InvalidArgument, of(late))
	unfit := &graphpb.Edge{Id: unique("e"), Type: handledBy, FromNodeId: canary.GetId(), ToNodeId: canary.GetId()}
	check(codes.InvalidArgument, &graphpb.ImportRequest{Edges: []*graphpb.Edge{unfit}})
	crowd := &graphpb.ImportRequest{}
	for i := range 1001 {
		crowd.Nodes = append(crowd.Nodes, agentNode(unique("crowd"), fmt.Sprint(i)))
	}
	check(codes.InvalidArgument, crowd)
	empty := must(e.sendImport(t))(t)
	wantEqual(t, "created by no chunk", int64(0), empty.GetNodesCreated())
}

func exportSessions(t *testing.T, e *Env) {
	ctx := open(t)
	one, two := e.talk(t, 2), e.talk(t, 1)
	agent, stranger := e.agent(t, "reached").GetId(), e.agent(t, "stranger").GetId()
	template := e.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "t"}).GetId()
	rendered := must(e.Graph.InstantiateTemplate(ctx, &graphpb.InstantiateTemplateRequest{
		TemplateId: template, SessionId: one.session.GetId(),
	}))(t).GetId()
	e.edge(t, handledBy, one.prompts[0].GetId(), agent)
	e.edge(t, handledBy, two.prompts[0].GetId(), stranger)
	got := e.exportAll(t, one.session.GetId())
	want := append(one.nodeIDs(), rendered, agent, template)
	wantUnordered(t, "nodes", want, nodeIDs(got.nodes), func(s string) string { return s })
	// 7 BELONGS_TO, 2 FOLLOWS, 2 RESPONDS_TO, 2 INVOKES, HANDLED_BY, INSTANTIATES.
	wantEqual(t, "edges", 15, len(got.edges))
	whole := e.exportAll(t, one.session.GetId(), two.session.GetId())
	wantEqual(t, "nodes of both", len(want)+len(two.nodeIDs())+1, len(whole.nodes))

	nobody := uuid.NewString()
	refusal(refusedStream(e.Transfer.Export(ctx, &graphpb.ExportRequest{SessionIds: []string{nobody}})))(t, codes.NotFound, nobody)
	everything := nodeIDs(e.export(t))
	for _, id := range append(want, stranger) {
		if !slices.Contains(everything, id) {
			t.Errorf("an export of everything lacks %s", id)
		}
	}
}

func exportOneRevision(t *testing.T, e *Env) {
	own := e.own(t)
	session, ids := own.large(t)
	stream := must(own.Transfer.Export(open(t), &graphpb.ExportRequest{}))(t)
	first := must(stream.Recv())(t)
	late := own.prompt(t, session, "while it streams").GetId()
	own.deleteNode(t, ids[len(ids)-1])
	count := len(first.GetNodes())
	for _, m := range must(drain(stream))(t) {
		wantEqual(t, "revision", first.GetRevision(), m.GetRevision())
		count += len(m.GetNodes())
		if slices.Contains(nodeIDs(m.GetNodes()), late) {
			t.Error("the export shows a later node")
		}
	}
	wantEqual(t, "nodes", largeNodes+1, count)
}
