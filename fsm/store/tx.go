package store

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Tx reads and changes the graph of one tenant within a Batch: a graph.Tx. It lives as long as the batch.
type Tx struct {
	View
	batch *Batch
}

var _ graph.Tx = (*Tx)(nil)

// NodeIDTaken reports whether a node has the id, hidden or not.
func (x *Tx) NodeIDTaken(id string) (bool, error) {
	_, ok, err := x.lookUp(kindNodeID, id)
	return ok, err
}

// EdgeIDTaken reports whether an edge has the id, hidden or not.
func (x *Tx) EdgeIDTaken(id string) (bool, error) {
	_, ok, err := x.lookUp(kindEdgeID, id)
	return ok, err
}

// NextPosition hands out the next position.
func (x *Tx) NextPosition() graph.Position {
	x.batch.system.Position++
	return graph.Position(x.batch.system.Position)
}

func wireOfNode(n *pb.Node) []byte {
	if n.Revision != 0 {
		n = proto.CloneOf(n)
		n.Revision = 0
	}
	return graph.Encode(n)
}

// indexKeys are the index entries of a node. No two are equal.
func indexKeys(t graph.Tenant, r graph.NodeRecord, n *pb.Node) [][]byte {
	typ := byte(n.Type)
	place := graph.Place{Time: graph.Time(n), Position: r.Position}
	attributes := graph.Attributes(n)
	out := make([][]byte, 0, 2+len(attributes))
	out = append(out, appendPlace(append(timePrefix(t), typ), place))
	if r.Session != 0 {
		out = append(out, appendPlace(append(sessionPrefix(t, r.Session), typ), place))
	}
	for _, a := range attributes {
		out = append(out, appendPlace(append(attributePrefix(t, numberOf(a), a.Value), typ), place))
	}
	return out
}

func numberOf(a graph.Attribute) byte {
	number, ok := attributeNumber(a.Key)
	if !ok {
		panic("store: no number for attribute " + a.Key)
	}
	return number
}

// PutNode stores a new node with its index entries and counters.
func (x *Tx) PutNode(rec graph.NodeRecord, node *pb.Node) {
	if node.Revision != 0 {
		node = proto.CloneOf(node)
		node.Revision = 0
	}
	t, typ, rows, room := x.tenant, node.Type, x.batch.rows, &x.batch.room
	row := room.keeps(graph.Append(appendNodeHead(room.value, rec, typ), node))
	rows.set(room.position(t, kindNode, rec.Position), row)
	rows.set(room.id(t, kindNodeID, node.Id), appendNumber(room.value, uint64(rec.Position)))
	place := graph.Place{Time: graph.Time(node), Position: rec.Position}
	rows.set(room.time(t, byte(typ), place), nil)
	if rec.Session != 0 {
		rows.set(room.session(t, rec.Session, byte(typ), place), nil)
	}
	for _, a := range graph.Attributes(node) {
		rows.set(room.attribute(t, numberOf(a), a.Value, byte(typ), place), nil)
	}
	x.countNode(rec, typ, 1)
}

func (x *Tx) countNode(rec graph.NodeRecord, typ pb.NodeType, by int64) {
	room := &x.batch.room
	x.batch.change(room.nodes(x.tenant, typ), by)
	if rec.Session != 0 {
		x.batch.change(room.members(x.tenant, rec.Session, typ), by)
	}
}

// decoded is the node of a record that this store returned.
func (x *Tx) decoded(rec graph.NodeRecord) *pb.Node {
	n, err := rec.Node()
	if err != nil {
		panic(fmt.Sprintf("store: tenant %d: %v", x.tenant, err))
	}
	return n
}

// ReplaceNode stores a changed node in place of old and moves its index entries.
func (x *Tx) ReplaceNode(old graph.NodeRecord, modified graph.Revision, node *pb.Node) {
	rec := old
	rec.Modified, rec.Wire = modified, wireOfNode(node)
	key := positionKey(x.tenant, kindNode, old.Position)
	if x.batch.replace(key, encodeNode(rec, node.Type)) == nil {
		panic("store: replacement of what is not there: " + Describe(key))
	}
	next := indexKeys(x.tenant, rec, node)
	kept := make(map[string]bool, len(next))
	for _, k := range next {
		kept[string(k)] = true
	}
	for _, k := range indexKeys(x.tenant, old, x.decoded(old)) {
		if kept[string(k)] {
			delete(kept, string(k))
			continue
		}
		x.batch.rows.remove(k)
	}
	for _, k := range next {
		if kept[string(k)] {
			x.batch.rows.set(k, nil)
		}
	}
}

// RemoveNode removes a node's row, index entries, counters, and a response's invocation counter.
func (x *Tx) RemoveNode(rec graph.NodeRecord) {
	node := x.decoded(rec)
	typ := node.Type
	x.removeRow(positionKey(x.tenant, kindNode, rec.Position))
	x.batch.rows.remove(idKey(x.tenant, kindNodeID, node.Id))
	for _, k := range indexKeys(x.tenant, rec, node) {
		x.batch.rows.remove(k)
	}
	x.countNode(rec, typ, -1)
	if typ == pb.NodeType_NODE_TYPE_RESPONSE {
		x.batch.take(positionKey(x.tenant, kindInvocations, rec.Position))
	}
}

// removeRow removes a row that must be there: counters would be wrong for ever after.
func (x *Tx) removeRow(key []byte) {
	if x.batch.take(key) == nil {
		panic("store: removal of what is not there: " + Describe(key))
	}
}

// PutEdge stores a new edge with its adjacency entries and counters.
func (x *Tx) PutEdge(rec graph.EdgeRecord, edge *pb.Edge) {
	if edge.Revision != 0 {
		edge = proto.CloneOf(edge)
		edge.Revision = 0
	}
	rec.Type = edge.Type
	rows, room := x.batch.rows, &x.batch.room
	row := room.keeps(graph.Append(appendEdgeHead(room.value, rec), edge))
	rows.set(room.position(x.tenant, kindEdge, rec.Position), row)
	rows.set(room.id(x.tenant, kindEdgeID, edge.Id), appendNumber(room.value, uint64(rec.Position)))
	rows.set(room.adjacency(x.tenant, kindOut, rec.From, rec.Type, rec.Position), nil)
	rows.set(room.adjacency(x.tenant, kindIn, rec.To, rec.Type, rec.Position), nil)
	x.countEdge(rec, 1)
}

// RemoveEdge removes an edge's row, adjacency entries and counters.
func (x *Tx) RemoveEdge(rec graph.EdgeRecord) {
	edge, err := rec.Edge()
	if err != nil {
		panic(fmt.Sprintf("store: tenant %d: %v", x.tenant, err))
	}
	x.removeRow(positionKey(x.tenant, kindEdge, rec.Position))
	rows := x.batch.rows
	rows.remove(idKey(x.tenant, kindEdgeID, edge.Id))
	rows.remove(adjacencyKey(x.tenant, kindOut, rec.From, rec.Type, rec.Position))
	rows.remove(adjacencyKey(x.tenant, kindIn, rec.To, rec.Type, rec.Position))
	x.countEdge(rec, -1)
}

// countEdge counts an edge once for each session that it has an end in.
func (x *Tx) countEdge(rec graph.EdgeRecord, by int64) {
	b := x.batch
	b.change(b.room.edges(x.tenant), by)
	if rec.FromSession != 0 {
		b.change(b.room.touching(x.tenant, rec.FromSession), by)
	}
	if rec.ToSession == 0 || rec.ToSession == rec.FromSession {
		return
	}
	b.change(b.room.touching(x.tenant, rec.ToSession), by)
	if rec.FromSession != 0 {
		b.change(betweenKey(x.tenant, rec.FromSession, rec.ToSession), by)
	}
}

// PutSession stores the changing part of a session and keeps the counter of active ones.
func (x *Tx) PutSession(rec graph.SessionRecord) {
	room := &x.batch.room
	key := room.position(x.tenant, kindState, rec.Position)
	before := x.batch.replace(key, appendState(room.value, rec))
	x.countActive(key, before, rec.State == graph.SessionActive)
}

// RemoveSession removes the changing part of a session.
func (x *Tx) RemoveSession(pos graph.Position) {
	key := positionKey(x.tenant, kindState, pos)
	before := x.batch.take(key)
	x.countActive(key, before, false)
}

func (x *Tx) countActive(key, before []byte, is bool) {
	was := false
	if before != nil {
		r, err := decodeState(before, 0)
		if err != nil {
			panic(fmt.Sprintf("store: write of %v", at(key, err)))
		}
		was = r.State == graph.SessionActive
	}
	switch {
	case is && !was:
		x.batch.change(counterKey(x.tenant, countActive, 0), 1)
	case was && !is:
		x.batch.change(counterKey(x.tenant, countActive, 0), -1)
	}
}

// Invocations is the next invocation_order of a response, 0 at first.
func (x *Tx) Invocations(response graph.Position) (uint32, error) {
	n, err := x.counter(positionKey(x.tenant, kindInvocations, response))
	return uint32(n), err
}

// SetInvocations stores the next invocation_order of a response.
func (x *Tx) SetInvocations(response graph.Position, next uint32) {
	x.batch.rows.set(positionKey(x.tenant, kindInvocations, response), encodeNumber(uint64(next)))
}

// CountSessionEdges is how many edges have an end in a session, hidden or not.
func (x *Tx) CountSessionEdges(session graph.Position) (int64, error) {
	return x.counter(touchingKey(x.tenant, session))
}

// Doom hides a node or a session with its members from every later read, or notes how far its sweep has come.
func (x *Tx) Doom(d graph.Doomed) {
	key, last := x.findDoomed(d)
	if key == nil {
		key = doomedKey(x.tenant, last+1)
	}
	x.batch.rows.set(key, encodeDoomed(d))
	delete(x.batch.known, x.tenant)
}

// Spared takes the mark away.
func (x *Tx) Spared(d graph.Doomed) {
	if key, _ := x.findDoomed(d); key != nil {
		x.batch.rows.remove(key)
		delete(x.batch.known, x.tenant)
	}
}

// findDoomed finds the row of a deletion, and the last sequence in use.
func (x *Tx) findDoomed(d graph.Doomed) (key []byte, last uint64) {
	err := eachDoomed(x.rows, x.tenant, func(k []byte, other graph.Doomed) bool {
		p := parser{b: k[doomedBytes-8:]}
		last = p.be64()
		if other.Position == d.Position && other.Session == d.Session {
			key = append([]byte(nil), k...)
		}
		return true
	})
	if err != nil {
		panic(fmt.Sprintf("store: tenant %d: search of what is doomed: %v", x.tenant, err))
	}
	return key, last
}

// NextDoomed is the deletion that was committed first and still has rows.
func (x *Tx) NextDoomed() (next graph.Doomed, ok bool, err error) {
	err = eachDoomed(x.rows, x.tenant, func(_ []byte, d graph.Doomed) bool {
		next, ok = d, true
		return false
	})
	return next, ok, err
}

// Unhidden reads the same state with what is doomed still in it.
func (x *Tx) Unhidden() graph.View {
	return &View{rows: x.rows, tenant: x.tenant, hidden: func() (*hidden, error) { return &hidden{}, nil }}
}
