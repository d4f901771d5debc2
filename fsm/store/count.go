package store

import (
	"errors"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// counter reads a counter; one that is not there is 0.
func (v *View) counter(key []byte) (int64, error) {
	b, ok, err := v.rows.get(key)
	if err != nil || !ok {
		return 0, at(key, err)
	}
	n, err := decodeNumber(b)
	return int64(n), at(key, err)
}

// sum adds up the counters under a prefix that keep accepts; nil accepts all.
func (v *View) sum(prefix []byte, keep func(rest []byte) bool) (total int64, err error) {
	err = scan(v.rows, prefixRange(prefix), func(key, value []byte) (bool, error) {
		if err := v.visit(); err != nil {
			return false, err
		}
		if keep != nil && !keep(key[len(prefix):]) {
			return true, nil
		}
		n, err := decodeNumber(value)
		total += int64(n)
		return true, err
	})
	return total, err
}

// CountNodes counts the nodes of a session (0: the tenant) and a type (0: all), without what is hidden.
func (v *View) CountNodes(session graph.Position, t pb.NodeType) (int64, error) {
	h, err := v.hidden()
	if err != nil || session != 0 && h.sessions[session] {
		return 0, err
	}
	total, err := v.countNodes(session, t)
	if err != nil || h.none() {
		return total, err
	}
	if session == 0 {
		for s := range h.sessions {
			n, err := v.countNodes(s, t)
			if err != nil {
				return 0, err
			}
			total -= n
		}
	}
	for pos := range h.nodes {
		counts, err := v.countsIn(h, pos, session, t)
		if err != nil {
			return 0, err
		}
		if counts {
			total--
		}
	}
	return total, nil
}

// countNodes counts hidden ones too.
func (v *View) countNodes(session graph.Position, t pb.NodeType) (int64, error) {
	switch {
	case session == 0 && t == 0:
		return v.sum(counterKey(v.tenant, countNodes, 0), nil)
	case session == 0:
		return v.counter(nodesKey(v.tenant, t))
	case t == 0:
		return v.sum(membersPrefix(v.tenant, session), nil)
	default:
		return v.counter(membersKey(v.tenant, session, t))
	}
}

// countsIn reports a hidden node that is in the counter of session and type, and not of a hidden session.
func (v *View) countsIn(h *hidden, pos, session graph.Position, t pb.NodeType) (bool, error) {
	r, typ, ok, err := v.node(pos)
	if err != nil || !ok || h.sessions[r.Session] {
		return false, err
	}
	return (session == 0 || r.Session == session) && (t == 0 || typ == t), nil
}

// CountEdges counts the edges without what is hidden: the total, less the edges of hidden sessions (counters; an edge
// between two of them is in both), less the other edges of hidden nodes (one by one, those between two of them once).
func (v *View) CountEdges() (int64, error) {
	total, err := v.counter(counterKey(v.tenant, countEdges, 0))
	if err != nil {
		return 0, err
	}
	h, err := v.hidden()
	if err != nil || h.none() {
		return total, err
	}
	for s := range h.sessions {
		touching, err := v.counter(touchingKey(v.tenant, s))
		if err != nil {
			return 0, err
		}
		twice, err := v.sum(betweenPrefix(v.tenant, s), func(rest []byte) bool {
			p := parser{b: rest}
			return h.sessions[graph.Position(p.be64())]
		})
		if err != nil {
			return 0, err
		}
		total -= touching - twice
	}
	for pos := range h.nodes {
		n, err := v.countEdgesOf(h, pos)
		if err != nil {
			return 0, err
		}
		total -= n
	}
	return total, nil
}

// countEdgesOf counts the edges of a hidden node that no hidden session has: those that leave it, and those that enter it
// from a node that is not hidden.
func (v *View) countEdgesOf(h *hidden, pos graph.Position) (n int64, err error) {
	for _, incoming := range []bool{false, true} {
		var broken error
		err := v.adjacent(graph.EdgeWalk{Node: pos, Incoming: incoming}, func(edge graph.Position) bool {
			r, err := v.mustEdge(edge)
			if err != nil {
				broken = err
				return false
			}
			if !h.edgeOfSession(r) && !(incoming && h.nodes[r.From]) {
				n++
			}
			return true
		})
		if err := errors.Join(err, broken); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// CountActiveSessions counts the sessions that are active, without hidden ones.
func (v *View) CountActiveSessions() (int64, error) {
	total, err := v.counter(counterKey(v.tenant, countActive, 0))
	if err != nil {
		return 0, err
	}
	h, err := v.hidden()
	if err != nil {
		return 0, err
	}
	active := func(pos graph.Position) error {
		r, ok, err := v.state(pos)
		if ok && r.State == graph.SessionActive {
			total--
		}
		return err
	}
	for pos := range h.sessions {
		if err := active(pos); err != nil {
			return 0, err
		}
	}
	for pos := range h.nodes {
		if h.sessions[pos] {
			continue
		}
		if err := active(pos); err != nil {
			return 0, err
		}
	}
	return total, nil
}
