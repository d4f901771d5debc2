package importer

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// adkSession reads sessions of Google's Agent Development Kit: events with an author, a content of parts, and actions.
type adkSession struct{}

func (adkSession) claims(h head) claim {
	f := h.first().fields
	named := f.present("app_name") || f.present("appName")
	return claimIf(named && f.firstText("id") != "" && elements(f["events"]) != nil)
}

func (adkSession) read(it *item, out *scribe) error {
	f := it.fields
	name := fmt.Sprintf("conversation %d", out.index+1)
	s := out.session(sessionSpec{where: name, id: out.fresh(f.firstText("id")), metadata: flatten(f.without("events"))})
	t := &adkTalk{googleTalk: googleTalk{session: s}}
	for i, raw := range elements(f["events"]) {
		where := fmt.Sprintf("%s, event %d", name, i+1)
		e, err := parseFields(raw)
		if err != nil {
			s.problem(where, "%v", err)
			continue
		}
		t.event(where, e)
	}
	s.metadata(t.notes...)
	return nil
}

// An adkTalk is a session that is being told.
type adkTalk struct {
	googleTalk
	// notes are the changes of state that stand in events without a content, for the session's metadata.
	notes  []pair
	answer *responseRef
}

func (t *adkTalk) event(where string, e fields) {
	time := e.time("timestamp")
	if t.rec.CreatedAt == nil {
		t.rec.CreatedAt = time
	}
	author := e.firstText("author")
	actions := e.object("actions")
	var custom []pair
	for _, key := range []string{"stateDelta", "artifactDelta"} {
		for _, p := range flatten(actions.eitherObject(key)) {
			custom = append(custom, entry(snake(key)+"."+p.key, p.value))
		}
	}
	content := e.object("content")
	if content == nil {
		for _, p := range append(custom, flatten(e.pick("errorMessage", "errorCode"))...) {
			t.notes = append(t.notes, entry("event."+e.firstText("id")+"."+p.key, p.value))
		}
		return
	}
	custom = append(flatten(e.pick("id", "invocationId", "author", "branch", "errorMessage", "errorCode", "partial", "interrupted")), custom...)
	a := answerSpec{time: time, custom: custom, answer: e.metaOf()}
	if author != "user" {
		a.agent = t.agent(agentSpec{name: author})
	}
	if r := t.content(where, content, author != "user", a); r != nil {
		t.answer = r
	}
	if to := actions.eitherText("transferToAgent"); to != "" && t.answer != nil {
		t.transfersTo(t.answer, t.agent(agentSpec{name: to}), handoff{reason: "transfer_to_agent"})
	}
}

// metaOf is what an event says of the model's answer, if it does.
func (f fields) metaOf() fields {
	if f.either("usageMetadata") == nil && f.either("modelVersion") == nil && f.either("finishReason") == nil {
		return nil
	}
	return f
}

// adkEvalSet reads evaluation sets of the kit: cases with their conversations.
type adkEvalSet struct{}

func (adkEvalSet) claims(h head) claim {
	f := h.first().fields
	return claimIf((f.present("eval_set_id") || f.present("evalSetId")) && elements(f.either("evalCases")) != nil)
}

func (adkEvalSet) read(it *item, out *scribe) error {
	for i, raw := range elements(it.fields.either("evalCases")) {
		where := fmt.Sprintf("case %d", i+1)
		f, err := parseFields(raw)
		if err != nil {
			out.problem(where, "%v", err)
			continue
		}
		meta := append(flatten(f.without("conversation")), flatten(it.fields.without("eval_cases", "evalCases"))...)
		s := out.session(sessionSpec{where: where, created: f.time("creation_timestamp", "creationTimestamp"), metadata: meta})
		t := &googleTalk{session: s}
		for j, raw := range elements(f["conversation"]) {
			at := fmt.Sprintf("%s, turn %d", where, j+1)
			turn, err := parseFields(raw)
			if err != nil {
				s.problem(at, "%v", err)
				continue
			}
			t.evalTurn(at, turn)
		}
	}
	return nil
}

// evalTurn tells a question, what the agents said and called on the way, and the final answer.
func (t *googleTalk) evalTurn(where string, turn fields) {
	time := turn.time("creation_timestamp", "creationTimestamp")
	a := answerSpec{time: time, custom: flatten(turn.pick("invocationId"))}
	t.content(where+", user", turn.eitherObject("userContent"), false, a)
	between := turn.eitherObject("intermediateData")
	for i, raw := range elements(between.either("intermediateResponses")) {
		t.intermediate(fmt.Sprintf("%s, intermediate response %d", where, i+1), raw, a)
	}
	calls := t.toolUses(where, elements(between.either("toolUses")))
	final := turn.eitherObject("finalResponse")
	if final == nil && len(calls) == 0 {
		return
	}
	b := readContent(final)
	if final == nil {
		b = &blocks{}
	}
	t.faults(where+", answer", b)
	r := t.response(t.lastOrOpening(), responseSpec{where: where + ", answer", text: b.text(), time: time, custom: append(b.custom(), a.custom...)})
	t.expected(where, r, append(calls, b.calls...), time)
}

// intermediate tells what an agent said before the final answer: [author, parts].
func (t *googleTalk) intermediate(where string, raw json.RawMessage, a answerSpec) {
	pair := elements(raw)
	if len(pair) != 2 {
		t.problem(where, "is no pair of an author and parts")
		return
	}
	a.agent = t.agent(agentSpec{name: fields{"author": pair[0]}.firstText("author")})
	t.content(where, fields{"parts": pair[1]}, true, a)
}

// toolUses reads calls whose results the file does not have.
func (t *googleTalk) toolUses(where string, list []json.RawMessage) []callBlock {
	var calls []callBlock
	for i, raw := range list {
		f, err := parseFields(raw)
		if err != nil {
			t.problem(fmt.Sprintf("%s, tool use %d", where, i+1), "%v", err)
			continue
		}
		c := callBlock{id: f.firstText("id"), name: f.firstText("name", "tool_name"), parameters: f.value("args")}
		if c.parameters == "" {
			c.parameters = f.value("tool_input")
		}
		calls = append(calls, c)
	}
	return calls
}

func (t *googleTalk) expected(where string, r *responseRef, calls []callBlock, time *timestamppb.Timestamp) {
	t.tellCalls(t.session, r, calls, callSpec{where: where, time: time})
	for _, c := range calls {
		if to, err := parseFields(json.RawMessage(c.parameters)); err == nil && c.name == "transfer_to_agent" {
			t.transfersTo(r, t.agent(agentSpec{name: to.firstText("agent_name")}), handoff{reason: c.name})
		}
	}
}

// adkEvalList reads older evaluation sets: a list of questions, the calls that are expected, and the answer.
type adkEvalList struct{}

func (adkEvalList) claims(h head) claim {
	it := h.first()
	isTurn := func(f fields) bool {
		_, query := f.text("query")
		return query && elements(f["expected_tool_use"]) != nil
	}
	if it.list != nil {
		return claimIf(anyMessage(it.list, isTurn))
	}
	if isTurn(it.fields) {
		return claimPart
	}
	return claimNone
}

func (adkEvalList) read(it *item, out *scribe) error {
	name := fmt.Sprintf("conversation %d", out.index+1)
	t := &googleTalk{session: out.session(sessionSpec{where: name})}
	for i, raw := range it.list {
		where := fmt.Sprintf("%s, turn %d", name, i+1)
		f, err := parseFields(raw)
		if err != nil {
			t.problem(where, "%v", err)
			continue
		}
		t.prompt(promptSpec{where: where, text: f.value("query"), custom: flatten(f.without("query", "reference", "expected_tool_use"))})
		calls := t.toolUses(where, elements(f["expected_tool_use"]))
		if !f.present("reference") && len(calls) == 0 {
			continue
		}
		r := t.response(t.last, responseSpec{where: where, text: f.value("reference")})
		t.expected(where, r, calls, nil)
	}
	return nil
}
