package store

import (
	"errors"
	"fmt"
	"iter"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// View reads the graph of one tenant in one state: a graph.View. What it returns may be kept, and must not be changed.
type View struct {
	rows   reader
	tenant graph.Tenant
	hidden func() (*hidden, error)
	// check is asked every watchEvery rows that visited counts; nil is never asked.
	check   func() error
	visited int
}

var _ graph.View = (*View)(nil)

// watchEvery is how many rows a watched view reads between two looks at whether to go on.
const watchEvery = 256

// Watch makes long reads of the view end with the error of check, which they ask every 256 rows that they visit, whether
// hidden or not. Without it, or with nil, they read to their end.
func (v *View) Watch(check func() error) { v.check = check }

// visit counts one row, and tells whether to end there.
func (v *View) visit() error {
	if v.check == nil {
		return nil
	}
	if v.visited++; v.visited%watchEvery != 0 {
		return nil
	}
	return v.check()
}

// lookUp finds the position of an id.
func (v *View) lookUp(kind byte, id string) (graph.Position, bool, error) {
	key := idKey(v.tenant, kind, id)
	b, ok, err := v.rows.get(key)
	if err != nil || !ok {
		return 0, false, at(key, err)
	}
	n, err := decodeNumber(b)
	return graph.Position(n), err == nil, at(key, err)
}

// at names the key in an error.
func at(key []byte, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", Describe(key), err)
}

// NodeByID finds a node by its id.
func (v *View) NodeByID(id string) (graph.NodeRecord, bool, error) {
	pos, ok, err := v.lookUp(kindNodeID, id)
	if err != nil || !ok {
		return graph.NodeRecord{}, false, err
	}
	r, _, err := v.mustNode(pos)
	if err != nil {
		return graph.NodeRecord{}, false, err
	}
	return v.visibleNode(r)
}

// NodeAt finds a node by its position.
func (v *View) NodeAt(pos graph.Position) (graph.NodeRecord, bool, error) {
	r, _, ok, err := v.node(pos)
	if err != nil || !ok {
		return graph.NodeRecord{}, false, err
	}
	return v.visibleNode(r)
}

func (v *View) visibleNode(r graph.NodeRecord) (graph.NodeRecord, bool, error) {
	h, err := v.hidden()
	if err != nil || h.node(r) {
		return graph.NodeRecord{}, false, err
	}
	return r, true, nil
}

// node reads a row, hidden or not.
func (v *View) node(pos graph.Position) (graph.NodeRecord, pb.NodeType, bool, error) {
	key := positionKey(v.tenant, kindNode, pos)
	b, ok, err := v.rows.get(key)
	if err != nil || !ok {
		return graph.NodeRecord{}, 0, false, at(key, err)
	}
	r, typ, err := decodeNode(b, pos)
	return r, typ, err == nil, at(key, err)
}

// mustNode is node for a position that an index entry names.
func (v *View) mustNode(pos graph.Position) (graph.NodeRecord, pb.NodeType, error) {
	r, typ, ok, err := v.node(pos)
	if err == nil && !ok {
		err = damaged(positionKey(v.tenant, kindNode, pos), "missing, but in an index")
	}
	return r, typ, err
}

// EdgeByID finds an edge by its id.
func (v *View) EdgeByID(id string) (graph.EdgeRecord, bool, error) {
	pos, ok, err := v.lookUp(kindEdgeID, id)
	if err != nil || !ok {
		return graph.EdgeRecord{}, false, err
	}
	r, err := v.mustEdge(pos)
	if err != nil {
		return graph.EdgeRecord{}, false, err
	}
	return v.visibleEdge(r)
}

// EdgeAt finds an edge by its position.
func (v *View) EdgeAt(pos graph.Position) (graph.EdgeRecord, bool, error) {
	r, ok, err := v.edge(pos)
	if err != nil || !ok {
		return graph.EdgeRecord{}, false, err
	}
	return v.visibleEdge(r)
}

func (v *View) visibleEdge(r graph.EdgeRecord) (graph.EdgeRecord, bool, error) {
	h, err := v.hidden()
	if err != nil || h.edge(r) {
		return graph.EdgeRecord{}, false, err
	}
	return r, true, nil
}

func (v *View) edge(pos graph.Position) (graph.EdgeRecord, bool, error) {
	key := positionKey(v.tenant, kindEdge, pos)
	b, ok, err := v.rows.get(key)
	if err != nil || !ok {
		return graph.EdgeRecord{}, false, at(key, err)
	}
	r, err := decodeEdge(b, pos)
	return r, err == nil, at(key, err)
}

func (v *View) mustEdge(pos graph.Position) (graph.EdgeRecord, error) {
	r, ok, err := v.edge(pos)
	if err == nil && !ok {
		err = damaged(positionKey(v.tenant, kindEdge, pos), "missing, but in an index")
	}
	return r, err
}

// Session is the state of a session.
func (v *View) Session(pos graph.Position) (graph.SessionRecord, bool, error) {
	h, err := v.hidden()
	if err != nil || h.sessions[pos] || h.nodes[pos] {
		return graph.SessionRecord{}, false, err
	}
	return v.state(pos)
}

func (v *View) state(pos graph.Position) (graph.SessionRecord, bool, error) {
	key := positionKey(v.tenant, kindState, pos)
	b, ok, err := v.rows.get(key)
	if err != nil || !ok {
		return graph.SessionRecord{}, false, at(key, err)
	}
	r, err := decodeState(b, pos)
	return r, err == nil, at(key, err)
}

// Walk yields index entries in order: a seek per type, then one step per entry.
func (v *View) Walk(w graph.Walk) iter.Seq2[graph.Entry, error] {
	return func(yield func(graph.Entry, error) bool) {
		if err := v.walk(w, func(e graph.Entry) bool { return yield(e, nil) }); err != nil {
			yield(graph.Entry{}, err)
		}
	}
}

func (v *View) walk(w graph.Walk, yield func(graph.Entry) bool) error {
	prefix, err := v.walkPrefix(w)
	if err != nil {
		return err
	}
	b, ok := placeBounds(w)
	if !ok {
		return nil
	}
	h, err := v.hidden()
	if err != nil || w.Session != 0 && h.sessions[w.Session] {
		return err
	}
	var broken error
	m := merged{rows: v.rows, prefix: prefix, typ: byte(w.Type), bounds: b, reverse: w.OldestFirst}
	err = m.each(func(typ byte, rest []byte) bool {
		if len(rest) != placeBytes {
			broken = damaged(append(extend(prefix, typ), rest...), "bad length")
			return false
		}
		if broken = v.visit(); broken != nil {
			return false
		}
		e := graph.Entry{Place: parsePlace(rest), Type: pb.NodeType(typ)}
		gone, err := v.gone(h, w, e)
		if err != nil {
			broken = err
			return false
		}
		return gone || yield(e)
	})
	return errors.Join(err, broken)
}

// gone reports an entry whose node is hidden. Which session it belongs to only its row says.
func (v *View) gone(h *hidden, w graph.Walk, e graph.Entry) (bool, error) {
	if h.nodes[e.Position] {
		return true, nil
	}
	if len(h.sessions) == 0 || w.Session != 0 {
		return false, nil
	}
	r, _, err := v.mustNode(e.Position)
	return h.node(r), err
}

func (v *View) walkPrefix(w graph.Walk) ([]byte, error) {
	switch {
	case w.Attribute != nil && w.Session != 0:
		return nil, errors.New("walk: by session or by attribute, not both")
	case w.Attribute != nil:
		number, ok := attributeNumber(w.Attribute.Key)
		if !ok {
			return nil, fmt.Errorf("walk: attribute %q has no index", w.Attribute.Key)
		}
		return attributePrefix(v.tenant, number, w.Attribute.Value), nil
	case w.Session != 0:
		return sessionPrefix(v.tenant, w.Session), nil
	default:
		return timePrefix(v.tenant), nil
	}
}

// placeBounds turns times and the place to resume from into bounds on the end of keys. false is an empty walk.
func placeBounds(w graph.Walk) (bounds, bool) {
	var b bounds
	if w.Before != nil {
		b.from = be64(nil, ^ordered(*w.Before))
	}
	if w.After != nil {
		if *w.After == -1<<63 {
			b.to = nil
		} else {
			b.to = be64(nil, ^ordered(*w.After)+1)
		}
	}
	if w.From != nil {
		place := appendPlace(nil, *w.From)
		if w.OldestFirst {
			b.to = earlier(b.to, place)
		} else {
			b.from = later(b.from, append(place, 0))
		}
	}
	return b, b.to == nil || b.from == nil || string(b.from) < string(b.to)
}

func earlier(a, b []byte) []byte {
	if a == nil || string(b) < string(a) {
		return b
	}
	return a
}

func later(a, b []byte) []byte {
	if a == nil || string(b) > string(a) {
		return b
	}
	return a
}

// Edges yields the edges of a node in commit order.
func (v *View) Edges(w graph.EdgeWalk) iter.Seq2[graph.EdgeRecord, error] {
	return func(yield func(graph.EdgeRecord, error) bool) {
		if err := v.edges(w, func(r graph.EdgeRecord) bool { return yield(r, nil) }); err != nil {
			yield(graph.EdgeRecord{}, err)
		}
	}
}

func (v *View) edges(w graph.EdgeWalk, yield func(graph.EdgeRecord) bool) error {
	h, err := v.hidden()
	if err != nil {
		return err
	}
	var broken error
	err = v.adjacent(w, func(pos graph.Position) bool {
		r, err := v.mustEdge(pos)
		if err != nil {
			broken = err
			return false
		}
		return h.edge(r) || yield(r)
	})
	return errors.Join(err, broken)
}

// adjacent yields the positions of a node's edges in commit order, hidden or not.
func (v *View) adjacent(w graph.EdgeWalk, yield func(graph.Position) bool) error {
	kind := byte(kindOut)
	if w.Incoming {
		kind = kindIn
	}
	prefix := adjacencyPrefix(v.tenant, kind, w.Node)
	m := merged{rows: v.rows, prefix: prefix, typ: byte(w.Type)}
	if w.From != 0 {
		m.bounds.from = append(be64(nil, uint64(w.From)), 0)
	}
	var broken error
	err := m.each(func(typ byte, rest []byte) bool {
		p := parser{b: rest}
		pos := graph.Position(p.be64())
		p.end()
		if p.err != nil {
			broken = damaged(append(extend(prefix, typ), rest...), "bad length")
			return false
		}
		if broken = v.visit(); broken != nil {
			return false
		}
		return yield(pos)
	})
	return errors.Join(err, broken)
}
