package graph

import (
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Commands are checked before they are proposed. What follows is what apply relies on: a command that breaks it is refused
// on every replica instead of stopping all of them.

// shape refuses a node without data or id, or whose two types or ids differ; it fills in the one that is missing.
func shape(field string, n *pb.Node) error {
	t, inner := dataType(n)
	if inner == nil {
		return invalid(field+".node_data", "is required")
	}
	if n.Type == pb.NodeType_NODE_TYPE_UNSPECIFIED {
		n.Type = t
	}
	if n.Type != t {
		return invalid(field+".type", "is %v, but node_data is %v", n.Type, t)
	}
	if *inner == "" {
		*inner = n.Id
	}
	if n.Id != *inner {
		return invalid(field+".id", "differs from the id in node_data")
	}
	return shapeID(field+".id", n.Id)
}

func shapeID(field, id string) error {
	if id == "" || len(id) > MaxIDBytes {
		return invalid(field, "is %d bytes, must be 1 to %d", len(id), MaxIDBytes)
	}
	return nil
}

// shapeSession refuses what cannot be the id of a session.
func shapeSession(field, id string) error {
	if lower, ok := parseUUID(id); !ok || lower != id {
		return invalid(field, "%q is not a UUID in lower case", clip(id))
	}
	return nil
}

// shapeEdge refuses an edge without id or type.
func shapeEdge(field string, e *pb.Edge) error {
	if e == nil {
		return invalid(field, "is required")
	}
	if _, known := edgeEnds[e.Type]; !known {
		return invalid(field+".type", "%v is no edge type that can be made", e.Type)
	}
	return shapeID(field+".id", e.Id)
}
