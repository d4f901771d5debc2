package crash

import (
	"fmt"
	"slices"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/protobuf/proto"
)

// model is what one writer knows to be in the graph. Nobody else writes to its sessions.
type model struct {
	sessions []*session
	nodes    map[string]*record
	// templates by id, with the uses that were acknowledged.
	uses map[string]int64
	// Edges that CreateEdge made, by id.
	links map[string]*graphpb.Edge
	// What must have been told in events, over all time.
	created, deleted map[string]bool
	updates          map[string]int
	opened           map[string]bool
	// Sessions that were closed or deleted, with how often that was told.
	ended map[string]int
	gone  []string
}

// session is one that is not deleted.
type session struct {
	id     string
	closed bool
	// Ids of its live nodes in the order in which they were made.
	order []string
}

// record is a live node.
type record struct {
	id, session, parent string
	kind                graphpb.NodeType
	// The message inside the node as it was last acknowledged.
	data proto.Message
	// Of a tool invocation: its place among the calls of the response. Of a response: the place of the next.
	place int
	// Of a prompt that was rendered: the template.
	template string
}

func newModel() *model {
	return &model{
		nodes: map[string]*record{}, uses: map[string]int64{}, links: map[string]*graphpb.Edge{},
		created: map[string]bool{}, deleted: map[string]bool{}, updates: map[string]int{},
		opened: map[string]bool{}, ended: map[string]int{},
	}
}

func (m *model) session(id string) *session {
	for _, s := range m.sessions {
		if s.id == id {
			return s
		}
	}
	return nil
}

// size is how many nodes the sessions have.
func (m *model) size() int {
	n := 0
	for _, s := range m.sessions {
		n += len(s.order)
	}
	return n
}

func (m *model) opens(s *graphpb.Session) {
	m.sessions = append(m.sessions, &session{id: s.GetId()})
	m.opened[s.GetId()] = true
}

// adds takes a node in; its parent must be known.
func (m *model) adds(r *record) {
	if parent := m.nodes[r.parent]; parent != nil && r.kind == toolKind {
		r.place = parent.place
		parent.place++
	}
	m.nodes[r.id] = r
	m.created[r.id] = true
	if s := m.session(r.session); s != nil {
		s.order = append(s.order, r.id)
	}
}

const (
	promptKind   = graphpb.NodeType_NODE_TYPE_PROMPT
	responseKind = graphpb.NodeType_NODE_TYPE_RESPONSE
	toolKind     = graphpb.NodeType_NODE_TYPE_TOOL_INVOCATION
)

func (m *model) addsPrompt(p *graphpb.PromptNode, template string) {
	m.adds(&record{id: p.GetId(), session: p.GetSessionId(), kind: promptKind, data: p, template: template})
}

func (m *model) addsResponse(r *graphpb.ResponseNode) {
	m.adds(&record{
		id: r.GetId(), session: m.nodes[r.GetPromptId()].session, parent: r.GetPromptId(), kind: responseKind, data: r,
	})
}

func (m *model) addsTool(t *graphpb.ToolInvocationNode) {
	m.adds(&record{
		id: t.GetId(), session: m.nodes[t.GetResponseId()].session, parent: t.GetResponseId(), kind: toolKind, data: t,
	})
}

// addsNode takes in what CreateNode and BatchCreateNodes answered.
func (m *model) addsNode(n *graphpb.Node) {
	switch data := n.GetNodeData().(type) {
	case *graphpb.Node_Prompt:
		m.addsPrompt(data.Prompt, "")
	case *graphpb.Node_Response:
		m.addsResponse(data.Response)
	case *graphpb.Node_ToolInvocation:
		m.addsTool(data.ToolInvocation)
	case *graphpb.Node_Agent:
		m.adds(&record{id: n.GetId(), kind: n.GetType(), data: data.Agent})
	case *graphpb.Node_Template:
		m.adds(&record{id: n.GetId(), kind: n.GetType(), data: data.Template})
		m.uses[n.GetId()] = 0
	default:
		panic(fmt.Sprintf("writers make no %v", n.GetType()))
	}
}

func dataOf(n *graphpb.Node) proto.Message {
	switch data := n.GetNodeData().(type) {
	case *graphpb.Node_Prompt:
		return data.Prompt
	case *graphpb.Node_Response:
		return data.Response
	case *graphpb.Node_ToolInvocation:
		return data.ToolInvocation
	case *graphpb.Node_Agent:
		return data.Agent
	case *graphpb.Node_Template:
		return data.Template
	case *graphpb.Node_Session:
		return data.Session
	}
	return nil
}

func (m *model) changes(n *graphpb.Node) {
	m.nodes[n.GetId()].data = dataOf(n)
	m.updates[n.GetId()]++
}

// below lists a node and what a cascade takes along with it.
func (m *model) below(id string) []string {
	all := []string{id}
	for i := 0; i < len(all); i++ {
		for _, r := range m.nodes {
			if r.parent == all[i] {
				all = append(all, r.id)
			}
		}
	}
	return all
}

func (m *model) removes(ids ...string) {
	for _, id := range ids {
		r := m.nodes[id]
		if s := m.session(r.session); s != nil {
			s.order = slices.DeleteFunc(s.order, func(other string) bool { return other == id })
		}
		delete(m.nodes, id)
		m.deleted[id] = true
		m.gone = append(m.gone, id)
		for edge, link := range m.links {
			if link.GetFromNodeId() == id || link.GetToNodeId() == id {
				delete(m.links, edge)
			}
		}
	}
}

func (m *model) closes(id string) {
	m.session(id).closed = true
	m.ended[id]++
}

func (m *model) drops(id string) {
	m.removes(slices.Clone(m.session(id).order)...)
	m.sessions = slices.DeleteFunc(m.sessions, func(s *session) bool { return s.id == id })
	m.ended[id]++
	m.gone = append(m.gone, id)
}

// edges are those that must leave a node, by type and end, with the properties that do not depend on time.
func (m *model) edges(id string) []string {
	r := m.nodes[id]
	var all []string
	add := func(kind graphpb.EdgeType, to, more string) { all = append(all, fmt.Sprint(kind, " ", to, " ", more)) }
	if s := m.session(r.session); s != nil {
		add(graphpb.EdgeType_EDGE_TYPE_BELONGS_TO, s.id, "")
		if before := m.promptBefore(s, id); r.kind == promptKind && before != "" {
			add(graphpb.EdgeType_EDGE_TYPE_FOLLOWS, before, "")
		}
	}
	if r.template != "" {
		add(graphpb.EdgeType_EDGE_TYPE_INSTANTIATES, r.template, "")
	}
	if r.kind == responseKind && m.nodes[r.parent] != nil {
		add(graphpb.EdgeType_EDGE_TYPE_RESPONDS_TO, r.parent, "")
	}
	if r.kind == responseKind {
		for _, child := range m.nodes {
			if child.kind == toolKind && child.parent == id {
				add(graphpb.EdgeType_EDGE_TYPE_INVOKES, child.id, fmt.Sprint(child.place))
			}
		}
	}
	for _, link := range m.links {
		if link.GetFromNodeId() == id {
			add(link.GetType(), link.GetToNodeId(), "")
		}
	}
	slices.Sort(all)
	return all
}

func (m *model) promptBefore(s *session, id string) string {
	before := ""
	for _, other := range s.order {
		if other == id {
			return before
		}
		if m.nodes[other].kind == promptKind {
			before = other
		}
	}
	return ""
}
