package importer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// langfuse reads traces that were exported from Langfuse, with their observations. A generation is a prompt and a response,
// a tool or a span with "tool" in its name is a call, an agent is an agent; chains and other spans have no record: their
// names stand in the path of what is below them.
//
// Traces of one session of Langfuse are one session, in whatever file they stand; one without is a session by itself.
type langfuse struct{}

func (langfuse) claims(h head) claim {
	trace, observations := traceOf(h.first())
	return claimIf(trace != nil && (anyMessage(observations, fields.isObservation) || len(observations) == 0 && trace.present("timestamp")))
}

// traceOf finds a trace and its observations, beside it or in it.
func traceOf(it *item) (trace fields, observations []json.RawMessage) {
	if trace = it.fields.object("trace"); trace != nil && trace.firstText("id") != "" && it.fields.present("observations") {
		return trace, elements(it.fields["observations"])
	}
	f := it.fields
	if f.firstText("id") != "" && f.present("timestamp") && f.present("observations") {
		return f, elements(f["observations"])
	}
	return nil, nil
}

func (f fields) isObservation() bool {
	return f.firstText("type") != "" && f.firstText("id") != "" && f.present("startTime")
}

// An observation is a step of a trace.
type observation struct {
	fields
	where  string
	index  int
	id     string
	kind   string
	name   string
	start  *timestamppb.Timestamp
	parent *observation
	// response is that of a generation, once it was told.
	response *responseRef
}

// A traceTalk is a trace that is being told.
type traceTalk struct {
	*session
	trace  fields
	digest string // of all that the file says of the trace: keys of nodes begin with it
	last   *observation
	prompt *promptRef
	// early are calls that were made before any generation.
	early []*observation
	// inputs are the messages of the inputs that were told, with their prompts.
	inputs []toldInput
	// notes go to the first prompt.
	notes []pair
}

type toldInput struct {
	messages []string
	prompt   *promptRef
}

// maxInputs is how many earlier inputs of a trace a later one is compared with.
const maxInputs = 32

func (langfuse) read(it *item, out *scribe) error {
	trace, list := traceOf(it)
	name := fmt.Sprintf("trace %q", cutLong(trace.firstText("id")))
	rest := trace.without("observations", "input", "output", "metadata", "updatedAt")
	t := &traceTalk{trace: trace, digest: sum(it.raw)}
	spec := sessionSpec{where: name}
	if id := trace.firstText("sessionId"); id != "" {
		spec.key = []string{trace.firstText("projectId"), id}
		spec.metadata = flatten(trace.pick("sessionId", "projectId"))
		for _, p := range flatten(rest) {
			t.notes = append(t.notes, entry("trace."+p.key, p.value))
		}
	} else {
		spec.created, spec.metadata = trace.time("timestamp"), flatten(rest)
	}
	t.session = out.session(spec)
	steps := t.steps(name, list)
	var spans []string
	for _, o := range steps {
		if o.kind == "" {
			spans = append(spans, o.name)
		}
	}
	if len(spans) > 0 {
		t.notes = append(t.notes, entry("spans", strings.Join(spans, ", ")))
	}
	t.notes = append(t.notes, flatten(trace.pick("metadata"))...)
	for _, o := range steps {
		t.step(o)
	}
	t.rest(name)
	return nil
}

// steps puts the observations in the order of time, and finds their parents.
func (t *traceTalk) steps(name string, list []json.RawMessage) []*observation {
	var steps []*observation
	byID := make(map[string]*observation)
	for i, raw := range list {
		where := fmt.Sprintf("%s, observation %d", name, i+1)
		f, err := parseFields(raw)
		if err != nil || f.firstText("type") == "" {
			t.problem(where, "is no observation: it has no type")
			continue
		}
		o := &observation{fields: f, where: where, index: i, id: f.firstText("id"), name: f.firstText("name"), start: f.time("startTime")}
		o.kind = kindOf(f.firstText("type"), o.name)
		steps = append(steps, o)
		byID[o.id] = o
	}
	for _, o := range steps {
		if parent := byID[o.firstText("parentObservationId")]; parent != o && o.firstText("parentObservationId") != "" {
			o.parent = parent
		}
	}
	slices.SortStableFunc(steps, func(a, b *observation) int {
		return cmp.Or(cmp.Compare(a.start.GetSeconds(), b.start.GetSeconds()), cmp.Compare(a.start.GetNanos(), b.start.GetNanos()))
	})
	return steps
}

const (
	kindGeneration = "generation"
	kindTool       = "tool"
	kindAgent      = "agent"
)

// kindOf is what an observation becomes; empty is nothing.
func kindOf(kind, name string) string {
	switch strings.ToUpper(kind) {
	case "GENERATION":
		return kindGeneration
	case "AGENT":
		return kindAgent
	case "TOOL":
		return kindTool
	case "SPAN":
		if strings.Contains(strings.ToLower(name), "tool") {
			return kindTool
		}
	}
	return ""
}

// above calls yield for the ancestors, the nearest first. Parents of damaged files run in circles.
func (o *observation) above(yield func(*observation) bool) {
	for range maxNestedSpans {
		if o = o.parent; o == nil || !yield(o) {
			return
		}
	}
}

// path are the names of the ancestors, the outermost first.
func (o *observation) path() string {
	var names []string
	for p := range o.above {
		names = append(names, p.name)
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}

func (t *traceTalk) step(o *observation) {
	switch o.kind {
	case kindGeneration:
		t.generation(o)
	case kindAgent:
		agent := t.agent(agentSpec{name: o.name})
		if t.speaker(o) != nil && t.last != nil { // an agent under an agent
			t.transfersTo(t.last.response, agent, handoff{reason: "span"})
		}
	case kindTool:
		by := t.last
		for p := range o.above {
			if p.response != nil {
				by = p
				break
			}
		}
		if by == nil {
			t.early = append(t.early, o)
			return
		}
		t.tool(by.response, o)
	}
}

// speaker is the agent that an observation stands under.
func (t *traceTalk) speaker(o *observation) *agentRef {
	for p := range o.above {
		if p.kind == kindAgent {
			return t.agent(agentSpec{name: p.name})
		}
	}
	return nil
}

func (t *traceTalk) key(o *observation) []string { return []string{t.digest, strconv.Itoa(o.index)} }

// generation tells what a model was asked and what it answered.
func (t *traceTalk) generation(o *observation) {
	set := o.object("modelParameters")
	model := o.firstText("model")
	spec := promptSpec{where: o.where, key: t.key(o), time: o.start, model: model, temperature: set.number("temperature"), maxTokens: set.whole("max_tokens"),
		custom: append(t.notes, entry("observation_id", o.id), entry("name", o.name)), root: t.prompt == nil}
	t.notes = nil
	if path := o.path(); path != "" {
		spec.custom = append(spec.custom, entry("path", path))
	}
	if t.prompt != nil {
		spec.follows = []*promptRef{t.prompt}
	}
	spec.custom = append(spec.custom, flatten(o.pick("modelParameters", "promptName", "promptVersion"))...)
	t.ask(o, &spec)
	count := o.object("usageDetails")
	if count == nil {
		count = o.object("usage")
	}
	output := o.value("output")
	answer := responseSpec{where: o.where, key: t.key(o), text: output, time: o.end(), model: model, latencyMs: o.took(), finishReason: finishReason(output),
		usage: usage{prompt: count.whole("input"), completion: count.whole("output"), total: count.whole("total")}, custom: o.told()}
	for _, p := range flatten(count.without("input", "output", "total")) {
		answer.custom = append(answer.custom, entry("usage."+p.key, p.value))
	}
	o.response = t.response(t.prompt, answer)
	t.last = o
	if a := t.speaker(o); a != nil {
		t.handledBy(t.prompt.ref, a)
		t.handledBy(o.response.ref, a)
	}
	for _, e := range t.early {
		t.tool(o.response, e)
	}
	t.early = nil
}

// ask tells the prompt of a generation. What its input repeats of an earlier one is left out: the prompt then follows
// that one, and says how many messages are those of it.
func (t *traceTalk) ask(o *observation, spec *promptSpec) {
	spec.text = o.value("input")
	messages := inputMessages(o.fields["input"], spec.text)
	best := toldInput{}
	for _, told := range t.inputs {
		n := len(told.messages)
		if n > len(best.messages) && n < len(messages) && slices.Equal(told.messages, messages[:n]) {
			best = told
		}
	}
	if n := len(best.messages); n > 0 {
		spec.text = strings.Join(messages[n:], "\n")
		spec.follows, spec.root = []*promptRef{best.prompt}, false
		spec.custom = append(spec.custom, entry("input_repeats", strconv.Itoa(n)))
	}
	t.prompt = t.session.prompt(*spec)
	if len(messages) > 0 {
		if len(t.inputs) == maxInputs {
			t.inputs = t.inputs[1:]
		}
		t.inputs = append(t.inputs, toldInput{messages, t.prompt})
	}
}

// inputMessages are the messages of an input that is a list of them, or has one under messages, also as JSON in a text.
func inputMessages(raw json.RawMessage, text string) []string {
	if len(raw) > 0 && raw[0] == '"' {
		if raw = json.RawMessage(strings.TrimSpace(text)); !json.Valid(raw) {
			return nil
		}
	}
	list := elements(raw)
	if f, err := parseFields(raw); err == nil {
		if list = elements(f["messages"]); list == nil {
			list = elements(f["contents"])
		}
	}
	var messages []string
	for _, m := range list {
		messages = append(messages, string(m))
	}
	return messages
}

// finishReason finds why an answer ended, in the shapes that SDKs write.
func finishReason(output string) string {
	f, err := parseFields(json.RawMessage(output))
	if err != nil {
		f = firstFields(json.RawMessage(output))
	}
	if reason := f.firstText("finish_reason", "finishReason", "stop_reason"); reason != "" {
		return reason
	}
	if choice := firstFields(f["choices"]); choice != nil {
		return choice.firstText("finish_reason")
	}
	return ""
}

// tool tells a call of a tool, and its result when it has one.
func (t *traceTalk) tool(by *responseRef, o *observation) {
	spec := callSpec{where: o.where, key: t.key(o), name: o.name, parameters: o.value("input"), time: o.start,
		metadata: []pair{entry("observation_id", o.id), entry("path", o.path())}}
	if spec.parameters == "" {
		meta := o.object("metadata")
		if text, ok := o.text("metadata"); ok {
			meta, _ = parseFields(json.RawMessage(text))
		}
		spec.parameters = meta.object("attributes").value("tool.parameters")
	}
	call := t.call(by, spec)
	failed := o.firstText("level") == "ERROR"
	if !call.ok || !o.present("output") && !failed {
		if call.ok {
			call.node.DurationMs = o.took()
			addMetadata(call.node.Metadata, o.told())
		}
		return
	}
	text := o.value("output")
	if text == "" && failed {
		text = o.firstText("statusMessage")
	}
	t.result(call, resultSpec{where: o.where, text: text, failed: failed, durationMs: o.took(), time: o.end(), metadata: o.told()})
}

func (o *observation) end() *timestamppb.Timestamp { return o.time("endTime") }

// took is how long an observation took: the time between its ends, for latency is in seconds or in milliseconds, as the
// version of the exporter has it.
func (o *observation) took() int64 {
	if o.end() != nil && o.start != nil {
		return elapsed(o.start, o.end())
	}
	return o.seconds("latency")
}

// told is what an observation says besides what the records have a place for.
func (o *observation) told() []pair {
	return flatten(o.pick("level", "statusMessage", "version", "environment", "costDetails", "totalCost", "timeToFirstToken", "completionStartTime", "metadata"))
}

// rest tells what no generation came for: the input and output of the trace, and calls.
func (t *traceTalk) rest(name string) {
	if t.last != nil {
		return
	}
	if len(t.early) == 0 && !t.trace.present("input") && !t.trace.present("output") {
		t.problem(name, "has neither a generation nor an input")
		return
	}
	p := t.session.prompt(promptSpec{where: name, key: []string{t.digest, "trace"}, text: t.trace.value("input"), time: t.trace.time("timestamp"), custom: t.notes, root: true})
	r := t.response(p, responseSpec{where: name, key: []string{t.digest, "trace"}, text: t.trace.value("output"), custom: []pair{entry("synthetic", "true")}})
	for _, o := range t.early {
		t.tool(r, o)
	}
}
