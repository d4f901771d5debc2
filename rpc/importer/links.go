package importer

import (
	"encoding/json"
	"strconv"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

const (
	templateVersion = "1.0.0"
	// timeLayout is RFC 3339 with as many digits as there are.
	timeLayout = "2006-01-02T15:04:05.999999999Z07:00"
)

// A templateSpec says what a template is. Templates belong to no session: equal ones are one node everywhere.
type templateSpec struct {
	where string
	// id is the file's; kept when it is a UUID. Else the id comes from everything that the template says.
	id        string
	name      string
	text      string
	variables []*pb.VariableSpec
	version   string // empty is 1.0.0
	metadata  []pair
	// parent is what it inherits from; depth is counted from there.
	parent *templateRef
}

// A templateRef is a template that was told.
type templateRef struct {
	ref
	node  *pb.TemplateNode
	depth int // of inheritance
}

// template tells a template of the file that belongs to no session. How often it was used is the server's to count from
// now on: the record says 0.
func (s *scribe) template(spec templateSpec) *templateRef {
	t := &pb.TemplateNode{Name: spec.name, TemplateText: spec.text, Variables: spec.variables, Version: spec.version, Metadata: make(map[string]string)}
	if t.Version == "" {
		t.Version = templateVersion
	}
	addMetadata(t.Metadata, spec.metadata)
	if spec.parent != nil && spec.parent.ok {
		t.Metadata[graph.ParentKey] = spec.parent.id
	}
	t.Id = s.id(spec.id, "template", string(graph.Encode(t)))
	told := &templateRef{node: t}
	told.ref = s.share(&s.loose, spec.where, &pb.Node{Id: t.Id, Type: pb.NodeType_NODE_TYPE_TEMPLATE, NodeData: &pb.Node_Template{Template: t}}, t.TemplateText, t.Name)
	if told.ok && spec.parent != nil && spec.parent.ok {
		told.depth = spec.parent.depth + 1
		s.connect(&s.loose, edgeSpec{kind: pb.EdgeType_EDGE_TYPE_INHERITS, from: told.ref, to: spec.parent.ref,
			properties: map[string]string{"inheritance_depth": strconv.Itoa(told.depth)}})
	}
	return told
}

// system tells a system text: a template that is known by its text alone, so that equal texts are one template whatever
// format they come from. The next prompt of the session instantiates it, or the last one when none follows.
func (s *session) system(where, text string) *templateRef {
	if text == "" {
		return &templateRef{}
	}
	t := &pb.TemplateNode{Id: derive(sharedMapping, "template", text), TemplateText: text, Version: templateVersion}
	t.Name = "system-" + t.Id[:8]
	told := &templateRef{node: t}
	told.ref = s.share(&s.graph, s.position(where), &pb.Node{Id: t.Id, Type: pb.NodeType_NODE_TYPE_TEMPLATE, NodeData: &pb.Node_Template{Template: t}}, text)
	if told.ok {
		s.waiting = append(s.waiting, told)
	}
	return told
}

// instantiateWaiting links a prompt with the system texts that stood before it.
func (s *session) instantiateWaiting(p *promptRef) {
	if p == nil {
		return
	}
	for _, t := range s.waiting {
		s.instantiates(p, t, nil)
	}
	s.waiting = nil
}

// instantiates says that a prompt was made from a template with these values.
func (s *session) instantiates(p *promptRef, t *templateRef, bindings map[string]string) {
	if !p.ok || !t.ok {
		return
	}
	if bindings == nil {
		bindings = map[string]string{}
	}
	values, err := json.Marshal(bindings)
	if err != nil {
		panic(err) // strings always marshal
	}
	properties := map[string]string{"template_version": t.node.Version, "variable_bindings": string(values)}
	if p.node.Timestamp != nil {
		properties["instantiation_time"] = p.node.Timestamp.AsTime().Format(timeLayout)
	}
	s.link(edgeSpec{kind: pb.EdgeType_EDGE_TYPE_INSTANTIATES, from: p.ref, to: t.ref, properties: properties})
}

// An agentSpec says what an agent is. Agents belong to no session: equal ones are one node everywhere.
type agentSpec struct {
	name         string
	role         string
	capabilities []string
	metadata     []pair
}

// An agentRef is an agent that was told.
type agentRef struct{ ref }

// agent tells an agent. One of which no more than the name is known is the same node whatever format names it. A name
// that the graph does not take is no agent: nothing is reported, and the handle is not ok.
func (s *session) agent(spec agentSpec) *agentRef {
	if spec.name == "" || len(spec.name) > graph.MaxNameBytes {
		return &agentRef{}
	}
	a := &pb.AgentNode{Name: spec.name, Status: "idle"}
	if spec.role == "" && len(spec.capabilities)+len(spec.metadata) == 0 {
		a.Id = derive(sharedMapping, "agent", spec.name)
	} else {
		a.Role, a.Metadata = cutText(spec.role, graph.MaxNameBytes), make(map[string]string)
		addMetadata(a.Metadata, spec.metadata)
		for _, c := range spec.capabilities[:min(len(spec.capabilities), graph.MaxCapabilities)] {
			a.Capabilities = append(a.Capabilities, cutText(c, graph.MaxNameBytes))
		}
		a.Id = derive(s.row.mapping, "agent", string(graph.Encode(a)))
	}
	return &agentRef{s.share(&s.graph, s.position(""), &pb.Node{Id: a.Id, Type: pb.NodeType_NODE_TYPE_AGENT, NodeData: &pb.Node_Agent{Agent: a}}, a.Name)}
}

// share puts an agent or a template down.
func (s *scribe) share(into *Graph, where string, n *pb.Node, texts ...string) ref {
	if err := check(n, texts...); err != nil {
		s.problem(where, "%v", err)
		return ref{}
	}
	into.Shared = append(into.Shared, n)
	return ref{id: n.Id, ok: true}
}

// handledBy says that a prompt or a response was an agent's.
func (s *session) handledBy(node ref, a *agentRef) {
	s.link(edgeSpec{kind: pb.EdgeType_EDGE_TYPE_HANDLED_BY, from: node, to: a.ref})
}

// A handoff says why and with what a response passed on to another agent. Priority is low, normal, high or critical.
type handoff struct{ reason, summary, priority string }

// transfersTo says that a response passed on to an agent.
func (s *session) transfersTo(r *responseRef, a *agentRef, h handoff) {
	s.link(edgeSpec{kind: pb.EdgeType_EDGE_TYPE_TRANSFERS_TO, from: r.ref, to: a.ref, properties: present(
		"handoff_reason", h.reason, "context_summary", h.summary, "priority", h.priority)})
}

// A reference says what kind of context a node draws on. Kind is document, webpage, database, vector_search or memory.
type reference struct{ kind, relevance, chunk string }

// references says that a node draws on another. Parallel ones between the same ends are one.
func (s *session) references(from, to ref, r reference) {
	s.link(edgeSpec{kind: pb.EdgeType_EDGE_TYPE_REFERENCES, from: from, to: to, properties: present(
		"context_type", r.kind, "relevance_score", r.relevance, "chunk_id", r.chunk)})
}

// follows says that a prompt came after another, earlier one; it may be one of several that do.
func (s *session) follows(later, earlier *promptRef) {
	if !later.ok || !earlier.ok {
		return
	}
	delta := elapsed(earlier.node.Timestamp, later.node.Timestamp)
	s.link(edgeSpec{kind: pb.EdgeType_EDGE_TYPE_FOLLOWS, from: later.ref, to: earlier.ref,
		properties: map[string]string{"time_delta_ms": strconv.FormatInt(delta, 10)}})
}

// present are the properties that say something.
func present(pairs ...string) map[string]string {
	var m map[string]string
	for i := 0; i < len(pairs); i += 2 {
		if value := cutText(pairs[i+1], maxValueBytes); value != "" {
			if m == nil {
				m = make(map[string]string)
			}
			m[pairs[i]] = value
		}
	}
	return m
}

// An edgeSpec is an edge to be.
type edgeSpec struct {
	kind       pb.EdgeType
	from, to   ref
	properties map[string]string
}

// link adds an edge unless it is there, or one of its ends was left out. It stands with the later one of the sessions
// of its ends. Its id comes from its type and its ends.
func (s *session) link(spec edgeSpec) *pb.Edge {
	home := s
	for _, end := range []ref{spec.from, spec.to} {
		if end.session != nil && end.session.ordinal > home.ordinal {
			home = end.session
		}
	}
	if !spec.from.ok || !spec.to.ok {
		return nil
	}
	id := spec.id()
	if home.edges[id] {
		return nil
	}
	home.edges[id] = true
	return home.connect(&home.graph, spec)
}

func (e edgeSpec) id() string {
	return derive(sharedMapping, "edge", e.kind.String(), e.from.id, e.to.id)
}

// connect adds an edge, unless it breaks a rule: that is reported.
func (s *scribe) connect(into *Graph, spec edgeSpec) *pb.Edge {
	e := &pb.Edge{Id: spec.id(), FromNodeId: spec.from.id, ToNodeId: spec.to.id, Type: spec.kind, Properties: spec.properties}
	if err := graph.CheckImportEdge("", e); err != nil {
		s.problem(s.where, "%v", err)
		return e
	}
	into.Edges = append(into.Edges, e)
	return e
}
