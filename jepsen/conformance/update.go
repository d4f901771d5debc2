package conformance

import (
	"sync"
	"sync/atomic"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func updateCases() []Case {
	return []Case{
		{Name: "an_update_replaces_the_data_of_every_type", Section: "4", Run: updateReplaces, Calls: []string{updateNode, getNode}},
		{Name: "an_update_cannot_move_or_retype_a_node", Section: "4", Run: updateImmutable, Calls: []string{updateNode, getNode}},
		{Name: "an_update_is_checked_like_a_creation", Section: "4", Run: updateChecked, Calls: []string{updateNode, getNode}},
		{Name: "expected_revision_makes_a_compare_and_set", Section: "4", Run: compareAndSet, Calls: []string{updateNode, getNode}},
		{Name: "of_concurrent_compare_and_sets_one_wins", Section: "4", Run: concurrentCompareAndSet, Calls: []string{updateNode}},
		{Name: "a_template_update_keeps_its_usage_count", Section: "4", Run: updateTemplate,
			Calls: []string{updateNode, instantiate, getNode}},
		{Name: "a_session_is_not_updated_as_a_node", Section: "4", Run: updateSession, Calls: []string{updateNode, getSession}},
		{Name: "a_pending_tool_call_becomes_success_by_update", Section: "15", Run: toolLife,
			Calls: []string{addToolInvocation, updateNode, getNode, getEdges, query}},
	}
}

// updates are pairs: a node as it is made and the same with other data.
func (e *Env) updates(t *testing.T) [][2]*graphpb.Node {
	t.Helper()
	made := e.talk(t, 1)
	prompt := promptNode("", made.session.GetId(), "before")
	prompt.GetPrompt().Metadata = &graphpb.PromptMetadata{Model: "gpt-4", Custom: map[string]string{"a": "b"}}
	prompt2 := promptNode("", "", "after")
	prompt2.GetPrompt().Metadata = &graphpb.PromptMetadata{Model: "gpt-5", Temperature: 1, MaxTokens: proto.Int32(0)}
	response := responseNode("", made.prompts[0].GetId(), "before")
	response2 := responseNode("", "", "after")
	response2.GetResponse().Metadata = &graphpb.ResponseMetadata{Model: "m", FinishReason: "length", LatencyMs: 12}
	tool := toolNode("", made.responses[0].GetId(), "before")
	tool.GetToolInvocation().Metadata = map[string]string{"a": "b"}
	tool2 := toolNode("", "", "after")
	tool2.GetToolInvocation().Status, tool2.GetToolInvocation().Error = "failed", proto.String("no")
	agent, agent2 := agentNode("", "before"), agentNode("", "after")
	agent2.GetAgent().Status, agent2.GetAgent().Capabilities = "busy", []string{"read", "write"}
	template, template2 := templateNode("", "n", "before {{x}}"), templateNode("", "n", "after {{y}}")
	template2.GetTemplate().Version = "2.0.0"
	template2.GetTemplate().Variables = []*graphpb.VariableSpec{{Name: "y", Required: true}}
	return [][2]*graphpb.Node{{prompt, prompt2}, {response, response2}, {tool, tool2}, {agent, agent2}, {template, template2}}
}

func updateReplaces(t *testing.T, e *Env) {
	for _, pair := range e.updates(t) {
		made := e.create(t, pair[0])
		next := clone(pair[1])
		next.Id = made.GetId()
		updated := e.update(t, next)
		wantEqual(t, "id", made.GetId(), updated.GetId())
		wantEqual(t, "type", made.GetType(), updated.GetType())
		wantEqual(t, "session", made.GetSessionId(), updated.GetSessionId())
		wantEqual(t, "created_at", made.GetCreatedAt(), updated.GetCreatedAt())
		if updated.GetRevision() <= made.GetRevision() {
			t.Errorf("revision went from %d to %d", made.GetRevision(), updated.GetRevision())
		}
		wantEqual(t, "node as read", updated, e.node(t, made.GetId()))
		// Made anew, the replacing data must give the same record but for what belongs to the node.
		fresh := clone(pair[1])
		setParents(fresh, pair[0])
		other := e.create(t, fresh)
		wantEqual(t, "data", withoutIdentity(other), withoutIdentity(updated))
	}
}

func setParents(to, from *graphpb.Node) {
	switch data := to.GetNodeData().(type) {
	case *graphpb.Node_Prompt:
		data.Prompt.SessionId = from.GetPrompt().GetSessionId()
	case *graphpb.Node_Response:
		data.Response.PromptId = from.GetResponse().GetPromptId()
	case *graphpb.Node_ToolInvocation:
		data.ToolInvocation.ResponseId = from.GetToolInvocation().GetResponseId()
	}
}

func withoutIdentity(node *graphpb.Node) *graphpb.Node {
	node = clone(node)
	node.Id, node.CreatedAt, node.Revision = "", nil, 0
	switch data := node.GetNodeData().(type) {
	case *graphpb.Node_Prompt:
		data.Prompt.Id, data.Prompt.Timestamp = "", nil
	case *graphpb.Node_Response:
		data.Response.Id, data.Response.Timestamp = "", nil
	case *graphpb.Node_ToolInvocation:
		data.ToolInvocation.Id, data.ToolInvocation.Timestamp = "", nil
	case *graphpb.Node_Agent:
		data.Agent.Id, data.Agent.CreatedAt = "", nil
	case *graphpb.Node_Template:
		data.Template.Id, data.Template.CreatedAt = "", nil
	}
	return node
}

func updateImmutable(t *testing.T, e *Env) {
	made, other := e.talk(t, 1), e.talk(t, 1)
	prompt, response, tool := made.prompts[0].GetId(), made.responses[0].GetId(), made.tools[0].GetId()
	before := []*graphpb.Node{e.node(t, prompt), e.node(t, response), e.node(t, tool)}
	refuse := func(node *graphpb.Node, field string) {
		t.Helper()
		invalid(e.Graph.UpdateNode(t.Context(), &graphpb.UpdateNodeRequest{Node: node}))(t, field)
	}
	refuse(agentNode(prompt, "a prompt is no agent"), "node")
	refuse(promptNode(prompt, other.session.GetId(), "x"), "session_id")
	refuse(responseNode(response, other.prompts[0].GetId(), "x"), "prompt_id")
	refuse(toolNode(tool, other.responses[0].GetId(), "x"), "response_id")
	moved := promptNode(prompt, "", "x")
	moved.GetPrompt().Timestamp = timestamppb.New(moment())
	refuse(moved, "timestamp")
	later := responseNode(response, "", "x")
	later.GetResponse().Timestamp = timestamppb.New(moment())
	refuse(later, "timestamp")
	for i, id := range []string{prompt, response, tool} {
		wantEqual(t, "node after refusals", before[i], e.node(t, id))
	}
	same := promptNode(prompt, made.session.GetId(), "same parent and time")
	same.GetPrompt().Timestamp = made.prompts[0].GetTimestamp()
	wantEqual(t, "content", "same parent and time", e.update(t, same).GetPrompt().GetContent())
	wantEqual(t, "parent left out", prompt, e.update(t, responseNode(response, "", "x")).GetResponse().GetPromptId())
	wantEqual(t, "parent left out", response, e.update(t, toolNode(tool, "", "x")).GetToolInvocation().GetResponseId())
}

func updateChecked(t *testing.T, e *Env) {
	made := e.talk(t, 1)
	agent := e.agent(t, "a")
	refuse := func(node *graphpb.Node, field string) {
		t.Helper()
		invalid(e.Graph.UpdateNode(t.Context(), &graphpb.UpdateNodeRequest{Node: node}))(t, field)
	}
	tool := toolNode(made.tools[0].GetId(), "", "x")
	tool.GetToolInvocation().Status = "done"
	refuse(tool, "status")
	refuse(promptNode(made.prompts[0].GetId(), "", ""), "content")
	response := responseNode(made.responses[0].GetId(), "", "x")
	response.GetResponse().TokenUsage = nil
	refuse(response, "token_usage")
	busy := agentNode(agent.GetId(), "a")
	busy.GetAgent().Status = "asleep"
	refuse(busy, "status")
	template := e.create(t, templateNode("", "n", "t"))
	bad := templateNode(template.GetId(), "n", "t")
	bad.GetTemplate().Version = "2"
	refuse(bad, "version")
	bad = templateNode(template.GetId(), "n", "t")
	bad.GetTemplate().Variables = []*graphpb.VariableSpec{{Name: "x", ValidationPattern: proto.String("(")}}
	refuse(bad, "validation_pattern")
	wantEqual(t, "agent after refusals", agent, e.node(t, agent.GetId()))
	wantEqual(t, "template after refusals", template, e.node(t, template.GetId()))
}

func compareAndSet(t *testing.T, e *Env) {
	agent := e.agent(t, "v1")
	set := func(name string, revision uint64) (*graphpb.Node, error) {
		return e.Graph.UpdateNode(t.Context(), &graphpb.UpdateNodeRequest{
			Node: agentNode(agent.GetId(), name), ExpectedRevision: &revision,
		})
	}
	second := must(set("v2", agent.GetRevision()))(t)
	refusal(set("v3", agent.GetRevision()))(t, codes.Aborted)
	refusal(set("v3", second.GetRevision()+1000))(t, codes.Aborted)
	refusal(set("v3", 0))(t, codes.Aborted)
	wantEqual(t, "node after refusals", second, e.node(t, agent.GetId()))
	third := must(set("v3", e.node(t, agent.GetId()).GetRevision()))(t)
	wantEqual(t, "name", "v3", third.GetAgent().GetName())
}

func concurrentCompareAndSet(t *testing.T, e *Env) {
	agent := e.agent(t, "start")
	revision := agent.GetRevision()
	var won, lost atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			_, err := e.Graph.UpdateNode(t.Context(), &graphpb.UpdateNodeRequest{
				Node: agentNode(agent.GetId(), unique("winner")), ExpectedRevision: &revision,
			})
			switch status.Code(err) {
			case codes.OK:
				won.Add(1)
			case codes.Aborted:
				lost.Add(1)
			default:
				t.Errorf("compare-and-set: %v", err)
			}
		})
	}
	all.Wait()
	wantEqual(t, "winners and losers", []int32{1, 15}, []int32{won.Load(), lost.Load()})
}

func updateTemplate(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	template := e.create(t, templateNode("", "n", "one"))
	render := func() string {
		return must(e.Graph.InstantiateTemplate(t.Context(), &graphpb.InstantiateTemplateRequest{
			TemplateId: template.GetId(), SessionId: session,
		}))(t).GetContent()
	}
	wantEqual(t, "content", "one", render())
	node := templateNode(template.GetId(), "n", "two")
	node.GetTemplate().UsageCount = 77
	updated := e.update(t, node)
	wantEqual(t, "usage_count after the update", int64(1), updated.GetTemplate().GetUsageCount())
	wantEqual(t, "created_at after the update", template.GetTemplate().GetCreatedAt(), updated.GetTemplate().GetCreatedAt())
	wantEqual(t, "content after the update", "two", render())
	wantEqual(t, "usage_count", int64(2), e.node(t, template.GetId()).GetTemplate().GetUsageCount())
}

func updateSession(t *testing.T, e *Env) {
	session := e.session(t, "a", "b")
	invalid(e.Graph.UpdateNode(t.Context(), &graphpb.UpdateNodeRequest{Node: &graphpb.Node{
		Id:       session.GetId(),
		NodeData: &graphpb.Node_Session{Session: &graphpb.Session{Metadata: map[string]string{"a": "c"}}},
	}}))(t, "node")
	wantEqual(t, "session", session, e.getSession(t, session.GetId()))
}

func toolLife(t *testing.T, e *Env) {
	made := e.talk(t, 1)
	tool := made.tools[0]
	wantEqual(t, "status at first", "pending", tool.GetStatus())
	if tool.Result != nil || tool.Error != nil {
		t.Errorf("a pending call has result %v and error %v", tool.Result, tool.Error)
	}
	done := clone(tool)
	done.Status, done.DurationMs, done.Result = "success", 450, proto.String(`{"temperature":21.5,"unit":"C"}`)
	updated := e.update(t, &graphpb.Node{Id: tool.GetId(), NodeData: &graphpb.Node_ToolInvocation{ToolInvocation: done}})
	wantEqual(t, "tool call", done, updated.GetToolInvocation())
	wantEqual(t, "tool call as read", done, e.node(t, tool.GetId()).GetToolInvocation())
	invokes := e.onlyEdge(t, tool.GetId(), graphpb.EdgeDirection_EDGE_DIRECTION_INCOMING, graphpb.EdgeType_EDGE_TYPE_INVOKES)
	wantEqual(t, "success on the edge", "true", invokes.GetProperties()["success"])
	find := func(status string) int64 {
		return e.query(t, &graphpb.QueryRequest{
			SessionId: &made.session.Id, Filters: map[string]string{"status": status},
		}).GetTotalCount()
	}
	wantEqual(t, "pending calls", int64(0), find("pending"))
	wantEqual(t, "successful calls", int64(1), find("success"))
}
