package graph

import (
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Reasons in SESSION_CLOSED events.
const (
	reasonClosed  = "closed"
	reasonDeleted = "deleted"
)

// CreateSession opens a session.
func (c *Change) CreateSession(s *pb.Session) (*pb.Session, error) {
	taken, err := c.Tx.NodeIDTaken(s.Id)
	if err != nil {
		return nil, err
	}
	if taken {
		return nil, exists("session", s.Id)
	}
	s.CreatedAt, s.UpdatedAt, s.IsActive = Timestamp(c.Instant), nil, false
	rec := c.putSession(s)
	state := SessionRecord{Position: rec.Position, State: SessionActive, Updated: c.Instant}
	c.Tx.PutSession(state)
	return fill(s, state), nil
}

// putSession stores the node of a session, of which only id, created_at and metadata never change.
func (c *Change) putSession(s *pb.Session) NodeRecord {
	n := &pb.Node{Id: s.Id, Type: session, CreatedAt: s.CreatedAt, SessionId: s.Id, NodeData: &pb.Node_Session{Session: s}}
	rec := NodeRecord{Created: c.Revision, Modified: c.Revision, Position: c.Tx.NextPosition()}
	rec.Session = rec.Position
	rec.Ordinal = c.Emit(&logpb.StoredEvent{
		Type: pb.EventType_EVENT_TYPE_SESSION_CREATED, SessionId: s.Id, Detail: &logpb.EventDetail{Metadata: s.Metadata},
	}, rec.Position)
	c.Tx.PutNode(rec, n)
	return rec
}

// fill adds the changing part to a session as it is stored.
func fill(s *pb.Session, state SessionRecord) *pb.Session {
	s.UpdatedAt = Timestamp(state.Updated)
	s.IsActive = state.State == SessionActive
	return s
}

// CloseSession ends a session; closing a closed one changes nothing.
func (c *Change) CloseSession(id string) (*pb.Session, error) {
	s, state, err := c.session(id)
	if err != nil {
		return nil, err
	}
	if state.State == SessionActive {
		state.State, state.Updated = SessionClosed, c.Instant
		c.Tx.PutSession(state)
		c.Emit(closed(id, reasonClosed), state.Position)
	}
	return fill(s.node.GetSession(), state), nil
}

func closed(id, reason string) *logpb.StoredEvent {
	return &logpb.StoredEvent{Type: pb.EventType_EVENT_TYPE_SESSION_CLOSED, SessionId: id, Reason: reason}
}

// DeleteSession deletes a session with all that belongs to it. The rows of a large one are left to sweeps.
func (c *Change) DeleteSession(id string) error {
	s, _, err := c.session(id)
	if err != nil {
		return err
	}
	at := s.rec.Position
	nodes, err := c.Tx.CountNodes(at, 0)
	if err != nil {
		return err
	}
	edges, err := c.Tx.CountSessionEdges(at)
	if err != nil {
		return err
	}
	if nodes*rowsPerNode+edges*rowsPerEdge > MaxRowsPerApply {
		c.Tx.Doom(Doomed{Position: at, Session: true})
		return nil
	}
	_, err = c.sweepSession(c.Tx, at, MaxRowsPerApply)
	return err
}

// Sweep removes up to limit rows of the deletion that was committed first and still has rows.
func (c *Change) Sweep(limit int) error {
	d, ok, err := c.Tx.NextDoomed()
	if err != nil || !ok {
		return err
	}
	sweep := c.sweepNode
	if d.Session {
		sweep = c.sweepSession
	}
	done, err := sweep(c.Tx.Unhidden(), d.Position, limit)
	if err == nil && done {
		c.Tx.Spared(d)
	}
	return err
}

// sweepSession removes members until the rows it touched reach limit, then, when none is left, the session itself.
func (c *Change) sweepSession(v View, at Position, limit int) (done bool, err error) {
	for _, t := range []pb.NodeType{tool, response, prompt} {
		for limit > 0 {
			rec, ok, err := oldest(v, Walk{Session: at, Type: t, OldestFirst: true})
			if err != nil {
				return false, err
			}
			if !ok {
				break
			}
			if _, err := c.sweepRecord(v, rec, &limit); err != nil {
				return false, err
			}
		}
	}
	if limit <= 0 {
		return false, nil
	}
	rec, ok, err := v.NodeAt(at)
	if err != nil || !ok {
		return false, orDamaged(err, at)
	}
	n, err := rec.Node()
	if err != nil {
		return false, err
	}
	if gone, err := c.sweepEdges(v, rec, &limit); err != nil || !gone {
		return false, err
	}
	c.Forget(rec.Created, rec.Ordinal)
	c.Tx.RemoveNode(rec)
	c.Tx.RemoveSession(at)
	c.Emit(closed(n.Id, reasonDeleted), at)
	return true, nil
}

func orDamaged(err error, at Position) error {
	if err != nil {
		return err
	}
	return damagedf("node at position %d is missing", at)
}

func oldest(v View, w Walk) (NodeRecord, bool, error) {
	for e, err := range v.Walk(w) {
		if err != nil {
			return NodeRecord{}, false, err
		}
		return v.NodeAt(e.Position)
	}
	return NodeRecord{}, false, nil
}

func (c *Change) sweepNode(v View, at Position, limit int) (done bool, err error) {
	rec, ok, err := v.NodeAt(at)
	if err != nil || !ok {
		return false, orDamaged(err, at)
	}
	return c.sweepRecord(v, rec, &limit)
}

// sweepRecord removes a node once it has removed all its edges; limit is what may still be touched.
func (c *Change) sweepRecord(v View, rec NodeRecord, limit *int) (done bool, err error) {
	if gone, err := c.sweepEdges(v, rec, limit); err != nil || !gone {
		return false, err
	}
	*limit -= rowsPerNode
	return true, c.remove(v, rec, nil)
}

func (c *Change) sweepEdges(v View, rec NodeRecord, limit *int) (gone bool, err error) {
	most := max(*limit/rowsPerEdge, 1)
	edges, err := c.edgesOf(v, rec.Position, most+1)
	if err != nil {
		return false, err
	}
	gone = len(edges) <= most
	for _, e := range edges[:min(len(edges), most)] {
		if err := c.unlink(v, e); err != nil {
			return false, err
		}
		*limit -= rowsPerEdge
	}
	return gone, nil
}
