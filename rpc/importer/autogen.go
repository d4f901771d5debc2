package importer

import (
	"fmt"
	"strings"
)

// autogen reads recorded chat completions of AutoGen: {mode, messages, response}. The records of a file are one session,
// each the last question and its answer; what its messages repeat of earlier records is not told again.
type autogen struct{}

func (autogen) claims(h head) claim {
	it := h.first()
	if it.list != nil {
		return claimIf(anyMessage(it.list, fields.isAutogen))
	}
	if it.fields.isAutogen() {
		return claimPart
	}
	return claimNone
}

// isAutogen recognises a record by the types of its messages.
func (f fields) isAutogen() bool {
	return f.firstText("mode") != "" && anyMessage(elements(f["messages"]), func(m fields) bool {
		return strings.HasSuffix(m.firstText("type"), "Message") && m.firstText("role") == ""
	})
}

// An autogenTalk is a session that is being told.
type autogenTalk struct {
	*session
	openCalls
	prompts  map[string]*promptRef // by text, the latest
	answered map[[2]string]bool    // by prompt and text
	recall   []recalled
}

// recalled is an answer that later questions may quote.
type recalled struct {
	text string
	node ref
}

const (
	// minRecalled is how long an answer must be to be known by its text, in bytes: "None" and "1" come again by chance.
	minRecalled = 40
	// maxRecalled is how many answers are looked for in a question, the latest ones.
	maxRecalled = 256
)

func (autogen) read(it *item, out *scribe) error {
	name := fmt.Sprintf("conversation %d", out.index+1)
	t := &autogenTalk{session: out.session(sessionSpec{where: name}), prompts: make(map[string]*promptRef), answered: make(map[[2]string]bool)}
	for i, raw := range it.list {
		where := fmt.Sprintf("%s, record %d", name, i+1)
		f, err := parseFields(raw)
		if err != nil {
			t.problem(where, "%v", err)
			continue
		}
		t.record(where, f)
	}
	return nil
}

// record tells one completion.
func (t *autogenTalk) record(where string, f fields) {
	list := elements(f["messages"])
	var at *promptRef
	system := ""
	for i, raw := range list {
		here := fmt.Sprintf("%s, message %d", where, i+1)
		m, err := parseFields(raw)
		if err != nil {
			t.problem(here, "%v", err)
			continue
		}
		b := readBlocks(m["content"], readAutogenBlock)
		for _, fault := range b.faults {
			t.problem(here, "%s", fault)
		}
		switch m.firstText("type") {
		case "SystemMessage":
			system = b.text()
		case "UserMessage":
			if told := t.prompts[b.text()]; told != nil && i < len(list)-1 {
				at = told
				continue
			}
			at = t.ask(here, system, m, b, at)
		case "AssistantMessage":
			t.answer(here, at, b, responseSpec{custom: flatten(m.without("type", "content", "thought"))}, m)
		case "FunctionExecutionResultMessage":
			t.settleNew(here, b.results)
		default:
			t.problem(here, "type %q is unknown", cutLong(m.firstText("type")))
		}
	}
	t.completion(where, at, f)
}

// settleNew tells the results whose calls wait for one. The others were told with an earlier record.
func (t *autogenTalk) settleNew(where string, results []resultBlock) {
	for _, r := range results {
		if t.find(r.id, r.name) != nil || !t.known(r.id) {
			t.settle(t.session, where, []resultBlock{r}, nil)
		}
	}
}

// known says that a call of that id was told.
func (t *autogenTalk) known(id string) bool { return t.answered[[2]string{"call", id}] }

func (t *autogenTalk) ask(where, system string, m fields, b *blocks, before *promptRef) *promptRef {
	t.system(where, system)
	spec := promptSpec{where: where, text: b.text(), custom: append(b.custom(), flatten(m.without("type", "content"))...)}
	if before != nil {
		spec.follows = []*promptRef{before}
	}
	p := t.prompt(spec)
	t.prompts[b.text()] = p
	for _, r := range t.recall {
		if strings.Contains(b.text(), r.text) {
			t.references(p.ref, r.node, reference{kind: "memory"})
		}
	}
	return p
}

// completion tells the answer that a record is about.
func (t *autogenTalk) completion(where string, at *promptRef, f fields) {
	answer := f.object("response")
	if answer == nil {
		for _, raw := range elements(f["stream"]) {
			if last, err := parseFields(raw); err == nil {
				answer = last
			}
		}
	}
	if _, ok := f.text("response"); ok {
		answer = fields{"content": f["response"]}
	}
	if answer == nil {
		t.problem(where, "has no response")
		return
	}
	b := readBlocks(answer["content"], readAutogenBlock)
	for _, fault := range b.faults {
		t.problem(where, "the response: %s", fault)
	}
	if at != nil {
		delete(t.answered, [2]string{at.id, b.text()}) // a question may be asked again and get the same answer
	}
	t.answer(where, at, b, responseSpec{usage: message{fields: answer}.usage(), finishReason: answer.firstText("finish_reason"), model: f.firstText("model"),
		custom: append(flatten(f.without("messages", "response", "stream", "model")), flatten(answer.without("content", "usage", "finish_reason", "thought"))...)}, answer)
}

// answer tells an answer, unless its prompt has it already.
func (t *autogenTalk) answer(where string, to *promptRef, b *blocks, spec responseSpec, m fields) {
	if to == nil {
		to = t.lastOrOpening()
	}
	key := [2]string{to.id, b.text()}
	if t.answered[key] {
		return
	}
	t.answered[key] = true
	spec.where, spec.text = where, b.text()
	if thought := m.firstText("thought"); thought != "" {
		spec.custom = append(spec.custom, entry("thinking", thought))
	}
	spec.custom = append(spec.custom, b.custom()...)
	r := t.response(to, spec)
	t.tellCalls(t.session, r, b.calls, callSpec{where: where})
	for _, c := range b.calls {
		t.answered[[2]string{"call", c.id}] = true
	}
	if a := m.firstText("source"); a != "" {
		t.handledBy(r.ref, t.agent(agentSpec{name: a}))
	}
	if len(spec.text) < minRecalled {
		return
	}
	for i, old := range t.recall {
		if old.text == spec.text {
			t.recall[i].node = r.ref
			return
		}
	}
	if len(t.recall) == maxRecalled {
		t.recall = t.recall[1:]
	}
	t.recall = append(t.recall, recalled{spec.text, r.ref})
}

// readAutogenBlock reads a call, or the result of one.
func readAutogenBlock(b *blocks, f fields) bool {
	switch {
	case f.present("call_id"):
		b.results = append(b.results, resultBlock{id: f.firstText("call_id"), name: f.firstText("name"), text: f.value("content"), failed: string(f["is_error"]) == "true"})
	case f.present("arguments") && f.present("name"):
		b.calls = append(b.calls, callBlock{id: f.firstText("id"), name: f.firstText("name"), parameters: f.value("arguments")})
	case f.present("data") || f.present("url"):
		b.other = append(b.other, fmt.Sprintf("%d:image", b.size()))
	default:
		return false
	}
	return true
}
