package rpc

import (
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/telemetry"
)

// committed measures a change that was accepted. A retry of one that had taken effect before counts for nothing.
func (s *Server) committed(c *logpb.Command, r fsm.Result, took time.Duration) {
	if r.Replayed {
		return
	}
	m := telemetry.Change{Took: took, Edges: r.EdgesCreated}
	switch op := c.Operation.(type) {
	case *logpb.Command_Import:
		m.Nodes = int(r.Imported.NodesCreated)
	case *logpb.Command_Instantiate:
		m.Instantiations = 1
		m.Nodes, m.Prompts = 1, 1
	case *logpb.Command_CreateSession:
		m.Nodes = 1
	case *logpb.Command_CreateNodes:
		for _, n := range r.Nodes {
			created(&m, n)
		}
	case *logpb.Command_UpdateNode:
		finishedTool(&m, first(r))
	case *logpb.Command_CreateEdge:
		if op.CreateEdge.GetEdge().GetType() == pb.EdgeType_EDGE_TYPE_TRANSFERS_TO {
			m.Handoffs = 1
		}
	}
	s.metrics.Committed(m)
}

func created(m *telemetry.Change, n *pb.Node) {
	m.Nodes++
	switch n.GetType() {
	case pb.NodeType_NODE_TYPE_PROMPT:
		m.Prompts++
	case pb.NodeType_NODE_TYPE_RESPONSE:
		m.Responses++
	case pb.NodeType_NODE_TYPE_TOOL_INVOCATION:
		m.Tools++
		finishedTool(m, n)
	}
}

// finishedTool measures a tool invocation that a call leaves finished.
func finishedTool(m *telemetry.Change, n *pb.Node) {
	if t := n.GetToolInvocation(); t.GetStatus() == "success" || t.GetStatus() == "failed" {
		m.ToolDurations = append(m.ToolDurations, time.Duration(t.GetDurationMs())*time.Millisecond)
	}
}
