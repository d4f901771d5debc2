package importer

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// interCode reads results of InterCode: one object whose members, under their numbers, are tasks with a query and what
// was tried, {"turn_history": {"actions": […], "observations": […], "rewards": […], "valid_action": […]}}. Each action is
// a call of the environment, made by a response of its own, whose text is that of thoughts, where there are some.
type interCode struct{}

func (interCode) claims(h head) claim {
	f := h.first().fields
	if isInterCode(f) {
		return claimWhole
	}
	for i, key := range f.keys() {
		if i == headValues {
			break
		}
		if one := f.object(key); one != nil {
			return claimIf(isInterCode(one))
		}
	}
	return claimNone
}

func isInterCode(f fields) bool { return f["query"] != nil && f.object("turn_history") != nil }

func (interCode) read(it *item, out *scribe) error {
	if isInterCode(it.fields) {
		readInterCode(it.where, "", it.fields, out)
		return nil
	}
	return members(it.raw, func(key string, raw json.RawMessage) {
		where := fmt.Sprintf("%s, task %q", it.where, cutLong(key))
		f, err := parseFields(raw)
		if err != nil {
			out.problem(where, "%v", err)
			return
		}
		readInterCode(where, key, f, out)
	})
}

// members tells the members of an object in the order of the file.
func members(object json.RawMessage, tell func(key string, raw json.RawMessage)) error {
	in := json.NewDecoder(bytes.NewReader(object))
	if _, err := in.Token(); err != nil {
		return err
	}
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := in.Decode(&raw); err != nil {
			return err
		}
		tell(key.(string), raw)
	}
	return nil
}

func readInterCode(where, key string, f fields, out *scribe) {
	if f.object("turn_history") == nil {
		out.problem(where, "has no turn_history")
		return
	}
	metadata := flatten(f.without("query", "turn_history"))
	if key != "" {
		metadata = append([]pair{entry("task", key)}, metadata...)
	}
	s := out.session(sessionSpec{where: where, metadata: metadata})
	query, ok := f.text("query")
	if !ok {
		s.problem(where, "has no query")
	}
	history := f.object("turn_history")
	t := &interCodeTask{session: s, where: where, environment: f.firstText("environment"), query: s.prompt(promptSpec{text: query}), lists: make(map[string][]json.RawMessage)}
	actions := elements(history["actions"])
	for _, key := range history.keys() {
		list := elements(history[key])
		switch {
		case list == nil && history.present(key):
			s.problem(where, "%s is no list", key)
		case len(list) > len(actions):
			s.problem(where, "the last %d of %s belong to no action", len(list)-len(actions), key)
		}
		t.lists[key] = list
	}
	for i := range actions {
		t.action(i)
	}
}

// An interCodeTask is a task that is being read.
type interCodeTask struct {
	*session
	where, environment string
	query              *promptRef
	lists              map[string][]json.RawMessage // of turn_history
}

// action tells the action in one place, with what the other lists say of it.
func (t *interCodeTask) action(i int) {
	where := fmt.Sprintf("%s, action %d", t.where, i+1)
	said := make(fields)
	for key, list := range t.lists {
		if i < len(list) {
			said[key] = list[i]
		}
	}
	action, ok := said.textOrRaw("actions")
	if !ok {
		t.problem(where, "is null")
		return
	}
	name := t.environment
	if name == "" {
		name = unknown
	}
	thought, _ := said.textOrRaw("thoughts")
	r := t.response(t.query, responseSpec{where: where, text: thought, finishReason: "tool_calls"})
	c := t.call(r, callSpec{where: where, name: name, parameters: action, retry: i, metadata: flatten(said.without("actions", "observations", "thoughts"))})
	if observation, ok := said.textOrRaw("observations"); ok && c.ok {
		t.result(c, resultSpec{where: where, text: observation, failed: string(said["valid_action"]) == "false"})
	}
}
