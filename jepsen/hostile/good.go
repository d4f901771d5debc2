package hostile

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// records are ids of one record of each kind, and a place in the feed and in a list.
type records struct {
	session, prompt, response, tool, template, agent, edge, event, page string
}

// all are those that there are; the session counts twice, being asked for most.
func (r records) all() []string {
	var ids []string
	for _, id := range []string{r.session, r.session, r.prompt, r.response, r.tool, r.template, r.agent, r.edge, r.event, r.page} {
		if id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// nodes are one of each type, without ids of their own.
func (r records) nodes() []*graphpb.Node {
	return []*graphpb.Node{
		{NodeData: &graphpb.Node_Prompt{Prompt: &graphpb.PromptNode{
			SessionId: r.session, Content: "q", Metadata: &graphpb.PromptMetadata{
				Model: "m", Temperature: 1, MaxTokens: proto.Int32(1), ToolsAvailable: []string{"x"}, Custom: map[string]string{"a": "b"},
			},
		}}},
		{NodeData: &graphpb.Node_Response{Response: &graphpb.ResponseNode{
			PromptId: r.prompt, Content: "a", TokenUsage: &graphpb.TokenUsage{PromptTokens: 1, CompletionTokens: 2, TotalTokens: 3},
			Metadata: &graphpb.ResponseMetadata{Model: "m", FinishReason: "stop", LatencyMs: 1},
		}}},
		{NodeData: &graphpb.Node_ToolInvocation{ToolInvocation: &graphpb.ToolInvocationNode{
			ResponseId: r.response, ToolName: "x", Parameters: `{"a":[1,{}]}`, Status: "success", Result: proto.String("1"), Metadata: map[string]string{"a": "b"},
		}}},
		{NodeData: &graphpb.Node_Agent{Agent: &graphpb.AgentNode{Name: "n", Role: "r", Status: "busy", Capabilities: []string{"c"}}}},
		{NodeData: &graphpb.Node_Template{Template: &graphpb.TemplateNode{
			Name: "n", TemplateText: "Hi {{x}}", Version: "1.2.3", Metadata: map[string]string{"parent_id": r.template},
			Variables: []*graphpb.VariableSpec{{Name: "x", TypeHint: "string", Required: true, DefaultValue: proto.String("y"), ValidationPattern: proto.String(".")}},
		}}},
	}
}

// good is a request that works, or would if it came first.
func (m *maker) good(name string, r records) proto.Message {
	node := pick(m, r.nodes())
	switch name {
	case "CreateSession":
		return &graphpb.CreateSessionRequest{Metadata: map[string]string{"a": "b"}}
	case "GetSession":
		return &graphpb.GetSessionRequest{SessionId: r.session}
	case "DeleteSession":
		return &graphpb.DeleteSessionRequest{SessionId: r.session}
	case "CloseSession":
		return &graphpb.CloseSessionRequest{SessionId: r.session}
	case "ListSessions":
		return &graphpb.ListSessionsRequest{Limit: 1, PageToken: r.page}
	case "CreateNode":
		return &graphpb.CreateNodeRequest{Node: node}
	case "GetNode":
		return &graphpb.GetNodeRequest{NodeId: pick(m, r.all())}
	case "UpdateNode":
		return &graphpb.UpdateNodeRequest{Node: r.existing(m)}
	case "DeleteNode":
		return &graphpb.DeleteNodeRequest{NodeId: pick(m, []string{r.prompt, r.response, r.tool, r.agent, r.template})}
	case "BatchCreateNodes":
		return &graphpb.BatchCreateNodesRequest{Nodes: append(r.nodes(), node)}
	case "BatchGetNodes":
		return &graphpb.BatchGetNodesRequest{NodeIds: r.all(), PageSize: 2}
	case "CreateEdge":
		return &graphpb.CreateEdgeRequest{Edge: r.link()}
	case "GetEdges":
		return &graphpb.GetEdgesRequest{NodeId: r.prompt}
	case "DeleteEdge":
		return &graphpb.DeleteEdgeRequest{EdgeId: r.edge}
	case "Query", "StreamQuery":
		return &graphpb.QueryRequest{SessionId: &r.session, Filters: map[string]string{"model": "m"}}
	default:
		return m.goodOther(name, r, node)
	}
}

func (m *maker) goodOther(name string, r records, node *graphpb.Node) proto.Message {
	switch name {
	case "AddPrompt":
		return &graphpb.AddPromptRequest{SessionId: r.session, Content: "q", Metadata: r.nodes()[0].GetPrompt().GetMetadata()}
	case "AddResponse":
		return &graphpb.AddResponseRequest{PromptId: r.prompt, Content: "a", TokenUsage: &graphpb.TokenUsage{}}
	case "AddToolInvocation":
		return &graphpb.AddToolInvocationRequest{ToolInvocation: r.nodes()[2].GetToolInvocation()}
	case "CreateTemplate":
		return &graphpb.CreateTemplateRequest{Template: r.nodes()[4].GetTemplate()}
	case "InstantiateTemplate":
		return &graphpb.InstantiateTemplateRequest{TemplateId: r.template, SessionId: r.session, VariableValues: map[string]string{"x": "y"}}
	case "StreamEvents":
		return &graphpb.StreamEventsRequest{SessionId: &r.session, AfterEventId: r.event}
	case "SubscribeToSession":
		return &graphpb.SubscribeRequest{SessionId: r.session, FromBeginning: true}
	case "Health", "GetMetrics":
		return &emptypb.Empty{}
	case "Import":
		node.Id = pick(m, r.all()) + "-imported"
		return &graphpb.ImportRequest{Nodes: []*graphpb.Node{node}, Edges: []*graphpb.Edge{r.link()}}
	case "Export":
		return &graphpb.ExportRequest{SessionIds: []string{r.session}}
	default:
		panic("hostile: no good request for " + name)
	}
}

// existing is a node that there is, changed.
func (r records) existing(m *maker) *graphpb.Node {
	i := m.IntN(5)
	n := r.nodes()[i]
	n.Id = []string{r.prompt, r.response, r.tool, r.agent, r.template}[i]
	return n
}

func (r records) link() *graphpb.Edge {
	return &graphpb.Edge{
		Type: graphpb.EdgeType_EDGE_TYPE_REFERENCES, FromNodeId: r.agent, ToNodeId: r.prompt, Properties: map[string]string{"relevance_score": "0.5"},
	}
}

// bend changes up to three fields of a good message, wherever they are.
func (m *maker) bend(good proto.Message) []byte {
	for range m.IntN(4) {
		m.bendOne(good.ProtoReflect())
	}
	b, err := proto.Marshal(good)
	if err != nil {
		panic(err) // texts are UTF-8 here
	}
	return b
}

func (m *maker) bendOne(msg protoreflect.Message) {
	fields := msg.Descriptor().Fields()
	if fields.Len() == 0 {
		return
	}
	f := fields.Get(m.IntN(fields.Len()))
	switch {
	case msg.Has(f) && f.Message() != nil && !f.IsMap() && !m.one(4):
		if !f.IsList() {
			m.bendOne(msg.Mutable(f).Message())
		} else {
			list := msg.Mutable(f).List()
			m.bendOne(list.Get(m.IntN(list.Len())).Message())
		}
	case m.one(4):
		msg.Clear(f)
	case f.IsMap():
		msg.Mutable(f).Map().Set(m.scalar(f.MapKey()).MapKey(), m.scalar(f.MapValue()))
	case f.IsList() && f.Message() == nil:
		msg.Mutable(f).List().Append(m.scalar(f))
	case f.IsList():
		m.fill(msg.Mutable(f).List().AppendMutable().Message(), 2)
	case f.Message() != nil:
		m.fill(msg.Mutable(f).Message(), 2)
	default:
		msg.Set(f, m.scalar(f))
	}
}
