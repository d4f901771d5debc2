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
	if err := shapeSession("session.id", s.GetId()); err != nil {
		return nil, err
	}
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
	n, err := s.rec.Node()
	if err != nil {
		return nil, err
	}
	return fill(n.GetSession(), state), nil
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
	at, all := s.rec.Position, c.Tx.Unhidden()
	seen, err := c.Tx.CountNodes(at, 0)
	if err != nil {
		return err
	}
	nodes, err := all.CountNodes(at, 0)
	if err != nil {
		return err
	}
	edges, err := c.Tx.CountSessionEdges(at)
	if err != nil {
		return err
	}
	// A member that a sweep is still at goes before its session.
	if seen != nodes || nodes*rowsPerNode+edges*rowsPerEdge > MaxRowsPerApply {
		c.Tx.Doom(Doomed{Position: at, Session: true})
		return nil
	}
	whole := &sweep{c: c, view: all, limit: MaxRowsPerApply, at: Doomed{Position: at, Session: true}}
	done, err := whole.session()
	if err == nil && !done {
		err = damagedf("session %s has more rows than its counters say", id)
	}
	return err
}
