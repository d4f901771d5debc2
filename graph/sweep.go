package graph

import (
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Sweep removes up to limit rows of the deletion that was committed first and still has rows.
func (c *Change) Sweep(limit int) error {
	d, ok, err := c.Tx.NextDoomed()
	if err != nil || !ok {
		return err
	}
	s := &sweep{c: c, view: c.Tx.Unhidden(), limit: min(limit, MaxRowsPerApply), at: d}
	part := s.node
	if d.Session {
		part = s.session
	}
	done, err := part()
	switch {
	case err != nil:
		return err
	case done:
		c.Tx.Spared(d)
	default:
		c.Tx.Doom(s.at)
	}
	return nil
}

// A sweep removes the rows of one deletion, some at a time. It goes on where the last one stopped: looking again for what
// is left would pass everything that is gone.
type sweep struct {
	c     *Change
	view  View // holds what is doomed
	limit int  // rows that may still be touched
	at    Doomed
}

// sessionPhases is the order in which the members of a session go; the session itself is last.
var sessionPhases = [...]pb.NodeType{tool, response, prompt}

func (s *sweep) session() (done bool, err error) {
	for int(s.at.Phase) < len(sessionPhases) {
		left, err := s.members(sessionPhases[s.at.Phase])
		if err != nil || left {
			return false, err
		}
		s.at.Phase, s.at.Reached = s.at.Phase+1, Place{}
	}
	rec, ok, err := s.view.NodeAt(s.at.Position)
	if err != nil || !ok {
		return false, orDamaged(err, s.at.Position)
	}
	n, err := rec.Node()
	if err != nil {
		return false, err
	}
	if gone, err := s.edges(rec); err != nil || !gone {
		return false, err
	}
	s.c.Forget(rec.Created, rec.Ordinal)
	s.c.Tx.RemoveNode(rec)
	s.c.Tx.RemoveSession(s.at.Position)
	s.c.Emit(closed(n.Id, reasonDeleted), s.at.Position)
	return true, nil
}

// members removes members of one type, oldest first, and tells whether any may be left.
func (s *sweep) members(t pb.NodeType) (left bool, err error) {
	most := max(s.limit/rowsPerNode, 1)
	w := Walk{Session: s.at.Position, Type: t, OldestFirst: true}
	if s.at.Reached.Position != 0 {
		w.From = &s.at.Reached
	}
	var found []Entry
	for e, err := range s.view.Walk(w) {
		if err != nil {
			return false, err
		}
		if found = append(found, e); len(found) == most {
			break
		}
	}
	for _, e := range found {
		if s.limit <= 0 {
			return true, nil
		}
		rec, ok, err := s.view.NodeAt(e.Position)
		if err != nil || !ok {
			return false, orDamaged(err, e.Position)
		}
		if gone, err := s.record(rec); err != nil || !gone {
			return true, err
		}
		s.at.Reached = e.Place
	}
	return len(found) == most, nil
}

// record removes a node once all its edges are removed.
func (s *sweep) record(rec NodeRecord) (gone bool, err error) {
	if gone, err := s.edges(rec); err != nil || !gone {
		return false, err
	}
	s.limit -= rowsPerNode
	return true, s.c.remove(s.view, rec, nil)
}

// edges removes edges of a node and tells whether all are gone.
func (s *sweep) edges(rec NodeRecord) (gone bool, err error) {
	most := max(s.limit/rowsPerEdge, 1)
	edges, err := s.c.edgesOf(s.view, rec.Position, most+1)
	if err != nil {
		return false, err
	}
	for _, e := range edges[:min(len(edges), most)] {
		if err := s.c.unlink(s.view, e); err != nil {
			return false, err
		}
		s.limit -= rowsPerEdge
	}
	return len(edges) <= most, nil
}

// The phases of the sweep of a node with very many edges.
const (
	phaseOutgoing = 0
	phaseIncoming = 1
)

func (s *sweep) node() (done bool, err error) {
	rec, ok, err := s.view.NodeAt(s.at.Position)
	if err != nil || !ok {
		return false, orDamaged(err, s.at.Position)
	}
	for s.at.Phase <= phaseIncoming {
		left, err := s.adjacent()
		if err != nil || left {
			return false, err
		}
		s.at.Phase, s.at.Reached = s.at.Phase+1, Place{}
	}
	return s.record(rec)
}

// adjacent removes edges of one direction and tells whether any may be left.
func (s *sweep) adjacent() (left bool, err error) {
	most := max(s.limit/rowsPerEdge, 1)
	w := EdgeWalk{Node: s.at.Position, Incoming: s.at.Phase == phaseIncoming, From: s.at.Reached.Position}
	var found []EdgeRecord
	for e, err := range s.view.Edges(w) {
		if err != nil {
			return false, err
		}
		if found = append(found, e); len(found) == most {
			break
		}
	}
	for _, e := range found {
		if err := s.c.unlink(s.view, e); err != nil {
			return false, err
		}
		s.limit -= rowsPerEdge
		s.at.Reached.Position = e.Position
	}
	return len(found) == most, nil
}

func orDamaged(err error, at Position) error {
	if err != nil {
		return err
	}
	return damagedf("node at position %d is missing", at)
}
