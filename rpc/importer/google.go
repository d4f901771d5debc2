package importer

import (
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// gemini reads requests of the Gemini API ({contents, tools, …}), logs of {request, response}, and lists of contents. Names
// of members may be written in either way, functionCall or function_call.
type gemini struct{}

func (gemini) claims(h head) claim {
	it := h.first()
	request := geminiRequest(it.fields)
	if elements(it.fields.either("contents")) != nil {
		request = it.fields
	}
	if request != nil {
		return claimIf(anyMessage(elements(request["contents"]), fields.isContent))
	}
	if it.list != nil {
		return claimIf(anyMessage(it.list, fields.isContent))
	}
	if it.fields.isContent() {
		return claimPart
	}
	return claimNone
}

// geminiRequest is the request of a log.
func geminiRequest(f fields) fields {
	if r := f.object("request"); elements(r["contents"]) != nil {
		return r
	}
	return nil
}

// isContent recognises a message of the API: it is made of parts.
func (f fields) isContent() bool {
	role := f.firstText("role")
	return (role == "user" || role == "model" || role == "function") && !f.present("content") &&
		anyMessage(elements(f["parts"]), func(p fields) bool { return p.isPart() })
}

func (f fields) isPart() bool {
	for _, key := range []string{"text", "functionCall", "functionResponse", "inlineData", "fileData", "executableCode", "codeExecutionResult"} {
		if f.present(key) || f.present(snake(key)) {
			return true
		}
	}
	return false
}

// either returns a member under its name or the name written_like_this.
func (f fields) either(key string) json.RawMessage {
	if raw, ok := f[key]; ok {
		return raw
	}
	return f[snake(key)]
}

// eitherText is either as a text.
func (f fields) eitherText(key string) string {
	s, _ := fields{key: f.either(key)}.text(key)
	return s
}

// eitherObject is either as an object.
func (f fields) eitherObject(key string) fields { return fields{key: f.either(key)}.object(key) }

// pick is a copy of some members, under the names that are written_like_this; null ones are left out.
func (f fields) pick(keys ...string) fields {
	few := make(fields)
	for _, key := range keys {
		if raw := f.either(key); len(raw) > 0 {
			few[snake(key)] = raw
		}
	}
	return few
}

// snake writes camelCase as snake_case.
func snake(key string) string {
	var b strings.Builder
	for _, r := range key {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// readPart reads one part of a content.
func readPart(b *blocks, f fields) bool {
	call, result := f.eitherObject("functionCall"), f.eitherObject("functionResponse")
	text, isText := f.text("text")
	switch {
	case call != nil:
		b.calls = append(b.calls, callBlock{id: call.firstText("id"), name: call.firstText("name"), parameters: call.value("args")})
	case result != nil:
		answer := result.object("response")
		b.results = append(b.results, resultBlock{id: result.firstText("id"), name: result.firstText("name"), text: result.value("response"),
			failed: answer.present("error") || answer.firstText("status") == "error"})
	case isText && string(f["thought"]) == "true":
		b.thoughts = append(b.thoughts, text)
	case isText:
		b.texts = append(b.texts, text)
	default:
		return b.otherPart(f)
	}
	return true
}

// otherPart notes a part that is no text: data, code, and what code put out.
func (b *blocks) otherPart(f fields) bool {
	for _, k := range f.keys() {
		if f.present(k) && k != "thought" && k != "thoughtSignature" {
			b.other = append(b.other, fmt.Sprintf("%d:%s", b.size(), cutLong(k)))
			return true
		}
	}
	return false
}

func (b *blocks) size() int {
	return len(b.texts) + len(b.thoughts) + len(b.other) + len(b.calls) + len(b.results)
}

// readContent reads a content of the API.
func readContent(f fields) *blocks { return readBlocks(f["parts"], readPart) }

func (gemini) read(it *item, out *scribe) error {
	request := it.fields
	if r := geminiRequest(it.fields); r != nil {
		request = r
	}
	list := it.list
	if it.fields != nil {
		list = elements(request["contents"])
	}
	config := request.eitherObject("generationConfig")
	if config == nil {
		config = request.object("config")
	}
	name := fmt.Sprintf("conversation %d", out.index+1)
	model := request.firstText("model")
	if model == "" {
		model = it.fields.firstText("model")
	}
	s := out.session(sessionSpec{where: name, created: it.fields.time(timeKeys()...), model: model, temperature: config.number("temperature"),
		tools: functionNames(request["tools"]), metadata: flatten(it.fields.without("request", "response", "contents", "systemInstruction", "system_instruction", "tools"))})
	t := &googleTalk{session: s, maxTokens: config.whole("maxOutputTokens") + config.whole("max_output_tokens")}
	for _, holder := range []fields{request, config} {
		if system := holder.either("systemInstruction"); len(system) > 0 && string(system) != "null" {
			t.systemText(name+", system", system)
		}
	}
	for i, raw := range list {
		where := fmt.Sprintf("%s, message %d", name, i+1)
		f, err := parseFields(raw)
		if err != nil {
			s.problem(where, "%v", err)
			continue
		}
		t.content(where, f, f.firstText("role") == "model", answerSpec{})
	}
	if answer := it.fields.object("response"); answer != nil {
		t.candidate(name+", response", answer, it.fields)
	}
	return nil
}

// systemText tells a system instruction: a text, or a content.
func (t *googleTalk) systemText(where string, raw json.RawMessage) {
	b := readBlocks(raw, readPart)
	if f, err := parseFields(raw); err == nil {
		b = readContent(f)
	}
	t.faults(where, b)
	t.system(where, b.text())
}

// functionNames lists the names of declared functions.
func functionNames(raw json.RawMessage) []string {
	var names []string
	for _, tool := range elements(raw) {
		f, err := parseFields(tool)
		if err != nil {
			continue
		}
		for _, d := range elements(f.either("functionDeclarations")) {
			if declared, err := parseFields(d); err == nil {
				names = append(names, declared.firstText("name"))
			}
		}
	}
	return names
}

// A googleTalk is a conversation of contents that is being told.
type googleTalk struct {
	*session
	openCalls
	maxTokens int64
}

// An answerSpec is what is known of a content beside itself.
type answerSpec struct {
	time   *timestamppb.Timestamp
	custom []pair
	agent  *agentRef
	// answer has the model, usage and the reason of the end, or nothing.
	answer    fields
	latencyMs int64
}

func (t *googleTalk) faults(where string, b *blocks) {
	for _, fault := range b.faults {
		t.problem(where, "%s", fault)
	}
}

// content tells one content: what was asked, or what a model answered, with its calls; and results of calls in both.
func (t *googleTalk) content(where string, f fields, answers bool, a answerSpec) *responseRef {
	b := readContent(f)
	t.faults(where, b)
	t.settle(t.session, where, b.results, a.time)
	if !b.says() {
		return nil
	}
	custom := append(b.custom(), a.custom...)
	if !answers {
		t.prompt(promptSpec{where: where, text: b.text(), time: a.time, maxTokens: t.maxTokens, custom: custom})
		return nil
	}
	to := t.lastOrOpening()
	used := a.answer.eitherObject("usageMetadata")
	spec := responseSpec{where: where, text: b.text(), time: a.time, model: a.answer.eitherText("modelVersion"), latencyMs: a.latencyMs,
		usage:        usage{prompt: whole(used, "promptTokenCount"), completion: whole(used, "candidatesTokenCount"), total: whole(used, "totalTokenCount")},
		finishReason: a.answer.eitherText("finishReason"), custom: custom}
	if a.answer != nil {
		spec.provider = "google"
	}
	for _, p := range flatten(used.without("promptTokenCount", "prompt_token_count", "candidatesTokenCount", "candidates_token_count", "totalTokenCount", "total_token_count")) {
		spec.custom = append(spec.custom, entry("usage."+p.key, p.value))
	}
	r := t.response(to, spec)
	if a.agent != nil {
		t.handledBy(to.ref, a.agent)
		t.handledBy(r.ref, a.agent)
	}
	t.tellCalls(t.session, r, b.calls, callSpec{where: where, time: a.time})
	for _, c := range b.calls {
		if to, err := parseFields(json.RawMessage(c.parameters)); err == nil && strings.Contains(c.name, "transfer_to_agent") {
			t.transfersTo(r, t.agent(agentSpec{name: to.firstText("agent_name", "agentName")}), handoff{reason: c.name})
		}
	}
	return r
}

func whole(f fields, key string) int64 { return fields{key: f.either(key)}.whole(key) }

// candidate tells the response of the API: its first candidate; the others are reported.
func (t *googleTalk) candidate(where string, answer, log fields) {
	list := elements(answer["candidates"])
	if len(list) == 0 {
		t.problem(where, "has no candidates")
		return
	}
	for i, raw := range list {
		f, err := parseFields(raw)
		if err != nil || i > 0 {
			t.problem(where, "candidate %d is left out: only the first one is told", i+1)
			continue
		}
		known := answer.with("finishReason", f.either("finishReason"))
		a := answerSpec{answer: known, latencyMs: log.whole("latency_ms"), time: answer.time("createTime", "create_time"),
			custom: flatten(answer.pick("responseId"))}
		t.content(where, f.object("content"), true, a)
	}
}
