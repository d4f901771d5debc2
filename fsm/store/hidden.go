package store

import (
	"fmt"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// hidden is what deletions have taken away whose rows are not all swept. It is small: a handful of deletions.
type hidden struct {
	sessions, nodes map[graph.Position]bool
}

// loadHidden reads it: one seek when nothing is doomed.
func loadHidden(rows reader, t graph.Tenant) (*hidden, error) {
	h := &hidden{}
	err := eachDoomed(rows, t, func(_ []byte, d graph.Doomed) bool {
		if d.Session {
			h.sessions = mark(h.sessions, d.Position)
		} else {
			h.nodes = mark(h.nodes, d.Position)
		}
		return true
	})
	return h, err
}

func mark(set map[graph.Position]bool, at graph.Position) map[graph.Position]bool {
	if set == nil {
		set = map[graph.Position]bool{}
	}
	set[at] = true
	return set
}

// eachDoomed calls fn with the deletions of a tenant in the order in which they were committed.
func eachDoomed(rows reader, t graph.Tenant, fn func(key []byte, d graph.Doomed) bool) error {
	err := scan(rows, prefixRange(doomedPrefix(t)), func(key, value []byte) (bool, error) {
		d, err := decodeDoomed(value)
		return err == nil && fn(key, d), err
	})
	if err != nil {
		return fmt.Errorf("tenant %d: search of what is doomed: %w", t, err)
	}
	return nil
}

func (h *hidden) none() bool { return len(h.sessions) == 0 && len(h.nodes) == 0 }

func (h *hidden) node(r graph.NodeRecord) bool {
	return h.nodes[r.Position] || h.sessions[r.Session]
}

// edge reports an edge with an end that is hidden.
func (h *hidden) edge(r graph.EdgeRecord) bool {
	return h.nodes[r.From] || h.nodes[r.To] || h.edgeOfSession(r)
}

func (h *hidden) edgeOfSession(r graph.EdgeRecord) bool {
	return h.sessions[r.FromSession] || h.sessions[r.ToSession]
}
