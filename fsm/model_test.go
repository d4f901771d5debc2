package fsm_test

import (
	"fmt"
	"slices"
	"sort"
	"testing"

	"pgregory.net/rapid"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// model is what sessions, nodes and edges are, said naively: two lists, searched from end to end. It does not know times
// given by callers, templates, imports, retries or sweeps.
type model struct {
	nodes []modelNode // in the order they were made
	edges []modelEdge
	tails map[string][]string // the prompts of a session that are left, in order
}

type modelNode struct {
	id, session string
	typ         pb.NodeType
	closed      bool
}

type modelEdge struct {
	id, from, to string
	typ          pb.EdgeType
	automatic    bool
}

func (m *model) node(id string) *modelNode {
	for i := range m.nodes {
		if m.nodes[i].id == id {
			return &m.nodes[i]
		}
	}
	return nil
}

func (m *model) link(typ pb.EdgeType, from, to string) {
	m.edges = append(m.edges, modelEdge{"", from, to, typ, true})
}

const (
	belongsTo  = pb.EdgeType_EDGE_TYPE_BELONGS_TO
	respondsTo = pb.EdgeType_EDGE_TYPE_RESPONDS_TO
	follows    = pb.EdgeType_EDGE_TYPE_FOLLOWS
	invokes    = pb.EdgeType_EDGE_TYPE_INVOKES
	references = pb.EdgeType_EDGE_TYPE_REFERENCES
)

func (m *model) createSession(id string) bool {
	if m.node(id) != nil {
		return false
	}
	m.nodes = append(m.nodes, modelNode{id: id, session: id, typ: sessionType})
	return true
}

// create makes a node below a parent: the session of a prompt, the prompt of a response, the response of a tool.
func (m *model) create(typ pb.NodeType, id, parent string) bool {
	above := map[pb.NodeType]pb.NodeType{promptType: sessionType, responseType: promptType, toolType: responseType}[typ]
	p := m.node(parent)
	if m.node(id) != nil || typ != agentType && (p == nil || p.typ != above) || typ == promptType && p.closed {
		return false
	}
	if typ == agentType {
		m.nodes = append(m.nodes, modelNode{id: id, typ: typ})
		return true
	}
	session := p.session
	m.nodes = append(m.nodes, modelNode{id: id, session: session, typ: typ})
	switch typ {
	case promptType:
		m.link(belongsTo, id, session)
		if before := m.tails[session]; len(before) > 0 {
			m.link(follows, id, before[len(before)-1])
		}
		m.tails[session] = append(m.tails[session], id)
		return true
	case responseType:
		m.link(respondsTo, id, parent)
	default:
		m.link(invokes, parent, id)
	}
	m.link(belongsTo, id, session)
	return true
}

func (m *model) deleteNode(id string, cascade bool) bool {
	n := m.node(id)
	if n == nil || n.typ == sessionType {
		return false
	}
	if n.typ == promptType {
		chain := m.tails[n.session]
		i := slices.Index(chain, id)
		linked := func(from, to string) bool {
			return slices.Contains(m.edges, modelEdge{"", from, to, follows, true})
		}
		if i > 0 && i+1 < len(chain) && linked(chain[i+1], id) && linked(id, chain[i-1]) {
			m.link(follows, chain[i+1], chain[i-1])
		}
		m.tails[n.session] = slices.Delete(slices.Clone(chain), i, i+1)
	}
	var below []string
	if cascade {
		for _, e := range m.edges {
			switch {
			case e.typ == respondsTo && e.automatic && e.to == id:
				below = append(below, e.from)
			case e.typ == invokes && e.automatic && e.from == id:
				below = append(below, e.to)
			}
		}
	}
	m.remove(func(other modelNode) bool { return other.id == id })
	for _, b := range below {
		m.deleteNode(b, true)
	}
	return true
}

// remove takes nodes away with the edges that touch them.
func (m *model) remove(gone func(n modelNode) bool) {
	ids := map[string]bool{}
	m.nodes = slices.DeleteFunc(slices.Clone(m.nodes), func(n modelNode) bool {
		ids[n.id] = gone(n)
		return ids[n.id]
	})
	m.edges = slices.DeleteFunc(slices.Clone(m.edges), func(e modelEdge) bool { return ids[e.from] || ids[e.to] })
}

func (m *model) deleteSession(id string) bool {
	n := m.node(id)
	if n == nil || n.typ != sessionType {
		return false
	}
	m.remove(func(n modelNode) bool { return n.session == id })
	delete(m.tails, id)
	return true
}

func (m *model) createEdge(id, from, to string) bool {
	taken := slices.ContainsFunc(m.edges, func(e modelEdge) bool { return e.id == id })
	if taken || m.node(from) == nil || m.node(to) == nil {
		return false
	}
	m.edges = append(m.edges, modelEdge{id, from, to, references, false})
	return true
}

func (m *model) deleteEdge(id string) bool {
	n := len(m.edges)
	m.edges = slices.DeleteFunc(slices.Clone(m.edges), func(e modelEdge) bool { return e.id == id })
	return len(m.edges) < n
}

// step does something to the world and to the model, and compares what they say of it.
func step(t *rapid.T, w *world, m *model) {
	g := generator{t: t}
	id, session := g.id(), uuidOf(g.session())
	accepted, want := false, false
	what := ""
	switch rapid.IntRange(0, 13).Draw(t, "step") {
	case 0:
		what, want = "create session", m.createSession(session)
		c := createSession("")
		c.GetCreateSession().Session.Id = session
		accepted = w.do(c)[0].Err == nil
	case 1, 2, 3:
		what, want = "add prompt", m.create(promptType, id, session)
		n := aPrompt(id, "s1")
		n.GetPrompt().SessionId = session
		accepted = w.do(createNodes(n))[0].Err == nil
	case 4, 5:
		parent := g.id()
		what, want = "add response", m.create(responseType, id, parent)
		accepted = w.do(createNodes(aResponse(id, parent)))[0].Err == nil
	case 6:
		parent := g.id()
		what, want = "add tool", m.create(toolType, id, parent)
		accepted = w.do(createNodes(aTool(id, parent)))[0].Err == nil
	case 7:
		what, want = "add agent", m.create(agentType, id, "")
		accepted = w.do(createNodes(anAgent(id)))[0].Err == nil
	case 8, 9:
		cascade := rapid.Bool().Draw(t, "cascade")
		what, want = "delete node", m.deleteNode(id, cascade)
		accepted = w.do(deleteNode(id, cascade))[0].Err == nil
	case 10:
		what, want = "delete session", m.deleteSession(session)
		accepted = w.do(deletion(session))[0].Err == nil
	case 11:
		e, to := g.edge(), g.id()
		what, want = "create edge", m.createEdge(e, id, to)
		accepted = w.do(createEdge(reference(e, id, to)))[0].Err == nil
	case 12:
		e := g.edge()
		what, want = "delete edge", m.deleteEdge(e)
		accepted = w.do(deleteEdge(e))[0].Err == nil
	case 13:
		n := m.node(session)
		what, want = "close session", n != nil
		if n != nil {
			n.closed = true
		}
		c := closeSession("")
		c.GetCloseSession().SessionId = session
		accepted = w.do(c)[0].Err == nil
	}
	if accepted != want {
		t.Fatalf("%s %s in %s: accepted %v, want %v", what, id, session, accepted, want)
	}
}

// same compares every read of the state with the model.
func same(t *rapid.T, w *world, m *model) {
	w.read(func(v graph.View) {
		newest := func(keep func(n modelNode) bool) string {
			out := ""
			for _, n := range slices.Backward(m.nodes) {
				if keep(n) {
					out += n.id + " "
				}
			}
			return out
		}
		list := func(req *pb.QueryRequest) string {
			q, err := graph.NewQuery(req)
			if err != nil {
				t.Fatal(err)
			}
			page, err := q.Page(v, graph.Paging{Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			out := ""
			for _, n := range page.Nodes {
				out += n.Id + " "
			}
			if page.Total != int64(len(page.Nodes)) {
				t.Fatalf("total %d of %s", page.Total, out)
			}
			return out
		}
		check := func(what, got, want string) {
			if got != want {
				t.Fatalf("%s: got %q, want %q", what, got, want)
			}
		}
		check("all", list(&pb.QueryRequest{}), newest(func(modelNode) bool { return true }))
		for _, typ := range []pb.NodeType{sessionType, promptType, responseType, toolType, agentType} {
			check(typ.String(), list(&pb.QueryRequest{NodeType: &typ}), newest(func(n modelNode) bool { return n.typ == typ }))
		}
		active := int64(0)
		for _, n := range m.nodes {
			if n.typ == sessionType {
				check("of "+n.id, list(&pb.QueryRequest{SessionId: &n.id}), newest(func(o modelNode) bool { return o.session == n.id }))
				if !n.closed {
					active++
				}
			}
			check("edges of "+n.id, edgesOf(t, v, n.id), m.edgesOf(n.id))
		}
		edges, err := v.CountEdges()
		if err != nil || edges != int64(len(m.edges)) {
			t.Fatalf("counted %d edges, %v; want %d", edges, err, len(m.edges))
		}
		if n, err := v.CountActiveSessions(); err != nil || n != active {
			t.Fatalf("counted %d active sessions, %v; want %d", n, err, active)
		}
		for _, id := range []string{"n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"} {
			rec, ok, err := v.NodeByID(id)
			if err != nil || ok != (m.node(id) != nil) {
				t.Fatalf("%s is there: %v, %v", id, ok, err)
			}
			if !ok {
				continue
			}
			n, err := rec.Node()
			if err != nil || n.Type != m.node(id).typ || n.SessionId != m.node(id).session {
				t.Fatalf("%v, %v; want %+v", n, err, m.node(id))
			}
		}
	})
}

// edgesOf are the edges of a node, sorted: the model does not know in which order a chain is closed.
func edgesOf(t *rapid.T, v graph.View, id string) string {
	q, err := graph.NewEdgeQuery(&pb.GetEdgesRequest{NodeId: id, Direction: pb.EdgeDirection_EDGE_DIRECTION_BOTH.Enum()})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	err = q.Each(v, nil, func(_ graph.EdgePlace, rec graph.EdgeRecord) (bool, error) {
		e, err := rec.Edge()
		out = append(out, fmt.Sprint(e.GetFromNodeId(), " ", e.GetType(), " ", e.GetToNodeId(), " ", rec.Automatic))
		return true, err
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(out)
	return fmt.Sprint(out)
}

func (m *model) edgesOf(id string) string {
	var out []string
	for _, e := range m.edges {
		if e.from == id || e.to == id {
			out = append(out, fmt.Sprint(e.from, " ", e.typ, " ", e.to, " ", e.automatic))
		}
	}
	sort.Strings(out)
	return fmt.Sprint(out)
}

func TestReadsAgreeWithANaiveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, m := newWorld(t), &model{tails: map[string][]string{}}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			step(t, w, m)
			same(t, w, m)
		}
		w.digest()
	})
}

func deletion(session string) *logpb.Command {
	c := deleteSession("")
	c.GetDeleteSession().SessionId = session
	return c
}
