package graph

import (
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Rows that removing one record touches, at the most on average: the record's row and id, index entries, counters.
const (
	rowsPerNode = 8
	rowsPerEdge = 5
)

// DeleteNode removes a node with its edges; cascade takes the responses and tool invocations below it along. The rows of
// a node with very many edges are left to sweeps.
func (c *Change) DeleteNode(id string, cascade bool) error {
	rec, n, err := c.node("node", "Node", id)
	if err != nil {
		return err
	}
	if n.Type == session {
		return invalid("node_id", "%s is a session: use DeleteSession", id)
	}
	if n.Type == prompt {
		if err := c.closeChain(rec); err != nil {
			return err
		}
	}
	doomed := []NodeRecord{rec}
	if cascade {
		if doomed, err = c.below(rec, n); err != nil {
			return err
		}
	}
	left := MaxRowsPerApply
	for _, d := range doomed {
		if err := c.removeOrDoom(d, &left); err != nil {
			return err
		}
	}
	return c.touch(rec.Session)
}

// below lists a node and what hangs below it: the responses to a prompt, the tool invocations of a response.
func (c *Change) below(rec NodeRecord, n *pb.Node) ([]NodeRecord, error) {
	all, rows := []NodeRecord{rec}, 0
	types := map[Position]pb.NodeType{rec.Position: n.Type}
	for i := 0; i < len(all); i++ {
		walk := EdgeWalk{Node: all[i].Position}
		switch types[all[i].Position] {
		case prompt:
			walk.Type, walk.Incoming = respondsTo, true
		case response:
			walk.Type = invokes
		default:
			continue
		}
		for e, err := range c.Tx.Edges(walk) {
			if err != nil {
				return nil, err
			}
			if !e.Automatic {
				continue
			}
			child, childType := e.To, tool
			if walk.Incoming {
				child, childType = e.From, response
			}
			if rows += rowsPerNode + 3*rowsPerEdge; rows > MaxRowsPerApply {
				return nil, &Error{Kind: Exhausted, Reason: ReasonBudget, ResourceType: "node", ResourceName: n.Id,
					Message: "Node " + n.Id + " has too much below it for one cascade: delete its responses first"}
			}
			childRec, ok, err := c.Tx.NodeAt(child)
			if err != nil {
				return nil, err
			}
			if _, seen := types[child]; ok && !seen {
				types[child] = childType
				all = append(all, childRec)
			}
		}
	}
	return all, nil
}

// removeOrDoom removes a node when its rows fit into what this command may still touch, else leaves them to sweeps. Edges
// that another deletion has hidden go with it: no edge outlives its ends.
func (c *Change) removeOrDoom(rec NodeRecord, left *int) error {
	most := max(*left-rowsPerNode, 0) / rowsPerEdge
	all := c.Tx.Unhidden()
	edges, err := c.edgesOf(all, rec.Position, most+1)
	if err != nil {
		return err
	}
	if len(edges) > most {
		c.Tx.Doom(Doomed{Position: rec.Position})
		return nil
	}
	*left -= rowsPerNode + rowsPerEdge*len(edges)
	return c.remove(all, rec, edges)
}

// edgesOf lists up to most edges of a node, a self-loop once.
func (c *Change) edgesOf(v View, at Position, most int) ([]EdgeRecord, error) {
	var edges []EdgeRecord
	for _, incoming := range []bool{false, true} {
		for e, err := range v.Edges(EdgeWalk{Node: at, Incoming: incoming}) {
			if err != nil {
				return nil, err
			}
			if incoming && e.From == e.To {
				continue
			}
			if len(edges) == most {
				return edges, nil
			}
			edges = append(edges, e)
		}
	}
	return edges, nil
}

// remove removes a node and the given edges, which are all it has, with their events. seen is the view that holds them.
func (c *Change) remove(seen View, rec NodeRecord, edges []EdgeRecord) error {
	n, err := rec.Node()
	if err != nil {
		return err
	}
	for _, e := range edges {
		if err := c.unlink(seen, e); err != nil {
			return err
		}
	}
	c.Forget(rec.Created, rec.Ordinal)
	c.Tx.RemoveNode(rec)
	c.emitNode(pb.EventType_EVENT_TYPE_NODE_DELETED, rec, n)
	return nil
}

// closeChain links the prompts before and after one that is about to go, and moves the tail of the session.
func (c *Change) closeChain(rec NodeRecord) error {
	out, _, err := c.ownEdge(EdgeWalk{Node: rec.Position, Type: follows})
	if err != nil {
		return err
	}
	in, _, err := c.ownEdge(EdgeWalk{Node: rec.Position, Type: follows, Incoming: true})
	if err != nil {
		return err
	}
	state, err := sessionState(c.Tx, rec.Session)
	if err != nil {
		return err
	}
	if state.Tail == rec.Position {
		if state.Tail, err = c.tailWithout(rec, out.To); err != nil {
			return err
		}
		c.Tx.PutSession(state)
	}
	if in.Position == 0 || out.Position == 0 || in.From == out.To {
		return nil
	}
	later, err := c.endAt(in.From)
	if err != nil {
		return err
	}
	earlier, err := c.endAt(out.To)
	if err != nil {
		return err
	}
	for _, e := range []EdgeRecord{out, in} {
		if err := c.unlink(c.Tx, e); err != nil {
			return err
		}
	}
	c.follow(later, earlier)
	return nil
}

// tailWithout is the prompt that the next one follows when the last one goes: the one before it, or, when the edge to that
// was deleted, the newest that is left.
func (c *Change) tailWithout(rec NodeRecord, before Position) (Position, error) {
	if before != 0 {
		return before, nil
	}
	for e, err := range c.Tx.Walk(Walk{Session: rec.Session, Type: prompt}) {
		if err != nil {
			return 0, err
		}
		if e.Position != rec.Position {
			return e.Position, nil
		}
	}
	return 0, nil
}
