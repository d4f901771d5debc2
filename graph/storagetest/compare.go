package storagetest

import (
	"fmt"
	"slices"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// ask compares the answers to a few questions within the open batch.
func (p *player) ask() {
	tx, m := p.tx(), p.model()
	p.compareWalk(tx, m.seen(), p.question())
	p.compareWalk(tx.Unhidden(), m, p.question())
	node := p.pick("node", keys(m.nodes))
	w := graph.EdgeWalk{Node: node, Incoming: p.draw("incoming", 2) == 1, Type: pb.EdgeType(p.draw("edge type", 10))}
	w.From = p.pick("edge", keys(m.edges))
	p.compareEdges(tx, m.seen(), w)
	p.compareEdges(tx.Unhidden(), m, w)
	p.compareCounts(tx, m.seen(), p.pick("session", keys(m.sessions)), pb.NodeType(p.draw("type", 7)))
	if s := p.pick("session", keys(m.sessions)); s != 0 {
		n, err := tx.CountSessionEdges(s)
		equal(p.t, "edges of a session", count(p.t, n, err), m.countTouching(s))
	}
	if node != 0 {
		next, err := tx.Invocations(node)
		equal(p.t, "invocations", next, m.invocations[node])
		equal(p.t, "fault", err, nil)
		taken, err := tx.NodeIDTaken(m.nodes[node].node.Id)
		equal(p.t, "id is taken", taken && err == nil, true)
	}
}

// question draws a walk of any form.
func (p *player) question() graph.Walk {
	m := p.model()
	w := graph.Walk{Type: pb.NodeType(p.draw("type", 7)), OldestFirst: p.draw("oldest first", 2) == 1}
	switch p.draw("subject", 3) {
	case 1:
		w.Session = p.pick("session", keys(m.sessions))
	case 2:
		keys := []string{"model", "status", "role", "version", "finish_reason", "name", "tool_name"}
		w.Attribute = &graph.Attribute{Key: keys[p.draw("key", len(keys))], Value: []string{"a", "b", "search"}[p.draw("value", 3)]}
	}
	if p.draw("after", 3) == 0 {
		at := p.time()
		w.After = &at
	}
	if p.draw("before", 3) == 0 {
		at := p.time()
		w.Before = &at
	}
	if p.draw("from", 3) == 0 {
		w.From = &graph.Place{Time: p.time(), Position: p.pick("place", keys(m.nodes))}
	}
	return w
}

func (p *player) compareWalk(v graph.View, m *model, w graph.Walk) {
	p.t.Helper()
	if got, want := all(p.t, v.Walk(w)), m.walk(w); !slices.Equal(got, want) {
		p.t.Fatalf("walk %s:\n got %v\nwant %v", describe(w), got, want)
	}
}

func describe(w graph.Walk) string {
	text := fmt.Sprintf("session %d, type %v, oldest first %v", w.Session, w.Type, w.OldestFirst)
	if w.Attribute != nil {
		text += fmt.Sprintf(", %s = %q", w.Attribute.Key, w.Attribute.Value)
	}
	if w.After != nil {
		text += fmt.Sprint(", after ", *w.After)
	}
	if w.Before != nil {
		text += fmt.Sprint(", before ", *w.Before)
	}
	if w.From != nil {
		text += fmt.Sprintf(", from %+v", *w.From)
	}
	return text
}

func (p *player) compareEdges(v graph.View, m *model, w graph.EdgeWalk) {
	p.t.Helper()
	got, want := all(p.t, v.Edges(w)), m.walkEdges(w)
	same := slices.EqualFunc(got, want, func(a, b graph.EdgeRecord) bool { return sameEdge(a, m.edges[b.Position]) })
	if !same {
		p.t.Fatalf("edges %+v:\n got %v\nwant %v", w, got, want)
	}
}

func (p *player) compareCounts(v graph.View, m *model, s graph.Position, t pb.NodeType) {
	p.t.Helper()
	n, err := v.CountNodes(s, t)
	equal(p.t, fmt.Sprintf("nodes of session %d and type %v", s, t), count(p.t, n, err), m.countNodes(s, t))
	n, err = v.CountEdges()
	equal(p.t, "edges", count(p.t, n, err), int64(len(m.edges)))
	n, err = v.CountActiveSessions()
	equal(p.t, "active sessions", count(p.t, n, err), m.countActive())
}

// compareAll compares every record, walk and count of both tenants as committed.
func (p *player) compareAll() {
	for i, whole := range p.models {
		v, m := p.s.View(graph.Tenant(i+1)), whole.seen()
		p.compareRecords(v, whole, m)
		for _, s := range append(keys(whole.sessions), 0) {
			for t := pb.NodeType(0); t <= template; t++ {
				p.compareWalk(v, m, graph.Walk{Session: s, Type: t})
				p.compareCounts(v, m, s, t)
			}
		}
	}
	for _, m := range p.models {
		if len(m.nodes)+len(m.edges)+len(m.sessions)+len(m.doomed) > 0 {
			return
		}
	}
	equal(p.t, "rows when there is nothing", p.s.Rows(), []string{})
}

// compareReader reads the nodes one after the other, there and back, and by leaps.
func (p *player) compareReader(v graph.View, whole, m *model) {
	r := v.NodeReader()
	defer r.Close()
	order := keys(whole.nodes)
	back := slices.Clone(order)
	slices.Reverse(back)
	for _, at := range slices.Concat(order, back, leaps(order)) {
		want, there := m.nodes[at]
		got, ok := must[graph.NodeRecord](p.t)(r.NodeAt(at))
		if ok != there || there && !sameNode(got, want) {
			p.t.Fatalf("node at %d by a reader: %v %v; want %v %v", at, got, ok, want, there)
		}
	}
}

// leaps visits from both ends in turn, and asks for what is not there between.
func leaps(order []graph.Position) []graph.Position {
	var out []graph.Position
	for i, at := range order {
		out = append(out, at, order[len(order)-1-i], at+1_000_000)
	}
	return out
}

func (p *player) compareRecords(v graph.View, whole, m *model) {
	p.compareReader(v, whole, m)
	for _, at := range keys(whole.nodes) {
		want, there := m.nodes[at]
		got, ok := must[graph.NodeRecord](p.t)(v.NodeAt(at))
		byID, okByID := must[graph.NodeRecord](p.t)(v.NodeByID(whole.nodes[at].node.Id))
		if ok != there || okByID != there || there && (!sameNode(got, want) || !sameNode(byID, want)) {
			p.t.Fatalf("node at %d: %v %v, by id %v %v; want %v %v", at, got, ok, byID, okByID, want, there)
		}
		for _, incoming := range []bool{false, true} {
			p.compareEdges(v, m, graph.EdgeWalk{Node: at, Incoming: incoming})
		}
	}
	for _, at := range keys(whole.edges) {
		want, there := m.edges[at]
		got, ok := must[graph.EdgeRecord](p.t)(v.EdgeAt(at))
		byID, okByID := must[graph.EdgeRecord](p.t)(v.EdgeByID(whole.edges[at].edge.Id))
		if ok != there || okByID != there || there && (!sameEdge(got, want) || !sameEdge(byID, want)) {
			p.t.Fatalf("edge at %d: %v %v, by id %v %v; want %v %v", at, got, ok, byID, okByID, want, there)
		}
	}
	for _, at := range keys(whole.sessions) {
		want, there := m.sessions[at]
		got, ok := must[graph.SessionRecord](p.t)(v.Session(at))
		if ok != there || got != want {
			p.t.Fatalf("session at %d: %+v %v; want %+v %v", at, got, ok, want, there)
		}
	}
}
