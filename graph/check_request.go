package graph

import (
	"math"
	"strconv"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// CheckID checks an id that a request refers to.
func CheckID(field, id string) error {
	c := &checker{}
	c.id(field, id)
	return c.err
}

// CheckSessionID checks the id of a session and returns it in lower case.
func CheckSessionID(field, id string) (string, error) {
	c := &checker{}
	c.sessionID(field, &id)
	return id, c.err
}

// CheckMetadata checks a map of user metadata.
func CheckMetadata(field string, m map[string]string) error {
	c := &checker{}
	c.metadata(field, m)
	return c.err
}

// CheckAdd checks the node of an Add or Create call, whose fields stand in the request itself: paths have no prefix but
// the one given.
func CheckAdd(path string, n *pb.Node) error {
	c := &checker{path: path}
	switch d := n.GetNodeData().(type) {
	case *pb.Node_Prompt:
		c.prompt(d.Prompt)
	case *pb.Node_Response:
		c.response(d.Response)
	case *pb.Node_ToolInvocation:
		c.add(n, d.ToolInvocation == nil, func() { c.tool(d.ToolInvocation) })
	case *pb.Node_Template:
		c.add(n, d.Template == nil, func() { c.template(d.Template) })
	}
	n.Type, _ = dataType(n)
	return c.err
}

func (c *checker) add(n *pb.Node, absent bool, check func()) {
	if absent {
		c.fail("", "is required")
		return
	}
	c.identity(n)
	check()
}

// CheckImport checks a node that is to be written verbatim: its id is required, its times and counts are kept, and a
// session is allowed.
func CheckImport(path string, n *pb.Node) error {
	c := &checker{path: path}
	c.identity(n)
	if c.err != nil {
		return c.err
	}
	c.id("id", n.Id)
	c.time(checkTime(c.at("created_at"), n.CreatedAt))
	if n.SessionId != "" {
		c.sessionID("session_id", &n.SessionId)
	}
	switch d := n.GetNodeData().(type) {
	case *pb.Node_Session:
		c.under("session", func() { c.session(d.Session) })
		c.sessionNode(n, d.Session)
	case *pb.Node_Agent:
		made := d.Agent.CreatedAt
		n.SessionId = ""
		c.time(checkTime(c.at("agent.created_at"), made))
		c.data(n)
		d.Agent.CreatedAt = made
	case *pb.Node_Template:
		made, used := d.Template.CreatedAt, d.Template.UsageCount
		n.SessionId = ""
		c.time(checkTime(c.at("template.created_at"), made))
		c.notNegative("template.usage_count", used)
		c.data(n)
		d.Template.CreatedAt, d.Template.UsageCount = made, used
	case *pb.Node_Prompt:
		c.data(n)
		c.sameSession(n, d.Prompt.SessionId)
	default:
		c.data(n)
	}
	return c.err
}

func (c *checker) sameSession(n *pb.Node, session string) {
	if n.SessionId == "" {
		n.SessionId = session
	}
	if n.SessionId != session {
		c.fail("session_id", "differs from prompt.session_id")
	}
}

// sessionNode makes a session and its node one thing: one id, one time.
func (c *checker) sessionNode(n *pb.Node, s *pb.Session) {
	n.Id = s.Id
	if n.SessionId != "" && n.SessionId != s.Id {
		c.fail("session_id", "differs from the id of the session")
	}
	n.SessionId = s.Id
	switch {
	case unset(s.CreatedAt):
		s.CreatedAt = n.CreatedAt
	case unset(n.CreatedAt):
		n.CreatedAt = s.CreatedAt
	case nanos(s.CreatedAt) != nanos(n.CreatedAt):
		c.fail("session.created_at", "differs from created_at")
	}
}

func (c *checker) session(s *pb.Session) {
	c.sessionID("id", &s.Id)
	c.time(checkTime(c.at("created_at"), s.CreatedAt))
	c.time(checkTime(c.at("updated_at"), s.UpdatedAt))
	c.metadata("metadata", s.Metadata)
}

// CheckEdge checks an edge that a caller wants to make.
func CheckEdge(path string, e *pb.Edge) error {
	c := &checker{path: path}
	if e == nil {
		c.fail("", "is required")
		return c.err
	}
	if e.Id != "" {
		c.id("id", e.Id)
	}
	c.id("from_node_id", e.FromNodeId)
	c.id("to_node_id", e.ToNodeId)
	if _, known := edgeEnds[e.Type]; !known {
		c.fail("type", "%v is no edge type that can be made", e.Type)
	}
	c.metadata("properties", e.Properties)
	c.under("properties", func() { c.properties(e) })
	return c.err
}

// properties checks the properties whose values have a meaning; others are free.
func (c *checker) properties(e *pb.Edge) {
	switch e.Type {
	case pb.EdgeType_EDGE_TYPE_TRANSFERS_TO:
		c.property(e, "priority", "low", "normal", "high", "critical")
	case pb.EdgeType_EDGE_TYPE_REFERENCES:
		c.property(e, "context_type", "document", "webpage", "database", "vector_search", "memory")
		if s, ok := e.Properties["relevance_score"]; ok {
			f, err := strconv.ParseFloat(s, 64)
			if err != nil || math.IsNaN(f) || f < 0 || f > 1 {
				c.fail("relevance_score", "%q is no number from 0 to 1", clip(s))
			}
		}
	}
}

func (c *checker) property(e *pb.Edge, key string, known ...string) {
	v, ok := e.Properties[key]
	if !ok {
		return
	}
	for _, k := range known {
		if v == k {
			return
		}
	}
	c.fail(key, "%q is unknown; use one of %v", clip(v), known)
}

// CheckImportEdge checks an edge that is to be written verbatim.
func CheckImportEdge(path string, e *pb.Edge) error {
	if e != nil && e.Id == "" {
		return invalid(path+".id", "is required")
	}
	// The bindings of an instantiation are longer than what a caller may write on an edge.
	c := &checker{path: path}
	bindings, bound := e.GetProperties()[bindingsKey]
	if bound && e.Type == instantiates {
		c.text("properties."+bindingsKey, bindings, false)
		delete(e.Properties, bindingsKey)
		defer func() { e.Properties[bindingsKey] = bindings }()
	}
	if err := CheckEdge(path, e); err != nil {
		return err
	}
	c.time(checkTime(c.at("created_at"), e.CreatedAt))
	return c.err
}
