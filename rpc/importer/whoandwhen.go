package importer

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// whoAndWhen reads logs of agents that talk with each other about a question, in which somebody has marked the mistake:
// the data set Who&When. Who speaks is the name; the role says nothing. What a terminal puts out is the result of the code
// in the message before.
type whoAndWhen struct{}

func (whoAndWhen) claims(h head) claim {
	f := h.first().fields
	_, asked := f.text("question")
	return claimIf(asked && (f.present("mistake_agent") || f.present("mistake_step")) && elements(f["history"]) != nil)
}

// terminal is the speaker that runs code.
const terminal = "Computer_terminal"

// A groupTalk is a conversation of agents that is being told.
type groupTalk struct {
	*session
	agents  map[string]*agentRef
	prompts fields // the system texts of the agents
	speaker string
	answer  *responseRef
	said    string // by the speaker
}

func (whoAndWhen) read(it *item, out *scribe) error {
	f := it.fields
	name := fmt.Sprintf("conversation %d", out.index+1)
	t := &groupTalk{agents: make(map[string]*agentRef), prompts: f.object("system_prompt")}
	t.session = out.session(sessionSpec{where: name, metadata: flatten(f.without("history", "system_prompt", "question"))})
	for _, agent := range t.prompts.keys() {
		t.system(name+", system_prompt", t.prompts.value(agent))
	}
	if text := f.value("system_prompt"); t.prompts == nil {
		t.system(name+", system_prompt", text)
	}
	question, _ := f.text("question")
	p := t.prompt(promptSpec{where: name, text: question})
	mistake := strings.TrimSpace(f.value("mistake_step"))
	for i, raw := range elements(f["history"]) {
		where := fmt.Sprintf("%s, message %d", name, i+1)
		m, err := parseFields(raw)
		if err != nil {
			t.problem(where, "%v", err)
			continue
		}
		var custom []pair
		if strconv.Itoa(i) == mistake {
			custom = []pair{entry("mistake", "true"), entry("mistake_reason", f.value("mistake_reason"))}
		}
		t.message(where, p, m, custom)
	}
	return nil
}

func (t *groupTalk) message(where string, p *promptRef, m fields, custom []pair) {
	b := readBlocks(m["content"], readAnthropicBlock)
	for _, fault := range b.faults {
		t.problem(where, "%s", fault)
	}
	if len(b.faults) > 0 && !b.says() {
		return
	}
	name := m.firstText("name")
	if name == "" {
		name = m.firstText("role") // the logs that were made by hand have the speaker there
	}
	custom = append(custom, flatten(m.without("content", "name"))...)
	switch {
	case name == "":
		t.problem(where, "says not who speaks")
	case name == terminal && t.answer != nil && t.answer.ok:
		text := b.text()
		call := t.call(t.answer, callSpec{where: where, name: terminal, parameters: codeBlocks(t.said), metadata: custom})
		t.result(call, resultSpec{where: where, text: text, failed: strings.HasPrefix(text, "exitcode: ") && !strings.HasPrefix(text, "exitcode: 0")})
	default:
		a := t.who(name)
		if t.speaker != "" && t.speaker != name {
			t.transfersTo(t.answer, a, handoff{})
		}
		t.answer = t.response(p, responseSpec{where: where, text: b.text(), custom: append(custom, b.custom()...)})
		t.handledBy(p.ref, a)
		t.handledBy(t.answer.ref, a)
		t.speaker, t.said = name, b.text()
	}
}

// who is the agent of that name, with its role from its system text.
func (t *groupTalk) who(name string) *agentRef {
	if a := t.agents[name]; a != nil {
		return a
	}
	spec := agentSpec{name: name}
	if text := t.prompts.value(name); text != "" {
		spec.role, spec.metadata = roleIn(text), []pair{entry("system_prompt", text)}
	}
	t.agents[name] = t.agent(spec)
	return t.agents[name]
}

// roleIn is the first line of a system text that is no heading.
func roleIn(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return cutText(line, graph.MaxNameBytes)
		}
	}
	return ""
}

// codeBlocks are the blocks of code in a text, joined by line breaks; empty when it has none.
func codeBlocks(text string) string {
	const fence = "```"
	var blocks []string
	for {
		_, rest, ok := strings.Cut(text, fence)
		if !ok {
			break
		}
		_, rest, ok = strings.Cut(rest, "\n") // the language
		if !ok {
			break
		}
		var code string
		if code, text, ok = strings.Cut(rest, fence); !ok {
			blocks = append(blocks, rest)
			break
		}
		blocks = append(blocks, strings.TrimSuffix(code, "\n"))
	}
	return strings.Join(blocks, "\n")
}
