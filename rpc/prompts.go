package rpc

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// add checks and creates the node of an Add or Create call.
func (s *Server) add(ctx context.Context, w *write, path string, n *pb.Node) (*pb.Node, error) {
	if err := graph.CheckAdd(path, n); err != nil {
		return nil, err
	}
	mint(n)
	done, err := w.propose(ctx, createNodes(n))
	return first(done), inRequest(err, path)
}

// inRequest blames a field of the request for that of the one node that was made of it.
func inRequest(err error, path string) error {
	err = graph.Moved(err, "nodes[0].", "")
	if path != "" {
		return err
	}
	return graph.Moved(graph.Moved(err, "prompt.", ""), "response.", "")
}

// AddPrompt appends a prompt to a session.
func (s *Server) AddPrompt(ctx context.Context, req *pb.AddPromptRequest) (*pb.PromptNode, error) {
	w := s.begin(ctx, req, 0)
	n, err := s.add(ctx, w, "", &pb.Node{NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{
		SessionId: req.GetSessionId(), Content: req.GetContent(), Metadata: req.GetMetadata(),
	}}})
	if err != nil {
		return nil, err
	}
	return n.GetPrompt(), nil
}

// AddResponse answers a prompt.
func (s *Server) AddResponse(ctx context.Context, req *pb.AddResponseRequest) (*pb.ResponseNode, error) {
	w := s.begin(ctx, req, 0)
	n, err := s.add(ctx, w, "", &pb.Node{NodeData: &pb.Node_Response{Response: &pb.ResponseNode{
		PromptId: req.GetPromptId(), Content: req.GetContent(), TokenUsage: req.GetTokenUsage(), Metadata: req.GetMetadata(),
	}}})
	if err != nil {
		return nil, err
	}
	return n.GetResponse(), nil
}

// AddToolInvocation records a tool call of a response.
func (s *Server) AddToolInvocation(ctx context.Context, req *pb.AddToolInvocationRequest) (*pb.ToolInvocationNode, error) {
	w := s.begin(ctx, req, 0)
	n, err := s.add(ctx, w, "tool_invocation", &pb.Node{NodeData: &pb.Node_ToolInvocation{ToolInvocation: req.GetToolInvocation()}})
	if err != nil {
		return nil, err
	}
	return n.GetToolInvocation(), nil
}

// CreateTemplate stores a prompt template.
func (s *Server) CreateTemplate(ctx context.Context, req *pb.CreateTemplateRequest) (*pb.TemplateNode, error) {
	w := s.begin(ctx, req, 0)
	n, err := s.add(ctx, w, "template", &pb.Node{NodeData: &pb.Node_Template{Template: req.GetTemplate()}})
	if err != nil {
		return nil, err
	}
	return n.GetTemplate(), nil
}

// maxRenders is how often a template that moves under the renderer is rendered again.
const maxRenders = 8

// InstantiateTemplate renders a template into a prompt. When the template has moved meanwhile it is rendered again.
func (s *Server) InstantiateTemplate(ctx context.Context, req *pb.InstantiateTemplateRequest) (*pb.PromptNode, error) {
	w := s.begin(ctx, req, 0)
	if err := graph.CheckID("template_id", req.GetTemplateId()); err != nil {
		return nil, err
	}
	sessionID, err := graph.CheckSessionID("session_id", req.GetSessionId())
	if err != nil {
		return nil, err
	}
	if known, ok, err := w.recall(ctx); err != nil || ok {
		return first(known).GetPrompt(), err
	}
	if err := s.fresh(ctx); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		command, err := s.render(ctx, req, sessionID)
		if err != nil {
			return nil, err
		}
		done, err := w.propose(ctx, command)
		var refusal *graph.Error
		if errors.As(err, &refusal) && refusal.Reason == graph.ReasonTemplateStale && try < maxRenders {
			if err := s.machine.WaitRevision(ctx, done.Revision); err != nil {
				return nil, err
			}
			continue
		}
		return first(done).GetPrompt(), err
	}
}

// render renders a template as it is on this node now.
func (s *Server) render(ctx context.Context, req *pb.InstantiateTemplateRequest, sessionID string) (*logpb.Command, error) {
	st, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	t, _, err := nodeOf(st.view, "template", "Template", req.GetTemplateId())
	if err != nil {
		return nil, err
	}
	if t.GetTemplate() == nil {
		return nil, graph.Invalidf("template_id", "%s is %v, not a template", req.GetTemplateId(), t.GetType())
	}
	text, bindings, err := graph.Render(t.GetTemplate(), req.GetVariableValues())
	if err != nil {
		return nil, err
	}
	values, err := json.Marshal(bindings)
	if err != nil {
		return nil, err
	}
	if len(values) > graph.MaxContentBytes {
		return nil, graph.Invalidf("variable_values", "are %d bytes as JSON, at most %d", len(values), graph.MaxContentBytes)
	}
	n := &pb.Node{NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{SessionId: sessionID, Content: text}}}
	if err := graph.CheckAdd("", n); err != nil {
		return nil, err
	}
	mint(n)
	return &logpb.Command{Operation: &logpb.Command_Instantiate{Instantiate: &logpb.Instantiate{
		TemplateId: req.GetTemplateId(), TemplateRevision: t.GetRevision(), Prompt: n, VariableBindings: string(values),
	}}}, nil
}
