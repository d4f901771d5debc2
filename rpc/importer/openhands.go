package importer

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// openHands reads the event streams of OpenHands: runs with their events under history, and lists of events alone.
type openHands struct{}

func (openHands) claims(h head) claim {
	it := h.first()
	if it.fields.isEvent() {
		return claimPart
	}
	list := it.list
	if it.fields != nil {
		list = elements(it.fields["history"])
	}
	return claimIf(anyMessage(list, fields.isEvent))
}

// isEvent recognises an event: somebody's action, or an observation.
func (f fields) isEvent() bool {
	return f.present("id") && f.firstText("source") != "" && f.firstText("role") == "" && (f.firstText("action") != "" || f.firstText("observation") != "")
}

// A run is a stream of events that is being told.
type run struct {
	*session
	name      string
	agentOf   *agentRef
	latencies map[string]int64 // of the model's responses, by id, in milliseconds
	responses map[string]*responseRef
	calls     map[string]*callRef // by the id of the event
	// early are actions that no response of the model made, such as what was recalled for the answer to come.
	early   []*earlyAction
	earlyBy map[string]*earlyAction // by the id of the event
	notes   []pair
	// asked are the texts of prompts.
	asked map[string]bool
}

type earlyAction struct {
	where         string
	event, result fields
}

func (openHands) read(it *item, out *scribe) error {
	list := it.list
	if it.fields != nil {
		list = elements(it.fields["history"])
	}
	meta := it.fields.object("metadata")
	config := meta.object("llm_config")
	r := &run{name: fmt.Sprintf("conversation %d", out.index+1), latencies: make(map[string]int64), responses: make(map[string]*responseRef),
		calls: make(map[string]*callRef), earlyBy: make(map[string]*earlyAction), asked: make(map[string]bool)}
	r.session = out.session(sessionSpec{where: r.name, model: config.firstText("model"), temperature: config.number("temperature"),
		metadata: flatten(it.fields.without("history", "metrics", "instruction"))})
	if name := meta.firstText("agent_class"); name != "" {
		r.agentOf = r.agent(agentSpec{name: name, metadata: []pair{entry("model", config.firstText("model"))}})
	}
	for _, raw := range elements(it.fields.object("metrics")["response_latencies"]) {
		if f, err := parseFields(raw); err == nil {
			r.latencies[f.firstText("response_id")] = f.seconds("latency")
		}
	}
	for i, raw := range list {
		where := fmt.Sprintf("%s, event %d", r.name, i+1)
		f, err := parseFields(raw)
		if err != nil {
			r.problem(where, "%v", err)
			continue
		}
		r.event(where, f)
	}
	for _, a := range r.early {
		r.problem(a.where, "is an action that no response of the model follows")
	}
	if text := it.fields.firstText("instruction"); text != "" && !r.asked[text] {
		r.notes = append(r.notes, entry("instruction", text))
	}
	metrics := it.fields.object("metrics").without("response_latencies", "token_usages", "costs")
	for _, p := range flatten(metrics) {
		r.notes = append(r.notes, entry("metrics."+p.key, p.value))
	}
	r.metadata(r.notes...)
	return nil
}

// event tells one event. What is neither asked, answered, called nor a result stands in the session's metadata.
func (r *run) event(where string, f fields) {
	if r.rec.CreatedAt == nil {
		r.rec.CreatedAt = f.wallTime("timestamp")
	}
	args := f.object("args")
	action, source := f.firstText("action"), f.firstText("source")
	_, made := r.made(f)
	switch {
	case f.firstText("observation") != "":
		r.observation(where, f)
	case action == "system":
		r.system(where, args.value("content"))
		r.spec.tools = toolsIn(args["tools"])
	case action == "message" && source == "user":
		text := args.value("content")
		r.asked[text] = true
		p := r.prompt(promptSpec{where: where, text: text, time: f.wallTime("timestamp"),
			custom: flatten(args.without("content"))})
		r.handle(p.ref)
	case action == "message" && source == "agent" && !made:
		r.answer(where, f)
	case action == "":
		r.problem(where, "is neither an action nor an observation")
	case action == "change_agent_state" || action == "null" || strings.HasPrefix(action, "condens"):
		r.note(f)
	case made || source == "agent":
		response := r.answer(where, f)
		r.calls[f.value("id")] = r.act(where, response, f)
	default:
		a := &earlyAction{where: where, event: f}
		r.early, r.earlyBy[f.value("id")] = append(r.early, a), a
	}
}

func (r *run) note(f fields) {
	raw, err := json.Marshal(f)
	if err != nil {
		panic(err) // it was decoded from JSON
	}
	r.notes = append(r.notes, entry("event."+f.value("id"), string(raw)))
}

func (r *run) handle(node ref) {
	if r.agentOf != nil {
		r.handledBy(node, r.agentOf)
	}
}

// made is the response of the model that made an action.
func (r *run) made(f fields) (fields, bool) {
	response := f.object("tool_call_metadata").object("model_response")
	return response, response != nil
}

// answer is the response that an event belongs to, told when it is the first one.
func (r *run) answer(where string, f fields) *responseRef {
	made, _ := r.made(f)
	id := made.firstText("id")
	if told := r.responses[id]; told != nil && id != "" {
		return told
	}
	choice := firstFields(made["choices"])
	text := readBlocks(choice.object("message")["content"], readAnthropicBlock).text()
	if made == nil {
		text = f.object("args").firstText("content", "thought", "final_thought")
	}
	custom := flatten(made.without("id", "created", "model", "choices", "usage"))
	if id != "" {
		custom = append([]pair{entry("response_id", id)}, custom...)
	}
	to := r.lastOrOpening()
	told := r.response(to, responseSpec{where: where, text: text, time: f.wallTime("timestamp"), model: made.firstText("model"),
		usage: message{fields: made}.usage(), latencyMs: r.latencies[id], finishReason: choice.firstText("finish_reason"), custom: custom})
	r.responses[id] = told
	r.handle(told.ref)
	for _, a := range r.early {
		call := r.act(a.where, told, a.event)
		r.calls[a.event.value("id")] = call
		if a.result != nil {
			r.settle(a.where, call, a.result)
		}
	}
	r.early = nil
	clear(r.earlyBy)
	return told
}

// act tells an action as a tool call: with the arguments as the model wrote them, else as the event has them.
func (r *run) act(where string, of *responseRef, f fields) *callRef {
	meta := f.object("tool_call_metadata")
	id := meta.firstText("tool_call_id")
	spec := callSpec{where: where, callID: id, name: meta.firstText("function_name"), time: f.wallTime("timestamp"),
		parameters: f.value("args"), metadata: []pair{entry("action", f.firstText("action"))}}
	if spec.name == "" {
		spec.name = f.firstText("action")
	}
	if made, ok := r.made(f); ok {
		calls, err := readCalls(firstFields(made["choices"]).object("message"))
		for _, c := range calls {
			if err == nil && c.id == id {
				spec.parameters = c.parameters
			}
		}
	}
	if args := f.object("args"); f.firstText("action") == "delegate" {
		r.transfersTo(of, r.agent(agentSpec{name: args.firstText("agent")}), handoff{reason: "delegate", summary: args.value("inputs")})
	}
	return r.call(of, spec)
}

// observation tells the result of the action that caused it.
func (r *run) observation(where string, f fields) {
	cause := f.value("cause")
	if call := r.calls[cause]; call != nil && !call.settled && cause != "" {
		r.settle(where, call, f)
		return
	}
	if a := r.earlyBy[cause]; a != nil && a.result == nil {
		a.result = f
		return
	}
	r.note(f)
}

func (r *run) settle(where string, call *callRef, f fields) {
	extras := f.object("extras")
	code := extras.object("metadata").number("exit_code")
	if code == nil {
		code = extras.number("exit_code")
	}
	text := f.value("content")
	kind := f.firstText("observation")
	spec := resultSpec{where: where, text: text, failed: kind == "error" || code != nil && *code != 0, time: f.wallTime("timestamp"),
		metadata: append([]pair{entry("observation", kind)}, flatten(extras)...)}
	r.result(call, spec)
}

// firstFields is the first object of a list.
func firstFields(raw json.RawMessage) fields {
	list := elements(raw)
	if len(list) == 0 {
		return nil
	}
	f, err := parseFields(list[0])
	if err != nil {
		return nil
	}
	return f
}

// wallTime is a time that may lack its zone; then it is taken as UTC.
func (f fields) wallTime(key string) *timestamppb.Timestamp {
	if t := f.time(key); t != nil {
		return t
	}
	s, _ := f.text(key)
	t, err := time.Parse("2006-01-02T15:04:05", strings.Replace(s, " ", "T", 1))
	if err != nil || !inRange(t) {
		return nil
	}
	return timestamppb.New(t)
}
