package rpc

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// What is refused only when the change takes effect names the field of the request, too, whichever call it was.
func TestLateRefusalsNameTheFieldOfTheRequest(t *testing.T) {
	r := start(t)
	s := r.session()
	p, tpl := r.prompt(s.Id, "x"), r.template()
	tool := &pb.ToolInvocationNode{ResponseId: p.Id, ToolName: "x", Parameters: "{}"}
	toolNode := &pb.Node{NodeData: &pb.Node_ToolInvocation{ToolInvocation: tool}}
	future := &pb.Node{NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{
		SessionId: s.Id, Content: "x", Timestamp: graph.Timestamp(time.Now().Add(time.Hour).UnixNano()),
	}}}
	child := &pb.TemplateNode{Name: "x", TemplateText: "x", Metadata: map[string]string{graph.ParentKey: p.Id}}
	link := &pb.Edge{Id: "e", Type: pb.EdgeType_EDGE_TYPE_RESPONDS_TO, FromNodeId: p.Id, ToNodeId: tpl.Id}
	for _, c := range []struct {
		name, field string
		call        func(context.Context) error
	}{
		{"AddResponse", "prompt_id", calling(r.AddResponse, &pb.AddResponseRequest{PromptId: tpl.Id, TokenUsage: &pb.TokenUsage{}})},
		{"AddToolInvocation", "tool_invocation.response_id", calling(r.AddToolInvocation, &pb.AddToolInvocationRequest{ToolInvocation: tool})},
		{"CreateNode", "node.tool_invocation.response_id", calling(r.CreateNode, &pb.CreateNodeRequest{Node: toolNode})},
		{"CreateNode", "node.prompt.timestamp", calling(r.CreateNode, &pb.CreateNodeRequest{Node: future})},
		{"BatchCreateNodes", "nodes[1].tool_invocation.response_id", calling(r.BatchCreateNodes, &pb.BatchCreateNodesRequest{Nodes: []*pb.Node{
			{NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{Name: "x"}}}, toolNode,
		}})},
		{"CreateTemplate", "template.metadata.parent_id", calling(r.CreateTemplate, &pb.CreateTemplateRequest{Template: child})},
		{"CreateEdge", "edge.from_node_id", calling(r.CreateEdge, &pb.CreateEdgeRequest{Edge: link})},
		{"Import", "edges[0].from_node_id", func(context.Context) error {
			_, err := r.tell(&pb.ImportRequest{Edges: []*pb.Edge{link}})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) { refusedWith(t, c.call(r.ctx()), codes.InvalidArgument, "", c.field) })
	}
}
