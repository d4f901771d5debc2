package graph

import (
	"strconv"

	"google.golang.org/protobuf/proto"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Imported counts what an import did.
type Imported struct {
	NodesCreated, NodesUnchanged int64
	EdgesCreated, EdgesUnchanged int64
}

// Import writes records verbatim (D8): with their ids, times and counts, and without automatic edges. A record equal to
// the stored one stays as it is; a different one under the same id is refused.
func (c *Change) Import(nodes []*pb.Node, edges []*pb.Edge) (Imported, error) {
	var done Imported
	for i, n := range nodes {
		created, err := c.importNode(n)
		if err != nil {
			return done, Moved(err, "node.", element("nodes", i))
		}
		count(created, &done.NodesCreated, &done.NodesUnchanged)
	}
	for i, e := range edges {
		created, err := c.importEdge(e)
		if err != nil {
			return done, Moved(err, "edge.", element("edges", i))
		}
		count(created, &done.EdgesCreated, &done.EdgesUnchanged)
	}
	return done, nil
}

func count(created bool, yes, no *int64) {
	if created {
		*yes++
	} else {
		*no++
	}
}

func (c *Change) importNode(n *pb.Node) (created bool, err error) {
	if err := shape("node", n); err != nil {
		return false, err
	}
	n.Revision = 0
	rec, ok, err := c.Tx.NodeByID(n.Id)
	if err != nil {
		return false, err
	}
	if ok {
		return false, sameNode(rec, n)
	}
	if taken, err := c.Tx.NodeIDTaken(n.Id); err != nil || taken {
		return false, orExists(err, "node", n.Id)
	}
	if n.Type == session {
		return true, c.importSession(n)
	}
	at, err := c.membership(n)
	if err != nil {
		return false, err
	}
	c.stamp(n)
	made := c.put(n, at)
	if n.Type == prompt {
		return true, c.extend(made)
	}
	return true, nil
}

// extend makes an imported prompt the one that the next one follows, if it is the newest of its session. The edges that
// are imported after it know better: see extendAlong.
func (c *Change) extend(p end) error {
	state, err := sessionState(c.Tx, p.rec.Session)
	if err != nil {
		return err
	}
	if state.Tail != 0 {
		tail, err := c.endAt(state.Tail)
		if err != nil || p.time < tail.time {
			return err
		}
	}
	state.Tail = p.rec.Position
	c.Tx.PutSession(state)
	return nil
}

// extendAlong moves the end of a session's chain along an imported edge that starts behind it.
func (c *Change) extendAlong(later, earlier end) error {
	state, err := sessionState(c.Tx, earlier.rec.Session)
	if err != nil || state.Tail != earlier.rec.Position {
		return err
	}
	state.Tail = later.rec.Position
	c.Tx.PutSession(state)
	return nil
}

func orExists(err error, resource, id string) error {
	if err != nil {
		return err
	}
	return exists(resource, id)
}

func (c *Change) importSession(n *pb.Node) error {
	s := n.GetSession()
	if err := shapeSession("node.session.id", s.Id); err != nil {
		return err
	}
	state := SessionRecord{State: SessionActive, Updated: nanos(s.UpdatedAt)}
	if !s.IsActive {
		state.State = SessionClosed
	}
	if unset(s.CreatedAt) {
		s.CreatedAt = n.CreatedAt
	}
	if unset(s.CreatedAt) {
		s.CreatedAt = Timestamp(c.Instant)
	}
	if state.Updated == 0 {
		state.Updated = nanos(s.CreatedAt)
	}
	s.UpdatedAt, s.IsActive = nil, false
	state.Position = c.putSession(s).Position
	c.Tx.PutSession(state)
	return nil
}

// membership finds the session that a record belongs to: the one it names, else its parent's.
func (c *Change) membership(n *pb.Node) (Position, error) {
	if n.Type == agent || n.Type == template {
		n.SessionId = ""
		return 0, nil
	}
	if p := n.GetPrompt(); p != nil && n.SessionId != p.SessionId {
		return 0, invalid("node.session_id", "differs from prompt.session_id")
	}
	if n.SessionId == "" && n.Type != prompt {
		field, label, id, t := "node.response.prompt_id", "Prompt", n.GetResponse().GetPromptId(), prompt
		if n.Type == tool {
			field, label, id, t = "node.tool_invocation.response_id", "Response", n.GetToolInvocation().GetResponseId(), response
		}
		parent, err := c.parent(field, label, t, id)
		if err != nil {
			return 0, err
		}
		n.SessionId = parent.session
	}
	s, _, err := c.session(n.SessionId)
	return s.rec.Position, err
}

// stamp gives a record the instant for the times that it leaves unset.
func (c *Change) stamp(n *pb.Node) {
	now := Timestamp(c.Instant)
	if unset(n.CreatedAt) {
		n.CreatedAt = now
	}
	switch d := n.GetNodeData().(type) {
	case *pb.Node_Prompt:
		if unset(d.Prompt.Timestamp) {
			d.Prompt.Timestamp = n.CreatedAt
		}
	case *pb.Node_Response:
		if unset(d.Response.Timestamp) {
			d.Response.Timestamp = n.CreatedAt
		}
	case *pb.Node_ToolInvocation:
		if unset(d.ToolInvocation.Timestamp) {
			d.ToolInvocation.Timestamp = n.CreatedAt
		}
	case *pb.Node_Agent:
		if unset(d.Agent.CreatedAt) {
			d.Agent.CreatedAt = n.CreatedAt
		}
	case *pb.Node_Template:
		if unset(d.Template.CreatedAt) {
			d.Template.CreatedAt = n.CreatedAt
		}
	}
}

// sameNode refuses a record that differs from the stored one in anything but what it leaves unset and what the server
// moves by itself: when a session was last written and whether it is active, how often a template was used.
func sameNode(rec NodeRecord, n *pb.Node) error {
	old, err := rec.Node()
	if err != nil {
		return err
	}
	old.Revision = 0
	given := proto.CloneOf(n)
	if given.SessionId == "" || old.Type == agent || old.Type == template {
		given.SessionId = old.SessionId
	}
	if unset(given.CreatedAt) {
		given.CreatedAt = old.CreatedAt
	}
	switch d := given.GetNodeData().(type) {
	case *pb.Node_Session:
		d.Session.UpdatedAt, d.Session.IsActive = nil, false
		if unset(d.Session.CreatedAt) {
			d.Session.CreatedAt = old.GetSession().GetCreatedAt()
		}
	case *pb.Node_Prompt:
		if unset(d.Prompt.Timestamp) {
			d.Prompt.Timestamp = old.GetPrompt().GetTimestamp()
		}
	case *pb.Node_Response:
		if unset(d.Response.Timestamp) {
			d.Response.Timestamp = old.GetResponse().GetTimestamp()
		}
	case *pb.Node_ToolInvocation:
		if unset(d.ToolInvocation.Timestamp) {
			d.ToolInvocation.Timestamp = old.GetToolInvocation().GetTimestamp()
		}
	case *pb.Node_Agent:
		if unset(d.Agent.CreatedAt) {
			d.Agent.CreatedAt = old.GetAgent().GetCreatedAt()
		}
	case *pb.Node_Template:
		if unset(d.Template.CreatedAt) {
			d.Template.CreatedAt = old.GetTemplate().GetCreatedAt()
		}
		d.Template.UsageCount = old.GetTemplate().GetUsageCount()
	}
	if string(Encode(given)) != string(Encode(old)) {
		return &Error{Kind: Exists, ResourceType: "node", ResourceName: n.Id,
			Message: "node " + n.Id + " already exists and differs from the imported one"}
	}
	return nil
}

func (c *Change) importEdge(e *pb.Edge) (created bool, err error) {
	if err := shapeEdge("edge", e); err != nil {
		return false, err
	}
	e.Revision = 0
	rec, ok, err := c.Tx.EdgeByID(e.Id)
	if err != nil {
		return false, err
	}
	if ok {
		return false, sameEdge(rec, e)
	}
	if err := c.edgeIDFree(e.Id); err != nil {
		return false, err
	}
	from, to, err := c.ends(e)
	if err != nil {
		return false, err
	}
	if unset(e.CreatedAt) {
		e.CreatedAt = Timestamp(c.Instant)
	}
	automatic, err := madeByCall(from, to, e.Type)
	if err != nil {
		return false, err
	}
	c.link(from, to, e, automatic)
	switch {
	case e.Type == invokes:
		return true, c.raiseInvocations(from.rec.Position, e)
	case e.Type == follows && automatic:
		return true, c.extendAlong(from, to)
	default:
		return true, nil
	}
}

func sameEdge(rec EdgeRecord, e *pb.Edge) error {
	old, err := rec.Edge()
	if err != nil {
		return err
	}
	old.Revision = 0
	given := proto.CloneOf(e)
	if unset(given.CreatedAt) {
		given.CreatedAt = old.CreatedAt
	}
	if string(Encode(given)) != string(Encode(old)) {
		return &Error{Kind: Exists, ResourceType: "edge", ResourceName: e.Id,
			Message: "edge " + e.Id + " already exists and differs from the imported one"}
	}
	return nil
}

// madeByCall tells which imported edges stand for those that the Add calls make by themselves.
func madeByCall(from, to end, t pb.EdgeType) (bool, error) {
	switch t {
	case belongsTo:
		return from.rec.Session == to.rec.Position, nil
	case respondsTo:
		return from.typ == response && from.parent == to.id, nil
	case invokes:
		return to.typ == tool && to.parent == from.id, nil
	case follows:
		return from.rec.Session == to.rec.Session && from.rec.Position != to.rec.Position, nil
	case inherits:
		n, err := from.rec.Node()
		return n.GetTemplate().GetMetadata()[ParentKey] == to.id, err
	default:
		return false, nil
	}
}

// raiseInvocations keeps the orders of later tool invocations above an imported one.
func (c *Change) raiseInvocations(response Position, e *pb.Edge) error {
	order, err := strconv.ParseUint(e.Properties["invocation_order"], 10, 31)
	if err != nil {
		return nil // a property that is no order raises nothing
	}
	next, err := c.Tx.Invocations(response)
	if err == nil && uint32(order)+1 > next {
		c.Tx.SetInvocations(response, uint32(order)+1)
	}
	return err
}
