package graph

import (
	"slices"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

const (
	session  = pb.NodeType_NODE_TYPE_SESSION
	prompt   = pb.NodeType_NODE_TYPE_PROMPT
	response = pb.NodeType_NODE_TYPE_RESPONSE
	tool     = pb.NodeType_NODE_TYPE_TOOL_INVOCATION
	agent    = pb.NodeType_NODE_TYPE_AGENT
	template = pb.NodeType_NODE_TYPE_TEMPLATE

	belongsTo    = pb.EdgeType_EDGE_TYPE_BELONGS_TO
	respondsTo   = pb.EdgeType_EDGE_TYPE_RESPONDS_TO
	follows      = pb.EdgeType_EDGE_TYPE_FOLLOWS
	invokes      = pb.EdgeType_EDGE_TYPE_INVOKES
	handledBy    = pb.EdgeType_EDGE_TYPE_HANDLED_BY
	instantiates = pb.EdgeType_EDGE_TYPE_INSTANTIATES
	inherits     = pb.EdgeType_EDGE_TYPE_INHERITS
	transfersTo  = pb.EdgeType_EDGE_TYPE_TRANSFERS_TO
	references   = pb.EdgeType_EDGE_TYPE_REFERENCES
)

// edgeEnds are the node types that an edge type joins; an empty list is any.
var edgeEnds = map[pb.EdgeType]struct{ from, to []pb.NodeType }{
	belongsTo:    {[]pb.NodeType{prompt, response, tool}, []pb.NodeType{session}},
	respondsTo:   {[]pb.NodeType{response}, []pb.NodeType{prompt}},
	follows:      {[]pb.NodeType{prompt}, []pb.NodeType{prompt}},
	invokes:      {[]pb.NodeType{response}, []pb.NodeType{tool}},
	handledBy:    {[]pb.NodeType{prompt, response}, []pb.NodeType{agent}},
	instantiates: {[]pb.NodeType{prompt}, []pb.NodeType{template}},
	inherits:     {[]pb.NodeType{template}, []pb.NodeType{template}},
	transfersTo:  {[]pb.NodeType{response}, []pb.NodeType{agent}},
	references:   {},
}

func fits(allowed []pb.NodeType, t pb.NodeType) bool {
	return len(allowed) == 0 || slices.Contains(allowed, t)
}

// CreateEdge links two nodes on a caller's behalf.
func (c *Change) CreateEdge(e *pb.Edge) (*pb.Edge, error) {
	if err := shapeEdge("edge", e); err != nil {
		return nil, err
	}
	if err := c.edgeIDFree(e.Id); err != nil {
		return nil, err
	}
	from, to, err := c.ends(e)
	if err != nil {
		return nil, err
	}
	e.CreatedAt = Timestamp(c.Instant)
	c.link(from, to, e, false)
	e.Revision = uint64(c.Revision)
	return e, c.touch(from.rec.Session, to.rec.Session)
}

func (c *Change) edgeIDFree(id string) error {
	taken, err := c.Tx.EdgeIDTaken(id)
	if err == nil && taken {
		err = exists("edge", id)
	}
	return err
}

// ends finds the nodes that an edge joins and checks that the edge fits them.
func (c *Change) ends(e *pb.Edge) (from, to end, err error) {
	if from, err = c.end(e.FromNodeId); err != nil {
		return from, to, err
	}
	if to, err = c.end(e.ToNodeId); err != nil {
		return from, to, err
	}
	allowed := edgeEnds[e.Type]
	if !fits(allowed.from, from.typ) {
		return from, to, invalid("edge.from_node_id", "%v does not start at %v", e.Type, from.typ)
	}
	if !fits(allowed.to, to.typ) {
		return from, to, invalid("edge.to_node_id", "%v does not lead to %v", e.Type, to.typ)
	}
	return from, to, nil
}

func (c *Change) end(id string) (end, error) { return c.find("node", "Node", id) }

// An end is a node that an edge starts from or leads to.
type end struct {
	rec NodeRecord
	head
}

// link stores an edge between two nodes and emits its event.
func (c *Change) link(from, to end, e *pb.Edge, automatic bool) {
	e.Revision = 0
	rec := EdgeRecord{
		Created: c.Revision, Modified: c.Revision, Position: c.Tx.NextPosition(),
		From: from.rec.Position, To: to.rec.Position, FromSession: from.rec.Session, ToSession: to.rec.Session,
		Automatic: automatic, Type: e.Type,
	}
	c.Tx.PutEdge(rec, e)
	c.emitEdge(pb.EventType_EVENT_TYPE_EDGE_CREATED, rec, e, sessionOf(from, to))
}

func sessionOf(ends ...end) string {
	for _, n := range ends {
		if n.session != "" {
			return n.session
		}
	}
	return ""
}

// auto makes the edge that a call makes by itself.
func (c *Change) auto(from, to end, t pb.EdgeType, properties map[string]string) {
	c.link(from, to, &pb.Edge{
		Id: c.NewID(), FromNodeId: from.id, ToNodeId: to.id, Type: t,
		CreatedAt: Timestamp(c.Instant), Properties: properties,
	}, true)
}

// DeleteEdge removes an edge by id.
func (c *Change) DeleteEdge(id string) error {
	rec, ok, err := c.Tx.EdgeByID(id)
	if err != nil {
		return err
	}
	if !ok {
		return missing("edge", "Edge", id)
	}
	if rec.Automatic && (rec.Type == belongsTo || rec.Type == respondsTo || rec.Type == invokes) {
		return precondition(ReasonAutomaticEdge, "edge", id, "Edge %s is %v of its node and goes only with it: delete the node", id, rec.Type)
	}
	if err := c.unlink(c.Tx, rec); err != nil {
		return err
	}
	return c.touch(rec.FromSession, rec.ToSession)
}

// unlink removes an edge and emits its event. seen is the view that still holds its ends.
func (c *Change) unlink(seen View, rec EdgeRecord) error {
	e, err := rec.Edge()
	if err != nil {
		return err
	}
	id, err := c.sessionID(seen, rec)
	if err != nil {
		return err
	}
	c.Tx.RemoveEdge(rec)
	c.emitEdge(pb.EventType_EVENT_TYPE_EDGE_DELETED, rec, e, id)
	return nil
}

// sessionID is the id of the session that an edge's events name: that of its start, else that of its end.
func (c *Change) sessionID(v View, rec EdgeRecord) (string, error) {
	at := rec.FromSession
	if at == 0 {
		at = rec.ToSession
	}
	if at == 0 {
		return "", nil
	}
	if at == c.named {
		return c.name, nil
	}
	node, ok, err := v.NodeAt(at)
	if err != nil || !ok {
		return "", err
	}
	n, err := node.Node()
	if err == nil {
		c.named, c.name = at, n.Id
	}
	return n.GetId(), err
}
