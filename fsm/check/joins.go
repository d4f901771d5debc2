package check

import (
	"strconv"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// A bundle is the edges out of, or into, one node: they come one after the other.
type bundle struct {
	open     bool
	tenant   graph.Tenant
	incoming bool
	node     graph.Position
	edges    int64
	// types of the edges, in order.
	types []pb.EdgeType
	// uses are the edges by which a template was used, of those that came in.
	uses int64
	// orders is how many tool calls the edges of a response say there were at least.
	orders uint64
}

// adjacent judges an entry of the edges of a node, and the node when its last one has come.
func (r *rules) adjacent(row store.AdjacentRow) {
	b := &r.edges
	if !b.open || b.tenant != row.Tenant || b.incoming != row.Incoming || b.node != row.Node {
		r.endOfEdges()
		*b = bundle{open: true, tenant: row.Tenant, incoming: row.Incoming, node: row.Node, types: b.types[:0]}
	}
	b.edges++
	if len(b.types) == 0 || b.types[len(b.types)-1] != row.Type {
		b.types = append(b.types, row.Type)
	}
	if r.later {
		return
	}
	used := row.Incoming && row.Type == pb.EdgeType_EDGE_TYPE_INSTANTIATES
	called := !row.Incoming && row.Type == pb.EdgeType_EDGE_TYPE_INVOKES
	if used || called {
		r.counted(row, used)
	}
}

// counted looks at an edge that a counter of its node has counted.
func (r *rules) counted(row store.AdjacentRow, used bool) {
	rec, ok, err := r.sn.Whole(row.Tenant).EdgeAt(row.Edge)
	if err != nil || !ok || !rec.Automatic {
		return // what is not there or not to be read is told elsewhere
	}
	if used {
		r.edges.uses++
		return
	}
	e, err := rec.Edge()
	if err != nil {
		return
	}
	if order, err := strconv.ParseUint(e.Properties["invocation_order"], 10, 31); err == nil {
		r.edges.orders = max(r.edges.orders, order+1)
	}
}

// endOfEdges judges the node of the bundle.
func (r *rules) endOfEdges() {
	b := r.edges
	r.edges.open = false
	if !b.open {
		return
	}
	key := store.NodeKey(b.tenant, b.node)
	rec, ok, err := r.sn.Whole(b.tenant).NodeAt(b.node)
	var n *pb.Node
	if err == nil && ok {
		n, err = rec.Node()
	}
	switch {
	case err != nil:
		return // told where the row is read
	case !ok:
		r.fault(FaultEnds, key, "is not there, but has %d edges", b.edges)
		return
	}
	r.books.Stored(claim(claimEnd, b.tenant, uint64(b.node), uint64(rec.Session), n.Id), b.edges)
	if r.later {
		return
	}
	fits, verb := graph.StartsAt, "starts"
	if b.incoming {
		fits, verb = graph.LeadsTo, "ends"
	}
	for _, t := range b.types {
		if !fits(t, n.Type) {
			r.fault(FaultEnds, key, "is %v, but %v %s there", n.Type, t, verb)
		}
	}
	if used := n.GetTemplate().GetUsageCount(); n.GetTemplate() != nil && used < b.uses {
		r.fault(FaultUses, key, "is a template that was used %d times, but %d prompts were made from it", used, b.uses)
	}
	if b.orders > 0 {
		next, err := r.sn.Invocations(b.tenant, b.node)
		if err == nil && next < b.orders {
			r.fault(FaultUses, store.InvocationsKey(b.tenant, b.node), "gives %d to the next tool call, but one has %d", next, b.orders-1)
		}
	}
}

// A family is the members of one session by its index: they come one after the other.
type family struct {
	open    bool
	tenant  graph.Tenant
	session graph.Position
	members int64
}

func (r *rules) member(row store.MemberRow) {
	f := &r.members
	if !f.open || f.tenant != row.Tenant || f.session != row.Session {
		r.endOfMembers()
		*f = family{open: true, tenant: row.Tenant, session: row.Session}
	}
	f.members++
}

// endOfMembers judges the session that the members of the family belong to.
func (r *rules) endOfMembers() {
	f := r.members
	r.members.open = false
	if !f.open {
		return
	}
	key := store.NodeKey(f.tenant, f.session)
	rec, ok, err := r.sn.Whole(f.tenant).NodeAt(f.session)
	var n *pb.Node
	if err == nil && ok {
		n, err = rec.Node()
	}
	switch {
	case err != nil:
	case !ok:
		r.fault(FaultMember, key, "is not there, but has %d members", f.members)
	case n.Type != pb.NodeType_NODE_TYPE_SESSION:
		r.fault(FaultMember, key, "is %v, no session, but has %d members", n.Type, f.members)
	default:
		r.books.Stored(claim(claimSession, f.tenant, uint64(f.session), 0, n.Id), f.members)
	}
}

// session judges the state of a session.
func (r *rules) session(row store.SessionRow) {
	t, s := row.Tenant, row.Record
	if r.later {
		return
	}
	key := store.SessionKey(t, s.Position)
	if s.State != graph.SessionActive && s.State != graph.SessionClosed {
		r.fault(FaultSession, key, "has the state %d, which is none", s.State)
	}
	// The sweep of a session takes its prompts and leaves the state to the end.
	if s.Tail == 0 || r.doomed[mark{t, s.Position, true}] {
		return
	}
	rec, ok, err := r.sn.View(t).NodeAt(s.Tail)
	var n *pb.Node
	if err == nil && ok {
		n, err = rec.Node()
	}
	switch {
	case err != nil:
	case !ok:
		r.fault(FaultSession, key, "has its last prompt at position %d, where none is", s.Tail)
	case n.Type != pb.NodeType_NODE_TYPE_PROMPT || rec.Session != s.Position:
		r.fault(FaultSession, key, "has its last prompt at position %d, where %v of session %d is", s.Tail, n.Type, rec.Session)
	}
}

// doom judges a deletion under way: it is of something, and what the sweep says to have taken is gone.
func (r *rules) doom(row store.DoomedRow) {
	t, d := row.Tenant, row.Doomed
	r.doomed[mark{t, d.Position, d.Session}] = true
	if r.later {
		return
	}
	key := store.NodeKey(t, d.Position)
	v := r.sn.Whole(t)
	rec, ok, err := v.NodeAt(d.Position)
	var n *pb.Node
	if err == nil && ok {
		n, err = rec.Node()
	}
	switch {
	case err != nil:
		return
	case !ok:
		r.fault(FaultDoomed, key, "is to be swept and is not there")
		return
	case d.Session != (n.Type == pb.NodeType_NODE_TYPE_SESSION):
		r.fault(FaultDoomed, key, "is %v and is to be swept as if it were not", n.Type)
		return
	case d.Session:
		err = r.sweptSession(key, v, d)
	default:
		err = r.sweptNode(key, v, d)
	}
	if err != nil {
		r.unreadable(key, err)
	}
}

// sweptSession: members go type by type, oldest first.
func (r *rules) sweptSession(key []byte, v graph.View, d graph.Doomed) error {
	gone, now := graph.SweptPhases(d)
	for _, typ := range gone {
		if err := r.left(key, v, graph.Walk{Session: d.Position, Type: typ}, d); err != nil {
			return err
		}
	}
	if now == 0 || d.Reached.Position == 0 {
		return nil
	}
	return r.left(key, v, graph.Walk{Session: d.Position, Type: now, OldestFirst: true}, d)
}

// left reports the first member that a sweep should have taken.
func (r *rules) left(key []byte, v graph.View, w graph.Walk, d graph.Doomed) error {
	for e, err := range v.Walk(w) {
		if err != nil {
			return err
		}
		reached := d.Reached
		if w.OldestFirst && (e.Time > reached.Time || e.Time == reached.Time && e.Position > reached.Position) {
			return nil
		}
		r.fault(FaultDoomed, key, "is swept up to %v in phase %d, but %v at position %d is still there", reached, d.Phase, e.Type, e.Position)
		return nil
	}
	return nil
}

// sweptNode: the edges out of it go first, then those into it.
func (r *rules) sweptNode(key []byte, v graph.View, d graph.Doomed) error {
	for phase, incoming := range []bool{false, true} {
		if uint8(phase) > d.Phase || uint8(phase) == d.Phase && d.Reached.Position == 0 {
			return nil
		}
		for e, err := range v.Edges(graph.EdgeWalk{Node: d.Position, Incoming: incoming}) {
			if err != nil {
				return err
			}
			if uint8(phase) < d.Phase || e.Position <= d.Reached.Position {
				r.fault(FaultDoomed, key, "is swept up to edge %d in phase %d, but the edge at position %d is still there", d.Reached.Position, d.Phase, e.Position)
			}
			break
		}
	}
	return nil
}
