package crash

import (
	"context"
	"fmt"
	"slices"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// records are nodes and edges as text, by kind and id.
type records map[string]string

func nodeKey(id string) string { return "node " + id }
func edgeKey(id string) string { return "edge " + id }

// textOf is a message as one line that is the same whenever the message is.
func textOf(m proto.Message) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return prototext.Format(m)
	}
	return fmt.Sprintf("%x", b)
}

// timeless is a copy without the times that a server gives and without revisions, to be compared between two servers.
func timeless[M proto.Message](m M) M {
	c := proto.CloneOf(m)
	forget(c.ProtoReflect())
	return c
}

func forget(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() != nil && f.Message().FullName() == "google.protobuf.Timestamp", f.Name() == "revision":
			m.Clear(f)
		case f.Message() != nil && !f.IsMap() && !f.IsList():
			forget(v.Message())
		}
		return true
	})
}

// export reads everything.
func (v verifier) export(ctx context.Context) (nodes []*graphpb.Node, edges []*graphpb.Edge, err error) {
	parts, err := drain(v.transfer.Export(ctx, &graphpb.ExportRequest{}))
	if err != nil {
		return nil, nil, fmt.Errorf("export everything: %w", err)
	}
	for _, p := range parts {
		nodes, edges = append(nodes, p.GetNodes()...), append(edges, p.GetEdges()...)
	}
	return nodes, edges, nil
}

// read reads everything of a server that has nothing but an import.
func (l *life) read(ctx context.Context) (records, error) {
	conn, v, err := l.dial()
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	nodes, edges, err := v.export(ctx)
	all := records{}
	for _, n := range nodes {
		all[nodeKey(n.GetId())] = textOf(timeless(n))
	}
	for _, e := range edges {
		all[edgeKey(e.GetId())] = textOf(timeless(e))
	}
	return all, err
}

// verify looks at everything: the writers' records are exactly those that were acknowledged, the others are records of the
// import as it should make them, with their index entries and edges. It returns those.
func (l *life) verify(ctx context.Context, r *importRun) (records, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*callWithin)
	defer cancel()
	conn, v, err := l.dial()
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	for _, w := range l.writers {
		if err := w.settle(ctx, v.graph); err != nil {
			return nil, err
		}
		if err := w.repeat(ctx, v.graph); err != nil {
			return nil, err
		}
	}
	nodes, edges, err := v.export(ctx)
	if err != nil {
		return nil, err
	}
	got, mine := records{}, l.written()
	var imported []*graphpb.Node
	for _, n := range nodes {
		if mine[n.GetId()] {
			continue
		}
		if err := r.asIntended(nodeKey(n.GetId()), textOf(timeless(n))); err != nil {
			return nil, err
		}
		got[nodeKey(n.GetId())] = textOf(n)
		imported = append(imported, n)
		v.beside.count(n)
	}
	var links []*graphpb.Edge
	for _, e := range edges {
		if mine[e.GetFromNodeId()] {
			continue
		}
		if err := r.asIntended(edgeKey(e.GetId()), textOf(timeless(e))); err != nil {
			return nil, err
		}
		got[edgeKey(e.GetId())] = textOf(e)
		links = append(links, e)
	}
	if err := v.all(ctx); err != nil {
		return nil, err
	}
	if err := v.indexed(ctx, imported); err != nil {
		return nil, err
	}
	return got, v.joined(ctx, imported, links)
}

// asIntended wants a record to be one that the import makes without a crash.
func (r *importRun) asIntended(key, text string) error {
	want, ok := r.reference[key]
	if !ok {
		return fmt.Errorf("%w: %s is there and of nobody", errSurplus, key)
	}
	if want != text {
		return fmt.Errorf("%w: %s is\n%s\nwant\n%s", errImport, key, text, want)
	}
	return nil
}

// written are the ids of all that the writers have.
func (l *life) written() map[string]bool {
	ids := map[string]bool{}
	for _, w := range l.writers {
		for id := range w.model.nodes {
			ids[id] = true
		}
		for _, s := range w.model.sessions {
			ids[s.id] = true
		}
	}
	return ids
}

func (t *tally) count(n *graphpb.Node) {
	t.nodes++
	if s := n.GetSession(); s != nil {
		t.sessions++
		if s.GetIsActive() {
			t.active++
		}
	}
}

// indexed wants the index of each session to hold exactly the nodes that say to belong to it.
func (v verifier) indexed(ctx context.Context, nodes []*graphpb.Node) error {
	members := map[string][]string{}
	for _, n := range nodes {
		if s := n.GetSessionId(); s != "" {
			members[s] = append(members[s], n.GetId())
		}
	}
	for session, want := range members {
		found, err := drain(v.graph.StreamQuery(ctx, &graphpb.QueryRequest{SessionId: &session}))
		if err != nil {
			return fmt.Errorf("read session %s: %w", session, err)
		}
		var got []string
		for _, n := range found {
			got = append(got, n.GetId())
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			return fmt.Errorf("%w: session %s has %v by its index, want %v", errLost, session, got, want)
		}
	}
	return nil
}

// joinedNodes is how many nodes are asked for their edges one by one; all edges are compared by their number.
const joinedNodes = 300

// joined wants the edges of a node to be those that start or end there.
func (v verifier) joined(ctx context.Context, nodes []*graphpb.Node, edges []*graphpb.Edge) error {
	touching := map[string][]string{}
	for _, e := range edges {
		touching[e.GetFromNodeId()] = append(touching[e.GetFromNodeId()], e.GetId())
		if e.GetToNodeId() != e.GetFromNodeId() {
			touching[e.GetToNodeId()] = append(touching[e.GetToNodeId()], e.GetId())
		}
	}
	step := max(1, len(nodes)/joinedNodes)
	for i := 0; i < len(nodes); i += step {
		n := nodes[i]
		if _, err := v.graph.GetNode(ctx, &graphpb.GetNodeRequest{NodeId: n.GetId()}); err != nil {
			return fmt.Errorf("%w: %w", errLost, err)
		}
		want := touching[n.GetId()]
		reply, err := v.graph.GetEdges(ctx, &graphpb.GetEdgesRequest{NodeId: n.GetId(), Direction: graphpb.EdgeDirection_EDGE_DIRECTION_BOTH.Enum()})
		if err != nil {
			return fmt.Errorf("edges of %s: %w", n.GetId(), err)
		}
		var got []string
		for _, e := range reply.GetEdges() {
			got = append(got, e.GetId())
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			return fmt.Errorf("%w: node %s has the edges %v, want %v", errLost, n.GetId(), got, want)
		}
	}
	return nil
}

// told wants each record of the import that a subscriber was told of before the crash to be there. What was told was
// committed; it is as good as acknowledged.
func (l *life) told(got records) (seen int, err error) {
	mine := l.written()
	for _, event := range l.watcher.seen {
		_, id, err := about(event)
		if err != nil {
			return seen, err
		}
		key := nodeKey(id)
		switch event.GetType() {
		case graphpb.EventType_EVENT_TYPE_NODE_CREATED, graphpb.EventType_EVENT_TYPE_SESSION_CREATED:
		case graphpb.EventType_EVENT_TYPE_EDGE_CREATED:
			key = edgeKey(id)
		default:
			continue
		}
		if _, ok := got[key]; ok {
			seen++
			continue
		}
		if own := mine[id] || l.theirs(event, id); !own {
			return seen, fmt.Errorf("%w: %s was told by event %s", errLost, key, event.GetId())
		}
	}
	return seen, nil
}

// theirs reports an event about what a writer has made, and may have deleted since.
func (l *life) theirs(event *graphpb.Event, id string) bool {
	if event.GetType() == graphpb.EventType_EVENT_TYPE_EDGE_CREATED {
		// The server makes the ids of most edges of writers; imports bring theirs, in the first version of names.
		return !named(id)
	}
	for _, w := range l.writers {
		if w.model.created[id] || w.model.opened[id] {
			return true
		}
	}
	return false
}

// named reports a UUID that was made from a name, as importers do.
func named(id string) bool { return len(id) == 36 && id[14] == '5' }
