package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// bfcl reads multi-turn tasks of the Berkeley Function-Calling Leaderboard. They stand in files that need each other:
// the questions {id, question, initial_config, involved_classes}; under possible_answer, in a file of the same name, the
// expected calls {id, ground_truth} as Python expressions; and under multi_turn_func_doc the functions of each class,
// which give the tools that are available and the names of arguments without one. Whichever file of the first two is
// read, what it tells is joined with the others. The calls of a turn belong to a response without text.
type bfcl struct{}

func (b bfcl) claims(h head) claim {
	for _, it := range h.values {
		if it.fields != nil {
			return claimIf(b.kind(it.fields) != lineOther)
		}
	}
	return claimNone
}

func (bfcl) kind(f fields) lineKind {
	switch {
	case f["id"] != nil && elements(f["ground_truth"]) != nil:
		return lineAnswer
	case f["id"] != nil && elements(f["question"]) != nil && (f["involved_classes"] != nil || f["initial_config"] != nil):
		return lineQuestion
	case f["name"] != nil && f["description"] != nil && f.object("parameters").firstText("type") == "dict":
		return lineFunction
	}
	return lineOther
}

func (b bfcl) read(it *item, out *scribe) error {
	file := &bfclFile{scribe: out, source: it.source, docs: make(map[string][]functionDoc)}
	for {
		line, err := it.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch b.kind(line.fields) {
		case lineQuestion:
			err = file.task(line.where, line.raw, true)
		case lineAnswer:
			err = file.task(line.where, line.raw, false)
		case lineFunction: // read with the tasks
		default:
			out.problem(line.where, "is no task, no expected answer and no description of a function")
		}
		if err == nil {
			err = out.release()
		}
		if err != nil {
			return err
		}
	}
}

// A bfclFile is a file that is being read.
type bfclFile struct {
	*scribe
	source Source
	// others are the lines of the file that this one needs, by id; nil until they are.
	others map[string]json.RawMessage
	docs   map[string][]functionDoc // by class
}

// A functionDoc describes a function.
type functionDoc struct {
	name       string
	parameters []string
}

// task joins a line with that of the other file, and tells what both say. The session is known by all that it is made of.
func (b *bfclFile) task(where string, raw json.RawMessage, asks bool) error {
	base := path.Base(filepath.ToSlash(b.source.Name))
	other := "../" + base
	if asks {
		other = "possible_answer/" + base
	}
	if b.others == nil {
		var err error
		if b.others, err = besideByID(b.source, "id", other); err != nil {
			return err
		}
	}
	f, err := parseFields(raw)
	if err != nil {
		return err
	}
	asked, expected := raw, b.others[string(f["id"])]
	if !asks {
		asked, expected = expected, raw
	}
	t := &bfclTask{where: where}
	t.question, _ = parseFields(asked)
	t.answer, _ = parseFields(expected)
	if t.docs, err = b.functions(t.question); err != nil {
		return err
	}
	var tools bytes.Buffer
	for _, d := range t.docs {
		t.tools = append(t.tools, d.name)
		fmt.Fprintf(&tools, "%s(%s)\n", d.name, strings.Join(d.parameters, ","))
	}
	t.session = b.session(sessionSpec{where: where, key: []string{sum(asked, expected, tools.Bytes())}, metadata: t.metadata(), tools: t.tools})
	t.turns()
	return nil
}

// docFile is the file that describes the functions of a class; empty for a class that the leaderboard does not have.
func docFile(class string) string {
	return map[string]string{
		"GorillaFileSystem": "gorilla_file_system", "MathAPI": "math_api", "MessageAPI": "message_api", "TwitterAPI": "posting_api",
		"TicketAPI": "ticket_api", "TradingBot": "trading_bot", "TravelAPI": "travel_booking", "VehicleControlAPI": "vehicle_control",
		"WebSearchAPI": "web_search", "MemoryAPI_kv": "memory_kv", "MemoryAPI_vector": "memory_vector", "MemoryAPI_rec_sum": "memory_rec_sum",
	}[class]
}

// functions are those of the classes of a task but for the excluded ones.
func (b *bfclFile) functions(question fields) ([]functionDoc, error) {
	var all []functionDoc
	excluded := textsOf(question["excluded_function"])
	for _, class := range textsOf(question["involved_classes"]) {
		name := docFile(class)
		if name == "" {
			continue
		}
		if _, known := b.docs[class]; !known {
			b.docs[class] = nil
			err := besideLines(b.source, func(_ json.RawMessage, f fields) {
				b.docs[class] = append(b.docs[class], functionDoc{f.firstText("name"), parametersOf(f)})
			}, "multi_turn_func_doc/"+name+".json", "../multi_turn_func_doc/"+name+".json")
			if err != nil {
				return nil, err
			}
		}
		for _, d := range b.docs[class] {
			if !slices.Contains(excluded, d.name) {
				all = append(all, d)
			}
		}
	}
	return all, nil
}

// parametersOf are the names of a function's parameters, in their order.
func parametersOf(f fields) []string {
	var names []string
	properties := f.object("parameters")["properties"]
	if len(properties) == 0 || properties[0] != '{' {
		return nil
	}
	_ = members(properties, func(name string, _ json.RawMessage) { names = append(names, name) }) // it is valid
	return names
}

// textsOf are the texts in a list.
func textsOf(raw json.RawMessage) []string {
	var texts []string
	for _, one := range elements(raw) {
		if text, ok := (fields{"": one}).text(""); ok {
			texts = append(texts, text)
		}
	}
	return texts
}

// A bfclTask is a task that is being told.
type bfclTask struct {
	*session
	where            string
	question, answer fields
	docs             []functionDoc
	tools            []string
}

// metadata is what the task says besides. Each class keeps its configuration as JSON.
func (t *bfclTask) metadata() []pair {
	pairs := append(flatten(t.question.without("question", "initial_config")), flatten(t.answer.without("id", "ground_truth"))...)
	if t.question == nil {
		pairs = append(pairs, flatten(fields{"id": t.answer["id"]})...)
	}
	config := t.question.object("initial_config")
	for _, class := range config.keys() {
		pairs = append(pairs, entry("initial_config."+class, compact(config[class])))
	}
	if other, ok := t.question.textOrRaw("initial_config"); ok && config == nil {
		pairs = append(pairs, entry("initial_config", other))
	}
	return pairs
}

// turns tells the turns: what was asked, and the calls that are expected.
func (t *bfclTask) turns() {
	asked, expected := elements(t.question["question"]), elements(t.answer["ground_truth"])
	if expected == nil && t.answer != nil {
		t.problem(t.where, "ground_truth is no list")
	}
	for i := range max(len(asked), len(expected)) {
		where := fmt.Sprintf("%s, turn %d", t.where, i+1)
		switch {
		case i < len(asked):
			t.ask(where, i, asked[i])
		default:
			t.prompt(promptSpec{where: where, key: []string{strconv.Itoa(i)}})
		}
		if i < len(expected) {
			t.expect(where, i, expected[i])
		}
	}
}

func (t *bfclTask) ask(where string, turn int, raw json.RawMessage) {
	messages := elements(raw)
	if messages == nil {
		messages = []json.RawMessage{raw}
	}
	asked := 0
	for i, raw := range messages {
		m, err := parseFields(raw)
		if text, ok := (fields{"": raw}).text(""); ok {
			m, err = fields{"role": json.RawMessage(`"user"`), "content": textJSON(text)}, nil
		}
		text, _ := m.textOrRaw("content")
		switch role := m.firstText("role"); {
		case err != nil:
			t.problem(where, "message %d: %v", i+1, err)
		case role == "system":
			t.system(where, text)
		case role == "user":
			asked++
			t.prompt(promptSpec{where: where, key: []string{strconv.Itoa(turn), strconv.Itoa(i)}, text: text, custom: flatten(m.without("role", "content"))})
		default:
			t.problem(where, "message %d: role %q is unknown", i+1, cutLong(role))
		}
	}
	if asked == 0 {
		t.prompt(promptSpec{where: where, key: []string{strconv.Itoa(turn)}})
	}
}

// expect tells the calls of a turn.
func (t *bfclTask) expect(where string, turn int, raw json.RawMessage) {
	calls := elements(raw)
	if calls == nil && string(raw) != "null" {
		calls = []json.RawMessage{raw}
	}
	if len(calls) == 0 {
		return
	}
	key := strconv.Itoa(turn)
	r := t.response(t.lastOrOpening(), responseSpec{where: where, key: []string{key}, finishReason: "tool_calls",
		custom: []pair{entry("synthetic", "true"), entry("expected", "true")}})
	for i, raw := range calls {
		where := fmt.Sprintf("%s, call %d", where, i+1)
		spec := callSpec{where: where, key: []string{key, strconv.Itoa(i)}}
		if text, ok := (fields{"": raw}).text(""); ok {
			t.parse(&spec, text)
			t.call(r, spec)
			continue
		}
		t.callsIn(r, spec, raw)
	}
}

// parse reads a call. One that is no call with literal arguments has its whole text as parameters.
func (t *bfclTask) parse(spec *callSpec, text string) {
	spec.metadata = []pair{entry("expression", text)}
	call, err := parseCall(text)
	if err == nil {
		var parameters []string
		for _, d := range t.docs {
			if d.name == call.name {
				parameters = d.parameters
			}
		}
		if arguments, ok := call.arguments(parameters); ok {
			spec.name, spec.parameters = call.name, arguments
			return
		}
	}
	name, _, _ := strings.Cut(text, "(")
	spec.name, spec.parameters = strings.TrimSpace(name), text
}

// callsIn reads calls of the form {name: arguments}.
func (t *bfclTask) callsIn(r *responseRef, spec callSpec, raw json.RawMessage) {
	f, err := parseFields(raw)
	if err != nil {
		t.problem(spec.where, "is no call: %v", err)
		return
	}
	for _, name := range f.keys() {
		one := spec
		one.name, one.parameters, one.key = name, string(f[name]), append(slices.Clone(spec.key), name)
		t.call(r, one)
	}
}
