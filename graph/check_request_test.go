package graph_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func TestCheckUpdateLeavesParentsOut(t *testing.T) {
	p, r, c := aPrompt(), aResponse(), aTool()
	p.GetPrompt().SessionId, r.GetResponse().PromptId, c.GetToolInvocation().ResponseId = "", "", ""
	for _, n := range []*pb.Node{p, r, c, anAgent(), aTemplate()} {
		if err := graph.CheckUpdate("node", n); err != nil {
			t.Errorf("%v: %v", n.Type, err)
		}
	}
	if p.GetPrompt().SessionId != "" || r.GetResponse().PromptId != "" || c.GetToolInvocation().ResponseId != "" {
		t.Error("an empty reference must stay empty: it means unchanged")
	}
	for _, c := range []struct {
		field  string
		change func(n *pb.Node)
	}{
		{"node.id", func(n *pb.Node) { n.Id = "" }},
		{"node.prompt.session_id", func(n *pb.Node) { n.GetPrompt().SessionId = "p" }},
		{"node.prompt.content", func(n *pb.Node) { n.GetPrompt().Content = "" }},
		{"node.node_data", func(n *pb.Node) { n.NodeData = &pb.Node_Prompt{} }},
		{"node.node_data", func(n *pb.Node) { n.NodeData = &pb.Node_Response{} }},
		{"node.node_data", func(n *pb.Node) { n.NodeData = &pb.Node_ToolInvocation{} }},
		{"node.node_data", func(n *pb.Node) { n.NodeData = nil }},
	} {
		n := aPrompt()
		c.change(n)
		wantField(t, graph.CheckUpdate("node", n), c.field)
	}
	wantField(t, graph.CheckUpdate("node", aSession()), "node.session")
}

func TestCheckAddNamesTheRequestsFields(t *testing.T) {
	for _, c := range []struct {
		path  string
		node  *pb.Node
		field string
		typ   pb.NodeType
	}{
		{"", &pb.Node{NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{SessionId: sessionID}}}, "content", 2},
		{"", &pb.Node{NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{SessionId: sessionID, Content: "x"}}}, "", 2},
		{"", &pb.Node{NodeData: &pb.Node_Response{Response: &pb.ResponseNode{}}}, "prompt_id", 3},
		{"tool_invocation", &pb.Node{NodeData: &pb.Node_ToolInvocation{}}, "tool_invocation", 0},
		{"tool_invocation", &pb.Node{NodeData: &pb.Node_ToolInvocation{ToolInvocation: &pb.ToolInvocationNode{Id: "\n"}}}, "tool_invocation.id", 4},
		{"tool_invocation", aTool(), "", 4},
		{"template", &pb.Node{NodeData: &pb.Node_Template{}}, "template", 0},
		{"template", &pb.Node{NodeData: &pb.Node_Template{Template: &pb.TemplateNode{}}}, "template.name", 6},
		{"template", aTemplate(), "", 6},
	} {
		wantField(t, graph.CheckAdd(c.path, c.node), c.field)
		if c.node.Type != c.typ {
			t.Errorf("type of %v", c.node)
		}
	}
}

func TestSetID(t *testing.T) {
	for _, n := range []*pb.Node{aPrompt(), aResponse(), aTool(), anAgent(), aTemplate(), aSession()} {
		n.Id = ""
		graph.SetID(n, "new")
		if err := graph.CheckNode("node", n); n.Id != "new" || (err != nil && n.GetSession() == nil) {
			t.Errorf("%v: %v", n, err)
		}
	}
	empty := &pb.Node{}
	graph.SetID(empty, "x")
	if empty.Id != "x" {
		t.Error("a node without data has an id too")
	}
}

func TestCheckIDs(t *testing.T) {
	wantField(t, graph.CheckID("node_id", ""), "node_id")
	wantField(t, graph.CheckID("node_id", "node-123"), "")
	if id, err := graph.CheckSessionID("session_id", strings.ToUpper(sessionID)); err != nil || id != sessionID {
		t.Errorf("got %q, %v", id, err)
	}
	_, err := graph.CheckSessionID("session_id", "")
	wantField(t, err, "session_id")
	wantField(t, graph.CheckMetadata("metadata", entries(65)), "metadata")
	wantField(t, graph.CheckMetadata("metadata", nil), "")
	wantField(t, graph.Invalidf("limit", "is %d", 7), "limit")
}

func TestCheckImport(t *testing.T) {
	for _, c := range []struct {
		name   string
		node   *pb.Node
		change func(n *pb.Node)
		field  string
	}{
		{"a session", aSession(), func(*pb.Node) {}, ""},
		{"a session without UUID", aSession(), func(n *pb.Node) { n.Id = "s1" }, "n.session.id"},
		{"a session of another session", aSession(), func(n *pb.Node) { n.SessionId = sessionID[:35] + "b" }, "n.session_id"},
		{"a session of itself", aSession(), func(n *pb.Node) { n.SessionId = strings.ToUpper(sessionID) }, ""},
		{"a session made twice", aSession(), func(n *pb.Node) { n.CreatedAt, n.GetSession().CreatedAt = at(1, 0), at(2, 0) }, "n.session.created_at"},
		{"a session with a bad time", aSession(), func(n *pb.Node) { n.GetSession().CreatedAt = at(1, -1) }, "n.session.created_at"},
		{"a session with a bad update", aSession(), func(n *pb.Node) { n.GetSession().UpdatedAt = at(1, -1) }, "n.session.updated_at"},
		{"a session with much metadata", aSession(), func(n *pb.Node) { n.GetSession().Metadata = entries(65) }, "n.session.metadata"},
		{"no id", aPrompt(), func(n *pb.Node) { n.Id = "" }, "n.id"},
		{"no data", aPrompt(), func(n *pb.Node) { n.NodeData = nil }, "n.node_data"},
		{"a bad created_at", aPrompt(), func(n *pb.Node) { n.CreatedAt = at(1, -1) }, "n.created_at"},
		{"a prompt", aPrompt(), func(*pb.Node) {}, ""},
		{"a prompt of two sessions", aPrompt(), func(n *pb.Node) { n.SessionId = sessionID[:35] + "b" }, "n.session_id"},
		{"a session_id that is none", aResponse(), func(n *pb.Node) { n.SessionId = "s" }, "n.session_id"},
		{"a response", aResponse(), func(*pb.Node) {}, ""},
		{"a tool", aTool(), func(n *pb.Node) { n.GetToolInvocation().ToolName = "" }, "n.tool_invocation.tool_name"},
		{"an agent with a bad time", anAgent(), func(n *pb.Node) { n.GetAgent().CreatedAt = at(1, -1) }, "n.agent.created_at"},
		{"a template with a bad time", aTemplate(), func(n *pb.Node) { n.GetTemplate().CreatedAt = at(1, -1) }, "n.template.created_at"},
		{"a template with a bad count", aTemplate(), func(n *pb.Node) { n.GetTemplate().UsageCount = -1 }, "n.template.usage_count"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.change(c.node)
			wantField(t, graph.CheckImport("n", c.node), c.field)
		})
	}
}

func TestImportsKeepWhatTheServerWouldSet(t *testing.T) {
	a, m, s, p := anAgent(), aTemplate(), aSession(), aPrompt()
	a.GetAgent().CreatedAt, a.SessionId = at(5, 0), sessionID
	m.GetTemplate().CreatedAt, m.GetTemplate().UsageCount, m.SessionId = at(6, 0), 12, sessionID
	s.Id, s.CreatedAt, s.GetSession().UpdatedAt = strings.ToUpper(sessionID), at(7, 0), at(8, 0)
	for _, n := range []*pb.Node{a, m, s, p} {
		if err := graph.CheckImport("n", n); err != nil {
			t.Fatal(err)
		}
	}
	if a.GetAgent().CreatedAt.GetSeconds() != 5 || a.SessionId != "" {
		t.Errorf("agent: %v", a)
	}
	if m.GetTemplate().CreatedAt.GetSeconds() != 6 || m.GetTemplate().UsageCount != 12 || m.SessionId != "" {
		t.Errorf("template: %v", m)
	}
	if s.Id != sessionID || s.GetSession().Id != sessionID || s.SessionId != sessionID || s.GetSession().CreatedAt.GetSeconds() != 7 {
		t.Errorf("session: %v", s)
	}
	if p.SessionId != sessionID {
		t.Errorf("prompt: %v", p)
	}
	later := aSession()
	later.GetSession().CreatedAt = at(9, 0)
	if err := graph.CheckImport("n", later); err != nil || later.CreatedAt.GetSeconds() != 9 {
		t.Errorf("session: %v, %v", later, err)
	}
}

func TestCheckEdge(t *testing.T) {
	good := func() *pb.Edge {
		return &pb.Edge{FromNodeId: "a", ToNodeId: "b", Type: pb.EdgeType_EDGE_TYPE_REFERENCES}
	}
	with := func(typ pb.EdgeType, key, value string) func(e *pb.Edge) {
		return func(e *pb.Edge) { e.Type, e.Properties = typ, map[string]string{key: value} }
	}
	references, transfers := pb.EdgeType_EDGE_TYPE_REFERENCES, pb.EdgeType_EDGE_TYPE_TRANSFERS_TO
	for _, c := range []struct {
		name   string
		change func(e *pb.Edge)
		field  string
	}{
		{"good", func(*pb.Edge) {}, ""},
		{"an id", func(e *pb.Edge) { e.Id = "edge-1" }, ""},
		{"a bad id", func(e *pb.Edge) { e.Id = "\x7f" }, "edge.id"},
		{"no start", func(e *pb.Edge) { e.FromNodeId = "" }, "edge.from_node_id"},
		{"no end", func(e *pb.Edge) { e.ToNodeId = "" }, "edge.to_node_id"},
		{"no type", func(e *pb.Edge) { e.Type = 0 }, "edge.type"},
		{"an unknown type", func(e *pb.Edge) { e.Type = 10 }, "edge.type"},
		{"a broken time is ignored", func(e *pb.Edge) { e.CreatedAt = at(1, -1) }, ""},
		{"65 properties", func(e *pb.Edge) { e.Properties = entries(65) }, "edge.properties"},
		{"free properties", with(references, "priority", "whatever"), ""},
		{"a priority", with(transfers, "priority", "critical"), ""},
		{"an unknown priority", with(transfers, "priority", "High"), "edge.properties.priority"},
		{"no priority", with(transfers, "handoff_reason", "x"), ""},
		{"a context", with(references, "context_type", "vector_search"), ""},
		{"an unknown context", with(references, "context_type", "book"), "edge.properties.context_type"},
		{"a score of 1", with(references, "relevance_score", "1"), ""},
		{"a score over 1", with(references, "relevance_score", "1.0001"), "edge.properties.relevance_score"},
		{"a score below 0", with(references, "relevance_score", "-0.1"), "edge.properties.relevance_score"},
		{"a score NaN", with(references, "relevance_score", "NaN"), "edge.properties.relevance_score"},
		{"no score", with(references, "relevance_score", ""), "edge.properties.relevance_score"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := good()
			c.change(e)
			wantField(t, graph.CheckEdge("edge", e), c.field)
		})
	}
	wantField(t, graph.CheckEdge("edge", nil), "edge")
	wantField(t, graph.CheckImportEdge("edge", nil), "edge")
	wantField(t, graph.CheckImportEdge("edge", good()), "edge.id")
	named := good()
	named.Id = "e1"
	wantField(t, graph.CheckImportEdge("edge", named), "")
	named.CreatedAt = at(1, -1)
	wantField(t, graph.CheckImportEdge("edge", named), "edge.created_at")
	named.Type = 0
	wantField(t, graph.CheckImportEdge("edge", named), "edge.type")
	// What an instantiation wrote is longer than what callers may.
	for n, field := range map[int]string{1_000_000: "", 1_000_001: "edge.properties.variable_bindings"} {
		made := &pb.Edge{Id: "i", FromNodeId: "p", ToNodeId: "m", Type: pb.EdgeType_EDGE_TYPE_INSTANTIATES, Properties: map[string]string{"variable_bindings": text(n)}}
		wantField(t, graph.CheckImportEdge("edge", made), field)
		if len(made.Properties["variable_bindings"]) != n {
			t.Error("the bindings are lost")
		}
		if n == 1_000_000 {
			wantField(t, graph.CheckEdge("edge", made), "edge.properties")
		}
	}
}

func TestNewEdgeQuery(t *testing.T) {
	for _, c := range []struct {
		req   *pb.GetEdgesRequest
		field string
	}{
		{&pb.GetEdgesRequest{NodeId: "n"}, ""},
		{&pb.GetEdgesRequest{}, "node_id"},
		{&pb.GetEdgesRequest{NodeId: "n", Direction: pb.EdgeDirection(4).Enum()}, "direction"},
		{&pb.GetEdgesRequest{NodeId: "n", Type: pb.EdgeType(10).Enum()}, "type"},
	} {
		_, err := graph.NewEdgeQuery(c.req)
		wantField(t, err, c.field)
	}
}

func TestNewQuery(t *testing.T) {
	for _, c := range []struct {
		name  string
		req   *pb.QueryRequest
		field string
	}{
		{"everything", &pb.QueryRequest{}, ""},
		{"a session", &pb.QueryRequest{SessionId: proto.String(strings.ToUpper(sessionID))}, ""},
		{"a session that is none", &pb.QueryRequest{SessionId: proto.String("")}, "session_id"},
		{"a type", &pb.QueryRequest{NodeType: pb.NodeType(6).Enum()}, ""},
		{"an unknown type", &pb.QueryRequest{NodeType: pb.NodeType(7).Enum()}, "node_type"},
		{"times", &pb.QueryRequest{After: at(5, 0), Before: at(0, 0)}, ""},
		{"a bad start", &pb.QueryRequest{After: at(5, -1)}, "after"},
		{"a bad end", &pb.QueryRequest{Before: at(1<<60, 0)}, "before"},
		{"an unknown filter", &pb.QueryRequest{Filters: map[string]string{"colour": "red"}}, "filters[colour]"},
		{"a number that is none", &pb.QueryRequest{Filters: map[string]string{"latency_ms>": "1e3"}}, "filters[latency_ms>]"},
		{"a number over int64", &pb.QueryRequest{Filters: map[string]string{"latency_ms": "9223372036854775808"}}, "filters[latency_ms]"},
		{"two suffixes", &pb.QueryRequest{Filters: map[string]string{"latency_ms><": "1"}}, "filters[latency_ms><]"},
		{"a suffix alone", &pb.QueryRequest{Filters: map[string]string{">": "1"}}, "filters[>]"},
		{"33 filters", &pb.QueryRequest{Filters: entries(33)}, "filters"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := graph.NewQuery(c.req)
			wantField(t, err, c.field)
			if c.name == "an unknown filter" && !strings.Contains(err.Error(), "custom.<key>") {
				t.Errorf("the known keys are not listed: %v", err)
			}
		})
	}
}
