package graph

import (
	"fmt"
	"math"
	"strings"
	"unicode"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// A checker checks one record of a request, fills its defaults in, and names fields by their path in the request. It
// stops at the first fault. It looks at the input alone: what depends on the state is checked when the command is applied.
type checker struct {
	path string
	err  error
}

// CheckNode checks a node that a caller wants to make, and fills in what it left to defaults. path is where the node
// stands in the request (`node`, `nodes[3]`). Ids that are left empty stay empty.
func CheckNode(path string, n *pb.Node) error {
	c := &checker{path: path}
	c.identity(n)
	c.data(n)
	return c.err
}

// CheckUpdate checks a node that is to replace another: as CheckNode, but parent references may be left out.
func CheckUpdate(path string, n *pb.Node) error {
	c := &checker{path: path}
	c.identity(n)
	if n.GetId() == "" {
		c.fail("id", "is required")
	}
	restore := fillParents(n)
	c.data(n)
	restore()
	return c.err
}

// placeholder stands for a parent reference that an update leaves unchanged, while the rest is checked.
const placeholder = "00000000-0000-0000-0000-000000000000"

func fillParents(n *pb.Node) (restore func()) {
	fill := func(p *string) func() {
		if *p != "" {
			return func() {}
		}
		*p = placeholder
		return func() { *p = "" }
	}
	switch d := n.GetNodeData().(type) {
	case *pb.Node_Prompt:
		if d.Prompt != nil {
			return fill(&d.Prompt.SessionId)
		}
	case *pb.Node_Response:
		if d.Response != nil {
			return fill(&d.Response.PromptId)
		}
	case *pb.Node_ToolInvocation:
		if d.ToolInvocation != nil {
			return fill(&d.ToolInvocation.ResponseId)
		}
	}
	return func() {}
}

func (c *checker) fail(field, format string, args ...any) {
	if c.err == nil {
		c.err = invalid(c.at(field), format, args...)
	}
}

func (c *checker) at(field string) string {
	switch {
	case c.path == "":
		return field
	case field == "":
		return c.path
	default:
		return c.path + "." + field
	}
}

// under checks a nested message, whose fields are named below it.
func (c *checker) under(field string, check func()) {
	outer := c.path
	c.path = c.at(field)
	check()
	c.path = outer
}

// identity settles the node's type and its one id, which may stand outside, inside, or in both places.
func (c *checker) identity(n *pb.Node) {
	if n == nil || n.GetNodeData() == nil {
		c.fail("node_data", "is required")
		return
	}
	t, inner := dataType(n)
	switch {
	case n.Type == pb.NodeType_NODE_TYPE_UNSPECIFIED:
		n.Type = t
	case n.Type != t:
		c.fail("type", "is %v, but node_data is %v", n.Type, t)
	}
	if inner == nil {
		c.fail("node_data", "is required")
		return
	}
	if n.Id != "" && *inner != "" && n.Id != *inner {
		c.fail("id", "differs from the id in node_data")
	}
	if n.Id == "" {
		n.Id = *inner
	}
	if n.Id != "" {
		c.id("id", n.Id)
	}
	*inner = n.Id
}

// dataType is the type that node_data has, and where it keeps its id; nil for a nil message.
func dataType(n *pb.Node) (pb.NodeType, *string) {
	switch d := n.GetNodeData().(type) {
	case *pb.Node_Prompt:
		if d.Prompt != nil {
			return pb.NodeType_NODE_TYPE_PROMPT, &d.Prompt.Id
		}
	case *pb.Node_Response:
		if d.Response != nil {
			return pb.NodeType_NODE_TYPE_RESPONSE, &d.Response.Id
		}
	case *pb.Node_ToolInvocation:
		if d.ToolInvocation != nil {
			return pb.NodeType_NODE_TYPE_TOOL_INVOCATION, &d.ToolInvocation.Id
		}
	case *pb.Node_Agent:
		if d.Agent != nil {
			return pb.NodeType_NODE_TYPE_AGENT, &d.Agent.Id
		}
	case *pb.Node_Template:
		if d.Template != nil {
			return pb.NodeType_NODE_TYPE_TEMPLATE, &d.Template.Id
		}
	case *pb.Node_Session:
		if d.Session != nil {
			return pb.NodeType_NODE_TYPE_SESSION, &d.Session.Id
		}
	}
	return pb.NodeType_NODE_TYPE_UNSPECIFIED, nil
}

// SetID gives a node its id, outside and inside.
func SetID(n *pb.Node, id string) {
	n.Id = id
	if _, inner := dataType(n); inner != nil {
		*inner = id
	}
}

func (c *checker) data(n *pb.Node) {
	if c.err != nil {
		return
	}
	switch d := n.GetNodeData().(type) {
	case *pb.Node_Prompt:
		c.under("prompt", func() { c.prompt(d.Prompt) })
	case *pb.Node_Response:
		c.under("response", func() { c.response(d.Response) })
	case *pb.Node_ToolInvocation:
		c.under("tool_invocation", func() { c.tool(d.ToolInvocation) })
	case *pb.Node_Agent:
		c.under("agent", func() { c.agent(d.Agent) })
	case *pb.Node_Template:
		c.under("template", func() { c.template(d.Template) })
	case *pb.Node_Session:
		c.fail("session", "sessions are made by CreateSession and deleted by DeleteSession")
	}
}

func (c *checker) id(field, id string) {
	switch {
	case id == "":
		c.fail(field, "is required")
	case len(id) > MaxIDBytes:
		c.fail(field, "is %d bytes, at most %d", len(id), MaxIDBytes)
	case strings.IndexFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0:
		c.fail(field, "must be printable text")
	}
}

// sessionID checks for a UUID and makes it lower case.
func (c *checker) sessionID(field string, id *string) {
	if *id == "" {
		c.fail(field, "is required")
		return
	}
	lower, ok := parseUUID(*id)
	if !ok {
		c.fail(field, "%q is not a UUID", clip(*id))
		return
	}
	*id = lower
}

func (c *checker) text(field, s string, required bool) {
	if required && s == "" {
		c.fail(field, "is required")
	}
	if len(s) > MaxContentBytes {
		c.fail(field, "is %d bytes, at most %d", len(s), MaxContentBytes)
	}
}

func (c *checker) name(field, s string, required bool) {
	if required && s == "" {
		c.fail(field, "is required")
	}
	if len(s) > MaxNameBytes {
		c.fail(field, "is %d bytes, at most %d", len(s), MaxNameBytes)
	}
}

func (c *checker) notNegative(field string, n int64) {
	if n < 0 {
		c.fail(field, "must not be negative, got %d", n)
	}
}

func (c *checker) metadata(field string, m map[string]string) {
	if len(m) > MaxMetadataEntries {
		c.fail(field, "has %d entries, at most %d", len(m), MaxMetadataEntries)
		return
	}
	size := 0
	for k, v := range m {
		size += len(k) + len(v)
		if k == "" || len(k) > MaxMetadataKeyBytes {
			c.fail(field, "keys must be 1 to %d bytes", MaxMetadataKeyBytes)
		}
	}
	if size > MaxMetadataBytes {
		c.fail(field, "is %d bytes, at most %d", size, MaxMetadataBytes)
	}
}

func (c *checker) list(field string, items []string, most int) {
	if len(items) > most {
		c.fail(field, "has %d entries, at most %d", len(items), most)
		return
	}
	for i, s := range items {
		if len(s) > MaxNameBytes {
			c.name(fmt.Sprintf("%s[%d]", field, i), s, false)
		}
	}
}

// status makes a status lower case and checks that it is known; empty becomes the first.
func (c *checker) status(field string, s *string, known ...string) {
	if *s == "" {
		*s = known[0]
	}
	lower := strings.ToLower(*s)
	for _, k := range known {
		if lower == k {
			*s = k
			return
		}
	}
	c.fail(field, "%q is unknown; use one of %s", clip(*s), strings.Join(known, ", "))
}

func (c *checker) prompt(p *pb.PromptNode) {
	c.sessionID("session_id", &p.SessionId)
	c.text("content", p.Content, true)
	c.time(checkTime(c.at("timestamp"), p.Timestamp))
	if p.Metadata == nil {
		p.Metadata = &pb.PromptMetadata{Temperature: 0.7}
	}
	m := p.Metadata
	c.under("metadata", func() {
		c.model(&m.Model)
		if math.IsNaN(m.Temperature) || m.Temperature < 0 || m.Temperature > MaxTemperature {
			c.fail("temperature", "must be 0 to %d", MaxTemperature)
		}
		c.notNegative("max_tokens", int64(m.GetMaxTokens()))
		c.list("tools_available", m.ToolsAvailable, MaxToolsAvailable)
		c.metadata("custom", m.Custom)
	})
}

func (c *checker) time(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (c *checker) model(model *string) {
	if *model == "" {
		*model = "unknown"
	}
	c.name("model", *model, true)
}

func (c *checker) response(r *pb.ResponseNode) {
	c.id("prompt_id", r.PromptId)
	c.text("content", r.Content, false)
	c.time(checkTime(c.at("timestamp"), r.Timestamp))
	c.usage(r.TokenUsage)
	if r.Metadata == nil {
		r.Metadata = &pb.ResponseMetadata{}
	}
	m := r.Metadata
	c.under("metadata", func() {
		c.model(&m.Model)
		if m.FinishReason == "" {
			m.FinishReason = "stop"
		}
		c.name("finish_reason", m.FinishReason, true)
		c.notNegative("latency_ms", m.LatencyMs)
		c.metadata("custom", m.Custom)
	})
}

func (c *checker) usage(u *pb.TokenUsage) {
	if u == nil {
		if c.err == nil {
			c.err = &Error{Kind: Invalid, Field: c.at("token_usage"), Message: "Missing token_usage"}
		}
		return
	}
	c.under("token_usage", func() {
		c.notNegative("prompt_tokens", u.PromptTokens)
		c.notNegative("completion_tokens", u.CompletionTokens)
		c.notNegative("total_tokens", u.TotalTokens)
		if c.err == nil && u.TotalTokens == 0 {
			if u.PromptTokens > math.MaxInt64-u.CompletionTokens {
				c.fail("total_tokens", "the sum of prompt_tokens and completion_tokens exceeds int64")
				return
			}
			u.TotalTokens = u.PromptTokens + u.CompletionTokens
		}
	})
}

func (c *checker) tool(t *pb.ToolInvocationNode) {
	c.id("response_id", t.ResponseId)
	c.name("tool_name", t.ToolName, true)
	c.text("parameters", t.Parameters, false)
	c.text("result", t.GetResult(), false)
	c.text("error", t.GetError(), false)
	c.notNegative("duration_ms", t.DurationMs)
	c.notNegative("retry_count", int64(t.RetryCount))
	c.time(checkTime(c.at("timestamp"), t.Timestamp))
	c.metadata("metadata", t.Metadata)
	c.status("status", &t.Status, "pending", "running", "success", "failed")
	switch t.Status {
	case "success":
		t.Error = nil
	case "failed":
		t.Result = nil
	}
}

func (c *checker) agent(a *pb.AgentNode) {
	c.name("name", a.Name, true)
	c.name("role", a.Role, false)
	c.list("capabilities", a.Capabilities, MaxCapabilities)
	c.metadata("metadata", a.Metadata)
	c.status("status", &a.Status, "idle", "active", "busy", "paused", "terminated", "inactive")
	a.CreatedAt = nil
}

// clip shortens what an error repeats of the input.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// parseUUID accepts the hyphenated form in any case and returns it in lower case.
func parseUUID(s string) (string, bool) {
	if len(s) != 36 {
		return "", false
	}
	for i := range len(s) {
		switch i {
		case 8, 13, 18, 23:
			if s[i] != '-' {
				return "", false
			}
		default:
			if !strings.ContainsRune("0123456789abcdefABCDEF", rune(s[i])) {
				return "", false
			}
		}
	}
	return strings.ToLower(s), true
}
