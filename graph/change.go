package graph

import (
	"fmt"

	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// A Change is one command at work on the state of its tenant. Its methods are the mutations of the graph. One that
// returns an *Error may have written already: the caller drops what it wrote.
type Change struct {
	Tx Tx
	// Instant is the moment of the commit, Unix nanoseconds; it only grows from command to command.
	Instant  int64
	Revision Revision
	// NewID makes the ids of edges that a call makes by itself: the same on every replica, unused, not to be guessed.
	NewID func() string
	// Emit appends an event of the session at a position (0: none) to the feed and returns its ordinal in the revision.
	Emit func(e *logpb.StoredEvent, session Position) uint32
	// Forget takes the detail away from the event that told of a record's creation.
	Forget func(created Revision, ordinal uint32)

	// named is the session whose id was looked up last, name its id: many edges of one session go together.
	named Position
	name  string
}

// node finds a node by id or refuses.
func (c *Change) node(resource, label, id string) (NodeRecord, *pb.Node, error) {
	rec, ok, err := c.Tx.NodeByID(id)
	if err != nil {
		return rec, nil, err
	}
	if !ok {
		return rec, nil, missing(resource, label, id)
	}
	n, err := rec.Node()
	return rec, n, err
}

// find is node for those who need no more than the head.
func (c *Change) find(resource, label, id string) (end, error) {
	rec, ok, err := c.Tx.NodeByID(id)
	if err != nil {
		return end{}, err
	}
	if !ok {
		return end{}, missing(resource, label, id)
	}
	h, err := rec.head()
	return end{rec, h}, err
}

// parent finds the node that a new one refers to and checks its type.
func (c *Change) parent(field, label string, t pb.NodeType, id string) (end, error) {
	p, err := c.find(resourceOf(t), label, id)
	if err != nil {
		return end{}, err
	}
	if p.typ != t {
		return end{}, invalid(field, "%s is %v, not %v", id, p.typ, t)
	}
	return p, nil
}

func resourceOf(t pb.NodeType) string {
	switch t {
	case session:
		return "session"
	case prompt:
		return "prompt"
	case response:
		return "response"
	case template:
		return "template"
	default:
		return "node"
	}
}

// session finds a session with its state.
func (c *Change) session(id string) (end, SessionRecord, error) {
	s, err := c.find("session", "Session", id)
	if err != nil {
		return s, SessionRecord{}, err
	}
	if s.typ != session {
		return s, SessionRecord{}, missing("session", "Session", id)
	}
	state, err := sessionState(c.Tx, s.rec.Position)
	return s, state, err
}

func sessionState(v View, at Position) (SessionRecord, error) {
	state, ok, err := v.Session(at)
	if err == nil && !ok {
		err = fmt.Errorf("session at position %d has no state", at)
	}
	return state, err
}

// touch moves updated_at of the sessions at the given positions; 0 is none.
func (c *Change) touch(sessions ...Position) error {
	for i, at := range sessions {
		if at == 0 || (i > 0 && at == sessions[0]) {
			continue
		}
		state, err := sessionState(c.Tx, at)
		if err != nil {
			return err
		}
		state.Updated = c.Instant
		c.Tx.PutSession(state)
	}
	return nil
}

func (c *Change) emitEdge(t pb.EventType, rec EdgeRecord, e *pb.Edge, sessionID string) {
	at := rec.FromSession
	if at == 0 {
		at = rec.ToSession
	}
	c.Emit(&logpb.StoredEvent{
		Type: t, EdgeId: e.Id, EdgeType: e.Type, FromNodeId: e.FromNodeId, ToNodeId: e.ToNodeId, SessionId: sessionID,
	}, at)
}

func (c *Change) emitNode(t pb.EventType, rec NodeRecord, n *pb.Node) uint32 {
	e := &logpb.StoredEvent{Type: t, NodeId: n.Id, NodeType: n.Type, SessionId: n.SessionId}
	if t == pb.EventType_EVENT_TYPE_NODE_CREATED {
		e.Detail = detail(n)
	}
	return c.Emit(e, rec.Session)
}

// detail is what the creation event of a node tells beyond ids and types.
func detail(n *pb.Node) *logpb.EventDetail {
	switch d := n.GetNodeData().(type) {
	case *pb.Node_Prompt:
		return &logpb.EventDetail{ContentLength: int64(len(d.Prompt.Content)), Model: d.Prompt.GetMetadata().GetModel()}
	case *pb.Node_Response:
		return &logpb.EventDetail{
			PromptId: d.Response.PromptId, ContentLength: int64(len(d.Response.Content)),
			TokenUsage: d.Response.TokenUsage, LatencyMs: d.Response.GetMetadata().GetLatencyMs(),
		}
	case *pb.Node_ToolInvocation:
		return &logpb.EventDetail{
			ToolName: d.ToolInvocation.ToolName, Status: d.ToolInvocation.Status, DurationMs: d.ToolInvocation.DurationMs,
		}
	default:
		return nil
	}
}
