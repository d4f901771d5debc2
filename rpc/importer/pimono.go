package importer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// piMono reads session logs of the pi coding agent: a line with the session, then one for each message and each change of
// model or thinking level. The place in the file is the order; times go backwards now and then.
type piMono struct{}

func (piMono) claims(h head) claim {
	f := h.first().fields
	return claimIf(f.firstText("type") == "session" && f.firstText("id") != "" && f.present("cwd"))
}

// A piLog is a log that is being told.
type piLog struct {
	*session
	openCalls
	provider string
	answer   *responseRef
	// changes are those that no message has followed yet.
	changes []pair
	// results are the lines with the results of each call, in order, for ids.
	results map[string][]json.RawMessage
	seen    map[string]int
	// prompts are the prompts that entries with ids belong to.
	prompts map[string]*promptRef
}

// A piLine is a line of a log, not taken apart.
type piLine struct {
	where, kind, callID string
	raw                 json.RawMessage
}

func (piMono) read(it *item, out *scribe) error {
	var lines []piLine
	for {
		line, err := it.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		one := piLine{where: line.where, raw: line.raw, kind: line.fields.firstText("type")}
		if m := line.fields.object("message"); m.firstText("role") == "toolResult" {
			one.callID = m.firstText("toolCallId")
		}
		lines = append(lines, one)
	}
	for len(lines) > 0 {
		end := slices.IndexFunc(lines[1:], func(one piLine) bool { return one.kind == "session" })
		if end < 0 {
			end = len(lines) - 1
		}
		if err := tellPi(out, lines[:end+1]); err != nil {
			return err
		}
		lines = lines[end+1:]
	}
	return nil
}

// tellPi tells a session, whose header is the first line.
func tellPi(out *scribe, lines []piLine) error {
	var head fields
	if lines[0].kind == "session" {
		first, err := parseFields(lines[0].raw)
		if err != nil {
			return err
		}
		head = first
	}
	l := &piLog{results: make(map[string][]json.RawMessage), seen: make(map[string]int), prompts: make(map[string]*promptRef), provider: head.firstText("provider")}
	l.session = out.session(sessionSpec{where: lines[0].where, id: out.fresh(head.firstText("id")), created: head.time("timestamp"), model: head.firstText("modelId"),
		metadata: flatten(head.without("type", "timestamp"))})
	if head != nil {
		lines = lines[1:]
	}
	for _, line := range lines {
		if line.callID != "" {
			l.results[line.callID] = append(l.results[line.callID], line.raw)
		}
	}
	for _, line := range lines {
		it, err := newItem(line.raw, line.where, out.source)
		if err != nil {
			return err
		}
		l.line(it)
	}
	if len(l.changes) > 0 {
		l.problem("", "a change of model or thinking level at the end of the session is left out: no message follows it")
	}
	return nil
}

func (l *piLog) line(it *item) {
	f := it.fields
	kind := f.firstText("type")
	m := f.object("message")
	switch {
	case f == nil:
		l.problem(it.where, "is no entry of a log: %v", errNoObject)
	case kind == "model_change":
		l.changes = append(l.changes, entry("model_change", f.firstText("provider")+"/"+f.firstText("modelId")))
		l.changeProvider(f)
	case kind == "thinking_level_change":
		l.changes = append(l.changes, entry("thinking_level", f.firstText("thinkingLevel")))
	case kind != "message":
		l.problem(it.where, "is an entry of type %q, which tells no message", cutLong(kind))
	case m == nil:
		l.problem(it.where, "message: %v", errNoObject)
	default:
		l.message(it, m)
		return
	}
	l.link(f, l.before(f))
}

// changeProvider hands over to another provider.
func (l *piLog) changeProvider(f fields) {
	provider := f.firstText("provider")
	if provider == "" || provider == l.provider {
		return
	}
	l.provider = provider
	if l.answer != nil {
		l.transfersTo(l.answer, l.agent(agentSpec{name: provider}), handoff{reason: "model_change", summary: f.firstText("modelId")})
	}
}

// link notes which prompt an entry with an id belongs to. Entries of newer logs make a tree.
func (l *piLog) link(f fields, p *promptRef) {
	if id := f.firstText("id"); id != "" && p != nil {
		l.prompts[id] = p
	}
}

// before is the prompt that an entry comes after.
func (l *piLog) before(f fields) *promptRef {
	if p := l.prompts[f.firstText("parentId")]; p != nil {
		return p
	}
	return l.last
}

// pending takes the changes that came before a message.
func (l *piLog) pending() []pair {
	changes := l.changes
	l.changes = nil
	slices.Reverse(changes) // the last change of a kind is the one that holds
	return changes
}

func (l *piLog) message(it *item, m fields) {
	f := it.fields
	time := f.time("timestamp")
	if time == nil {
		time = m.time("timestamp")
	}
	b := readBlocks(m["content"], readPiBlock)
	for _, fault := range b.faults {
		l.problem(it.where, "%s", fault)
	}
	before := l.before(f)
	switch m.firstText("role") {
	case "user":
		spec := promptSpec{where: it.where, text: b.text(), time: time, custom: append(b.custom(), l.pending()...)}
		spec.custom = append(spec.custom, piRest(f, m)...)
		if before != nil {
			spec.follows = []*promptRef{before}
		}
		spec.key = l.key("prompt", it.raw, before.identity(), spec.custom)
		before = l.prompt(spec)
	case "assistant":
		l.tellAnswer(it, m, b, time)
	case "toolResult":
		r := resultBlock{id: m.firstText("toolCallId"), name: m.firstText("toolName"), text: b.text(), failed: string(m["isError"]) == "true",
			metadata: append(b.custom(), flatten(m.without("role", "content", "toolCallId", "toolName", "isError", "timestamp"))...)}
		if len(b.faults) == 0 {
			l.settle(l.session, it.where, []resultBlock{r}, time)
		}
	default:
		l.problem(it.where, "role %q is unknown", cutLong(m.firstText("role")))
	}
	l.link(f, before)
}

// key identifies a record by the line that tells of it, what else is in it, and the number of times that the line was there.
func (l *piLog) key(kind string, raw []byte, parent string, custom []pair) []string {
	digest := sum(raw, []byte(parent), fmt.Append(nil, custom))
	l.seen[kind+digest]++
	return []string{digest, fmt.Sprint(l.seen[kind+digest])}
}

// piRest is what a line says besides what has a place of its own.
func piRest(f, m fields) []pair {
	pairs := flatten(f.without("type", "timestamp", "message"))
	return append(pairs, flatten(m.without("role", "content", "model", "provider", "usage", "stopReason", "timestamp"))...)
}

func (l *piLog) tellAnswer(it *item, m fields, b *blocks, time *timestamppb.Timestamp) {
	used := m.object("usage")
	to := l.before(it.fields)
	if to == nil {
		to = l.opening()
	}
	if provider := m.firstText("provider"); provider != "" {
		l.provider = provider
	}
	spec := responseSpec{where: it.where, text: b.text(), time: time, model: m.firstText("model"), provider: m.firstText("provider"),
		usage:        usage{prompt: used.whole("input"), completion: used.whole("output"), total: used.whole("totalTokens")},
		finishReason: m.firstText("stopReason"), custom: append(b.custom(), l.pending()...)}
	spec.custom = append(spec.custom, piRest(it.fields, m)...)
	for _, p := range flatten(used.without("input", "output", "totalTokens")) {
		spec.custom = append(spec.custom, entry("usage."+p.key, p.value))
	}
	spec.key = l.key("response", it.raw, to.id, spec.custom)
	l.answer = l.response(to, spec)
	for i, c := range b.calls {
		if lines := l.results[c.id]; len(lines) > 0 {
			b.calls[i].result, l.results[c.id] = sum(lines[0]), lines[1:]
		}
	}
	l.tellCalls(l.session, l.answer, b.calls, callSpec{where: it.where, key: []string{l.answer.id}, time: time})
}

// readPiBlock reads one block of a content.
func readPiBlock(b *blocks, f fields) bool {
	switch f.firstText("type") {
	case "text":
		return b.addText(f.text("text"))
	case "thinking":
		return b.addThought(f.text("thinking"))
	case "toolCall":
		b.calls = append(b.calls, callBlock{id: f.firstText("id"), name: f.firstText("name"), parameters: f.value("arguments")})
		return true
	}
	return false
}
