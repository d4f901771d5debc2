package importer

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// taskmaster reads dialogs of Taskmaster-4: {"conversation_id": "dlg-…", "utterances": [{"speaker": …, "text": …,
// "annotations": [{"name", "value", "context"}, …]}, …]}. The annotations of a user's utterance are the calls that the
// assistant made before it answered: those whose contexts, api_call_3 and api_response_3, end in one number are one call.
// They belong to the response that follows, and where none does, to one without text. A call whose request has an id
// that an earlier call gave references that call.
type taskmaster struct{}

func (taskmaster) claims(h head) claim {
	f := h.first().fields
	_, named := f.text("conversation_id")
	return claimIf(named && f["utterances"] != nil)
}

func (taskmaster) read(it *item, out *scribe) error {
	id, _ := it.fields.text("conversation_id")
	where := fmt.Sprintf("%s, dialog %s", it.where, cutLong(id))
	spec := sessionSpec{where: where, metadata: flatten(it.fields.without("utterances", "instructions"))}
	if instructions, ok := it.fields.text("instructions"); ok {
		spec.metadata = append(spec.metadata, longEntry("instructions", instructions)...)
	}
	if given, ok := uuidText(strings.TrimPrefix(id, "dlg-")); ok && !out.given[given] {
		spec.id = given
	}
	d := &dialog{session: out.session(spec), where: where, gave: make(map[string]*callRef)}
	if elements(it.fields["utterances"]) == nil {
		out.problem(where, "has no utterances")
	}
	for i, raw := range elements(it.fields["utterances"]) {
		f, err := parseFields(raw)
		if err != nil {
			out.problem(d.at(i), "%v", err)
			continue
		}
		d.utterance(i, f)
	}
	if len(d.made) > 0 {
		d.answer(responseSpec{finishReason: "tool_calls", custom: []pair{entry("synthetic", "true")}})
	}
	return nil
}

// longEntry is a text for metadata in pieces that are not cut: key, key.2, key.3, ….
func longEntry(key, text string) []pair {
	pairs := []pair{entry(key, cutText(text, maxValueBytes))}
	for text = text[len(pairs[0].value):]; text != "" && utf8.ValidString(text); text = text[len(pairs[len(pairs)-1].value):] {
		pairs = append(pairs, entry(fmt.Sprintf("%s.%d", key, len(pairs)+1), cutText(text, maxValueBytes)))
	}
	return pairs
}

// A dialog is a conversation of Taskmaster that is being read.
type dialog struct {
	*session
	where string
	made  []*apiCall // calls that wait for the response that made them
	// gave are the calls whose results hold an id, by its name and value.
	gave map[string]*callRef
}

// An apiCall is what annotations of one number say.
type apiCall struct {
	number, name, request string
	response              *string
	other                 []pair
}

func (d *dialog) at(place int) string { return fmt.Sprintf("%s, utterance %d", d.where, place+1) }

func (d *dialog) utterance(place int, f fields) {
	d.annotations(place, f["annotations"])
	text, ok := f.text("text")
	if !ok {
		d.problem(d.at(place), "has no text")
		return
	}
	custom := flatten(f.without("index", "speaker", "text", "annotations", "segments"))
	if len(elements(f["segments"])) > 0 {
		custom = append(custom, entry("segments", compact(f["segments"])))
	}
	switch speaker := f.firstText("speaker"); speaker {
	case "user":
		d.prompt(promptSpec{where: d.at(place), text: text, custom: custom})
	case "assistant":
		d.answer(responseSpec{where: d.at(place), text: text, custom: custom})
	default:
		d.problem(d.at(place), "speaker %q is unknown", cutLong(speaker))
	}
}

// annotations gathers the calls, in the order in which their numbers appear.
func (d *dialog) annotations(place int, raw json.RawMessage) {
	if list := elements(raw); list == nil && len(raw) > 0 && string(raw) != "null" {
		d.problem(d.at(place), "annotations is no list")
	}
	calls := make(map[string]*apiCall)
	for i, raw := range elements(raw) {
		f, err := parseFields(raw)
		context, _ := f.text("context")
		number := context[len(strings.TrimRight(context, "0123456789")):]
		if err != nil || number == "" {
			d.problem(fmt.Sprintf("%s, annotation %d", d.at(place), i+1), "has no context that ends in a number")
			continue
		}
		if calls[number] == nil {
			calls[number] = &apiCall{number: number}
			d.made = append(d.made, calls[number])
		}
		calls[number].note(f)
	}
}

func (c *apiCall) note(f fields) {
	value, ok := f.text("value")
	if !ok {
		value = compact(f["value"])
	}
	switch name := f.firstText("name"); {
	case name == "api_call", name == "api_response" && c.name == "":
		c.name = value
	case name == "api_response" && c.name == value:
	case name == "request" && c.request == "":
		c.request = value
	case name == "response" && c.response == nil:
		c.response = &value
	default:
		c.other = append(c.other, entry(name, value))
	}
}

// answer tells a response and the calls that were made for it.
func (d *dialog) answer(spec responseSpec) {
	r := d.response(d.lastOrOpening(), spec)
	for _, made := range d.made {
		where := fmt.Sprintf("%s, call %s", d.where, made.number)
		c := d.call(r, callSpec{where: where, callID: "api_call_" + made.number, name: made.name, parameters: made.request, metadata: made.other})
		if c.ok {
			d.draw(c, made)
		}
		if c.ok && made.response != nil {
			d.result(c, resultSpec{where: where, text: *made.response})
		}
	}
	d.made = nil
}

// maxGave bounds the ids of a dialog that are remembered.
const maxGave = 10_000

// draw links a call with those that gave the ids in its request, and remembers the ids in its result.
func (d *dialog) draw(c *callRef, made *apiCall) {
	eachID(made.request, func(id string) {
		if from := d.gave[id]; from != nil {
			_, value, _ := strings.Cut(id, "=")
			d.references(c.ref, from.ref, reference{kind: "database", chunk: value})
		}
	})
	if made.response == nil {
		return
	}
	eachID(*made.response, func(id string) {
		if len(d.gave) < maxGave {
			d.gave[id] = c
		}
	})
}

// eachID tells the ids in a JSON text, as "order_id=69260". A text that is no JSON has none.
func eachID(text string, tell func(id string)) {
	var value any
	if json.Unmarshal([]byte(text), &value) == nil {
		walkIDs(value, tell)
	}
}

func walkIDs(value any, tell func(id string)) {
	switch v := value.(type) {
	case []any:
		for _, one := range v {
			walkIDs(one, tell)
		}
	case map[string]any:
		for _, key := range []string{"order_id", "menu_item_id", "order_item_id"} {
			if id, ok := v[key].(string); ok && id != "" {
				tell(key + "=" + id)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			walkIDs(v[key], tell)
		}
	}
}
