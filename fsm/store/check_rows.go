package store

import (
	"bytes"
	"encoding/binary"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Row is a row as a check shows it: one of the types below, all of a tenant. What it points to is valid during the call.
type Row interface{ row() }

type (
	// NodeRow is a node that decodes, in the order of positions.
	NodeRow struct {
		Tenant graph.Tenant
		Record graph.NodeRecord
		Node   *pb.Node
	}
	// EdgeRow is an edge that decodes, in the order of positions.
	EdgeRow struct {
		Tenant graph.Tenant
		Record graph.EdgeRecord
		Edge   *pb.Edge
	}
	// AdjacentRow is an entry of the edges out of, or into, a node; in the order of nodes, types and edges.
	AdjacentRow struct {
		Tenant     graph.Tenant
		Incoming   bool
		Node, Edge graph.Position
		Type       pb.EdgeType
	}
	// MemberRow is an entry of the index by session; in the order of sessions and types.
	MemberRow struct {
		Tenant  graph.Tenant
		Session graph.Position
		graph.Entry
	}
	// SessionRow is the state of a session.
	SessionRow struct {
		Tenant graph.Tenant
		Record graph.SessionRecord
	}
	// DoomedRow is a deletion that is not swept whole.
	DoomedRow struct {
		Tenant graph.Tenant
		Doomed graph.Doomed
	}
	// TellingRow is an event of the feed of all tenants, in order.
	TellingRow FeedRow
	// IndexedRow is the entry of an event in the feed of its tenant, in order; it has no body.
	IndexedRow struct {
		Tenant graph.Tenant
		Event  EventRow
	}
	// OutcomeRow is what is remembered of a request.
	OutcomeRow struct {
		Tenant  graph.Tenant
		ID      [16]byte
		Expires int64
		Body    []byte
	}
)

func (NodeRow) row()     {}
func (EdgeRow) row()     {}
func (AdjacentRow) row() {}
func (MemberRow) row()   {}
func (SessionRow) row()  {}
func (DoomedRow) row()   {}
func (TellingRow) row()  {}
func (IndexedRow) row()  {}
func (OutcomeRow) row()  {}

// Lengths of whole keys, bytes.
const (
	feedKeyBytes       = 1 + 12
	tenantFeedKeyBytes = 1 + 4 + 12
	outcomeKeyBytes    = 1 + 4 + 16
	positionKeyBytes   = tenantPrefixBytes + 8
	adjacencyKeyBytes  = positionKeyBytes + 1 + 8
	memberKeyBytes     = positionKeyBytes + 1 + placeBytes
)

// row takes one row apart, whatever keyspace it is of.
func (c *check) row(key, value []byte) {
	switch key[0] {
	case spaceSystem:
		if !bytes.Equal(key, systemKey) {
			c.fault(FaultKey, key, "is no key of this store")
		}
	case spaceFeed:
		c.event(key, value)
	case spaceTenantFeed:
		c.eventIndex(key, value)
	case spaceOutcome:
		c.outcome(key, value)
	case spaceExpiry:
		c.index(key, value)
	case spaceDoomed:
		c.doom(key, value)
	case spaceTenant:
		c.ofTenant(key, value)
	default:
		c.fault(FaultKey, key, "is no key of this store")
	}
}

// ofTenant takes a row of a tenant's data apart.
func (c *check) ofTenant(key, value []byte) {
	if len(key) < tenantPrefixBytes {
		c.fault(FaultKey, key, "is no key of this store")
		return
	}
	t := graph.Tenant(binary.BigEndian.Uint32(key[1:]))
	switch kind := key[tenantPrefixBytes-1]; kind {
	case kindNode, kindEdge, kindState, kindInvocations:
		if len(key) != positionKeyBytes {
			c.fault(FaultKey, key, "is no key of this store")
			return
		}
		at := graph.Position(binary.BigEndian.Uint64(key[tenantPrefixBytes:]))
		if uint64(at) > c.sn.System().Position || at == 0 {
			c.fault(FaultPosition, key, "is at a position that was not handed out: %d were", c.sn.System().Position)
		}
		c.atPosition(t, kind, at, key, value)
	case kindNodeID, kindEdgeID:
		c.stored(key, value)
	case kindOut, kindIn:
		c.index(key, value)
		if len(key) == adjacencyKeyBytes {
			p := parser{b: key[tenantPrefixBytes:]}
			node, typ, edge := p.be64(), p.take(1), p.be64()
			c.show(AdjacentRow{t, kind == kindIn, graph.Position(node), graph.Position(edge), pb.EdgeType(typ[0])})
		}
	case kindSession:
		c.index(key, value)
		if len(key) == memberKeyBytes {
			p := parser{b: key[tenantPrefixBytes:]}
			session, typ, place := p.be64(), p.take(1), parsePlace(p.rest())
			c.show(MemberRow{t, graph.Position(session), graph.Entry{Place: place, Type: pb.NodeType(typ[0])}})
		}
	case kindTime, kindAttribute:
		c.index(key, value)
	case kindCounter:
		c.counter(key, value)
	default:
		c.fault(FaultKey, key, "is no key of this store")
	}
}

func (c *check) atPosition(t graph.Tenant, kind byte, at graph.Position, key, value []byte) {
	switch kind {
	case kindNode:
		c.node(t, at, key, value)
	case kindEdge:
		c.edge(t, at, key, value)
	case kindState:
		c.state(t, at, key, value)
	case kindInvocations:
		c.invocations(t, at, key, value)
	}
}

// index is an entry whose key says everything.
func (c *check) index(key, value []byte) {
	if len(value) != 0 {
		c.fault(FaultForm, key, "has a value of %d bytes, index entries have none", len(value))
	}
	c.stored(key, nil)
}

func (c *check) counter(key, value []byte) {
	n, err := decodeNumber(value)
	switch {
	case err != nil:
		c.fault(FaultValue, key, "%v", err)
		return
	case !bytes.Equal(encodeNumber(n), value):
		c.fault(FaultForm, key, "is not written as this program writes it")
	case n == 0:
		c.fault(FaultForm, key, "is 0, such a counter has no row")
	}
	c.count(key, n)
}

func (c *check) node(t graph.Tenant, at graph.Position, key, value []byte) {
	r, typ, err := decodeNode(value, at)
	if err != nil {
		c.fault(FaultValue, key, "%v", err)
		return
	}
	n := &pb.Node{}
	if err := proto.Unmarshal(r.Wire, n); err != nil {
		c.fault(FaultValue, key, "%v", err)
		return
	}
	switch {
	case n.Type != typ:
		c.fault(FaultValue, key, "is %v, its row says %v", n.Type, typ)
	case n.Revision != 0 || !bytes.Equal(graph.Encode(n), r.Wire) || !bytes.Equal(encodeNode(r, typ), value):
		c.fault(FaultForm, key, "is not written as this program writes it")
	}
	if !c.later {
		c.done.Nodes++
	}
	c.due(idKey(t, kindNodeID, n.Id), encodeNumber(uint64(at)))
	for _, k := range indexKeys(t, r, n) {
		c.due(k, nil)
	}
	c.counts(nodesKey(t, typ))
	if r.Session != 0 {
		c.counts(membersKey(t, r.Session, typ))
	}
	if typ == pb.NodeType_NODE_TYPE_SESSION {
		c.due(positionKey(t, kindState, at), nil)
	}
	c.show(NodeRow{t, r, n})
}

func (c *check) edge(t graph.Tenant, at graph.Position, key, value []byte) {
	r, err := decodeEdge(value, at)
	if err != nil {
		c.fault(FaultValue, key, "%v", err)
		return
	}
	e := &pb.Edge{}
	if err := proto.Unmarshal(r.Wire, e); err != nil {
		c.fault(FaultValue, key, "%v", err)
		return
	}
	switch {
	case e.Type != r.Type:
		c.fault(FaultValue, key, "is %v, its row says %v", e.Type, r.Type)
	case e.Revision != 0 || !bytes.Equal(graph.Encode(e), r.Wire) || !bytes.Equal(encodeEdge(r), value):
		c.fault(FaultForm, key, "is not written as this program writes it")
	}
	if !c.later {
		c.done.Edges++
	}
	c.due(idKey(t, kindEdgeID, e.Id), encodeNumber(uint64(at)))
	c.due(adjacencyKey(t, kindOut, r.From, r.Type, at), nil)
	c.due(adjacencyKey(t, kindIn, r.To, r.Type, at), nil)
	c.counts(counterKey(t, countEdges, 0))
	if r.FromSession != 0 {
		c.counts(touchingKey(t, r.FromSession))
	}
	if r.ToSession != 0 && r.ToSession != r.FromSession {
		c.counts(touchingKey(t, r.ToSession))
		if r.FromSession != 0 {
			c.counts(betweenKey(t, r.FromSession, r.ToSession))
		}
	}
	c.show(EdgeRow{t, r, e})
}

func (c *check) state(t graph.Tenant, at graph.Position, key, value []byte) {
	r, err := decodeState(value, at)
	if err != nil {
		c.fault(FaultValue, key, "%v", err)
		return
	}
	if !bytes.Equal(encodeState(r), value) {
		c.fault(FaultForm, key, "is not written as this program writes it")
	}
	if !c.later {
		c.done.Sessions++
	}
	c.stored(key, nil)
	if r.State == graph.SessionActive {
		c.counts(counterKey(t, countActive, 0))
	}
	c.show(SessionRow{t, r})
}

// invocations are of responses only.
func (c *check) invocations(t graph.Tenant, at graph.Position, key, value []byte) {
	n, err := decodeNumber(value)
	switch {
	case err != nil:
		c.fault(FaultValue, key, "%v", err)
		return
	case !bytes.Equal(encodeNumber(n), value) || n > 1<<32-1:
		c.fault(FaultForm, key, "is not written as this program writes it")
	}
	if c.later {
		return
	}
	row, ok, err := c.sn.reader().get(positionKey(t, kindNode, at))
	if err != nil {
		c.fault(FaultRead, key, "%v", err)
		return
	}
	if _, typ, err := decodeNode(row, at); !ok || err != nil || typ != pb.NodeType_NODE_TYPE_RESPONSE {
		c.fault(FaultStray, key, "is there, but no response is")
	}
}

func (c *check) doom(key, value []byte) {
	if len(key) != doomedBytes {
		c.fault(FaultKey, key, "is no key of this store")
		return
	}
	d, err := decodeDoomed(value)
	if err != nil {
		c.fault(FaultValue, key, "%v", err)
		return
	}
	if !bytes.Equal(encodeDoomed(d), value) {
		c.fault(FaultForm, key, "is not written as this program writes it")
	}
	t := graph.Tenant(binary.BigEndian.Uint32(key[1:]))
	mark := doomedMark{t, d.Position, d.Session}
	if c.doomed[mark] {
		c.fault(FaultStray, key, "is a second mark for position %d", d.Position)
	}
	c.doomed[mark] = true
	c.show(DoomedRow{t, d})
}

func (c *check) event(key, value []byte) {
	if len(key) != feedKeyBytes {
		c.fault(FaultKey, key, "is no key of this store")
		return
	}
	k, sys := parseEventKey(key), c.sn.System()
	first := c.last == EventKey{}
	switch {
	case !sys.Trimmed.Less(k):
		c.fault(FaultFeed, key, "is there, but events up to %v were trimmed", sys.Trimmed)
	case first && sys.Trimmed.Revision == k.Revision && k.Ordinal != sys.Trimmed.Ordinal+1,
		first && sys.Trimmed.Revision != k.Revision && k.Ordinal != 0,
		!first && c.last.Revision == k.Revision && k.Ordinal != c.last.Ordinal+1,
		!first && c.last.Revision != k.Revision && k.Ordinal != 0:
		c.fault(FaultFeed, key, "comes after a gap: the event before it in the feed is %v", c.last)
	}
	t, bodies, err := decodeEvents(value, nil)
	c.last = k.plus(len(bodies) - 1)
	if !c.later {
		c.done.Events += uint64(len(bodies))
	}
	if err != nil {
		c.fault(FaultValue, key, "%v", err)
		return
	}
	if !bytes.Equal(encodeEvents(t, bodies...), value) || len(bodies) > maxRowEvents {
		c.fault(FaultForm, key, "is not written as this program writes it")
	}
	c.due(tenantFeedKey(t, k), encodeNumber(uint64(len(bodies))))
	for n, body := range bodies {
		c.show(TellingRow{Key: k.plus(n), Tenant: t, Body: body})
	}
}

func (c *check) eventIndex(key, value []byte) {
	if len(key) != tenantFeedKeyBytes {
		c.fault(FaultKey, key, "is no key of this store")
		return
	}
	events, err := decodeEventIndex(parseEventKey(key), value, nil)
	c.stored(key, encodeNumber(uint64(len(events))))
	switch {
	case err != nil:
		c.fault(FaultValue, key, "%v", err)
		return
	case !bytes.Equal(encodeEventIndex(events...), value):
		c.fault(FaultForm, key, "is not written as this program writes it")
	}
	for _, e := range events {
		c.show(IndexedRow{graph.Tenant(binary.BigEndian.Uint32(key[1:])), e})
	}
}

func (c *check) outcome(key, value []byte) {
	if len(key) != outcomeKeyBytes {
		c.fault(FaultKey, key, "is no key of this store")
		return
	}
	t, id := graph.Tenant(binary.BigEndian.Uint32(key[1:])), [16]byte(key[5:])
	if !c.later {
		c.done.Outcomes++
	}
	c.counts(counterKey(t, countOutcomes, 0))
	expires, body, err := decodeOutcome(value)
	if err != nil {
		c.fault(FaultValue, key, "%v", err)
		return
	}
	if !bytes.Equal(encodeOutcome(expires, body), value) {
		c.fault(FaultForm, key, "is not written as this program writes it")
	}
	c.due(expiryKey(expires, t, id), nil)
	c.show(OutcomeRow{t, id, expires, body})
}
