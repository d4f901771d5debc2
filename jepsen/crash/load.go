package crash

import (
	"context"
	"fmt"
	"maps"
	"slices"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

type client = graphgrpc.MemoryGraphServiceClient

// maxNodes keeps a writer's sessions small enough to be looked at after every crash.
const maxNodes = 150

// next decides on a write that must succeed.
func (w *writer) next() *operation {
	w.count++
	op := w.choose()
	op.key = fmt.Sprintf("%s-%d", w.name, w.count)
	return op
}

func (w *writer) choose() *operation {
	m := w.model
	if len(m.sessions) < 2 || w.chance(2) {
		return w.createSession()
	}
	s := m.sessions[w.random.IntN(len(m.sessions))]
	if len(m.sessions) > 4 || m.size() > maxNodes || w.chance(1) {
		return w.deleteSession(s.id)
	}
	prompts, responses := w.of(s, promptKind), w.of(s, responseKind)
	switch {
	case len(prompts) > 0 && w.chance(25):
		return w.addResponse(w.pick(prompts))
	case len(responses) > 0 && w.chance(15):
		return w.addTool(w.pick(responses))
	case len(prompts) > 0 && w.chance(12):
		return w.update(w.pick(prompts))
	case len(s.order) > 0 && w.chance(10):
		return w.deleteNode(w.pick(s.order))
	case len(s.order) > 1 && w.chance(8):
		return w.createEdge(w.pick(s.order), w.pick(s.order))
	case len(m.links) > 0 && w.chance(20):
		return w.deleteEdge(w.pick(slices.Sorted(maps.Keys(m.links))))
	case s.closed:
		return w.createSession()
	case w.chance(2):
		return w.closeSession(s.id)
	case w.chance(20):
		return w.batch(s.id)
	case len(m.uses) == 0:
		return w.createTemplate()
	case w.chance(20):
		return w.instantiate(s.id, w.pick(slices.Sorted(maps.Keys(m.uses))))
	default:
		return w.addPrompt(s.id)
	}
}

func (w *writer) chance(percent int) bool { return w.random.IntN(100) < percent }

func (w *writer) pick(ids []string) string { return ids[w.random.IntN(len(ids))] }

// of are the live nodes of a kind in a session.
func (w *writer) of(s *session, kind graphpb.NodeType) []string {
	return slices.DeleteFunc(slices.Clone(s.order), func(id string) bool { return w.model.nodes[id].kind != kind })
}

// text is content that no other write has.
func (w *writer) text() string {
	return fmt.Sprintf("%s-%d-%x", w.name, w.count, make([]byte, w.random.IntN(400)))
}

// call is an operation around one client call.
func call[M proto.Message](
	name string, send func(context.Context, client) (M, error), done func(op *operation, reply M),
) *operation {
	op := &operation{name: name}
	op.send = func(ctx context.Context, c client) (proto.Message, error) {
		return send(ctx, c)
	}
	op.acknowledged = func(reply proto.Message) { done(op, reply.(M)) }
	return op
}

// idsOf are the ids of the records in a reply.
func idsOf(reply proto.Message) []string {
	switch m := reply.(type) {
	case *graphpb.BatchCreateNodesResponse:
		var ids []string
		for _, node := range m.GetNodes() {
			ids = append(ids, node.GetId())
		}
		return ids
	case interface{ GetId() string }:
		return []string{m.GetId()}
	}
	return nil
}

func (w *writer) createSession() *operation {
	request := &graphpb.CreateSessionRequest{Metadata: map[string]string{"writer": w.name, "text": w.text()}}
	return call("CreateSession", func(ctx context.Context, c client) (*graphpb.Session, error) {
		return c.CreateSession(ctx, request)
	}, func(op *operation, s *graphpb.Session) {
		w.model.opens(s)
		op.made = idsOf(s)
	})
}

func (w *writer) closeSession(id string) *operation {
	return call("CloseSession", func(ctx context.Context, c client) (*graphpb.Session, error) {
		return c.CloseSession(ctx, &graphpb.CloseSessionRequest{SessionId: id})
	}, func(op *operation, s *graphpb.Session) {
		w.model.closes(id)
		op.made = idsOf(s)
	})
}

func (w *writer) deleteSession(id string) *operation {
	return call("DeleteSession", func(ctx context.Context, c client) (proto.Message, error) {
		return c.DeleteSession(ctx, &graphpb.DeleteSessionRequest{SessionId: id})
	}, func(*operation, proto.Message) { w.model.drops(id) })
}

func (w *writer) addPrompt(session string) *operation {
	request := &graphpb.AddPromptRequest{SessionId: session, Content: w.text()}
	return call("AddPrompt", func(ctx context.Context, c client) (*graphpb.PromptNode, error) {
		return c.AddPrompt(ctx, request)
	}, func(op *operation, p *graphpb.PromptNode) {
		w.model.addsPrompt(p, "")
		op.made = idsOf(p)
	})
}

func (w *writer) addResponse(prompt string) *operation {
	request := &graphpb.AddResponseRequest{
		PromptId: prompt, Content: w.text(), TokenUsage: &graphpb.TokenUsage{PromptTokens: 1, CompletionTokens: 2},
	}
	return call("AddResponse", func(ctx context.Context, c client) (*graphpb.ResponseNode, error) {
		return c.AddResponse(ctx, request)
	}, func(op *operation, r *graphpb.ResponseNode) {
		w.model.addsResponse(r)
		op.made = idsOf(r)
	})
}

func (w *writer) addTool(response string) *operation {
	request := &graphpb.AddToolInvocationRequest{ToolInvocation: &graphpb.ToolInvocationNode{
		ResponseId: response, ToolName: "tool", Parameters: w.text(),
	}}
	return call("AddToolInvocation", func(ctx context.Context, c client) (*graphpb.ToolInvocationNode, error) {
		return c.AddToolInvocation(ctx, request)
	}, func(op *operation, t *graphpb.ToolInvocationNode) {
		w.model.addsTool(t)
		op.made = idsOf(t)
	})
}

// batch makes a prompt, its response and two tool calls at once, and an agent.
func (w *writer) batch(session string) *operation {
	id := func(part string) string { return fmt.Sprintf("%s-%d-%s", w.name, w.count, part) }
	request := &graphpb.BatchCreateNodesRequest{Nodes: []*graphpb.Node{
		{Id: id("p"), NodeData: &graphpb.Node_Prompt{Prompt: &graphpb.PromptNode{SessionId: session, Content: w.text()}}},
		{Id: id("r"), NodeData: &graphpb.Node_Response{Response: &graphpb.ResponseNode{
			PromptId: id("p"), TokenUsage: &graphpb.TokenUsage{},
		}}},
		{NodeData: &graphpb.Node_ToolInvocation{ToolInvocation: &graphpb.ToolInvocationNode{ResponseId: id("r"), ToolName: "x"}}},
		{NodeData: &graphpb.Node_Agent{Agent: &graphpb.AgentNode{Name: id("a")}}},
		{NodeData: &graphpb.Node_ToolInvocation{ToolInvocation: &graphpb.ToolInvocationNode{ResponseId: id("r"), ToolName: "y"}}},
	}}
	return call("BatchCreateNodes", func(ctx context.Context, c client) (*graphpb.BatchCreateNodesResponse, error) {
		return c.BatchCreateNodes(ctx, request)
	}, func(op *operation, reply *graphpb.BatchCreateNodesResponse) {
		for _, node := range reply.GetNodes() {
			w.model.addsNode(node)
		}
		op.made = idsOf(reply)
	})
}

func (w *writer) update(prompt string) *operation {
	request := &graphpb.UpdateNodeRequest{Node: &graphpb.Node{
		Id: prompt, NodeData: &graphpb.Node_Prompt{Prompt: &graphpb.PromptNode{Content: w.text()}},
	}}
	return call("UpdateNode", func(ctx context.Context, c client) (*graphpb.Node, error) {
		return c.UpdateNode(ctx, request)
	}, func(op *operation, n *graphpb.Node) {
		w.model.changes(n)
		op.made = idsOf(n)
	})
}

func (w *writer) deleteNode(id string) *operation {
	doomed := []string{id}
	cascade := w.chance(50)
	if cascade {
		doomed = w.model.below(id)
	}
	return call("DeleteNode", func(ctx context.Context, c client) (proto.Message, error) {
		if cascade {
			ctx = metadata.AppendToOutgoingContext(ctx, "memory-graph-cascade", "true")
		}
		return c.DeleteNode(ctx, &graphpb.DeleteNodeRequest{NodeId: id})
	}, func(*operation, proto.Message) { w.model.removes(doomed...) })
}

func (w *writer) createTemplate() *operation {
	request := &graphpb.CreateNodeRequest{Node: &graphpb.Node{
		NodeData: &graphpb.Node_Template{Template: &graphpb.TemplateNode{Name: "n", TemplateText: w.text()}},
	}}
	return call("CreateNode", func(ctx context.Context, c client) (*graphpb.Node, error) {
		return c.CreateNode(ctx, request)
	}, func(op *operation, n *graphpb.Node) {
		w.model.addsNode(n)
		op.made = idsOf(n)
	})
}

func (w *writer) instantiate(session, template string) *operation {
	return call("InstantiateTemplate", func(ctx context.Context, c client) (*graphpb.PromptNode, error) {
		return c.InstantiateTemplate(ctx, &graphpb.InstantiateTemplateRequest{TemplateId: template, SessionId: session})
	}, func(op *operation, p *graphpb.PromptNode) {
		w.model.addsPrompt(p, template)
		w.model.uses[template]++
		op.made = idsOf(p)
	})
}

func (w *writer) createEdge(from, to string) *operation {
	request := &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
		Type: graphpb.EdgeType_EDGE_TYPE_REFERENCES, FromNodeId: from, ToNodeId: to,
	}}
	return call("CreateEdge", func(ctx context.Context, c client) (*graphpb.Edge, error) {
		return c.CreateEdge(ctx, request)
	}, func(op *operation, edge *graphpb.Edge) {
		w.model.links[edge.GetId()] = edge
		op.made = idsOf(edge)
	})
}

func (w *writer) deleteEdge(id string) *operation {
	return call("DeleteEdge", func(ctx context.Context, c client) (proto.Message, error) {
		return c.DeleteEdge(ctx, &graphpb.DeleteEdgeRequest{EdgeId: id})
	}, func(*operation, proto.Message) { delete(w.model.links, id) })
}
