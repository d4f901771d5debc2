package importer

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// addCalls tells the tool calls of a response. SWE-agent's text formats have one call in action instead.
func (c *chat) addCalls(m message, response *responseRef) {
	t := turn{}
	calls := m.calls
	if c.actions && len(calls) == 0 && strings.TrimSpace(m.action) != "" {
		t.action = true
		calls = []toolCall{{name: commandName(m.action), parameters: m.action}}
	}
	for i, call := range calls {
		told := c.call(response, callSpec{where: fmt.Sprintf("%s, tool call %d", c.at(m.place), i+1), key: []string{strconv.Itoa(m.place), strconv.Itoa(i)},
			callID: call.id, name: call.name, parameters: call.parameters, time: m.time})
		if told.ok {
			t.calls = append(t.calls, told)
		}
	}
	c.lastTurn = t
	if len(t.calls) > 0 {
		c.turns = append(c.turns, t)
	}
	c.applyStep(m, t)
}

// commandName is the first word of a command line.
func commandName(action string) string {
	return cutText(strings.Fields(action)[0], graph.MaxNameBytes)
}

// applyStep takes from the trajectory what the history lacks: how long the call took, and the result of a last call.
// The steps run beside the assistant messages; one whose action differs belongs to something else.
func (c *chat) applyStep(m message, t turn) {
	if c.answers >= len(c.steps) || len(t.calls) == 0 {
		return
	}
	step, call := c.steps[c.answers], t.calls[0]
	if action, _ := step.text("action"); action != m.action {
		return
	}
	call.node.DurationMs = step.seconds("execution_time")
	observation, ok := step.text("observation")
	if last := m.place == len(c.messages)-1; last && ok {
		c.result(call, resultSpec{where: c.at(m.place), text: observation, failed: failed(observation, nil), metadata: []pair{entry("result_from", "trajectory")}})
	}
}

// awaitsObservation returns the call of the message before when its result is the next user message.
func (c *chat) awaitsObservation() *callRef {
	if t := c.lastTurn; t.action && len(t.calls) > 0 && !t.calls[0].settled {
		return t.calls[0]
	}
	return nil
}

var errNoCall = errors.New("answers no tool call of this conversation")

// addResult joins a tool message with its call. Ids repeat inside real conversations, so position decides among equal
// ids: the latest turn that has an open call of that id, and in it the earliest. Without an id the name decides, and
// without a name the position alone. A message that answers several calls is the result of each.
func (c *chat) addResult(m message) error {
	if len(m.callID) == 0 {
		call := c.openCall(func(r *callRef) bool { return m.name == "" || r.node.ToolName == m.name })
		if call == nil {
			return errNoCall
		}
		c.settle(call, m)
		return nil
	}
	for _, id := range m.callID {
		call := c.openCall(func(r *callRef) bool { return r.callID == id })
		if call == nil {
			return fmt.Errorf("tool call %q: %w", cutLong(id), errNoCall)
		}
		c.settle(call, m)
	}
	return nil
}

// maxLookBack is how many turns back a result may find its call.
const maxLookBack = 1000

// openCall finds an open call, the latest turn first.
func (c *chat) openCall(match func(*callRef) bool) *callRef {
	for _, t := range slices.Backward(c.turns[max(0, len(c.turns)-maxLookBack):]) {
		for _, call := range t.calls {
			if !call.settled && match(call) {
				return call
			}
		}
	}
	return nil
}

func (c *chat) settle(call *callRef, m message) {
	c.result(call, resultSpec{where: c.at(m.place), text: m.content, failed: failed(m.content, m.fields), time: m.time,
		durationMs: m.fields.whole("duration_ms"), metadata: flatten(m.fields.without(append(knownKeys(), "is_error", "status")...))})
}

// failed says that a tool message tells of a failure: by its text, which begins with Error, or by a mark beside it.
func failed(text string, f fields) bool {
	if strings.HasPrefix(text, "Error") || string(f["is_error"]) == "true" {
		return true
	}
	status, _ := f.text("status")
	switch strings.ToLower(status) {
	case "error", "failed", "failure":
		return true
	}
	return false
}
