package jsonl

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// An encoder appends members of JSON objects. Those at their default are left out.
type encoder struct{ b []byte }

// key appends a name, with a comma unless it is the first of its object.
func (e *encoder) key(name string) {
	if last := e.b[len(e.b)-1]; last != '{' && last != '[' {
		e.b = append(e.b, ',')
	}
	e.b = append(e.b, '"')
	e.b = append(e.b, name...)
	e.b = append(e.b, '"', ':')
}

func (e *encoder) text(name, v string) {
	if v != "" {
		e.key(name)
		e.b = appendText(e.b, v)
	}
}

func (e *encoder) optional(name string, v *string) {
	if v != nil {
		e.key(name)
		e.b = appendText(e.b, *v)
	}
}

func (e *encoder) whole(name string, v int64) {
	if v != 0 {
		e.key(name)
		e.b = strconv.AppendInt(e.b, v, 10)
	}
}

func (e *encoder) unsigned(name string, v uint64) {
	if v != 0 {
		e.key(name)
		e.b = strconv.AppendUint(e.b, v, 10)
	}
}

func (e *encoder) yes(name string, v bool) {
	if v {
		e.key(name)
		e.b = append(e.b, "true"...)
	}
}

func (e *encoder) time(name string, t *timestamppb.Timestamp) {
	if t != nil {
		e.key(name)
		e.b = append(e.b, '"')
		e.b = t.AsTime().AppendFormat(e.b, time.RFC3339Nano)
		e.b = append(e.b, '"')
	}
}

func (e *encoder) texts(name string, list []string) {
	if len(list) == 0 {
		return
	}
	e.key(name)
	e.b = append(e.b, '[')
	for i, s := range list {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.b = appendText(e.b, s)
	}
	e.b = append(e.b, ']')
}

func (e *encoder) entries(name string, m map[string]string) {
	if len(m) == 0 {
		return
	}
	e.key(name)
	e.b = append(e.b, '{')
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.b = append(appendText(e.b, k), ':')
		e.b = appendText(e.b, m[k])
	}
	e.b = append(e.b, '}')
}

// open and close enclose a nested object.
func (e *encoder) open(name string) {
	e.key(name)
	e.b = append(e.b, '{')
}

func (e *encoder) close() { e.b = append(e.b, '}') }

const hexDigits = "0123456789abcdef"

// appendText appends a JSON string. Everything but quotes, backslashes and control characters stands as it is.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, s[start:]...), '"')
}

func (e *encoder) node(n *pb.Node) {
	e.text("id", n.Id)
	e.time("created_at", n.CreatedAt)
	switch d := n.GetNodeData().(type) {
	case *pb.Node_Session:
		e.open("session")
		e.session(d.Session, n)
	case *pb.Node_Prompt:
		e.open("prompt")
		e.prompt(d.Prompt)
	case *pb.Node_Response:
		e.text("session_id", n.SessionId)
		e.open("response")
		e.response(d.Response)
	case *pb.Node_ToolInvocation:
		e.text("session_id", n.SessionId)
		e.open("tool_invocation")
		e.tool(d.ToolInvocation)
	case *pb.Node_Agent:
		e.open("agent")
		e.agent(d.Agent)
	case *pb.Node_Template:
		e.open("template")
		e.template(d.Template)
	default:
		return // a node without data has nothing to say
	}
	e.close()
}

func (e *encoder) session(s *pb.Session, n *pb.Node) {
	if s.CreatedAt.GetSeconds() != n.CreatedAt.GetSeconds() || s.CreatedAt.GetNanos() != n.CreatedAt.GetNanos() {
		e.time("created_at", s.CreatedAt)
	}
	e.time("updated_at", s.UpdatedAt)
	e.entries("metadata", s.Metadata)
	e.yes("is_active", s.IsActive)
}

func (e *encoder) prompt(p *pb.PromptNode) {
	e.text("session_id", p.SessionId)
	e.text("content", p.Content)
	e.time("timestamp", p.Timestamp)
	m := p.Metadata
	if m == nil {
		return
	}
	e.open("metadata")
	e.text("model", m.Model)
	if math.Float64bits(m.Temperature) != 0 { // minus zero is a value of its own
		e.key("temperature")
		e.b = strconv.AppendFloat(e.b, m.Temperature, 'g', -1, 64)
	}
	if m.MaxTokens != nil {
		e.key("max_tokens")
		e.b = strconv.AppendInt(e.b, int64(*m.MaxTokens), 10)
	}
	e.texts("tools_available", m.ToolsAvailable)
	e.entries("custom", m.Custom)
	e.close()
}

func (e *encoder) response(r *pb.ResponseNode) {
	e.text("prompt_id", r.PromptId)
	e.text("content", r.Content)
	e.time("timestamp", r.Timestamp)
	if u := r.TokenUsage; u != nil {
		e.open("token_usage")
		e.whole("prompt_tokens", u.PromptTokens)
		e.whole("completion_tokens", u.CompletionTokens)
		e.whole("total_tokens", u.TotalTokens)
		e.close()
	}
	if m := r.Metadata; m != nil {
		e.open("metadata")
		e.text("model", m.Model)
		e.text("finish_reason", m.FinishReason)
		e.whole("latency_ms", m.LatencyMs)
		e.entries("custom", m.Custom)
		e.close()
	}
}

func (e *encoder) tool(t *pb.ToolInvocationNode) {
	e.text("response_id", t.ResponseId)
	e.text("tool_name", t.ToolName)
	e.text("parameters", t.Parameters)
	e.text("status", t.Status)
	e.optional("result", t.Result)
	e.optional("error", t.Error)
	e.whole("duration_ms", t.DurationMs)
	e.whole("retry_count", int64(t.RetryCount))
	e.time("timestamp", t.Timestamp)
	e.entries("metadata", t.Metadata)
}

func (e *encoder) agent(a *pb.AgentNode) {
	e.text("name", a.Name)
	e.text("role", a.Role)
	e.texts("capabilities", a.Capabilities)
	e.text("status", a.Status)
	e.time("created_at", a.CreatedAt)
	e.entries("metadata", a.Metadata)
}

func (e *encoder) template(t *pb.TemplateNode) {
	e.text("name", t.Name)
	e.text("template_text", t.TemplateText)
	if len(t.Variables) > 0 {
		e.key("variables")
		e.b = append(e.b, '[')
		for i, v := range t.Variables {
			if i > 0 {
				e.b = append(e.b, ',')
			}
			e.b = append(e.b, '{')
			e.variable(v)
			e.close()
		}
		e.b = append(e.b, ']')
	}
	e.text("version", t.Version)
	e.whole("usage_count", t.UsageCount)
	e.time("created_at", t.CreatedAt)
	e.entries("metadata", t.Metadata)
}

func (e *encoder) variable(v *pb.VariableSpec) {
	e.text("name", v.Name)
	e.text("type_hint", v.TypeHint)
	e.yes("required", v.Required)
	e.optional("default_value", v.DefaultValue)
	e.optional("validation_pattern", v.ValidationPattern)
	e.text("description", v.Description)
}

func (e *encoder) edge(d *pb.Edge) {
	e.text("id", d.Id)
	e.text("from_node_id", d.FromNodeId)
	e.text("to_node_id", d.ToNodeId)
	e.text("type", d.Type.String())
	e.time("created_at", d.CreatedAt)
	e.entries("properties", d.Properties)
}
