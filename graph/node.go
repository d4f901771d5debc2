package graph

import (
	"strconv"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// CreateNodes makes nodes with the edges of their types, all or none. A node may refer to an earlier one.
func (c *Change) CreateNodes(nodes []*pb.Node) ([]*pb.Node, error) {
	for i, n := range nodes {
		if _, err := c.createNode(n); err != nil {
			return nil, Moved(err, "node.", element("nodes", i))
		}
	}
	return nodes, nil
}

func (c *Change) createNode(n *pb.Node) (end, error) {
	if err := shape("node", n); err != nil {
		return end{}, err
	}
	taken, err := c.Tx.NodeIDTaken(n.Id)
	if err != nil {
		return end{}, err
	}
	if taken {
		return end{}, exists("node", n.Id)
	}
	n.CreatedAt, n.SessionId = Timestamp(c.Instant), ""
	switch d := n.GetNodeData().(type) {
	case *pb.Node_Prompt:
		return c.createPrompt(n, d.Prompt)
	case *pb.Node_Response:
		return c.createResponse(n, d.Response)
	case *pb.Node_ToolInvocation:
		return c.createTool(n, d.ToolInvocation)
	case *pb.Node_Agent:
		d.Agent.CreatedAt = Timestamp(c.Instant)
		return c.put(n, 0), nil
	case *pb.Node_Template:
		return c.createTemplate(n, d.Template)
	default:
		return end{}, invalid("node.session", "sessions are made by CreateSession")
	}
}

// put stores a new node that belongs to the session at a position, and emits its event.
func (c *Change) put(n *pb.Node, session Position) end {
	rec := NodeRecord{Created: c.Revision, Modified: c.Revision, Position: c.Tx.NextPosition(), Session: session}
	n.Revision = 0
	rec.Ordinal = c.emitNode(pb.EventType_EVENT_TYPE_NODE_CREATED, rec, n)
	c.Tx.PutNode(rec, n)
	n.Revision = uint64(c.Revision)
	return end{rec, headOf(n)}
}

func (c *Change) createPrompt(n *pb.Node, p *pb.PromptNode) (end, error) {
	s, state, err := c.session(p.SessionId)
	if err != nil {
		return end{}, err
	}
	if state.State != SessionActive {
		return end{}, precondition(ReasonSessionClosed, "session", p.SessionId, "Session %s is closed and takes no new prompts", p.SessionId)
	}
	at, err := c.own("node.prompt.timestamp", nanos(p.Timestamp))
	if err != nil {
		return end{}, err
	}
	p.Timestamp, n.SessionId = Timestamp(at), p.SessionId
	made := c.put(n, s.rec.Position)
	c.auto(made, s, belongsTo, nil)
	if state.Tail != 0 {
		before, err := c.endAt(state.Tail)
		if err != nil {
			return end{}, err
		}
		c.follow(made, before)
	}
	state.Tail, state.Updated = made.rec.Position, c.Instant
	c.Tx.PutSession(state)
	return made, nil
}

// own is a record's own time: the instant when it has none, and refused when it lies too far ahead.
func (c *Change) own(field string, at int64) (int64, error) {
	if at == 0 {
		return c.Instant, nil
	}
	if at > c.Instant && at-c.Instant > int64(MaxAhead) {
		return 0, invalid(field, "is more than %v ahead of the server", MaxAhead)
	}
	return at, nil
}

// follow links a prompt to the one before it.
func (c *Change) follow(later, earlier end) {
	ms := milliseconds(earlier.time, later.time)
	c.auto(later, earlier, follows, map[string]string{"time_delta_ms": strconv.FormatInt(ms, 10)})
}

// milliseconds is how long it is from one time to another, both Unix nanoseconds, without fractions. The nanoseconds
// between them may exceed int64.
func milliseconds(from, to int64) int64 {
	whole, rest := to/1e6-from/1e6, to%1e6-from%1e6
	whole, rest = whole+rest/1e6, rest%1e6
	switch {
	case whole > 0 && rest < 0:
		return whole - 1
	case whole < 0 && rest > 0:
		return whole + 1
	default:
		return whole
	}
}

func (c *Change) endAt(at Position) (end, error) {
	rec, ok, err := c.Tx.NodeAt(at)
	if err != nil {
		return end{}, err
	}
	if !ok {
		return end{}, damagedf("node at position %d is missing", at)
	}
	h, err := rec.head()
	return end{rec, h}, err
}

func (c *Change) createResponse(n *pb.Node, r *pb.ResponseNode) (end, error) {
	parent, err := c.parent("node.response.prompt_id", "Prompt", prompt, r.PromptId)
	if err != nil {
		return end{}, err
	}
	made, s, err := c.putBelow(n, parent, "node.response.timestamp", &r.Timestamp)
	if err != nil {
		return end{}, err
	}
	c.auto(made, parent, respondsTo, respondsToProperties(r))
	c.auto(made, s, belongsTo, nil)
	return made, c.touch(s.rec.Position)
}

// putBelow stores a new node in the session of the one that it hangs below, and returns it with that session.
func (c *Change) putBelow(n *pb.Node, parent end, field string, timestamp **timestamppb.Timestamp) (made, s end, err error) {
	at, err := c.own(field, nanos(*timestamp))
	if err != nil {
		return made, s, err
	}
	if s, err = c.endAt(parent.rec.Session); err != nil {
		return made, s, err
	}
	*timestamp, n.SessionId = Timestamp(at), s.id
	return c.put(n, s.rec.Position), s, nil
}

func respondsToProperties(r *pb.ResponseNode) map[string]string {
	return map[string]string{
		"latency_ms": strconv.FormatInt(r.GetMetadata().GetLatencyMs(), 10),
		"model":      r.GetMetadata().GetModel(),
	}
}

func (c *Change) createTool(n *pb.Node, t *pb.ToolInvocationNode) (end, error) {
	parent, err := c.parent("node.tool_invocation.response_id", "Response", response, t.ResponseId)
	if err != nil {
		return end{}, err
	}
	made, s, err := c.putBelow(n, parent, "node.tool_invocation.timestamp", &t.Timestamp)
	if err != nil {
		return end{}, err
	}
	order, err := c.Tx.Invocations(parent.rec.Position)
	if err != nil {
		return end{}, err
	}
	c.Tx.SetInvocations(parent.rec.Position, order+1)
	c.auto(parent, made, invokes, invokesProperties(order, t))
	c.auto(made, s, belongsTo, nil)
	return made, c.touch(s.rec.Position)
}

func invokesProperties(order uint32, t *pb.ToolInvocationNode) map[string]string {
	return map[string]string{
		"invocation_order": strconv.FormatUint(uint64(order), 10),
		"success":          strconv.FormatBool(t.Status == "success"),
	}
}

// UpdateNode replaces the data of a node; expected, when not nil, must be its revision.
func (c *Change) UpdateNode(n *pb.Node, expected *uint64) (*pb.Node, error) {
	if err := shape("node", n); err != nil {
		return nil, err
	}
	if n.Type == session {
		return nil, invalid("node.session", "sessions are changed by the session calls")
	}
	rec, old, err := c.node("node", "Node", n.Id)
	if err != nil {
		return nil, err
	}
	if expected != nil && *expected != uint64(rec.Modified) {
		return nil, &Error{
			Kind: Stale, ResourceType: "node", ResourceName: n.Id,
			Message: "Node " + n.Id + " is at revision " + strconv.FormatUint(uint64(rec.Modified), 10) +
				", not " + strconv.FormatUint(*expected, 10),
		}
	}
	if err := keep(old, n); err != nil {
		return nil, err
	}
	c.emitNode(pb.EventType_EVENT_TYPE_NODE_UPDATED, rec, n)
	c.Tx.ReplaceNode(rec, c.Revision, n)
	if err := c.restate(rec, n); err != nil {
		return nil, err
	}
	n.Revision = uint64(c.Revision)
	return n, c.touch(rec.Session)
}

// keep carries over to a replacement what an update cannot change, and refuses one that tries.
func keep(old, n *pb.Node) error {
	if old.Type != n.Type {
		return invalid("node.type", "is %v and cannot become %v", old.Type, n.Type)
	}
	n.CreatedAt, n.SessionId, n.Revision = old.CreatedAt, old.SessionId, 0
	k := &keeper{}
	switch d := n.GetNodeData().(type) {
	case *pb.Node_Prompt:
		was := old.GetPrompt()
		k.id("node.prompt.session_id", was.SessionId, &d.Prompt.SessionId)
		k.time("node.prompt.timestamp", was.Timestamp, &d.Prompt.Timestamp)
	case *pb.Node_Response:
		was := old.GetResponse()
		k.id("node.response.prompt_id", was.PromptId, &d.Response.PromptId)
		k.time("node.response.timestamp", was.Timestamp, &d.Response.Timestamp)
	case *pb.Node_ToolInvocation:
		was := old.GetToolInvocation()
		k.id("node.tool_invocation.response_id", was.ResponseId, &d.ToolInvocation.ResponseId)
		k.time("node.tool_invocation.timestamp", was.Timestamp, &d.ToolInvocation.Timestamp)
	case *pb.Node_Agent:
		d.Agent.CreatedAt = old.GetAgent().CreatedAt
	case *pb.Node_Template:
		was := old.GetTemplate()
		d.Template.CreatedAt, d.Template.UsageCount = was.CreatedAt, was.UsageCount
		k.parent(was, d.Template)
	}
	return k.err
}

// restate brings the properties of the edge that a response or tool made by itself in line with its new data.
func (c *Change) restate(rec NodeRecord, n *pb.Node) error {
	var walk EdgeWalk
	switch n.GetNodeData().(type) {
	case *pb.Node_Response:
		walk = EdgeWalk{Node: rec.Position, Type: respondsTo}
	case *pb.Node_ToolInvocation:
		walk = EdgeWalk{Node: rec.Position, Type: invokes, Incoming: true}
	default:
		return nil
	}
	own, e, err := c.ownEdge(walk)
	if err != nil || e == nil {
		return err
	}
	if e.Properties == nil {
		e.Properties = map[string]string{}
	}
	if r := n.GetResponse(); r != nil {
		for k, v := range respondsToProperties(r) {
			e.Properties[k] = v
		}
	} else {
		e.Properties["success"] = strconv.FormatBool(n.GetToolInvocation().Status == "success")
	}
	e.Revision = 0
	wire := Encode(e)
	if string(wire) == string(own.Wire) {
		return nil
	}
	c.Tx.RemoveEdge(own)
	own.Modified, own.Wire = c.Revision, wire
	c.Tx.PutEdge(own, e)
	return nil
}

// ownEdge is the first automatic edge of a walk, nil when there is none.
func (c *Change) ownEdge(w EdgeWalk) (EdgeRecord, *pb.Edge, error) {
	for rec, err := range c.Tx.Edges(w) {
		if err != nil {
			return rec, nil, err
		}
		if rec.Automatic {
			e, err := rec.Edge()
			return rec, e, err
		}
	}
	return EdgeRecord{}, nil, nil
}
