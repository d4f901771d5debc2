package importer

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// anthropic reads messages of the Anthropic API: requests {system, messages, tools, …}, logs of {request, response}, and
// lists of messages whose content holds blocks.
type anthropic struct{}

func (anthropic) claims(h head) claim {
	it := h.first()
	if request, _ := anthropicRequest(it.fields); request != nil {
		return claimWhole
	}
	list := it.list
	if it.fields != nil {
		list = elements(it.fields["messages"])
	}
	return claimIf(anyMessage(list, fields.isAnthropic))
}

// anthropicRequest is the request of an item, and what holds its response.
func anthropicRequest(f fields) (request, outer fields) {
	if f.present("request") && f.object("response").isAnthropicAnswer() {
		request = f.object("request")
		for _, key := range []string{"body", "json"} {
			if below := request.object(key); below["messages"] != nil {
				request = below
			}
		}
		return request, f
	}
	messages := elements(f["messages"])
	if f.object("response").isAnthropicAnswer() && messages != nil {
		return f, f
	}
	system := f["system"]
	if len(system) == 0 || system[0] != '"' && system[0] != '[' || f.hasListOtherThan("messages") {
		return nil, nil
	}
	plain := anyMessage(messages, func(m fields) bool { return m.hasRole() && m.present("content") })
	other := anyMessage(messages, func(m fields) bool { return m.firstText("role") == "system" || m.present("tool_calls") })
	if !plain || other {
		return nil, nil
	}
	return f, nil
}

func (f fields) hasListOtherThan(key string) bool { return f.without(key).hasList() }

// isAnthropicAnswer recognises the response of the API.
func (f fields) isAnthropicAnswer() bool {
	return f.firstText("role") == "assistant" && elements(f["content"]) != nil
}

// isAnthropic recognises a message by its blocks.
func (f fields) isAnthropic() bool {
	if f.firstText("role") == "" {
		return false
	}
	return anyMessage(elements(f["content"]), func(b fields) bool {
		switch b.firstText("type") {
		case "tool_use", "tool_result", "thinking", "redacted_thinking", "server_tool_use":
			return true
		case "image", "document":
			return b.object("source") != nil
		}
		return false
	})
}

// readAnthropicBlock reads one block of a content.
func readAnthropicBlock(b *blocks, f fields) bool {
	switch kind := f.firstText("type"); {
	case kind == "text":
		return b.addText(f.text("text"))
	case kind == "thinking":
		return b.addThought(f.text("thinking"))
	case kind == "tool_use" || kind == "server_tool_use":
		b.calls = append(b.calls, callBlock{id: f.firstText("id"), name: f.firstText("name"), parameters: f.value("input")})
	case strings.HasSuffix(kind, "tool_result"):
		r := resultBlock{id: f.firstText("tool_use_id"), failed: string(f["is_error"]) == "true"}
		r.text, r.metadata = anthropicResult(f["content"])
		b.results = append(b.results, r)
	default:
		return false
	}
	return true
}

// anthropicResult is the text of a result: a text, the texts of a list that has nothing else but pictures, or the content
// as it stands in the file.
func anthropicResult(raw json.RawMessage) (string, []pair) {
	f := fields{"content": raw}
	if len(raw) == 0 || raw[0] != '[' {
		return f.value("content"), nil
	}
	below := readBlocks(raw, func(b *blocks, f fields) bool { return b.addText(f.text("text")) })
	if len(below.faults) > 0 || len(below.texts) == 0 && len(below.other) > 0 {
		return string(raw), nil
	}
	return below.text(), below.custom()
}

func (anthropic) read(it *item, out *scribe) error {
	request, outer := anthropicRequest(it.fields)
	if request == nil {
		request = it.fields
	}
	list := it.list
	if list == nil {
		list = elements(request["messages"])
	}
	rest := request.without("messages", "system", "tools", "model", "temperature", "max_tokens", "response")
	if outer != nil {
		rest = outer.without("request", "response", "messages", "system", "tools")
	}
	name := fmt.Sprintf("conversation %d", out.index+1)
	s := out.session(sessionSpec{where: name, created: it.fields.time(timeKeys()...), metadata: flatten(rest),
		model: request.firstText("model"), temperature: request.number("temperature"), tools: toolsIn(request["tools"])})
	talk := &anthropicTalk{session: s, maxTokens: request.whole("max_tokens")}
	if system := request["system"]; len(system) > 0 && string(system) != "null" {
		b := readBlocks(system, readAnthropicBlock)
		s.system(name+", system", b.text())
		talk.faults(name+", system", b)
	}
	for i, raw := range list {
		f, err := parseFields(raw)
		where := fmt.Sprintf("%s, message %d", name, i+1)
		if err != nil {
			s.problem(where, "%v", err)
			continue
		}
		talk.message(where, strconv.Itoa(i), f)
	}
	if outer != nil {
		answer := outer.object("response").with("latency_ms", outer["latency_ms"]).with("duration_ms", outer["duration_ms"])
		talk.message(name+", response", "response", answer)
	}
	return nil
}

// with is a copy that has a member more, when it is something.
func (f fields) with(key string, raw json.RawMessage) fields {
	if raw == nil {
		return f
	}
	more := f.without()
	more[key] = raw
	return more
}

// An anthropicTalk is a list of messages that is being told.
type anthropicTalk struct {
	*session
	openCalls
	maxTokens int64
}

func (t *anthropicTalk) faults(where string, b *blocks) {
	for _, fault := range b.faults {
		t.problem(where, "%s", fault)
	}
}

func (t *anthropicTalk) message(where, key string, f fields) {
	b := readBlocks(f["content"], readAnthropicBlock)
	t.faults(where, b)
	time := f.time(timeKeys()...)
	role, known := roleOf(f.firstText("role"))
	switch {
	case !known:
		t.problem(where, "role %q is unknown", cutLong(f.firstText("role")))
		return
	case role == roleSystem:
		t.system(where, b.text())
		return
	}
	if role != roleAssistant {
		t.settle(t.session, where, b.results, time)
		if b.says() {
			t.prompt(promptSpec{where: where, key: []string{key}, text: b.text(), time: time, maxTokens: t.maxTokens,
				custom: append(b.custom(), flatten(f.without(anthropicKeys()...))...)})
		}
		return
	}
	if !b.says() && len(b.results) == 0 {
		return
	}
	r := t.response(t.lastOrOpening(), anthropicResponse(where, f, b, responseSpec{key: []string{key}, time: time}))
	t.tellCalls(t.session, r, b.calls, callSpec{where: where, key: []string{key}, time: time})
	t.settle(t.session, where, b.results, time) // those of tools that the server of the model ran
}

// anthropicKeys are the members of a message that have a place of their own.
func anthropicKeys() []string {
	return []string{"role", "content", "type", "model", "usage", "stop_reason", "timestamp", "created_at", "created", "latency_ms", "duration_ms"}
}

// anthropicResponse says what a response is, from the message that holds its model, usage and the reason of its end.
func anthropicResponse(where string, f fields, b *blocks, spec responseSpec) responseSpec {
	count := f.object("usage")
	spec.where, spec.text, spec.model, spec.finishReason = where, b.text(), f.firstText("model"), f.firstText("stop_reason")
	spec.usage = usage{prompt: count.whole("input_tokens"), completion: count.whole("output_tokens")}
	if spec.latencyMs = f.whole("latency_ms"); spec.latencyMs == 0 {
		spec.latencyMs = f.whole("duration_ms")
	}
	spec.custom = append(spec.custom, b.custom()...)
	spec.custom = append(spec.custom, flatten(f.without(anthropicKeys()...))...)
	for _, p := range flatten(count.without("input_tokens", "output_tokens")) {
		spec.custom = append(spec.custom, entry("usage."+p.key, p.value))
	}
	return spec
}
