package storagetest

import (
	"cmp"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// model is one tenant's graph as maps. It looks at everything for every answer and keeps no index and no counter.
type model struct {
	nodes       map[graph.Position]modelNode
	edges       map[graph.Position]modelEdge
	sessions    map[graph.Position]graph.SessionRecord
	invocations map[graph.Position]uint32
	doomed      []graph.Doomed
}

type modelNode struct {
	rec  graph.NodeRecord
	node *pb.Node
}

type modelEdge struct {
	rec  graph.EdgeRecord
	edge *pb.Edge
}

func newModel() *model {
	return &model{
		nodes: map[graph.Position]modelNode{}, edges: map[graph.Position]modelEdge{},
		sessions: map[graph.Position]graph.SessionRecord{}, invocations: map[graph.Position]uint32{},
	}
}

func (m *model) clone() *model {
	return &model{
		maps.Clone(m.nodes), maps.Clone(m.edges), maps.Clone(m.sessions), maps.Clone(m.invocations), slices.Clone(m.doomed),
	}
}

func (m *model) isDoomed(at graph.Position, session bool) bool {
	return at != 0 && slices.ContainsFunc(m.doomed, func(d graph.Doomed) bool { return d.Position == at && d.Session == session })
}

func (m *model) nodeHidden(r graph.NodeRecord) bool {
	return m.isDoomed(r.Position, false) || m.isDoomed(r.Session, true)
}

func (m *model) edgeHidden(r graph.EdgeRecord) bool {
	return m.isDoomed(r.From, false) || m.isDoomed(r.To, false) || m.isDoomed(r.FromSession, true) || m.isDoomed(r.ToSession, true)
}

// seen is the model with what is doomed taken out.
func (m *model) seen() *model {
	out := m.clone()
	maps.DeleteFunc(out.nodes, func(_ graph.Position, n modelNode) bool { return m.nodeHidden(n.rec) })
	maps.DeleteFunc(out.edges, func(_ graph.Position, e modelEdge) bool { return m.edgeHidden(e.rec) })
	maps.DeleteFunc(out.sessions, func(at graph.Position, _ graph.SessionRecord) bool {
		return m.isDoomed(at, true) || m.isDoomed(at, false)
	})
	out.doomed = nil
	return out
}

func (m *model) walk(w graph.Walk) []graph.Entry {
	out := []graph.Entry{}
	for _, n := range m.nodes {
		e := graph.Entry{Place: graph.Place{Time: graph.Time(n.node), Position: n.rec.Position}, Type: n.node.Type}
		if selects(w, n, e) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b graph.Entry) int { return order(w, a.Place, b.Place) })
	return out
}

// order compares two places as a walk does.
func order(w graph.Walk, a, b graph.Place) int {
	c := cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(b.Position, a.Position))
	if w.OldestFirst {
		return -c
	}
	return c
}

func selects(w graph.Walk, n modelNode, e graph.Entry) bool {
	switch {
	case w.Session != 0 && n.rec.Session != w.Session,
		w.Type != 0 && n.node.Type != w.Type,
		w.Attribute != nil && !slices.Contains(graph.Attributes(n.node), *w.Attribute),
		w.After != nil && e.Time < *w.After,
		w.Before != nil && e.Time > *w.Before,
		w.From != nil && order(w, e.Place, *w.From) <= 0:
		return false
	}
	return true
}

func (m *model) walkEdges(w graph.EdgeWalk) []graph.EdgeRecord {
	out := []graph.EdgeRecord{}
	for _, e := range m.edges {
		end := e.rec.From
		if w.Incoming {
			end = e.rec.To
		}
		if end == w.Node && (w.Type == 0 || e.rec.Type == w.Type) && e.rec.Position > w.From {
			out = append(out, e.rec)
		}
	}
	slices.SortFunc(out, func(a, b graph.EdgeRecord) int { return cmp.Compare(a.Position, b.Position) })
	return out
}

func (m *model) countNodes(session graph.Position, t pb.NodeType) (n int64) {
	for _, node := range m.nodes {
		if (session == 0 || node.rec.Session == session) && (t == 0 || node.node.Type == t) {
			n++
		}
	}
	return n
}

func (m *model) countActive() (n int64) {
	for _, s := range m.sessions {
		if s.State == graph.SessionActive {
			n++
		}
	}
	return n
}

func (m *model) countTouching(session graph.Position) (n int64) {
	for _, e := range m.edges {
		if e.rec.FromSession == session || e.rec.ToSession == session {
			n++
		}
	}
	return n
}

// removeNode takes a node away with what belongs to it alone.
func (m *model) removeNode(at graph.Position) {
	delete(m.nodes, at)
	delete(m.invocations, at)
}

// keys are positions in order: maps have none.
func keys[V any](m map[graph.Position]V) []graph.Position { return slices.Sorted(maps.Keys(m)) }

// sameNode compares a record with the model's.
func sameNode(got graph.NodeRecord, want modelNode) bool {
	wire := graph.Encode(want.node)
	rec := want.rec
	rec.Wire = wire
	return got.Created == rec.Created && got.Modified == rec.Modified && got.Position == rec.Position &&
		got.Session == rec.Session && got.Ordinal == rec.Ordinal && string(got.Wire) == string(wire)
}

func sameEdge(got graph.EdgeRecord, want modelEdge) bool {
	wire := graph.Encode(want.edge)
	same := got.Created == want.rec.Created && got.Modified == want.rec.Modified && got.Position == want.rec.Position &&
		got.From == want.rec.From && got.To == want.rec.To && got.FromSession == want.rec.FromSession &&
		got.ToSession == want.rec.ToSession && got.Automatic == want.rec.Automatic && got.Type == want.rec.Type
	return same && string(got.Wire) == string(wire)
}

func cloneNode(n *pb.Node) *pb.Node { return proto.CloneOf(n) }
