package importer

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// A role is what a message is in a conversation.
type role int

const (
	roleSystem role = iota
	roleUser
	roleAssistant
	roleTool
)

// roleOf maps the names that roles go by.
func roleOf(name string) (role, bool) {
	switch strings.ToLower(name) {
	case "system", "developer":
		return roleSystem, true
	case "user", "human":
		return roleUser, true
	case "assistant", "gpt", "model", "ai":
		return roleAssistant, true
	case "tool", "function", "observation":
		return roleTool, true
	}
	return 0, false
}

// A message is one message of a conversation, read.
type message struct {
	// place is its index in the conversation.
	place   int
	role    role
	content string
	// other lists the parts of content that are no text, as "2:image_url".
	other  []string
	name   string
	agent  string
	calls  []toolCall
	callID []string
	time   *timestamppb.Timestamp
	fields fields
	// action is the text of a SWE-agent command.
	action string
}

// A toolCall is one call that a message makes.
type toolCall struct {
	id, name, parameters string
}

// knownKeys are the members of a message that have a place of their own in the records; the others become custom metadata.
func knownKeys() []string {
	return []string{"role", "from", "value", "content", "message", "name", "tool_calls", "tool_call_id", "tool_call_ids", "function_call", "agent",
		"model", "usage", "finish_reason", "latency_ms", "duration_ms", "thought", "action", "timestamp", "created_at", "created"}
}

// readMessage reads a message of a conversation.
func readMessage(raw json.RawMessage, place int, d dialect) (message, error) {
	f, err := parseFields(raw)
	if err != nil {
		return message{}, err
	}
	m := message{place: place, fields: f, time: f.time(timeKeys()...)}
	if err := m.readRole(d); err != nil {
		return message{}, err
	}
	if err := m.readContent(); err != nil {
		return message{}, err
	}
	m.name, _ = f.text("name")
	m.agent = m.readAgent()
	m.action, _ = f.text("action")
	if m.calls, err = readCalls(f); err != nil {
		return message{}, err
	}
	m.readCallIDs()
	return m, nil
}

func (m *message) readRole(d dialect) error {
	name := m.fields.firstText("role", "from")
	if name == "" && d.alternating {
		m.role = roleUser
		if m.place%2 == 1 {
			m.role = roleAssistant
		}
		return nil
	}
	var ok bool
	if m.role, ok = roleOf(name); !ok {
		return fmt.Errorf("role %q is unknown", cutLong(name))
	}
	return nil
}

func cutLong(s string) string {
	const limit = 40
	if len(s) > limit {
		return cutText(s, limit) + "…"
	}
	return s
}

// readContent reads text, a list of parts, or nothing. The result of a tool may be any JSON; it is kept as it stands.
func (m *message) readContent() error {
	raw := m.fields["content"]
	for _, key := range []string{"value", "message"} {
		if raw == nil {
			raw = m.fields[key]
		}
	}
	if raw == nil || string(raw) == "null" {
		return nil
	}
	switch raw[0] {
	case '"':
		return json.Unmarshal(raw, &m.content)
	case '[':
		if m.readParts(raw) {
			return nil
		}
	}
	if m.role != roleTool {
		return fmt.Errorf("content is neither text nor a list of parts")
	}
	m.content, m.other = string(raw), nil
	return nil
}

// readParts joins the text parts by line breaks and notes the others. It says false when an element is no part at all.
func (m *message) readParts(raw json.RawMessage) bool {
	var parts []json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil {
		return false
	}
	var texts []string
	for i, part := range parts {
		if part[0] == '"' {
			var s string
			if err := json.Unmarshal(part, &s); err != nil {
				return false
			}
			texts = append(texts, s)
			continue
		}
		f, err := parseFields(part)
		if err != nil {
			return false
		}
		if s, ok := f.text("text"); ok {
			texts = append(texts, s)
			continue
		}
		kind := f.firstText("type")
		if kind == "" {
			return false
		}
		m.other = append(m.other, fmt.Sprintf("%d:%s", i, cutLong(kind)))
	}
	m.content = strings.Join(texts, "\n")
	return true
}

// readAgent returns the speaker that the message names.
func (m *message) readAgent() string {
	agent := m.fields.firstText("agent")
	if agent == "" && m.role == roleAssistant {
		agent = m.fields.firstText("name")
	}
	if len(agent) > graph.MaxNameBytes {
		return ""
	}
	return agent
}

func (m *message) readCallIDs() {
	if id, ok := m.fields.text("tool_call_id"); ok {
		m.callID = []string{id}
		return
	}
	var ids []string
	if err := json.Unmarshal(m.fields["tool_call_ids"], &ids); err == nil {
		m.callID = ids
	}
}

// readCalls reads tool_calls, or the function_call of older files.
func readCalls(f fields) ([]toolCall, error) {
	if old := f.object("function_call"); old != nil && !f.present("tool_calls") {
		call, err := readCall(old)
		return []toolCall{call}, err
	}
	if !f.present("tool_calls") {
		return nil, nil
	}
	var raws []json.RawMessage
	if err := json.Unmarshal(f["tool_calls"], &raws); err != nil {
		return nil, fmt.Errorf("tool_calls is no list")
	}
	var calls []toolCall
	for i, raw := range raws {
		entry, err := parseFields(raw)
		if err != nil {
			return nil, fmt.Errorf("tool_calls[%d]: %w", i, err)
		}
		call, err := readCall(entry)
		if err != nil {
			return nil, fmt.Errorf("tool_calls[%d]: %w", i, err)
		}
		calls = append(calls, call)
	}
	return calls, nil
}

// readCall reads one call. Its parameters are the text of arguments; an object in their place is kept as it stands.
func readCall(f fields) (toolCall, error) {
	call := toolCall{id: f.firstText("id")}
	body := f
	for _, key := range []string{"function", "custom"} {
		if nested := f.object(key); nested != nil {
			body = nested
		}
	}
	call.name = body.firstText("name")
	if call.name == "" || len(call.name) > graph.MaxNameBytes {
		return toolCall{}, fmt.Errorf("the tool's name is %d bytes, must be 1 to %d", len(call.name), graph.MaxNameBytes)
	}
	for _, key := range []string{"arguments", "input"} {
		if !body.present(key) {
			continue
		}
		s, ok := body.text(key)
		if !ok {
			s = string(body[key])
		}
		call.parameters = s
		break
	}
	return call, nil
}
