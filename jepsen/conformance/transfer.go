package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func transferCases() []Case {
	return []Case{
		{Name: "an_export_imported_elsewhere_exports_the_same", Section: "D8", Run: roundTrip,
			Calls: []string{importRecords, exportRecords, streamQuery, getMetrics}},
		{Name: "an_import_is_verbatim_and_makes_no_edges", Section: "D8", Run: importVerbatim,
			Calls: []string{importRecords, getNode, getSession, getEdges, query}},
		{Name: "an_equal_record_is_left_as_it_is", Section: "D8", Run: importEqual,
			Calls: []string{importRecords, exportRecords, streamEvents}},
		{Name: "a_different_record_fails_its_chunk_only", Section: "D8", Run: importDifferent,
			Calls: []string{importRecords, getNode}},
		{Name: "a_resume_token_skips_what_is_committed", Section: "D8", Run: importResumes, Calls: []string{importRecords}},
		{Name: "an_imported_conversation_goes_on", Section: "D8", Run: importGoesOn,
			Calls: []string{importRecords, addPrompt, addToolInvocation, getEdges, closeSession}},
		{Name: "a_malformed_import_writes_nothing", Section: "D8", Run: importMalformed, Calls: []string{importRecords, getNode}},
		{Name: "an_export_of_sessions_has_what_their_edges_reach", Section: "D8", Run: exportSessions,
			Calls: []string{exportRecords, createEdge}},
		{Name: "an_export_is_one_revision", Section: "D8", Run: exportOneRevision, Calls: []string{exportRecords, addPrompt}},
	}
}

// sendImport sends chunks and returns the reply.
func (e *Env) sendImport(t *testing.T, chunks ...*graphpb.ImportRequest) (*graphpb.ImportResponse, error) {
	t.Helper()
	stream := must(e.Transfer.Import(open(t)))(t)
	for _, chunk := range chunks {
		if err := stream.Send(chunk); err != nil {
			break // the reason comes with the reply
		}
	}
	return stream.CloseAndRecv()
}

// exported is everything that an export sends.
type exported struct {
	nodes    []*graphpb.Node
	edges    []*graphpb.Edge
	revision uint64
}

func (e *Env) exportAll(t *testing.T, sessions ...string) exported {
	t.Helper()
	messages := must(drain(must(e.Transfer.Export(open(t), &graphpb.ExportRequest{SessionIds: sessions}))(t)))(t)
	var all exported
	known := make(map[string]bool)
	for i, m := range messages {
		if i > 0 && m.GetRevision() != all.revision || m.GetRevision() == 0 {
			t.Errorf("message %d is of revision %d, the first of %d", i, m.GetRevision(), all.revision)
		}
		if size := proto.Size(m); size > 4<<20 {
			t.Errorf("message %d has %d bytes", i, size)
		}
		all.revision = m.GetRevision()
		for _, node := range m.GetNodes() {
			if known[node.GetId()] {
				t.Errorf("node %s comes twice", node.GetId())
			}
			if owner := node.GetSessionId(); owner != "" && owner != node.GetId() && !known[owner] {
				t.Errorf("node %s comes before its session", node.GetId())
			}
			known[node.GetId()] = true
		}
		for _, edge := range m.GetEdges() {
			if !known[edge.GetFromNodeId()] || !known[edge.GetToNodeId()] {
				t.Errorf("edge %v comes before its ends", edge)
			}
		}
		all.nodes = append(all.nodes, m.GetNodes()...)
		all.edges = append(all.edges, m.GetEdges()...)
	}
	return all
}

func (e *Env) export(t *testing.T) []*graphpb.Node {
	t.Helper()
	return e.exportAll(t).nodes
}

// chunks cuts an export into requests of an import.
func (x exported) chunks(size int) []*graphpb.ImportRequest {
	var all []*graphpb.ImportRequest
	for part := range slices.Chunk(x.nodes, size) {
		all = append(all, &graphpb.ImportRequest{Nodes: part})
	}
	for part := range slices.Chunk(x.edges, size) {
		all = append(all, &graphpb.ImportRequest{Edges: part})
	}
	return all
}

// withoutRevisions is the same records as they would be in another store.
func (x exported) withoutRevisions() exported {
	out := exported{}
	for _, node := range x.nodes {
		node = clone(node)
		node.Revision = 0
		out.nodes = append(out.nodes, node)
	}
	for _, edge := range x.edges {
		edge = clone(edge)
		edge.Revision = 0
		out.edges = append(out.edges, edge)
	}
	slices.SortFunc(out.nodes, func(a, b *graphpb.Node) int { return strings.Compare(a.GetId(), b.GetId()) })
	slices.SortFunc(out.edges, func(a, b *graphpb.Edge) int { return strings.Compare(a.GetId(), b.GetId()) })
	return out
}

// filled is a server with some of everything.
func (e *Env) filled(t *testing.T) *Server {
	t.Helper()
	own := e.own(t)
	own.fill(t)
	return own
}

func (e *Env) fill(t *testing.T) {
	t.Helper()
	first, second := e.talk(t, 3), e.talk(t, 2)
	agent := e.agent(t, "helper")
	parent := e.template(t, &graphpb.TemplateNode{Name: "parent", TemplateText: "Hey {{name}}", Variables: declare("name")})
	e.template(t, &graphpb.TemplateNode{
		Name: "child", TemplateText: "t", Metadata: map[string]string{"parent_id": parent.GetId()},
	})
	must(e.Graph.InstantiateTemplate(t.Context(), &graphpb.InstantiateTemplateRequest{
		TemplateId: parent.GetId(), SessionId: first.session.GetId(), VariableValues: map[string]string{"name": "Al"},
	}))(t)
	e.edge(t, handledBy, first.prompts[0].GetId(), agent.GetId())
	e.edge(t, transfersTo, first.responses[0].GetId(), agent.GetId(), "priority", "high")
	e.edge(t, references, first.prompts[0].GetId(), second.responses[0].GetId(), "relevance_score", "0.5")
	past := promptAt(second.session.GetId(), "long ago", moment())
	past.GetPrompt().Metadata = &graphpb.PromptMetadata{Model: "m", Custom: oddTexts()}
	e.create(t, past)
	e.update(t, toolNode(first.tools[0].GetId(), "", "renamed"))
	e.deleteNode(t, first.prompts[1].GetId())
	e.session(t, "empty", "yes")
	e.closeSession(t, second.session.GetId())
}

func roundTrip(t *testing.T, e *Env) {
	from, to := e.filled(t), e.own(t)
	want := from.exportAll(t)
	chunks := want.chunks(7)
	reply := must(to.sendImport(t, chunks...))(t)
	wantEqual(t, "counts", []int64{int64(len(want.nodes)), 0, int64(len(want.edges)), 0},
		[]int64{reply.GetNodesCreated(), reply.GetNodesUnchanged(), reply.GetEdgesCreated(), reply.GetEdgesUnchanged()})
	got := to.exportAll(t)
	wantEqual(t, "nodes", want.withoutRevisions().nodes, got.withoutRevisions().nodes)
	wantEqual(t, "edges", want.withoutRevisions().edges, got.withoutRevisions().edges)
	wantEqual(t, "order of a query", nodeIDs(from.streamQuery(t, &graphpb.QueryRequest{})),
		nodeIDs(to.streamQuery(t, &graphpb.QueryRequest{})))
	was, is := from.metrics(t), to.metrics(t)
	wantEqual(t, "nodes, edges, sessions, active",
		[]int64{was.GetTotalNodes(), was.GetTotalEdges(), was.GetTotalSessions(), was.GetActiveSessions()},
		[]int64{is.GetTotalNodes(), is.GetTotalEdges(), is.GetTotalSessions(), is.GetActiveSessions()})
	again := must(to.sendImport(t, want.chunks(100)...))(t)
	wantEqual(t, "counts of a second import", []int64{0, int64(len(want.nodes)), 0, int64(len(want.edges))},
		[]int64{again.GetNodesCreated(), again.GetNodesUnchanged(), again.GetEdgesCreated(), again.GetEdgesUnchanged()})
	after := to.exportAll(t)
	wantEqual(t, "nodes after a second import", got.nodes, after.nodes)
	wantEqual(t, "edges after a second import", got.edges, after.edges)
}

// conversation is a small one as an importer writes it: ids and times of its own, edges said out loud.
func conversation() (nodes []*graphpb.Node, edges []*graphpb.Edge) {
	at := func(seconds int) *timestamppb.Timestamp {
		return timestamppb.New(time.Date(2024, 5, 17, 12, 0, seconds, 123456789, time.UTC))
	}
	session := uuid.NewString()
	prompt, response, tool := unique("p"), unique("r"), unique("t")
	nodes = []*graphpb.Node{
		{Id: session, Type: graphpb.NodeType_NODE_TYPE_SESSION, CreatedAt: at(0), SessionId: session,
			NodeData: &graphpb.Node_Session{Session: &graphpb.Session{
				Id: session, CreatedAt: at(0), UpdatedAt: at(9), IsActive: true, Metadata: map[string]string{"source": "test"},
			}}},
		{Id: prompt, Type: graphpb.NodeType_NODE_TYPE_PROMPT, CreatedAt: at(1), SessionId: session,
			NodeData: &graphpb.Node_Prompt{Prompt: &graphpb.PromptNode{
				Id: prompt, SessionId: session, Content: "q", Timestamp: at(1),
				Metadata: &graphpb.PromptMetadata{Model: "m", Temperature: 0.5},
			}}},
		{Id: response, Type: graphpb.NodeType_NODE_TYPE_RESPONSE, CreatedAt: at(2), SessionId: session,
			NodeData: &graphpb.Node_Response{Response: &graphpb.ResponseNode{
				Id: response, PromptId: prompt, Content: "", Timestamp: at(2), TokenUsage: usage(),
				Metadata: &graphpb.ResponseMetadata{Model: "m", FinishReason: "tool_calls"},
			}}},
		{Id: tool, Type: graphpb.NodeType_NODE_TYPE_TOOL_INVOCATION, CreatedAt: at(3), SessionId: session,
			NodeData: &graphpb.Node_ToolInvocation{ToolInvocation: &graphpb.ToolInvocationNode{
				Id: tool, ResponseId: response, ToolName: "search", Parameters: `{}`, Status: "success", Timestamp: at(3),
				Result: proto.String("found"),
			}}},
	}
	link := func(kind graphpb.EdgeType, from, to string, properties map[string]string) {
		edges = append(edges, &graphpb.Edge{
			Id: unique("e"), Type: kind, FromNodeId: from, ToNodeId: to, CreatedAt: at(4), Properties: properties,
		})
	}
	link(belongsTo, prompt, session, nil)
	link(respondsTo, response, prompt, map[string]string{"latency_ms": "0", "model": "m"})
	link(belongsTo, response, session, nil)
	link(invokes, response, tool, map[string]string{"invocation_order": "0", "success": "true"})
	link(belongsTo, tool, session, nil)
	return nodes, edges
}

func importVerbatim(t *testing.T, e *Env) {
	nodes, edges := conversation()
	template := templateNode(unique("template"), "n", "t")
	template.GetTemplate().UsageCount, template.GetTemplate().Version = 41, "1.2.3"
	template.GetTemplate().CreatedAt, template.CreatedAt = nodes[0].GetCreatedAt(), nodes[0].GetCreatedAt()
	reply := must(e.sendImport(t, &graphpb.ImportRequest{Nodes: append(nodes, template), Edges: edges[:3]}))(t)
	wantEqual(t, "counts", []int64{5, 3}, []int64{reply.GetNodesCreated(), reply.GetEdgesCreated()})
	session := nodes[0].GetId()
	for _, want := range nodes {
		got := e.node(t, want.GetId())
		got.Revision = 0
		if want.GetSession() != nil {
			got.SessionId = want.GetSessionId() // whether a session belongs to itself is not said
		}
		wantEqual(t, "node", want, got)
	}
	wantEqual(t, "usage_count", int64(41), e.node(t, template.GetId()).GetTemplate().GetUsageCount())
	wantEqual(t, "session", nodes[0].GetSession(), e.getSession(t, session))
	wantEqual(t, "edges of the response", 2, len(e.edges(t, nodes[2].GetId(), outgoing, 0)))
	wantEqual(t, "edges of the tool call", 0, len(e.edges(t, nodes[3].GetId(), both, 0)))
	got := e.onlyEdge(t, nodes[1].GetId(), outgoing, belongsTo)
	got.Revision = 0
	wantEqual(t, "edge", edges[0], got)
	e.wantQuery(t, "nodes of the session", &graphpb.QueryRequest{SessionId: &session}, reversed(nodeIDs(nodes)))
}

func importEqual(t *testing.T, e *Env) {
	own := e.own(t)
	nodes, edges := conversation()
	// Times left unset do not count when records are compared.
	bare := agentNode(unique("agent"), "a")
	bare.GetAgent().Status = "idle"
	chunk := &graphpb.ImportRequest{Nodes: append(nodes, bare), Edges: edges}
	first := must(own.sendImport(t, chunk))(t)
	wantEqual(t, "created", []int64{5, 5}, []int64{first.GetNodesCreated(), first.GetEdgesCreated()})
	before, last := own.exportAll(t), own.lastEvent(t)
	second := must(own.sendImport(t, chunk))(t)
	wantEqual(t, "unchanged", []int64{0, 5, 0, 5},
		[]int64{second.GetNodesCreated(), second.GetNodesUnchanged(), second.GetEdgesCreated(), second.GetEdgesUnchanged()})
	after := own.exportAll(t)
	wantEqual(t, "nodes", before.nodes, after.nodes)
	wantEqual(t, "edges", before.edges, after.edges)
	wantEqual(t, "newest event", last, own.lastEvent(t))
}

func importDifferent(t *testing.T, e *Env) {
	nodes, edges := conversation()
	must(e.sendImport(t, &graphpb.ImportRequest{Nodes: nodes, Edges: edges}))(t)
	before := e.node(t, nodes[1].GetId())
	changed := clone(nodes[1])
	changed.GetPrompt().Content = "another question"
	kept, lost := agentNode(unique("kept"), "a"), agentNode(unique("lost"), "a")
	_, err := e.sendImport(t,
		&graphpb.ImportRequest{Nodes: []*graphpb.Node{kept}},
		&graphpb.ImportRequest{Nodes: []*graphpb.Node{lost, changed}})
	got := wantStatus(t, err, codes.AlreadyExists, nodes[1].GetId())
	if resumeToken(got) == "" {
		t.Errorf("details %v have no resume_token", got.Details())
	}
	e.node(t, kept.GetId())
	refusal(e.Graph.GetNode(t.Context(), &graphpb.GetNodeRequest{NodeId: lost.GetId()}))(t, codes.NotFound)
	wantEqual(t, "node", before, e.node(t, nodes[1].GetId()))
	turned := clone(edges[1])
	turned.Properties = map[string]string{"latency_ms": "5"}
	refusal(e.sendImport(t, &graphpb.ImportRequest{Edges: []*graphpb.Edge{turned}}))(t, codes.AlreadyExists, turned.GetId())
}

func resumeToken(got *status.Status) string {
	for _, detail := range got.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetMetadata()["resume_token"] != "" {
			return info.GetMetadata()["resume_token"]
		}
	}
	return ""
}

func importResumes(t *testing.T, e *Env) {
	var chunks []*graphpb.ImportRequest
	for i := range 4 {
		chunks = append(chunks, &graphpb.ImportRequest{Nodes: []*graphpb.Node{
			agentNode(unique("a"), fmt.Sprint("first of ", i)), agentNode(unique("b"), fmt.Sprint("second of ", i)),
		}})
	}
	bad := clone(chunks[2])
	bad.Nodes[1].GetAgent().Name = ""
	_, err := e.sendImport(t, chunks[0], chunks[1], bad, chunks[3])
	token := resumeToken(wantStatus(t, err, codes.InvalidArgument))
	if token == "" {
		t.Fatalf("details of %v have no resume_token", err)
	}
	resumed := clone(chunks[0])
	resumed.ResumeToken = token
	reply := must(e.sendImport(t, resumed, chunks[1], chunks[2], chunks[3]))(t)
	wantEqual(t, "created after the token", int64(4), reply.GetNodesCreated())
	wantEqual(t, "looked at before the token", int64(0), reply.GetNodesUnchanged())
	if reply.GetResumeToken() == "" {
		t.Error("the reply has no resume_token")
	}
	done := clone(chunks[0])
	done.ResumeToken = reply.GetResumeToken()
	again := must(e.sendImport(t, done, chunks[1], chunks[2], chunks[3]))(t)
	wantEqual(t, "created at last", int64(0), again.GetNodesCreated())
	forged := clone(chunks[0])
	forged.ResumeToken = "garbage"
	invalid(e.sendImport(t, forged))(t, "resume_token")
}
