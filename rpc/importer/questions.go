package importer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// A lineKind is what a line of a benchmark says.
type lineKind int

const (
	lineOther lineKind = iota
	lineQuestion
	lineAnswer
	lineTemplate
	// lineModel describes a model. What it says goes to the answers of that model, wherever the file is.
	lineModel
	// lineFunction describes a function, likewise.
	lineFunction
)

// A benchmark tells the lines of one shape apart, and reads its answers. Benchmarks keep their questions in one file and the
// answers of each model in others, which name the questions by their id. A question is a session, known by all that it
// says, with a prompt for each turn; an answer adds responses to it, in whatever file it stands. An answer whose question
// is in no file beside it is a session of its own.
type benchmark interface {
	kind(fields) lineKind
	// idKey is the member that has the id of the question.
	idKey() string
	answer(fields) answer
}

// A question is what a line asks.
type question struct {
	raw   json.RawMessage
	id    string
	turns []string
	rest  fields
}

// An answer is what a line answers.
type answer struct {
	// asked are the turns that the line repeats, when it does; system is a text before them.
	asked   []string
	replies []replyTo
	system  string
	model   string
	time    *timestamppb.Timestamp
	rest    fields
	// faults are what could not be read.
	faults []string
}

// A replyTo is a response to a turn.
type replyTo struct {
	turn   int
	text   string
	tokens int64
	rest   fields
}

// claimsBenchmark looks at the first value that is an object.
func claimsBenchmark(b benchmark, h head) claim {
	for _, it := range h.values {
		if it.fields != nil {
			return claimIf(b.kind(it.fields) != lineOther)
		}
	}
	return claimNone
}

// readBenchmark reads a file of a benchmark.
func readBenchmark(b benchmark, it *item, out *scribe) error {
	f := &benchmarkFile{benchmark: b, scribe: out, source: it.source, parents: make(map[string]*templateRef)}
	for {
		line, err := it.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f.line(line)
		}
		if err == nil {
			err = out.release()
		}
		if err != nil {
			return err
		}
	}
}

// A benchmarkFile is a file that is being read.
type benchmarkFile struct {
	benchmark
	*scribe
	source Source
	// asked are the questions of the file beside this one, models the lines that describe models; nil until one is needed.
	asked, models map[string]json.RawMessage
	// parents are the templates so far, by name.
	parents map[string]*templateRef
}

func (b *benchmarkFile) line(line *item) error {
	switch b.kind(line.fields) {
	case lineQuestion:
		q, err := b.question(line.raw)
		if err != nil {
			b.problem(line.where, "%v", err)
			return nil
		}
		b.ask(line.where, q)
	case lineAnswer:
		return b.reply(line)
	case lineTemplate:
		b.judge(line)
	case lineModel:
	default:
		b.problem(line.where, "is neither a question nor an answer")
	}
	return nil
}

func (b *benchmarkFile) question(raw json.RawMessage) (question, error) {
	f, err := parseFields(raw)
	if err != nil {
		return question{}, err
	}
	id, _ := f.textOrRaw(b.idKey())
	q := question{raw: raw, id: id, rest: f.without("prompt", "text", "turns")}
	if text, ok := f.textOrRaw("prompt"); ok {
		q.turns = []string{text}
	} else if text, ok := f.textOrRaw("text"); ok {
		q.turns = []string{text}
	}
	for _, turn := range elements(f["turns"]) {
		text, _ := turnText(turn)
		q.turns = append(q.turns, text)
	}
	if len(q.turns) == 0 {
		return question{}, fmt.Errorf("question %s asks nothing", cutLong(id))
	}
	return q, nil
}

// turnText is the text of a turn: a string, or an object with content.
func turnText(raw json.RawMessage) (string, fields) {
	f, err := parseFields(raw)
	if err != nil {
		text, _ := fields{"text": raw}.textOrRaw("text")
		return text, nil
	}
	text, _ := f.textOrRaw("content")
	return text, f.without("content")
}

// ask tells the session of a question. Every file that tells of it tells the same.
func (b *benchmarkFile) ask(where string, q question) (*session, []*promptRef) {
	s := b.session(sessionSpec{where: where, key: []string{sum(q.raw)}, metadata: flatten(q.rest)})
	return s, promptsOf(s, q.turns)
}

func promptsOf(s *session, turns []string) []*promptRef {
	var prompts []*promptRef
	for i, text := range turns {
		prompts = append(prompts, s.prompt(promptSpec{key: []string{"turn", strconv.Itoa(i)}, text: text}))
	}
	return prompts
}

// reply tells an answer: the session of its question once more, and the responses.
func (b *benchmarkFile) reply(line *item) error {
	a := b.answer(line.fields)
	for _, fault := range a.faults {
		b.problem(line.where, "%s", fault)
	}
	if len(a.replies) == 0 {
		b.problem(line.where, "has no answer")
		return nil
	}
	q, err := b.questionOf(line)
	if err != nil {
		return err
	}
	model, err := b.modelOf(a.model)
	if err != nil {
		return err
	}
	var s *session
	var prompts []*promptRef
	switch {
	case q != nil && (a.asked == nil || equalTurns(a.asked, q.turns)):
		s, prompts = b.ask(line.where, *q)
	default:
		turns := a.asked
		for _, r := range a.replies {
			for len(turns) <= r.turn {
				turns = append(turns, "")
			}
		}
		id, _ := line.fields.textOrRaw(b.idKey())
		s = b.session(sessionSpec{where: line.where, key: []string{"alone", sum(line.raw)}, metadata: []pair{entry(b.idKey(), id)}})
		prompts = promptsOf(s, turns)
	}
	s.system(line.where, a.system)
	s.instantiateWaiting(prompts[0])
	known := flatten(fields{"model": model}.object("model").without("model_id"))
	for i, r := range a.replies {
		if r.turn >= len(prompts) {
			b.problem(line.where, "answers turn %d, and the question has %d", r.turn+1, len(prompts))
			continue
		}
		custom := append(append(flatten(a.rest), flatten(r.rest)...), known...)
		s.response(prompts[r.turn], responseSpec{key: []string{"answer", sum(line.raw, model), strconv.Itoa(i)}, text: r.text, time: a.time,
			model: a.model, usage: usage{completion: r.tokens}, custom: custom})
	}
	return nil
}

func equalTurns(asked, turns []string) bool {
	if len(asked) > len(turns) {
		return false
	}
	for i, text := range asked {
		if text != turns[i] {
			return false
		}
	}
	return true
}

// questionOf finds the question of an answer in the file beside this one; nil when there is none.
func (b *benchmarkFile) questionOf(line *item) (*question, error) {
	if b.asked == nil {
		var err error
		if b.asked, err = besideByID(b.source, b.idKey(), "../question.jsonl", "question.jsonl"); err != nil {
			return nil, err
		}
	}
	// What is no question there is reported with that file.
	if f, bad := parseFields(b.asked[string(line.fields[b.idKey()])]); bad == nil && b.kind(f) == lineQuestion {
		if q, bad := b.question(b.asked[string(line.fields[b.idKey()])]); bad == nil {
			return &q, nil
		}
	}
	return nil, nil
}

// modelOf finds the line that describes a model; nil when there is none.
func (b *benchmarkFile) modelOf(model string) (json.RawMessage, error) {
	if b.models == nil {
		var err error
		if b.models, err = besideByID(b.source, "model_id", "../model.jsonl", "model.jsonl"); err != nil {
			return nil, err
		}
	}
	name, err := json.Marshal(model)
	if err != nil {
		return nil, err
	}
	return b.models[string(name)], nil
}

// besideByID reads the first of the files that is there and returns its lines by the value of a member, as it stands in the
// file; of equal values the first. Lines that are none are reported when that file is imported itself. It reads no more than
// may be held in memory.
func besideByID(source Source, key string, names ...string) (map[string]json.RawMessage, error) {
	lines := make(map[string]json.RawMessage)
	err := besideLines(source, func(raw json.RawMessage, f fields) {
		if id := string(f[key]); id != "" && lines[id] == nil {
			lines[id] = raw
		}
	}, names...)
	return lines, err
}

// besideLines tells the objects in the lines of the first of the files that is there.
func besideLines(source Source, tell func(json.RawMessage, fields), names ...string) error {
	if source.Beside == nil {
		return nil
	}
	for _, name := range names {
		for _, name := range []string{name, name + ".gz"} {
			beside, err := source.Beside(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			return eachLine(beside, tell)
		}
	}
	return nil
}

func eachLine(source Source, tell func(json.RawMessage, fields)) error {
	text, closer, err := source.text(nil)
	if err != nil {
		return fmt.Errorf("read %s: %w", source.Name, err)
	}
	err = linesOf(text, tell)
	if closed := closer.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", source.Name, err)
	}
	return nil
}

func linesOf(text *bufio.Reader, tell func(json.RawMessage, fields)) error {
	for left := MaxConversationBytes; left > 0; {
		line, _, err := readLine(text, left)
		left -= len(line)
		line = bytes.TrimSpace(line)
		if f, bad := parseFields(line); bad == nil {
			tell(line, f)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// judge tells a template. A variant for several turns inherits from the one for a single turn.
func (b *benchmarkFile) judge(line *item) {
	f := line.fields
	text, _ := f.textOrRaw("prompt_template")
	name := f.firstText("name", "description")
	if id, ok := f.textOrRaw("prompt_id"); ok && name == "" {
		name = "prompt-" + id
	}
	spec := templateSpec{where: line.where, name: name, text: text, metadata: flatten(f.without("prompt_template", "name", "defaults"))}
	spec.variables = b.variables(line.where, bracedNames(text, f.object("defaults")))
	if single, ok := singleTurn(name); ok {
		spec.parent = b.parents[single]
	}
	if told := b.template(spec); told.ok && len(b.parents) < maxParents {
		b.parents[name] = &templateRef{ref: told.ref, depth: told.depth}
	}
}

// maxParents bounds the templates of a file that others may inherit from.
const maxParents = 10_000

// bracedNames are the variables of a text in the manner of Python's format: {name}, while {{ and }} are braces.
func bracedNames(text string, defaults fields) []*pb.VariableSpec {
	var all []*pb.VariableSpec
	seen := make(map[string]bool)
	for i := 0; i < len(text); i++ {
		if text[i] != '{' {
			continue
		}
		if i+1 < len(text) && text[i+1] == '{' {
			i++
			continue
		}
		end := i + 1
		for end < len(text) && isWordByte(text[end]) {
			end++
		}
		if name := text[i+1 : end]; name != "" && end < len(text) && text[end] == '}' && !seen[name] && (name[0] < '0' || name[0] > '9') {
			seen[name] = true
			v := &pb.VariableSpec{Name: name, Required: true}
			if value, ok := defaults.textOrRaw(name); ok {
				v.DefaultValue, v.Required = proto.String(value), false
			}
			all = append(all, v)
		}
		i = end - 1
	}
	return all
}

func isWordByte(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}
