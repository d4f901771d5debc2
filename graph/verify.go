package graph

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// VerifyNode checks a node as it is stored: it passes the checks of an import, which change nothing in it, and has what apply
// stamps. n stays as it is.
func VerifyNode(n *pb.Node) error {
	given := proto.CloneOf(n)
	if err := CheckImport("", given); err != nil {
		return err
	}
	switch s := n.GetSession(); {
	case n.Revision != 0:
		return invalid("revision", "is kept beside the node, not in it")
	case unset(n.CreatedAt):
		return invalid("created_at", "is not set")
	case s != nil && (s.UpdatedAt != nil || s.IsActive):
		return invalid("session", "has what changes in it: that is kept beside the node")
	case string(Encode(given)) != string(Encode(n)):
		return invalid("node_data", "is not as a check leaves it")
	}
	return nil
}

// VerifyEdge checks an edge as it is stored, as VerifyNode does a node.
func VerifyEdge(e *pb.Edge) error {
	given := proto.CloneOf(e)
	if err := CheckImportEdge("edge", given); err != nil {
		return err
	}
	switch {
	case e.Revision != 0:
		return invalid("revision", "is kept beside the edge, not in it")
	case unset(e.CreatedAt):
		return invalid("created_at", "is not set")
	case string(Encode(given)) != string(Encode(e)):
		return invalid("edge", "is not as a check leaves it")
	}
	return nil
}

// StartsAt and LeadsTo report whether an edge type may join a node type at that end.
func StartsAt(t pb.EdgeType, from pb.NodeType) bool {
	ends, ok := edgeEnds[t]
	return ok && fits(ends.from, from)
}

// LeadsTo is about the other end.
func LeadsTo(t pb.EdgeType, to pb.NodeType) bool {
	ends, ok := edgeEnds[t]
	return ok && fits(ends.to, to)
}

// VerifyAutomatic checks an edge that says that a call made it by itself: calls make six types, and two of them stay within a
// session.
func VerifyAutomatic(r EdgeRecord) error {
	switch r.Type {
	case belongsTo:
		if r.To != r.FromSession || r.To != r.ToSession {
			return invalid("edge", "belongs to another session than its start")
		}
	case follows:
		if r.FromSession != r.ToSession || r.From == r.To {
			return invalid("edge", "follows a prompt of another session, or itself")
		}
	case respondsTo, invokes, instantiates, inherits:
	default:
		return invalid("edge", "is automatic, but no call makes %v", r.Type)
	}
	return nil
}

// TellsDetail reports whether the creation event of a node of the type carries detail, for as long as the node is there.
func TellsDetail(t pb.NodeType) bool {
	return t == session || t == prompt || t == response || t == tool
}

// SweptPhases are the types of members that the sweep of a session has taken whole, and the one that it is at; 0 when only the
// session itself is left.
func SweptPhases(d Doomed) (gone []pb.NodeType, now pb.NodeType) {
	n := min(int(d.Phase), len(sessionPhases))
	if n < len(sessionPhases) {
		now = sessionPhases[n]
	}
	return sessionPhases[:n], now
}
