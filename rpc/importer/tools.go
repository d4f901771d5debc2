package importer

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// addCalls makes the tool invocations of a response. SWE-agent's text formats have one call in action instead.
func (b *builder) addCalls(m message, response string) {
	t := turn{}
	calls := m.calls
	if b.format == FormatSWEAgent && len(calls) == 0 && strings.TrimSpace(m.action) != "" {
		t.action = true
		calls = []toolCall{{name: commandName(m.action), parameters: m.action}}
	}
	for i, call := range calls {
		if len(call.parameters) > graph.MaxContentBytes {
			b.problem(fmt.Sprintf("%s, message %d, tool call %d", b.where(), m.place+1, i+1),
				"parameters are %d bytes, at most %d", len(call.parameters), graph.MaxContentBytes)
			continue
		}
		t.calls = append(t.calls, b.addCall(m, i, call, response))
	}
	b.last = t
	if len(t.calls) > 0 {
		b.turns = append(b.turns, t)
	}
	b.applyStep(m, t)
}

// commandName is the first word of a command line.
func commandName(action string) string {
	return cutText(strings.Fields(action)[0], graph.MaxNameBytes)
}

func (b *builder) addCall(m message, i int, call toolCall, response string) *openCall {
	tool := &pb.ToolInvocationNode{Id: b.id("tool", m.place, i), ResponseId: response, ToolName: call.name, Parameters: call.parameters,
		Status: statusPending, Timestamp: m.time, Metadata: map[string]string{}}
	if call.id != "" {
		addMetadata(tool.Metadata, []pair{{key: "tool_call_id", value: call.id}})
	}
	b.node(tool.Id, pb.NodeType_NODE_TYPE_TOOL_INVOCATION, &pb.Node{NodeData: &pb.Node_ToolInvocation{ToolInvocation: tool}})
	edge := b.edge(pb.EdgeType_EDGE_TYPE_INVOKES, response, tool.Id, map[string]string{
		"invocation_order": strconv.Itoa(i), "success": "false",
	})
	return &openCall{id: call.id, tool: tool, edge: edge}
}

// applyStep takes from the trajectory what the history lacks: how long the call took, and the result of a last call.
// The steps run beside the assistant messages; one whose action differs belongs to something else.
func (b *builder) applyStep(m message, t turn) {
	if b.answers >= len(b.steps) || len(t.calls) == 0 {
		return
	}
	step, call := b.steps[b.answers], t.calls[0]
	if action, _ := step.text("action"); action != m.action {
		return
	}
	call.tool.DurationMs = step.seconds("execution_time")
	observation, ok := step.text("observation")
	if last := m.place == len(b.messages)-1; last && ok && len(observation) <= graph.MaxContentBytes {
		call.tool.Metadata["result_from"] = "trajectory"
		b.finish(call, observation, failed(observation, nil))
	}
}

// awaitsObservation returns the call of the message before when its result is the next user message.
func (b *builder) awaitsObservation() *openCall {
	if t := b.last; t.action && len(t.calls) > 0 && !t.calls[0].settled {
		return t.calls[0]
	}
	return nil
}

var errNoCall = errors.New("answers no tool call of this conversation")

// addResult joins a tool message with its call. Ids repeat inside real conversations, so position decides among equal
// ids: the latest turn that has an open call of that id, and in it the earliest. Without an id the name decides, and
// without a name the position alone. A message that answers several calls is the result of each.
func (b *builder) addResult(m message) error {
	if len(m.callID) == 0 {
		call := b.openCall(func(c *openCall) bool { return m.name == "" || c.tool.ToolName == m.name })
		if call == nil {
			return errNoCall
		}
		b.settle(call, m)
		return nil
	}
	for _, id := range m.callID {
		call := b.openCall(func(c *openCall) bool { return c.id == id })
		if call == nil {
			return fmt.Errorf("tool call %q: %w", cutLong(id), errNoCall)
		}
		b.settle(call, m)
	}
	return nil
}

// maxLookBack is how many turns back a result may find its call.
const maxLookBack = 1000

// openCall finds an open call, the latest turn first.
func (b *builder) openCall(match func(*openCall) bool) *openCall {
	for _, t := range slices.Backward(b.turns[max(0, len(b.turns)-maxLookBack):]) {
		for _, c := range t.calls {
			if !c.settled && match(c) {
				return c
			}
		}
	}
	return nil
}

func (b *builder) settle(call *openCall, m message) {
	if d := m.fields.whole("duration_ms"); d > 0 {
		call.tool.DurationMs = d
	} else if call.tool.DurationMs == 0 {
		call.tool.DurationMs = elapsed(call.tool.Timestamp, m.time)
	}
	addMetadata(call.tool.Metadata, flatten(m.fields.without(append(knownKeys(), "is_error", "status")...)))
	b.finish(call, m.content, failed(m.content, m.fields))
}

// finish gives a call its result, or its error when it failed.
func (b *builder) finish(call *openCall, text string, failed bool) {
	call.settled = true
	if failed {
		call.tool.Status, call.tool.Error = statusFailed, proto.String(text)
		return
	}
	call.tool.Status, call.tool.Result = statusSuccess, proto.String(text)
	call.edge.Properties["success"] = "true"
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
