package graph

import (
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// EdgeQuery selects the edges of a node.
type EdgeQuery struct {
	NodeID    string
	Direction pb.EdgeDirection
	Type      pb.EdgeType
}

// NewEdgeQuery checks the selection of a request.
func NewEdgeQuery(req *pb.GetEdgesRequest) (EdgeQuery, error) {
	q := EdgeQuery{NodeID: req.GetNodeId(), Direction: req.GetDirection(), Type: req.GetType()}
	if err := CheckID("node_id", q.NodeID); err != nil {
		return q, err
	}
	if _, known := pb.EdgeDirection_name[int32(q.Direction)]; !known {
		return q, invalid("direction", "%d is no direction", q.Direction)
	}
	if _, known := pb.EdgeType_name[int32(q.Type)]; !known {
		return q, invalid("type", "%d is no edge type", q.Type)
	}
	return q, nil
}

// EdgePlace is where an edge stands in the order of GetEdges.
type EdgePlace struct {
	Incoming bool
	Position Position
}

// Each visits the edges in commit order, outgoing ones before incoming ones, a self-loop once, after a place if from is
// not nil, until visit answers false.
func (q EdgeQuery) Each(v View, from *EdgePlace, visit func(EdgePlace, EdgeRecord) (bool, error)) error {
	rec, ok, err := v.NodeByID(q.NodeID)
	if err != nil {
		return err
	}
	if !ok {
		return missing("node", "Node", q.NodeID)
	}
	outgoing := q.Direction != pb.EdgeDirection_EDGE_DIRECTION_INCOMING
	incoming := q.Direction == pb.EdgeDirection_EDGE_DIRECTION_INCOMING || q.Direction == pb.EdgeDirection_EDGE_DIRECTION_BOTH
	for _, in := range []bool{false, true} {
		if (in && !incoming) || (!in && !outgoing) || (from != nil && from.Incoming && !in) {
			continue
		}
		w := EdgeWalk{Node: rec.Position, Type: q.Type, Incoming: in}
		if from != nil && from.Incoming == in {
			w.From = from.Position
		}
		for e, err := range v.Edges(w) {
			if err != nil {
				return err
			}
			if in && outgoing && e.From == e.To {
				continue
			}
			more, err := visit(EdgePlace{in, e.Position}, e)
			if err != nil || !more {
				return err
			}
		}
	}
	return nil
}
