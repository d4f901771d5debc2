package conformance

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/codes"
)

const (
	outgoing = graphpb.EdgeDirection_EDGE_DIRECTION_OUTGOING
	incoming = graphpb.EdgeDirection_EDGE_DIRECTION_INCOMING
	both     = graphpb.EdgeDirection_EDGE_DIRECTION_BOTH

	belongsTo    = graphpb.EdgeType_EDGE_TYPE_BELONGS_TO
	respondsTo   = graphpb.EdgeType_EDGE_TYPE_RESPONDS_TO
	follows      = graphpb.EdgeType_EDGE_TYPE_FOLLOWS
	invokes      = graphpb.EdgeType_EDGE_TYPE_INVOKES
	handledBy    = graphpb.EdgeType_EDGE_TYPE_HANDLED_BY
	instantiates = graphpb.EdgeType_EDGE_TYPE_INSTANTIATES
	inherits     = graphpb.EdgeType_EDGE_TYPE_INHERITS
	transfersTo  = graphpb.EdgeType_EDGE_TYPE_TRANSFERS_TO
	references   = graphpb.EdgeType_EDGE_TYPE_REFERENCES
)

func edgeCases() []Case {
	return []Case{
		{Name: "calls_make_exactly_the_edges_of_the_table", Section: "5", Run: edgeTable,
			Calls: []string{addPrompt, addResponse, addToolInvocation, getEdges}},
		{Name: "follows_carries_the_time_between_the_prompts", Section: "5", Run: followsDelta, Calls: []string{createNode, getEdges}},
		{Name: "instantiating_a_template_makes_its_edges", Section: "5", Run: instantiateEdges,
			Calls: []string{createTemplate, instantiate, getEdges}},
		{Name: "a_template_with_a_parent_inherits_from_it", Section: "5", Run: inheritsEdge,
			Calls: []string{createTemplate, createNode, getEdges}},
		{Name: "invocation_order_counts_up_and_is_never_reused", Section: "D18", Run: invocationOrder,
			Calls: []string{addToolInvocation, deleteNode, getEdges}},
		{Name: "each_edge_type_joins_the_types_of_the_table_only", Section: "5", Run: edgeMatrix,
			Calls: []string{createEdge, createNode}},
		{Name: "typed_edge_properties_round_trip", Section: "5", Run: edgeProperties, Calls: []string{createEdge, getEdges}},
		{Name: "parallel_edges_and_self_loops_are_edges_of_their_own", Section: "5", Run: parallelEdges,
			Calls: []string{createEdge, getEdges, deleteEdge}},
		{Name: "edges_come_in_commit_order_by_direction_and_type", Section: "5", Run: edgeDirections,
			Calls: []string{createEdge, getEdges}},
		{Name: "edges_may_cross_sessions", Section: "5", Run: edgesCross, Calls: []string{createEdge, getEdges}},
		{Name: "automatic_edges_go_only_with_their_nodes", Section: "D18", Run: automaticEdges,
			Calls: []string{deleteEdge, getEdges, addPrompt, addResponse, addToolInvocation}},
		{Name: "edge_page_tokens_visit_each_edge_once", Section: "D15", Run: edgePages, Calls: []string{createEdge, getEdges}},
		{Name: "edges_over_4_MiB_name_page_size", Section: "D15", Run: edgesLarge, Calls: []string{importRecords, getEdges}},
	}
}

func edgeTable(t *testing.T, e *Env) {
	ctx := t.Context()
	session := e.session(t).GetId()
	first := e.prompt(t, session, "q1")
	second := e.prompt(t, session, "q2")
	response := must(e.Graph.AddResponse(ctx, &graphpb.AddResponseRequest{
		PromptId: second.GetId(), Content: "a", TokenUsage: usage(),
		Metadata: &graphpb.ResponseMetadata{Model: "gpt-4", LatencyMs: 1234},
	}))(t)
	plain := e.response(t, first.GetId(), "a")
	pending := e.tool(t, response.GetId(), "pending")
	failed := must(e.Graph.AddToolInvocation(ctx, &graphpb.AddToolInvocationRequest{ToolInvocation: &graphpb.ToolInvocationNode{
		ResponseId: response.GetId(), ToolName: "x", Status: "FAILED",
	}}))(t)
	done := must(e.Graph.AddToolInvocation(ctx, &graphpb.AddToolInvocationRequest{ToolInvocation: &graphpb.ToolInvocationNode{
		ResponseId: response.GetId(), ToolName: "x", Status: "success",
	}}))(t)
	delta := second.GetTimestamp().AsTime().Sub(first.GetTimestamp().AsTime()).Milliseconds()

	e.wantEdges(t, first.GetId(), "BELONGS_TO session map[]")
	e.wantEdges(t, second.GetId(), "BELONGS_TO session map[]", fmt.Sprintf("FOLLOWS first map[time_delta_ms:%d]", delta))
	e.wantEdges(t, response.GetId(), "RESPONDS_TO second map[latency_ms:1234 model:gpt-4]", "BELONGS_TO session map[]",
		"INVOKES pending map[invocation_order:0 success:false]", "INVOKES failed map[invocation_order:1 success:false]",
		"INVOKES done map[invocation_order:2 success:true]")
	e.wantEdges(t, plain.GetId(), "RESPONDS_TO first map[latency_ms:0 model:unknown]", "BELONGS_TO session map[]")
	for _, tool := range []string{pending.GetId(), failed.GetId(), done.GetId()} {
		e.wantEdges(t, tool, "BELONGS_TO session map[]")
	}
	e.wantEdges(t, session)
	wantEqual(t, "edges into the session", 7, len(e.edges(t, session, incoming, belongsTo)))
}

// wantEdges wants exactly these outgoing edges, in any order: type, a word for the end, properties. The word is not
// compared; that the end exists and is another node than the start is.
func (e *Env) wantEdges(t *testing.T, from string, want ...string) {
	t.Helper()
	var got []string
	for _, edge := range e.edges(t, from, outgoing, 0) {
		e.node(t, edge.GetToNodeId())
		if edge.GetFromNodeId() != from || edge.GetToNodeId() == from || edge.GetId() == "" || edge.GetRevision() == 0 {
			t.Errorf("edge %v does not start at %s", edge, from)
		}
		wantRecent(t, "created_at of an edge", edge.GetCreatedAt())
		got = append(got, fmt.Sprint(strings.TrimPrefix(edge.GetType().String(), "EDGE_TYPE_"), " ", edge.GetProperties()))
	}
	var shapes []string
	for _, w := range want {
		words := strings.SplitN(w, " ", 3)
		shapes = append(shapes, words[0]+" "+words[2])
	}
	wantUnordered(t, "edges of "+from, shapes, got, func(s string) string { return s })
}

func followsDelta(t *testing.T, e *Env) {
	session, start := e.session(t).GetId(), moment()
	first := e.create(t, promptAt(session, "q1", start))
	second := e.create(t, promptAt(session, "q2", start.Add(1500*time.Millisecond)))
	edge := e.onlyEdge(t, second.GetId(), outgoing, follows)
	wantEqual(t, "prompt before", first.GetId(), edge.GetToNodeId())
	wantEqual(t, "properties", map[string]string{"time_delta_ms": "1500"}, edge.GetProperties())
}

func instantiateEdges(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	before := e.prompt(t, session, "q")
	template := e.template(t, &graphpb.TemplateNode{
		Name: "greeting", TemplateText: "Hey {{name}}, {{mood}}", Version: "2.1.0",
		Variables: []*graphpb.VariableSpec{{Name: "name", Required: true}, {Name: "mood"}},
	})
	prompt := must(e.Graph.InstantiateTemplate(t.Context(), &graphpb.InstantiateTemplateRequest{
		TemplateId: template.GetId(), SessionId: session, VariableValues: map[string]string{"name": "Al \"x\"\n", "mood": "fine"},
	}))(t)
	wantEqual(t, "session", session, e.onlyEdge(t, prompt.GetId(), outgoing, belongsTo).GetToNodeId())
	wantEqual(t, "prompt before", before.GetId(), e.onlyEdge(t, prompt.GetId(), outgoing, follows).GetToNodeId())
	edge := e.onlyEdge(t, prompt.GetId(), outgoing, instantiates)
	wantEqual(t, "template", template.GetId(), edge.GetToNodeId())
	wantEqual(t, "template_version", "2.1.0", edge.GetProperties()["template_version"])
	var bindings map[string]string
	if err := json.Unmarshal([]byte(edge.GetProperties()["variable_bindings"]), &bindings); err != nil {
		t.Fatalf("variable_bindings: %v", err)
	}
	wantEqual(t, "variable_bindings", map[string]string{"name": "Al \"x\"\n", "mood": "fine"}, bindings)
	at, err := time.Parse(time.RFC3339Nano, edge.GetProperties()["instantiation_time"])
	if err != nil || time.Since(at).Abs() > 2*time.Minute {
		t.Errorf("instantiation_time %q: %v, want about now", edge.GetProperties()["instantiation_time"], err)
	}
	wantEqual(t, "number of properties", 3, len(edge.GetProperties()))
}

func inheritsEdge(t *testing.T, e *Env) {
	below := func(parent string) *graphpb.TemplateNode {
		return e.template(t, &graphpb.TemplateNode{
			Name: "n", TemplateText: "t", Metadata: map[string]string{"parent_id": parent, "kept": "yes"},
		})
	}
	root := e.template(t, &graphpb.TemplateNode{Name: "root", TemplateText: "t"})
	child := below(root.GetId())
	grandchild := below(child.GetId())
	edge := e.onlyEdge(t, child.GetId(), outgoing, inherits)
	wantEqual(t, "parent", root.GetId(), edge.GetToNodeId())
	wantEqual(t, "properties", map[string]string{"inheritance_depth": "1"}, edge.GetProperties())
	wantEqual(t, "depth of the grandchild", "2",
		e.onlyEdge(t, grandchild.GetId(), outgoing, inherits).GetProperties()["inheritance_depth"])
	wantEqual(t, "metadata", map[string]string{"parent_id": root.GetId(), "kept": "yes"}, child.GetMetadata())
	agent := e.agent(t, "no template").GetId()
	_, err := e.Graph.CreateTemplate(t.Context(), &graphpb.CreateTemplateRequest{Template: &graphpb.TemplateNode{
		Name: "n", TemplateText: "t", Metadata: map[string]string{"parent_id": agent},
	}})
	if err == nil {
		t.Error("a template inherits from an agent")
	}
	node := templateNode("", "n", "t")
	node.GetTemplate().Metadata = map[string]string{"parent_id": root.GetId()}
	wantEqual(t, "parent by CreateNode", root.GetId(), e.onlyEdge(t, e.create(t, node).GetId(), outgoing, inherits).GetToNodeId())
}

func invocationOrder(t *testing.T, e *Env) {
	made := e.talk(t, 1)
	response := made.responses[0].GetId()
	orders := func() (found []string) {
		for _, edge := range e.edges(t, response, outgoing, invokes) {
			found = append(found, edge.GetProperties()["invocation_order"])
		}
		return found
	}
	second, third := e.tool(t, response, "b"), e.tool(t, response, "c")
	wantEqual(t, "orders", []string{"0", "1", "2"}, orders())
	e.deleteNode(t, second.GetId())
	e.deleteNode(t, third.GetId())
	e.tool(t, response, "d")
	wantEqual(t, "orders after deletions", []string{"0", "3"}, orders())
	e.deleteNode(t, made.tools[0].GetId())
	other := e.response(t, made.prompts[0].GetId(), "a")
	e.tool(t, other.GetId(), "x")
	wantEqual(t, "orders of the first response", []string{"3"}, orders())
	wantEqual(t, "order in another response", "0", e.onlyEdge(t, other.GetId(), outgoing, invokes).GetProperties()["invocation_order"])
}

func edgeMatrix(t *testing.T, e *Env) {
	made := e.talk(t, 1)
	ids := map[string]string{
		"session": made.session.GetId(), "prompt": made.prompts[0].GetId(), "response": made.responses[0].GetId(),
		"tool": made.tools[0].GetId(), "agent": e.agent(t, "a").GetId(),
		"template": e.create(t, templateNode("", "n", "t")).GetId(),
	}
	fits := map[graphpb.EdgeType]string{
		belongsTo:    "prompt>session response>session tool>session",
		respondsTo:   "response>prompt",
		follows:      "prompt>prompt",
		invokes:      "response>tool",
		handledBy:    "prompt>agent response>agent",
		instantiates: "prompt>template",
		inherits:     "template>template",
		transfersTo:  "response>agent",
	}
	for kind := range graphpb.EdgeType_name {
		kind := graphpb.EdgeType(kind)
		for from, fromID := range ids {
			for to, toID := range ids {
				_, err := e.Graph.CreateEdge(t.Context(), &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
					Type: kind, FromNodeId: fromID, ToNodeId: toID,
				}})
				want := codes.InvalidArgument
				if kind == references || strings.Contains(" "+fits[kind]+" ", " "+from+">"+to+" ") {
					want = codes.OK
				}
				if got := codeOf(err); got != want {
					t.Errorf("%v from %s to %s: %v, want %v", kind, from, to, got, want)
				}
			}
		}
	}
}

func edgeProperties(t *testing.T, e *Env) {
	made := e.talk(t, 1)
	agent := e.agent(t, "a").GetId()
	prompt, response := made.prompts[0].GetId(), made.responses[0].GetId()
	for _, priority := range []string{"low", "normal", "high", "critical"} {
		e.wantEdgeKept(t, transfersTo, response, agent, map[string]string{
			"handoff_reason": "needs a human", "context_summary": "long\nstory", "priority": priority,
		})
	}
	for _, context := range []string{"document", "webpage", "database", "vector_search", "memory"} {
		e.wantEdgeKept(t, references, response, prompt, map[string]string{
			"context_type": context, "relevance_score": "0.95", "chunk_id": "chunk-7",
		})
	}
	e.wantEdgeKept(t, handledBy, prompt, agent, nil)
	e.wantEdgeKept(t, references, prompt, prompt, oddTexts())
	for _, bad := range badMetadata() {
		invalid(e.Graph.CreateEdge(t.Context(), &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
			Type: references, FromNodeId: prompt, ToNodeId: response, Properties: bad,
		}}))(t, "properties")
	}
}

func (e *Env) wantEdgeKept(t *testing.T, kind graphpb.EdgeType, from, to string, properties map[string]string) {
	t.Helper()
	made := must(e.Graph.CreateEdge(t.Context(), &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
		Type: kind, FromNodeId: from, ToNodeId: to, Properties: properties,
	}}))(t)
	wantEqual(t, "properties", properties, made.GetProperties())
	wantRecent(t, "created_at", made.GetCreatedAt())
	for _, edge := range e.edges(t, from, outgoing, kind) {
		if edge.GetId() == made.GetId() {
			wantEqual(t, "edge as read", made, edge)
			return
		}
	}
	t.Errorf("GetEdges of %s does not show %v", from, made)
}

func parallelEdges(t *testing.T, e *Env) {
	agent, other := e.agent(t, "a").GetId(), e.agent(t, "b").GetId()
	one, two := e.edge(t, references, agent, other), e.edge(t, references, agent, other)
	loop := e.edge(t, references, agent, agent)
	wantEqual(t, "outgoing", []string{one.GetId(), two.GetId(), loop.GetId()}, edgeIDs(e.edges(t, agent, outgoing, 0)))
	wantEqual(t, "incoming", []string{loop.GetId()}, edgeIDs(e.edges(t, agent, incoming, 0)))
	wantEqual(t, "both", []string{one.GetId(), two.GetId(), loop.GetId()}, edgeIDs(e.edges(t, agent, both, 0)))
	must(e.Graph.DeleteEdge(t.Context(), &graphpb.DeleteEdgeRequest{EdgeId: one.GetId()}))(t)
	refusal(e.Graph.DeleteEdge(t.Context(), &graphpb.DeleteEdgeRequest{EdgeId: one.GetId()}))(t, codes.NotFound)
	wantEqual(t, "after a deletion", []string{two.GetId(), loop.GetId()}, edgeIDs(e.edges(t, agent, both, 0)))
	wantEqual(t, "on the other side", []string{two.GetId()}, edgeIDs(e.edges(t, other, incoming, 0)))
	again := must(e.Graph.CreateEdge(t.Context(), &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
		Id: one.GetId(), Type: references, FromNodeId: other, ToNodeId: agent,
	}}))(t)
	wantEqual(t, "id that is free again", one.GetId(), again.GetId())
}
