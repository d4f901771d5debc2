package importer

import (
	"fmt"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Statuses of tool invocations that an import gives.
const (
	statusPending = "pending"
	statusRunning = "running"
	statusSuccess = "success"
	statusFailed  = "failed"
)

// Records is how many nodes and edges were read.
func (s Summary) Records() int64 {
	return s.Sessions + s.Prompts + s.Responses + s.ToolInvocations + s.Templates + s.Agents + s.Edges
}

func (s *Summary) count(n *pb.Node) {
	switch n.Type {
	case pb.NodeType_NODE_TYPE_SESSION:
		s.Sessions++
	case pb.NodeType_NODE_TYPE_PROMPT:
		s.Prompts++
	case pb.NodeType_NODE_TYPE_RESPONSE:
		s.Responses++
	case pb.NodeType_NODE_TYPE_TOOL_INVOCATION:
		s.ToolInvocations++
		if n.GetToolInvocation().GetStatus() == statusFailed {
			s.FailedToolInvocations++
		}
	case pb.NodeType_NODE_TYPE_AGENT:
		s.Agents++
	case pb.NodeType_NODE_TYPE_TEMPLATE:
		s.Templates++
	default:
		panic(fmt.Sprintf("import built a node of type %v", n.Type))
	}
}
