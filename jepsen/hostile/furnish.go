package hostile

import (
	"context"
	"errors"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// furnish makes one record of each kind.
func furnish(ctx context.Context, g graphgrpc.MemoryGraphServiceClient) (r records, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	var problems []error
	made := func(err error) { problems = append(problems, err) }
	session, err := g.CreateSession(ctx, &graphpb.CreateSessionRequest{})
	made(err)
	prompt, err := g.AddPrompt(ctx, &graphpb.AddPromptRequest{SessionId: session.GetId(), Content: "q"})
	made(err)
	response, err := g.AddResponse(ctx, &graphpb.AddResponseRequest{PromptId: prompt.GetId(), Content: "a", TokenUsage: &graphpb.TokenUsage{}})
	made(err)
	tool, err := g.AddToolInvocation(ctx, &graphpb.AddToolInvocationRequest{
		ToolInvocation: &graphpb.ToolInvocationNode{ResponseId: response.GetId(), ToolName: "x", Parameters: "{}"},
	})
	made(err)
	template, err := g.CreateTemplate(ctx, &graphpb.CreateTemplateRequest{Template: &graphpb.TemplateNode{
		Name: "n", TemplateText: "Hi {{x}}", Variables: []*graphpb.VariableSpec{{Name: "x"}},
	}})
	made(err)
	agent, err := g.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: &graphpb.Node{NodeData: &graphpb.Node_Agent{Agent: &graphpb.AgentNode{Name: "a"}}}})
	made(err)
	edge, err := g.CreateEdge(ctx, &graphpb.CreateEdgeRequest{Edge: &graphpb.Edge{
		Type: graphpb.EdgeType_EDGE_TYPE_REFERENCES, FromNodeId: agent.GetId(), ToNodeId: prompt.GetId(),
	}})
	made(err)
	page, err := g.ListSessions(ctx, &graphpb.ListSessionsRequest{Limit: 1})
	made(err)
	return records{
		session: session.GetId(), prompt: prompt.GetId(), response: response.GetId(), tool: tool.GetId(), template: template.GetId(),
		agent: agent.GetId(), edge: edge.GetId(), page: page.GetNextPageToken(),
	}, errors.Join(problems...)
}
