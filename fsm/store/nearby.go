package store

import (
	"bytes"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

const (
	// nearPositions is how far the next row may be for a cursor to be worth it, nearSteps how many rows it then passes
	// before it seeks. A prompt takes four positions, and an edge's row lies elsewhere.
	nearPositions = 256
	nearSteps     = 8
)

// nodeReader reads rows that lie near each other with a cursor, which a step brings to the next row: a tenth of a look-up.
type nodeReader struct {
	view    *View
	cursor  cursor // nil until two positions were near each other
	reverse bool
	placed  bool // cursor stands on a row
	last    graph.Position
}

var _ graph.NodeReader = (*nodeReader)(nil)

// NodeReader reads nodes by position.
func (v *View) NodeReader() graph.NodeReader { return &nodeReader{view: v} }

// Close gives the cursor back.
func (r *nodeReader) Close() {
	if r.cursor != nil {
		r.cursor.close()
		r.cursor = nil
	}
}

// NodeAt finds a node by its position; what it returns is valid until the next call.
func (r *nodeReader) NodeAt(pos graph.Position) (graph.NodeRecord, bool, error) {
	last := r.last
	r.last = pos
	if last == 0 || max(last, pos)-min(last, pos) > nearPositions {
		return r.view.NodeAt(pos)
	}
	key := positionKey(r.view.tenant, kindNode, pos)
	b, err := r.near(key, pos < last)
	if err != nil || b == nil {
		return graph.NodeRecord{}, false, at(key, err)
	}
	rec, _, err := decodeNode(b, pos)
	if err != nil {
		return graph.NodeRecord{}, false, at(key, err)
	}
	return r.view.visibleNode(rec)
}

// near moves the cursor to a key and returns its value, nil when there is none.
func (r *nodeReader) near(key []byte, reverse bool) ([]byte, error) {
	if r.cursor == nil || r.reverse != reverse {
		r.Close()
		c, err := r.view.rows.open(prefixRange(tenantKey(r.view.tenant, kindNode, 0)), reverse)
		if err != nil {
			return nil, err
		}
		r.cursor, r.reverse, r.placed = c, reverse, false
	}
	order := r.step(key)
	if order < 0 {
		to := key
		if reverse {
			to = extend(key, 0)
		}
		r.placed = r.cursor.seek(to)
		if order = 1; r.placed {
			order = bytes.Compare(r.cursor.key(), key)
		}
	}
	if err := r.cursor.err(); err != nil || order != 0 {
		return nil, err
	}
	return r.cursor.value()
}

// step moves on a few rows: 0 when the cursor has come to the key, above 0 when it has passed where the key would be, below
// 0 when it has to be sought.
func (r *nodeReader) step(key []byte) int {
	for steps := range nearSteps {
		if !r.placed {
			return -1
		}
		order := bytes.Compare(r.cursor.key(), key)
		if r.reverse {
			order = -order
		}
		switch {
		case order == 0, order > 0 && steps > 0:
			return order
		case order > 0:
			return -1
		}
		r.placed = r.cursor.next()
	}
	return -1
}
