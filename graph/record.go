package graph

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Node decodes the record, with its revision.
func (r NodeRecord) Node() (*pb.Node, error) {
	n := &pb.Node{}
	if err := proto.Unmarshal(r.Wire, n); err != nil {
		return nil, fmt.Errorf("node at position %d: %w", r.Position, err)
	}
	n.Revision = uint64(r.Modified)
	return n, nil
}

// sent is an encoding of what Node decodes: the stored bytes, and the revision behind them.
func (r NodeRecord) sent() []byte {
	b := append(make([]byte, 0, len(r.Wire)+revisionBytes), r.Wire...)
	b = protowire.AppendTag(b, revisionField, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(r.Modified))
}

// The field of a Node that is not stored with it, and what it takes at the most.
const (
	revisionField = 101
	revisionBytes = 12
)

// Edge decodes the record, with its revision.
func (r EdgeRecord) Edge() (*pb.Edge, error) {
	e := &pb.Edge{}
	if err := proto.Unmarshal(r.Wire, e); err != nil {
		return nil, fmt.Errorf("edge at position %d: %w", r.Position, err)
	}
	e.Revision = uint64(r.Created)
	return e, nil
}

// AttributeKeys are the filters that have an index, in the order in which a query prefers them.
var attributeKeys = [...]string{"name", "version", "role", "tool_name", "finish_reason", "status", "model"}

// Attributes lists the indexed properties of a node, in the order of AttributeKeys. Empty values have no entry.
func Attributes(n *pb.Node) []Attribute {
	var out []Attribute
	for _, key := range attributeKeys {
		if v := attribute(n, key); v != "" {
			out = append(out, Attribute{Key: key, Value: v})
		}
	}
	return out
}

func attribute(n *pb.Node, key string) string {
	switch key {
	case "name":
		return n.GetAgent().GetName() + n.GetTemplate().GetName()
	case "version":
		return n.GetTemplate().GetVersion()
	case "role":
		return n.GetAgent().GetRole()
	case "tool_name":
		return n.GetToolInvocation().GetToolName()
	case "finish_reason":
		return n.GetResponse().GetMetadata().GetFinishReason()
	case "status":
		return n.GetToolInvocation().GetStatus() + n.GetAgent().GetStatus()
	case "model":
		return n.GetPrompt().GetMetadata().GetModel() + n.GetResponse().GetMetadata().GetModel()
	default:
		panic("graph: no attribute " + key)
	}
}

// Time is the time by which lists order a node, Unix nanoseconds: the timestamp of prompts, responses and tool
// invocations, else created_at.
func Time(n *pb.Node) int64 {
	switch d := n.GetNodeData().(type) {
	case *pb.Node_Prompt:
		return nanos(d.Prompt.GetTimestamp())
	case *pb.Node_Response:
		return nanos(d.Response.GetTimestamp())
	case *pb.Node_ToolInvocation:
		return nanos(d.ToolInvocation.GetTimestamp())
	default:
		return nanos(n.GetCreatedAt())
	}
}
