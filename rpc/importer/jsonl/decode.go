package jsonl

import (
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func (p *parser) header(h *Header) error {
	return p.object(func(key []byte) error {
		switch string(key) {
		case "version":
			return p.whole(&h.Version)
		case "lineage":
			return p.text(&h.Lineage)
		case "revision":
			return p.unsigned(&h.Revision)
		}
		_, err := p.value() // a later version may say more
		return err
	})
}

func (p *parser) trailer(t *Trailer) error {
	return p.object(func(key []byte) error {
		switch string(key) {
		case "nodes":
			return p.whole(&t.Nodes)
		case "edges":
			return p.whole(&t.Edges)
		}
		return errShape
	})
}

func (p *parser) node(n *pb.Node) error {
	return p.object(func(key []byte) error {
		switch string(key) {
		case "id":
			return p.text(&n.Id)
		case "created_at":
			return p.time(&n.CreatedAt)
		case "session_id":
			return p.text(&n.SessionId)
		}
		if n.NodeData != nil {
			return errShape
		}
		return p.data(string(key), n)
	})
}

func (p *parser) data(key string, n *pb.Node) error {
	switch key {
	case "prompt":
		d := &pb.PromptNode{}
		n.NodeData = &pb.Node_Prompt{Prompt: d}
		return p.prompt(d)
	case "response":
		d := &pb.ResponseNode{}
		n.NodeData = &pb.Node_Response{Response: d}
		return p.response(d)
	case "tool_invocation":
		d := &pb.ToolInvocationNode{}
		n.NodeData = &pb.Node_ToolInvocation{ToolInvocation: d}
		return p.tool(d)
	case "agent":
		d := &pb.AgentNode{}
		n.NodeData = &pb.Node_Agent{Agent: d}
		return p.agent(d)
	case "template":
		d := &pb.TemplateNode{}
		n.NodeData = &pb.Node_Template{Template: d}
		return p.template(d)
	case "session":
		d := &pb.Session{}
		n.NodeData = &pb.Node_Session{Session: d}
		return p.session(d)
	}
	return errShape
}

func (p *parser) session(s *pb.Session) error {
	return p.object(func(key []byte) error {
		switch string(key) {
		case "created_at":
			return p.time(&s.CreatedAt)
		case "updated_at":
			return p.time(&s.UpdatedAt)
		case "metadata":
			return p.entries(&s.Metadata)
		case "is_active":
			return p.yes(&s.IsActive)
		}
		return errShape
	})
}

func (p *parser) prompt(d *pb.PromptNode) error {
	return p.object(func(key []byte) error {
		switch string(key) {
		case "session_id":
			return p.text(&d.SessionId)
		case "content":
			return p.text(&d.Content)
		case "timestamp":
			return p.time(&d.Timestamp)
		case "metadata":
			d.Metadata = &pb.PromptMetadata{}
			return p.promptMetadata(d.Metadata)
		}
		return errShape
	})
}

func (p *parser) promptMetadata(m *pb.PromptMetadata) error {
	return p.object(func(key []byte) error {
		switch string(key) {
		case "model":
			return p.text(&m.Model)
		case "temperature":
			return p.float(&m.Temperature)
		case "max_tokens":
			m.MaxTokens = new(int32)
			return p.small(m.MaxTokens)
		case "tools_available":
			return p.texts(&m.ToolsAvailable)
		case "custom":
			return p.entries(&m.Custom)
		}
		return errShape
	})
}

func (p *parser) response(d *pb.ResponseNode) error {
	return p.object(func(key []byte) error {
		switch string(key) {
		case "prompt_id":
			return p.text(&d.PromptId)
		case "content":
			return p.text(&d.Content)
		case "timestamp":
			return p.time(&d.Timestamp)
		case "token_usage":
			d.TokenUsage = &pb.TokenUsage{}
			return p.usage(d.TokenUsage)
		case "metadata":
			d.Metadata = &pb.ResponseMetadata{}
			return p.responseMetadata(d.Metadata)
		}
		return errShape
	})
}

func (p *parser) usage(u *pb.TokenUsage) error {
	return p.object(func(key []byte) error {
		switch string(key) {
		case "prompt_tokens":
			return p.whole(&u.PromptTokens)
		case "completion_tokens":
			return p.whole(&u.CompletionTokens)
		case "total_tokens":
			return p.whole(&u.TotalTokens)
		}
		return errShape
	})
}

func (p *parser) responseMetadata(m *pb.ResponseMetadata) error {
	return p.object(func(key []byte) error {
		switch string(key) {
		case "model":
			return p.text(&m.Model)
		case "finish_reason":
			return p.text(&m.FinishReason)
		case "latency_ms":
			return p.whole(&m.LatencyMs)
		case "custom":
			return p.entries(&m.Custom)
		}
		return errShape
	})
}

func (p *parser) tool(d *pb.ToolInvocationNode) error {
	return p.object(func(key []byte) error {
		switch string(key) {
		case "response_id":
			return p.text(&d.ResponseId)
		case "tool_name":
			return p.text(&d.ToolName)
		case "parameters":
			return p.text(&d.Parameters)
		case "status":
			return p.text(&d.Status)
		case "result":
			return p.optional(&d.Result)
		case "error":
			return p.optional(&d.Error)
		case "duration_ms":
			return p.whole(&d.DurationMs)
		case "retry_count":
			return p.small(&d.RetryCount)
		case "timestamp":
			return p.time(&d.Timestamp)
		case "metadata":
			return p.entries(&d.Metadata)
		}
		return errShape
	})
}

func (p *parser) agent(a *pb.AgentNode) error {
	return p.object(func(key []byte) error {
		switch string(key) {
		case "name":
			return p.text(&a.Name)
		case "role":
			return p.text(&a.Role)
		case "capabilities":
			return p.texts(&a.Capabilities)
		case "status":
			return p.text(&a.Status)
		case "created_at":
			return p.time(&a.CreatedAt)
		case "metadata":
			return p.entries(&a.Metadata)
		}
		return errShape
	})
}

func (p *parser) template(t *pb.TemplateNode) error {
	return p.object(func(key []byte) error {
		switch string(key) {
		case "name":
			return p.text(&t.Name)
		case "template_text":
			return p.text(&t.TemplateText)
		case "variables":
			return p.array(func() error {
				v := &pb.VariableSpec{}
				t.Variables = append(t.Variables, v)
				return p.variable(v)
			})
		case "version":
			return p.text(&t.Version)
		case "usage_count":
			return p.whole(&t.UsageCount)
		case "created_at":
			return p.time(&t.CreatedAt)
		case "metadata":
			return p.entries(&t.Metadata)
		}
		return errShape
	})
}

func (p *parser) variable(v *pb.VariableSpec) error {
	return p.object(func(key []byte) error {
		switch string(key) {
		case "name":
			return p.text(&v.Name)
		case "type_hint":
			return p.text(&v.TypeHint)
		case "required":
			return p.yes(&v.Required)
		case "default_value":
			return p.optional(&v.DefaultValue)
		case "validation_pattern":
			return p.optional(&v.ValidationPattern)
		case "description":
			return p.text(&v.Description)
		}
		return errShape
	})
}

func (p *parser) edge(d *pb.Edge) error {
	return p.object(func(key []byte) error {
		switch string(key) {
		case "id":
			return p.text(&d.Id)
		case "from_node_id":
			return p.text(&d.FromNodeId)
		case "to_node_id":
			return p.text(&d.ToNodeId)
		case "type":
			name, err := p.quoted()
			if t, known := pb.EdgeType_value[string(name)]; known && err == nil {
				d.Type = pb.EdgeType(t)
				return nil
			}
			return errShape
		case "created_at":
			return p.time(&d.CreatedAt)
		case "properties":
			return p.entries(&d.Properties)
		}
		return errShape
	})
}
