package conformance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// allCalls are those of the two services of the contract.
var allCalls = []string{
	createSession, getSession, deleteSession, listSessions, closeSession, createNode, getNode, updateNode, deleteNode,
	batchCreateNodes, batchGetNodes, createEdge, getEdges, deleteEdge, query, streamQuery, addPrompt, addResponse,
	addToolInvocation, createTemplate, instantiate, streamEvents, subscribe, health, getMetrics, importRecords, exportRecords,
}

func hostileCases() []Case {
	return []Case{
		{Name: "hostile_fields_get_a_precise_answer_and_change_nothing", Section: "2", Run: hostileFields, Calls: allCalls},
		{Name: "text_that_is_no_utf8_is_an_invalid_argument", Section: "D23", Run: hostileText, Calls: allCalls},
		{Name: "bytes_that_do_not_decode_are_an_invalid_argument", Section: "D23", Run: hostileBytes, Calls: allCalls},
		{Name: "random_bytes_are_answered", Section: "D23", Run: randomBytes, Calls: allCalls},
		{Name: "requests_over_4_MiB_are_refused", Section: "D13", Run: hostileSizes, Calls: allCalls},
		{Name: "empty_requests_are_answered", Section: "2", Run: emptyRequests, Calls: allCalls},
		{Name: "unknown_fields_are_dropped", Section: "D2", Run: unknownFields, Calls: []string{addPrompt, getNode}},
	}
}

// precise are the codes of an answer that says what is wrong.
var precise = []codes.Code{
	codes.OK, codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.ResourceExhausted,
	codes.OutOfRange, codes.Aborted,
}

func codeOf(err error) codes.Code { return status.Code(err) }

func methods(t *testing.T) []method {
	t.Helper()
	return must(contractMethods())(t)
}

// basis is a small graph with the requests that work on it.
type basis struct {
	made                  talk
	agent, template, edge string
	last                  string
}

func (e *Env) basis(t *testing.T) basis {
	t.Helper()
	made := e.talk(t, 2)
	agent := e.agent(t, "a").GetId()
	return basis{
		made: made, agent: agent,
		template: e.template(t, &graphpb.TemplateNode{
			Name: "n", TemplateText: "Hi {{x}}", Variables: []*graphpb.VariableSpec{{Name: "x"}},
		}).GetId(),
		edge: e.edge(t, references, agent, made.prompts[0].GetId()).GetId(),
		last: e.lastEvent(t),
	}
}

// nodes are one of each type, complete, with an id of their own or one that exists.
func (b basis) nodes(existing bool) []*graphpb.Node {
	id := func(known string) string {
		if existing {
			return known
		}
		return ""
	}
	prompt := promptNode(id(b.made.prompts[0].GetId()), b.made.session.GetId(), "q")
	prompt.GetPrompt().Metadata = &graphpb.PromptMetadata{
		Model: "m", Temperature: 1, MaxTokens: proto.Int32(1), ToolsAvailable: []string{"x"}, Custom: map[string]string{"a": "b"},
	}
	response := responseNode(id(b.made.responses[0].GetId()), b.made.prompts[0].GetId(), "a")
	response.GetResponse().Metadata = &graphpb.ResponseMetadata{Model: "m", FinishReason: "stop", LatencyMs: 1}
	tool := toolNode(id(b.made.tools[0].GetId()), b.made.responses[0].GetId(), "x")
	tool.GetToolInvocation().Status, tool.GetToolInvocation().Result = "success", proto.String("r")
	agent := agentNode(id(b.agent), "a")
	agent.GetAgent().Status = "busy"
	template := templateNode(id(b.template), "n", "Hi {{x}}")
	template.GetTemplate().Variables = []*graphpb.VariableSpec{{
		Name: "x", TypeHint: "string", Required: true, DefaultValue: proto.String("y"), ValidationPattern: proto.String("."),
	}}
	return []*graphpb.Node{prompt, response, tool, agent, template}
}

// requests are good ones for a method, to be spoiled.
func (b basis) requests(name string) []proto.Message {
	session, prompt, response := b.made.session.GetId(), b.made.prompts[0].GetId(), b.made.responses[0].GetId()
	var all []proto.Message
	switch name {
	case createNode:
		for _, node := range b.nodes(false) {
			all = append(all, &graphpb.CreateNodeRequest{Node: node})
		}
	case updateNode:
		for _, node := range b.nodes(true) {
			all = append(all, &graphpb.UpdateNodeRequest{Node: node})
		}
	case batchCreateNodes:
		for _, node := range b.nodes(false)[:3] {
			all = append(all, &graphpb.BatchCreateNodesRequest{Nodes: []*graphpb.Node{node, agentNode("", "a")}})
		}
	case importRecords:
		nodes, edges := conversation()
		for i, node := range nodes {
			all = append(all, &graphpb.ImportRequest{Nodes: append([]*graphpb.Node{node}, nodes[:i]...), Edges: edges[:1]})
		}
		slices.Reverse(all[len(all)-1].(*graphpb.ImportRequest).Nodes)
	default:
		all = append(all, b.request(name, session, prompt, response))
	}
	return all
}

func (b basis) request(name, session, prompt, response string) proto.Message {
	switch name {
	case createSession:
		return &graphpb.CreateSessionRequest{}
	case getSession:
		return &graphpb.GetSessionRequest{SessionId: session}
	case deleteSession:
		return &graphpb.DeleteSessionRequest{SessionId: session}
	case closeSession:
		return &graphpb.CloseSessionRequest{SessionId: session}
	case listSessions:
		return &graphpb.ListSessionsRequest{Limit: 1}
	case getNode:
		return &graphpb.GetNodeRequest{NodeId: prompt}
	case deleteNode:
		return &graphpb.DeleteNodeRequest{NodeId: prompt}
	case batchGetNodes:
		return &graphpb.BatchGetNodesRequest{NodeIds: b.made.nodeIDs(), PageSize: 2}
	case createEdge:
		return &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{Type: references, FromNodeId: prompt, ToNodeId: response}}
	case getEdges:
		return &graphpb.GetEdgesRequest{NodeId: prompt}
	case deleteEdge:
		return &graphpb.DeleteEdgeRequest{EdgeId: b.edge}
	case query, streamQuery:
		return &graphpb.QueryRequest{SessionId: &session, After: timestamppb.New(moment())}
	case addPrompt:
		return &graphpb.AddPromptRequest{SessionId: session, Content: "q", Metadata: b.nodes(false)[0].GetPrompt().GetMetadata()}
	case addResponse:
		return &graphpb.AddResponseRequest{PromptId: prompt, Content: "a", TokenUsage: usage()}
	case addToolInvocation:
		return &graphpb.AddToolInvocationRequest{ToolInvocation: b.nodes(false)[2].GetToolInvocation()}
	case createTemplate:
		return &graphpb.CreateTemplateRequest{Template: b.nodes(false)[4].GetTemplate()}
	case instantiate:
		return &graphpb.InstantiateTemplateRequest{
			TemplateId: b.template, SessionId: session, VariableValues: map[string]string{"x": "y"},
		}
	case streamEvents:
		return &graphpb.StreamEventsRequest{SessionId: &session, FromBeginning: true}
	case subscribe:
		return &graphpb.SubscribeRequest{SessionId: session, FromBeginning: true}
	case health, getMetrics:
		return &emptypb.Empty{}
	case exportRecords:
		return &graphpb.ExportRequest{SessionIds: []string{session}}
	}
	panic("no request for " + name)
}

// footprint is what a refused call must leave as it is.
type footprint struct {
	nodes, edges, sessions, active int64
	last                           string
}

func (e *Env) footprint(t *testing.T) footprint {
	t.Helper()
	m := e.metrics(t)
	return footprint{m.GetTotalNodes(), m.GetTotalEdges(), m.GetTotalSessions(), m.GetActiveSessions(), e.lastEvent(t)}
}

func hostileFields(t *testing.T, e *Env) {
	own := e.own(t)
	sent := 0
	for _, m := range methods(t) {
		b := own.basis(t)
		before := own.footprint(t)
		for i, base := range b.requests(m.name) {
			for mutant := range mutants(base) {
				sent++
				err := m.send(t.Context(), own.Conn, mutant.request)
				what := fmt.Sprintf("%s of base %d with %s", m.name, i, mutant.name)
				if !slices.Contains(precise, codeOf(err)) {
					t.Errorf("%s: %v", what, err)
				}
				after := own.footprint(t)
				if err != nil && after != before {
					t.Errorf("%s was refused (%v) and changed %+v to %+v", what, err, before, after)
				}
				before = after
			}
			if err := m.send(t.Context(), own.Conn, base); !slices.Contains(precise, codeOf(err)) {
				t.Errorf("%s of base %d after all that: %v", m.name, i, err)
			}
			before = own.footprint(t)
		}
	}
	t.Logf("%d hostile requests", sent)
}

func hostileText(t *testing.T, e *Env) {
	own := e.own(t)
	before := own.footprint(t)
	for _, m := range methods(t) {
		texts := badTexts(m.input)
		if len(texts) == 0 {
			texts = []wire{{name: "open group", bytes: []byte{0x0b}}}
		}
		for _, text := range texts {
			err := m.sendRaw(t.Context(), own.Raw, text.bytes)
			if codeOf(err) != codes.InvalidArgument {
				t.Errorf("%s with no UTF-8 in %s: %v, want INVALID_ARGUMENT", m.name, text.name, err)
			}
		}
	}
	wantEqual(t, "what was refused has changed nothing", fmt.Sprint(before), fmt.Sprint(own.footprint(t)))
}

func hostileBytes(t *testing.T, e *Env) {
	own := e.own(t)
	before := own.footprint(t)
	for _, m := range methods(t) {
		for _, bytes := range garbage() {
			err := m.sendRaw(t.Context(), own.Raw, bytes.bytes)
			if codeOf(err) != codes.InvalidArgument {
				t.Errorf("%s with %s: %v, want INVALID_ARGUMENT", m.name, bytes.name, err)
			}
		}
	}
	wantEqual(t, "what was refused has changed nothing", fmt.Sprint(before), fmt.Sprint(own.footprint(t)))
}

func randomBytes(t *testing.T, e *Env) {
	own := e.own(t)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	for _, m := range methods(t) {
		for range 60 {
			bytes := make([]byte, random.IntN(40))
			for i := range bytes {
				bytes[i] = byte(random.Uint32())
				if random.IntN(3) == 0 { // a tag of a field that there is, more often than chance has it
					bytes[i] = byte(1+random.IntN(8))<<3 | byte(random.IntN(3))
				}
			}
			if err := m.sendRaw(t.Context(), own.Raw, bytes); !slices.Contains(precise, codeOf(err)) {
				t.Errorf("seed %d: %s with %x: %v", seed, m.name, bytes, err)
			}
		}
	}
	must(own.Graph.Health(t.Context(), &emptypb.Empty{}))(t)
}

func hostileSizes(t *testing.T, e *Env) {
	own := e.own(t)
	big := []byte(strings.Repeat("\x00", 5<<20))
	for _, m := range methods(t) {
		code := codeOf(m.sendRaw(t.Context(), own.Raw, big))
		if code != codes.ResourceExhausted && code != codes.InvalidArgument {
			t.Errorf("%s with 5 MiB: %v", m.name, code)
		}
	}
	session := own.session(t).GetId()
	var nodes []*graphpb.Node
	for range 6 {
		nodes = append(nodes, promptNode("", session, strings.Repeat("y", 900_000)))
	}
	_, err := own.unchecked().BatchCreateNodes(t.Context(), &graphpb.BatchCreateNodesRequest{Nodes: nodes})
	wantStatus(t, err, codes.ResourceExhausted)
	wantEqual(t, "nodes after the refusal", int64(1), own.metrics(t).GetTotalNodes())
	must(own.Graph.BatchCreateNodes(t.Context(), &graphpb.BatchCreateNodesRequest{Nodes: nodes[:4]}))(t)
}

func emptyRequests(t *testing.T, e *Env) {
	for _, m := range methods(t) {
		if err := m.sendRaw(t.Context(), e.Raw, nil); !slices.Contains(precise, codeOf(err)) {
			t.Errorf("%s with an empty request: %v", m.name, err)
		}
	}
}

func unknownFields(t *testing.T, e *Env) {
	request := &graphpb.AddPromptRequest{SessionId: e.session(t).GetId(), Content: "q"}
	request.ProtoReflect().SetUnknown([]byte{0xfa, 0x7f, 0x03, 'n', 'e', 'w', 0xf8, 0x3f, 0x01})
	prompt := must(e.Graph.AddPrompt(t.Context(), request))(t)
	got := e.node(t, prompt.GetId())
	if unknown := append(got.ProtoReflect().GetUnknown(), got.GetPrompt().ProtoReflect().GetUnknown()...); len(unknown) > 0 {
		t.Errorf("the record has unknown fields %x", unknown)
	}
}
