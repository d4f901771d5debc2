package conformance

import (
	"context"
	"sync"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

func idempotencyCases() []Case {
	return []Case{
		{Name: "a_retry_of_any_write_takes_effect_once", Section: "D4", Run: retriesOnce,
			Calls: []string{createSession, createNode, batchCreateNodes, updateNode, addPrompt, addResponse, addToolInvocation,
				createTemplate, instantiate, createEdge, deleteEdge, deleteNode, closeSession, deleteSession}},
		{Name: "a_key_with_another_request_is_refused", Section: "D4", Run: keyReused,
			Calls: []string{createSession, addPrompt, addResponse, batchCreateNodes, deleteNode}},
		{Name: "a_retry_answers_with_the_record_as_it_now_is", Section: "D4", Run: retryAfterChange,
			Calls: []string{addPrompt, updateNode, createSession, closeSession}},
		{Name: "a_retry_whose_result_is_deleted_says_so", Section: "D4", Run: retryAfterDeletion,
			Calls: []string{addPrompt, createSession, createEdge, deleteNode, deleteSession, deleteEdge}},
		{Name: "refusals_are_remembered", Section: "D4", Run: refusalsRemembered, Calls: []string{addResponse, createNode}},
		{Name: "concurrent_duplicates_take_effect_once", Section: "D4", Run: concurrentDuplicates,
			Calls: []string{addPrompt, instantiate, createSession}},
		{Name: "keys_of_different_calls_do_not_meet", Section: "D4", Run: keysPerMethod, Calls: []string{createSession, addPrompt}},
		{Name: "idempotency_keys_survive_a_restart_and_a_crash", Section: "D4", Durable: true, Run: keysSurvive,
			Calls: []string{createSession, addPrompt, addResponse, batchCreateNodes, deleteNode}},
	}
}

// write is one call that changes something, ready to be sent again.
type write struct {
	name string
	send func(context.Context, graphgrpc.MemoryGraphServiceClient) (proto.Message, error)
}

func asMessage[M proto.Message](m M, err error) (proto.Message, error) {
	return m, err
}

// writes are one call of each kind that writes, all on things of their own.
func (e *Env) writes(t *testing.T) []write {
	t.Helper()
	made := e.talk(t, 2)
	session, doomed, closing := made.session.GetId(), e.session(t).GetId(), e.session(t).GetId()
	agent, victim := e.agent(t, "a").GetId(), e.agent(t, "v").GetId()
	edge := e.edge(t, graphpb.EdgeType_EDGE_TYPE_REFERENCES, agent, session).GetId()
	template := e.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "hi"}).GetId()
	return append(creations(made, template, agent), []write{
		{"UpdateNode", func(ctx context.Context, g graphgrpc.MemoryGraphServiceClient) (proto.Message, error) {
			return asMessage(g.UpdateNode(ctx, &graphpb.UpdateNodeRequest{Node: agentNode(agent, "renamed")}))
		}},
		{"DeleteEdge", func(ctx context.Context, g graphgrpc.MemoryGraphServiceClient) (proto.Message, error) {
			return asMessage(g.DeleteEdge(ctx, &graphpb.DeleteEdgeRequest{EdgeId: edge}))
		}},
		{"DeleteNode", func(ctx context.Context, g graphgrpc.MemoryGraphServiceClient) (proto.Message, error) {
			return asMessage(g.DeleteNode(ctx, &graphpb.DeleteNodeRequest{NodeId: victim}))
		}},
		{"CloseSession", func(ctx context.Context, g graphgrpc.MemoryGraphServiceClient) (proto.Message, error) {
			return asMessage(g.CloseSession(ctx, &graphpb.CloseSessionRequest{SessionId: closing}))
		}},
		{"DeleteSession", func(ctx context.Context, g graphgrpc.MemoryGraphServiceClient) (proto.Message, error) {
			return asMessage(g.DeleteSession(ctx, &graphpb.DeleteSessionRequest{SessionId: doomed}))
		}},
	}...)
}

func creations(made talk, template, agent string) []write {
	session, prompt, response := made.session.GetId(), made.prompts[0].GetId(), made.responses[0].GetId()
	return []write{
		{"CreateSession", func(ctx context.Context, g graphgrpc.MemoryGraphServiceClient) (proto.Message, error) {
			return asMessage(g.CreateSession(ctx, &graphpb.CreateSessionRequest{Metadata: map[string]string{"a": "b", "c": "d"}}))
		}},
		{"CreateNode", func(ctx context.Context, g graphgrpc.MemoryGraphServiceClient) (proto.Message, error) {
			return asMessage(g.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: promptNode("", session, "made by CreateNode")}))
		}},
		{"BatchCreateNodes", func(ctx context.Context, g graphgrpc.MemoryGraphServiceClient) (proto.Message, error) {
			return asMessage(g.BatchCreateNodes(ctx, &graphpb.BatchCreateNodesRequest{Nodes: []*graphpb.Node{
				agentNode("", "x"), promptNode("", session, "made in a batch"),
			}}))
		}},
		{"AddPrompt", func(ctx context.Context, g graphgrpc.MemoryGraphServiceClient) (proto.Message, error) {
			return asMessage(g.AddPrompt(ctx, &graphpb.AddPromptRequest{SessionId: session, Content: "again"}))
		}},
		{"AddResponse", func(ctx context.Context, g graphgrpc.MemoryGraphServiceClient) (proto.Message, error) {
			return asMessage(g.AddResponse(ctx, &graphpb.AddResponseRequest{PromptId: prompt, TokenUsage: usage()}))
		}},
		{"AddToolInvocation", func(ctx context.Context, g graphgrpc.MemoryGraphServiceClient) (proto.Message, error) {
			return asMessage(g.AddToolInvocation(ctx, &graphpb.AddToolInvocationRequest{
				ToolInvocation: &graphpb.ToolInvocationNode{ResponseId: response, ToolName: "x"},
			}))
		}},
		{"CreateTemplate", func(ctx context.Context, g graphgrpc.MemoryGraphServiceClient) (proto.Message, error) {
			return asMessage(g.CreateTemplate(ctx, &graphpb.CreateTemplateRequest{
				Template: &graphpb.TemplateNode{Name: "n", TemplateText: "t"},
			}))
		}},
		{"InstantiateTemplate", func(ctx context.Context, g graphgrpc.MemoryGraphServiceClient) (proto.Message, error) {
			return asMessage(g.InstantiateTemplate(ctx, &graphpb.InstantiateTemplateRequest{TemplateId: template, SessionId: session}))
		}},
		{"CreateEdge", func(ctx context.Context, g graphgrpc.MemoryGraphServiceClient) (proto.Message, error) {
			return asMessage(g.CreateEdge(ctx, &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
				Type: graphpb.EdgeType_EDGE_TYPE_HANDLED_BY, FromNodeId: prompt, ToNodeId: agent,
			}}))
		}},
	}
}

func retriesOnce(t *testing.T, e *Env) {
	own := e.own(t)
	all := own.writes(t)
	for _, w := range all {
		ctx := keyed(t.Context(), unique("key"))
		first, err := w.send(ctx, own.Graph)
		if err != nil {
			t.Errorf("%s with a key: %v", w.name, err)
			continue
		}
		before, feed := own.metrics(t), own.lastEvent(t)
		for range 2 {
			again, err := w.send(ctx, own.Graph)
			if err != nil {
				t.Errorf("%s sent again: %v", w.name, err)
				continue
			}
			wantEqual(t, w.name+" sent again", first, again)
		}
		after := own.metrics(t)
		wantEqual(t, w.name+": nodes after retries", before.GetTotalNodes(), after.GetTotalNodes())
		wantEqual(t, w.name+": edges after retries", before.GetTotalEdges(), after.GetTotalEdges())
		wantEqual(t, w.name+": newest event after retries", feed, own.lastEvent(t))
	}
}

func keyReused(t *testing.T, e *Env) {
	g := e.Graph
	made := e.talk(t, 1)
	session, prompt := made.session.GetId(), made.prompts[0].GetId()
	one, two := e.agent(t, "1").GetId(), e.agent(t, "2").GetId()
	pairs := map[string][2]func(context.Context) error{
		"CreateSession": {
			func(ctx context.Context) error {
				_, err := g.CreateSession(ctx, &graphpb.CreateSessionRequest{})
				return err
			},
			func(ctx context.Context) error {
				_, err := g.CreateSession(ctx, &graphpb.CreateSessionRequest{Metadata: map[string]string{"a": "b"}})
				return err
			},
		},
		"AddPrompt":   {e.sendPrompt(session, "one"), e.sendPrompt(session, "two")},
		"AddResponse": {e.sendResponse(prompt, "one"), e.sendResponse(prompt, "two")},
		"BatchCreateNodes": {
			e.sendBatch(agentNode("", "1")), e.sendBatch(agentNode("", "1"), agentNode("", "2")),
		},
		"DeleteNode": {e.sendDelete(one), e.sendDelete(two)},
	}
	for name, pair := range pairs {
		ctx := keyed(t.Context(), unique("key"))
		if err := pair[0](ctx); err != nil {
			t.Fatalf("%s with a key: %v", name, err)
		}
		nodes := e.query(t, &graphpb.QueryRequest{SessionId: &session}).GetTotalCount()
		got := wantStatus(t, pair[1](ctx), codes.InvalidArgument)
		wantReason(t, got, "IDEMPOTENCY_KEY_REUSED")
		wantEqual(t, name+": nodes after the refusal", nodes, e.query(t, &graphpb.QueryRequest{SessionId: &session}).GetTotalCount())
	}
	e.node(t, two)
}

func (e *Env) sendPrompt(session, content string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := e.Graph.AddPrompt(ctx, &graphpb.AddPromptRequest{SessionId: session, Content: content})
		return err
	}
}

func (e *Env) sendResponse(prompt, content string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := e.Graph.AddResponse(ctx, &graphpb.AddResponseRequest{PromptId: prompt, Content: content, TokenUsage: usage()})
		return err
	}
}

func (e *Env) sendBatch(nodes ...*graphpb.Node) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := e.Graph.BatchCreateNodes(ctx, &graphpb.BatchCreateNodesRequest{Nodes: nodes})
		return err
	}
}

func (e *Env) sendDelete(id string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := e.Graph.DeleteNode(ctx, &graphpb.DeleteNodeRequest{NodeId: id})
		return err
	}
}

func retryAfterChange(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	ctx := keyed(t.Context(), unique("key"))
	request := &graphpb.AddPromptRequest{SessionId: session, Content: "first words"}
	prompt := must(e.Graph.AddPrompt(ctx, request))(t)
	e.update(t, promptNode(prompt.GetId(), "", "other words"))
	again := must(e.Graph.AddPrompt(ctx, request))(t)
	wantEqual(t, "id", prompt.GetId(), again.GetId())
	wantEqual(t, "content as it now is", "other words", again.GetContent())

	ctx = keyed(t.Context(), unique("key"))
	made := must(e.Graph.CreateSession(ctx, &graphpb.CreateSessionRequest{}))(t)
	closed := e.closeSession(t, made.GetId())
	wantEqual(t, "session as it now is", closed, must(e.Graph.CreateSession(ctx, &graphpb.CreateSessionRequest{}))(t))
}

func retryAfterDeletion(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	ctx := keyed(t.Context(), unique("key"))
	request := &graphpb.AddPromptRequest{SessionId: session, Content: "x"}
	prompt := must(e.Graph.AddPrompt(ctx, request))(t)
	e.deleteNode(t, prompt.GetId())
	wantReason(t, refusal(e.Graph.AddPrompt(ctx, request))(t, codes.NotFound), "RESULT_SINCE_DELETED")

	made := must(e.Graph.CreateSession(ctx, &graphpb.CreateSessionRequest{}))(t)
	e.deleteSession(t, made.GetId())
	wantReason(t, refusal(e.Graph.CreateSession(ctx, &graphpb.CreateSessionRequest{}))(t, codes.NotFound), "RESULT_SINCE_DELETED")

	agent := e.agent(t, "a").GetId()
	link := &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
		Type: graphpb.EdgeType_EDGE_TYPE_REFERENCES, FromNodeId: agent, ToNodeId: session,
	}}
	edge := must(e.Graph.CreateEdge(ctx, link))(t)
	must(e.Graph.DeleteEdge(t.Context(), &graphpb.DeleteEdgeRequest{EdgeId: edge.GetId()}))(t)
	wantReason(t, refusal(e.Graph.CreateEdge(ctx, link))(t, codes.NotFound), "RESULT_SINCE_DELETED")
}

func refusalsRemembered(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	later := unique("later")
	ctx := keyed(t.Context(), unique("key"))
	request := &graphpb.AddResponseRequest{PromptId: later, TokenUsage: usage()}
	first := refusal(e.Graph.AddResponse(ctx, request))(t, codes.NotFound)
	e.create(t, promptNode(later, session, "now it is there"))
	again := refusal(e.Graph.AddResponse(ctx, request))(t, codes.NotFound)
	wantEqual(t, "remembered refusal", first.Proto(), again.Proto())
	must(e.Graph.AddResponse(keyed(t.Context(), unique("key")), request))(t)
}

func concurrentDuplicates(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	template := e.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "hi"}).GetId()
	prompts := duplicates(t, 16, func(ctx context.Context) (string, error) {
		m, err := e.Graph.AddPrompt(ctx, &graphpb.AddPromptRequest{SessionId: session, Content: "once"})
		return m.GetId(), err
	})
	wantEqual(t, "prompts with one key", 1, len(prompts))
	rendered := duplicates(t, 16, func(ctx context.Context) (string, error) {
		m, err := e.Graph.InstantiateTemplate(ctx, &graphpb.InstantiateTemplateRequest{TemplateId: template, SessionId: session})
		return m.GetId(), err
	})
	wantEqual(t, "instances with one key", 1, len(rendered))
	wantEqual(t, "usage_count", int64(1), e.node(t, template).GetTemplate().GetUsageCount())
	sessions := duplicates(t, 16, func(ctx context.Context) (string, error) {
		m, err := e.Graph.CreateSession(ctx, &graphpb.CreateSessionRequest{})
		return m.GetId(), err
	})
	wantEqual(t, "sessions with one key", 1, len(sessions))
	wantEqual(t, "nodes of the session", int64(3), e.query(t, &graphpb.QueryRequest{SessionId: &session}).GetTotalCount())
}

// duplicates sends one call many times at once under one key and returns the ids that came back.
func duplicates(t *testing.T, times int, send func(context.Context) (string, error)) map[string]bool {
	t.Helper()
	ctx := keyed(t.Context(), unique("key"))
	var mu sync.Mutex
	ids := make(map[string]bool)
	var all sync.WaitGroup
	for range times {
		all.Go(func() {
			id, err := send(ctx)
			if err != nil {
				t.Errorf("duplicate: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids[id] = true
		})
	}
	all.Wait()
	return ids
}

func keysPerMethod(t *testing.T, e *Env) {
	ctx := keyed(t.Context(), uuid.NewString())
	session := must(e.Graph.CreateSession(ctx, &graphpb.CreateSessionRequest{}))(t)
	must(e.Graph.AddPrompt(ctx, &graphpb.AddPromptRequest{SessionId: session.GetId(), Content: "same key, other call"}))(t)
}

func keysSurvive(t *testing.T, e *Env) {
	own := e.own(t, compacting...)
	key := unique("key")
	all := own.writes(t)
	replies := make(map[string]proto.Message)
	for _, w := range all {
		reply, err := w.send(keyed(t.Context(), key), own.Graph)
		if err != nil {
			t.Fatalf("%s with a key: %v", w.name, err)
		}
		replies[w.name] = reply
	}
	refusal(own.Graph.AddResponse(keyed(t.Context(), "refused"), &graphpb.AddResponseRequest{
		PromptId: "later", TokenUsage: usage(),
	}))(t, codes.NotFound)
	session := own.session(t).GetId()
	own.create(t, promptNode("later", session, "now it is there"))
	for _, again := range []func(*testing.T){own.restart, own.crash, own.compact} {
		again(t)
		before := own.metrics(t)
		for _, w := range all {
			reply, err := w.send(keyed(t.Context(), key), own.Graph)
			if err != nil {
				t.Errorf("%s sent again: %v", w.name, err)
				continue
			}
			wantEqual(t, w.name+" sent again", replies[w.name], reply)
		}
		refusal(own.Graph.AddResponse(keyed(t.Context(), "refused"), &graphpb.AddResponseRequest{
			PromptId: "later", TokenUsage: usage(),
		}))(t, codes.NotFound)
		wantEqual(t, "nodes after retries", before.GetTotalNodes(), own.metrics(t).GetTotalNodes())
	}
}
