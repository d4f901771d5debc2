package importer

import (
	"encoding/json"
	"fmt"
	"strings"
)

// inspectAI reads evaluation logs of Inspect: samples with their messages, and the events in which they came about. Each
// call of a model is a prompt and a response, the calls of a grader too; input that was there before is not told again.
type inspectAI struct{}

func (inspectAI) claims(h head) claim {
	f := h.first().fields
	eval := f.object("eval")
	return claimIf(eval.firstText("task", "eval_id", "run_id") != "" && elements(f["samples"]) != nil)
}

func (inspectAI) read(it *item, out *scribe) error {
	eval := it.fields.object("eval")
	for i, raw := range elements(it.fields["samples"]) {
		where := fmt.Sprintf("sample %d", i+1)
		sample, err := parseFields(raw)
		if err != nil {
			out.problem(where, "%v", err)
			continue
		}
		tellSample(out, where, eval, sample)
	}
	return nil
}

// A sampleTalk is a sample that is being told.
type sampleTalk struct {
	*session
	openCalls
	attachments fields
	// prompts and others are the messages that were told, by id: what was asked, and the rest.
	prompts map[string]*promptRef
	others  map[string]bool
	spans   map[string]fields
	answer  *responseRef
	now     fields // the call of a model that is being told
}

const attachmentScheme = "attachment://"

func tellSample(out *scribe, where string, eval, sample fields) {
	meta := append(flatten(sample.without("messages", "events", "attachments", "input", "output", "timelines")),
		flatten(eval.without("dataset", "packages", "config", "revision", "metrics", "scorers"))...)
	config := eval.object("model_generate_config")
	t := &sampleTalk{attachments: sample.object("attachments"), prompts: make(map[string]*promptRef), others: make(map[string]bool), spans: make(map[string]fields)}
	t.session = out.session(sessionSpec{where: where, created: eval.time("created"), model: eval.firstText("model"), temperature: config.number("temperature"), metadata: meta})
	called := false
	for i, raw := range elements(sample["events"]) {
		at := fmt.Sprintf("%s, event %d", where, i+1)
		e, err := parseFields(raw)
		if err != nil {
			t.problem(at, "%v", err)
			continue
		}
		t.event(at, e)
		called = called || e.firstText("event") == "model"
	}
	if !called {
		t.input(where, elements(sample["messages"]), sample.object("output"))
	}
}

func (t *sampleTalk) event(where string, e fields) {
	switch e.firstText("event") {
	case "span_begin":
		t.spans[e.firstText("id")] = e
		if name := e.firstText("name"); e.firstText("type") == "agent" && t.answer != nil {
			t.transfersTo(t.answer, t.agent(agentSpec{name: name}), handoff{reason: "span"})
		}
	case "model":
		t.model(where, e)
	case "tool":
		t.tool(where, e)
	case "":
		t.problem(where, "is no event: it does not say which")
	}
}

// speaker is the agent in whose span an event stands, or nil.
func (t *sampleTalk) speaker(e fields) *agentRef {
	id := e.firstText("span_id")
	for range maxNestedSpans {
		span := t.spans[id]
		if span == nil {
			return nil
		}
		if span.firstText("type") == "agent" {
			return t.agent(agentSpec{name: span.firstText("name")})
		}
		id = span.firstText("parent_id")
	}
	return nil
}

// maxNestedSpans is how far up an agent is looked for.
const maxNestedSpans = 64

// model tells a call of a model.
func (t *sampleTalk) model(where string, e fields) {
	t.now = e
	to := t.input(where, elements(e["input"]), nil)
	if to == nil {
		to = t.lastOrOpening()
	}
	output := e.object("output")
	choice := firstFields(output["choices"])
	m := choice.object("message")
	if m == nil && !output.present("error") && !e.present("error") {
		t.problem(where, "has no answer")
		return
	}
	custom := flatten(e.pick("span_id", "role", "error", "retries", "cache"))
	custom = append(custom, flatten(output.pick("error"))...)
	t.respond(to, t.answerOf(where, m, output, responseSpec{time: e.time("timestamp"), finishReason: choice.firstText("stop_reason"), custom: custom}), m)
	if a := t.speaker(e); a != nil {
		t.handledBy(to.ref, a)
		t.handledBy(t.answer.ref, a)
	}
}

// answerOf is what a model said.
func (t *sampleTalk) answerOf(where string, m, output fields, spec responseSpec) responseSpec {
	b := t.content(where, m)
	t.others[messageID(m)] = true
	spec.where, spec.text, spec.model = where, b.text(), output.firstText("model")
	count := output.object("usage")
	spec.usage = usage{prompt: count.whole("input_tokens"), completion: count.whole("output_tokens"), total: count.whole("total_tokens")}
	spec.latencyMs = output.seconds("time")
	spec.custom = append(append(b.custom(), spec.custom...), flatten(m.without("role", "content", "tool_calls", "model"))...)
	for _, p := range flatten(count.without("input_tokens", "output_tokens", "total_tokens")) {
		spec.custom = append(spec.custom, entry("usage."+p.key, p.value))
	}
	return spec
}

// respond tells a response with the calls that its message makes.
func (t *sampleTalk) respond(to *promptRef, spec responseSpec, m fields) {
	t.answer = t.response(to, spec)
	var calls []callBlock
	for i, raw := range elements(m["tool_calls"]) {
		f, err := parseFields(raw)
		if err != nil {
			t.problem(spec.where, "tool_calls[%d]: %v", i, err)
			continue
		}
		calls = append(calls, callBlock{id: f.firstText("id"), name: f.value("function"), parameters: t.resolve(spec.where, f.value("arguments"))})
	}
	t.tellCalls(t.session, t.answer, calls, callSpec{where: spec.where, time: spec.time})
}

// input tells the messages of a list that were not told before. It returns the prompt that comes last in it. output, when
// given, is what the last answer came with.
func (t *sampleTalk) input(where string, list []json.RawMessage, output fields) (last *promptRef) {
	for i, raw := range list {
		at := fmt.Sprintf("%s, message %d", where, i+1)
		m, err := parseFields(raw)
		if err != nil {
			t.problem(at, "%v", err)
			continue
		}
		id := messageID(m)
		if p := t.prompts[id]; p != nil {
			last = p
			continue
		}
		if t.others[id] {
			continue
		}
		last = t.message(at, id, m, last, i == len(list)-1, output)
	}
	return last
}

func (t *sampleTalk) message(where, id string, m fields, last *promptRef, final bool, output fields) *promptRef {
	role, known := roleOf(m.firstText("role"))
	t.others[id] = true
	switch {
	case !known:
		t.problem(where, "role %q is unknown", cutLong(m.firstText("role")))
	case role == roleSystem:
		t.system(where, t.content(where, m).text())
	case role == roleUser:
		b := t.content(where, m)
		config := t.now.object("config")
		spec := promptSpec{where: where, text: b.text(), time: t.now.time("timestamp"), model: t.now.firstText("model"), temperature: config.number("temperature"),
			maxTokens: config.whole("max_tokens"), tools: toolsIn(t.now["tools"]), root: last == nil,
			custom: append(b.custom(), flatten(m.without("role", "content"))...)}
		if last != nil {
			spec.follows = []*promptRef{last}
		}
		last = t.prompt(spec)
		t.prompts[id] = last
	case role == roleAssistant:
		if !final {
			output = nil
		}
		to := last
		if to == nil {
			to = t.lastOrOpening()
		}
		t.respond(to, t.answerOf(where, m, output, responseSpec{finishReason: firstFields(output["choices"]).firstText("stop_reason")}), m)
	default:
		if call := t.find(m.firstText("tool_call_id"), m.value("function")); call != nil {
			failure := m.object("error")
			text := t.content(where, m).text()
			if text == "" {
				text = failure.firstText("message")
			}
			t.result(call, resultSpec{where: where, text: text, failed: failure != nil})
		} else if !t.settledBefore(m.firstText("tool_call_id")) {
			t.problem(where, "tool call %q: %v", cutLong(m.firstText("tool_call_id")), errNoCall)
		}
	}
	return last
}

// settledBefore says that a call of that id has its result from an event.
func (t *sampleTalk) settledBefore(id string) bool { return t.others["call "+id] }

// messageID names a message: by its id, else by what it says.
func messageID(m fields) string {
	if id := m.firstText("id"); id != "" {
		return "id " + id
	}
	return m.firstText("role") + " " + sum(m["content"], m["tool_calls"], m["tool_call_id"])
}

// content reads the content of a message, with the texts that it refers to.
func (t *sampleTalk) content(where string, m fields) *blocks {
	if !m.present("content") {
		return &blocks{}
	}
	b := readBlocks(m["content"], func(b *blocks, f fields) bool {
		switch f.firstText("type") {
		case "text":
			return b.addText(f.text("text"))
		case "reasoning":
			return b.addThought(f.text("reasoning"))
		}
		return false
	})
	for _, fault := range b.faults {
		t.problem(where, "%s", fault)
	}
	for i, text := range b.texts {
		b.texts[i] = t.resolve(where, text)
	}
	for i, text := range b.thoughts {
		b.thoughts[i] = t.resolve(where, text)
	}
	return b
}

// resolve returns the attachment that a text stands for.
func (t *sampleTalk) resolve(where, text string) string {
	hash, ok := strings.CutPrefix(text, attachmentScheme)
	if !ok {
		return text
	}
	whole, ok := t.attachments.text(hash)
	if !ok {
		t.problem(where, "the attachment %q is not in the sample", cutLong(hash))
		return text
	}
	return whole
}

// tool tells the result of a call, and the call when no answer made it.
func (t *sampleTalk) tool(where string, e fields) {
	id := e.firstText("id")
	call := t.find(id, e.value("function"))
	if call == nil {
		answer := t.answer
		if answer == nil {
			t.problem(where, "is a tool call before any answer of a model")
			return
		}
		call = t.call(answer, callSpec{where: where, callID: id, name: e.value("function"), parameters: t.resolve(where, e.value("arguments")), time: e.time("timestamp")})
	}
	if call.ok && e.time("timestamp") != nil {
		call.node.Timestamp = e.time("timestamp")
	}
	if string(e["pending"]) == "true" {
		return
	}
	failure := e.object("error")
	text := t.resolve(where, e.value("result"))
	if text == "" {
		text = failure.firstText("message")
	}
	t.others["call "+id] = true
	t.result(call, resultSpec{where: where, text: text, failed: failure != nil || string(e["failed"]) == "true", time: e.time("completed"),
		durationMs: e.seconds("working_time"), metadata: flatten(e.pick("span_id", "agent", "truncated"))})
	if name := e.firstText("agent"); name != "" && t.answer != nil {
		t.transfersTo(t.answer, t.agent(agentSpec{name: name}), handoff{reason: e.value("function")})
	}
}
