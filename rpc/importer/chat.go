package importer

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// listKeys are the keys under which an item keeps its messages, or a list of items, the most telling first.
func listKeys() []string {
	return []string{"messages", "conversations", "conversation", "traj", "history"}
}

// elements are those of a JSON array; nil for what is none.
func elements(raw json.RawMessage) []json.RawMessage {
	if len(raw) == 0 || raw[0] != '[' {
		return nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil
	}
	return list
}

// chatMessages are the messages of an item that is a conversation, and the key that they stand under.
func chatMessages(it *item) (list []json.RawMessage, key string) {
	if it.list != nil {
		return messagesIn(it.list), ""
	}
	for _, key := range listKeys() {
		if list := elements(it.fields[key]); list != nil {
			return messagesIn(list), key
		}
	}
	return nil, ""
}

// messagesIn returns the list when the first element that tells anything is a message.
func messagesIn(list []json.RawMessage) []json.RawMessage {
	for _, raw := range list {
		if raw[0] == '[' {
			return nil
		}
		f, err := parseFields(raw)
		switch {
		case err != nil:
		case f.hasList():
			return nil
		case f.isTurn():
			return list
		}
	}
	return nil
}

func (f fields) hasList() bool {
	for _, key := range listKeys() {
		if raw := f[key]; len(raw) > 0 && raw[0] == '[' {
			return true
		}
	}
	return false
}

// isChat recognises a message by itself: it has a role, or ShareGPT's from and value.
func (f fields) isChat() bool {
	if _, ok := f.text("role"); ok {
		return true
	}
	_, ok := f.text("from")
	return ok && f.present("value")
}

// isTurn recognises a message inside a list of messages, where KdConv's need no more than their text.
func (f fields) isTurn() bool {
	_, ok := f.text("message")
	return ok || f.isChat()
}

// anyMessage says whether one of the messages is such.
func anyMessage(list []json.RawMessage, such func(fields) bool) bool {
	for _, raw := range list {
		if f, err := parseFields(raw); err == nil && such(f) {
			return true
		}
	}
	return false
}

// A dialect says how a chat format departs from OpenAI chat messages.
type dialect struct {
	// alternating speakers have no roles: even places ask, odd ones answer.
	alternating bool
	// actions says that a message's action is a tool call, whose result is the user message that follows.
	actions bool
	// stepsKey is the member in which an item keeps its steps, one for each assistant message.
	stepsKey string
}

// A chat is a conversation that is being read, message by message.
type chat struct {
	*session
	dialect
	name     string // for reports
	messages []json.RawMessage
	fields   fields
	steps    []fields

	lastTurn turn   // of the latest assistant message
	turns    []turn // those with calls
	answers  int    // assistant messages so far
}

// A turn is the calls that one assistant message made.
type turn struct {
	calls []*callRef
	// action says that the call stands in action, and its result in the user message that follows.
	action bool
}

// readChat reads an item that is a conversation in some dialect.
func readChat(it *item, out *scribe, d dialect) {
	messages, key := it.list, ""
	if it.fields != nil {
		messages, key = chatMessages(it)
	}
	c := &chat{dialect: d, messages: messages, fields: it.fields.without(key)}
	c.name = fmt.Sprintf("conversation %d", out.index+1)
	c.session = out.session(sessionSpec{
		where: c.name, created: c.fields.time(timeKeys()...), metadata: flatten(c.fields.without("trajectory", "tools")),
		model: c.fields.firstText("model"), temperature: c.fields.number("temperature"), tools: toolsIn(c.fields["tools"]),
	})
	if d.stepsKey != "" {
		_ = json.Unmarshal(c.fields[d.stepsKey], &c.steps) // steps of another shape have nothing to offer
	}
	for i, raw := range messages {
		m, err := readMessage(raw, i, d)
		if err == nil {
			err = c.add(m)
		}
		if err != nil {
			c.problem(c.at(i), "%v", err)
		}
	}
}

// at is the position of a message.
func (c *chat) at(place int) string { return fmt.Sprintf("%s, message %d", c.name, place+1) }

func (c *chat) add(m message) error {
	if c.rec.CreatedAt == nil {
		c.rec.CreatedAt = m.time
	}
	if len(m.content) > graph.MaxContentBytes {
		return fmt.Errorf("content is %d bytes, at most %d", len(m.content), graph.MaxContentBytes)
	}
	switch m.role {
	case roleSystem:
		c.system(c.at(m.place), m.content)
	case roleUser:
		if call := c.awaitsObservation(); call != nil {
			c.settle(call, m)
			return nil
		}
		c.addPrompt(m)
	case roleAssistant:
		c.addResponse(m)
	case roleTool:
		return c.addResult(m)
	default:
		panic(fmt.Sprintf("role %d", m.role))
	}
	return nil
}

func (c *chat) addPrompt(m message) {
	c.prompt(promptSpec{where: c.at(m.place), key: []string{strconv.Itoa(m.place)}, text: m.content, time: m.time, custom: m.custom()})
}

func (c *chat) addResponse(m message) {
	to := c.lastOrOpening()
	r := c.response(to, responseSpec{
		where: c.at(m.place), key: []string{strconv.Itoa(m.place)}, text: m.content, time: m.time, model: m.fields.firstText("model"),
		usage: m.usage(), latencyMs: m.fields.whole("latency_ms"), finishReason: m.fields.firstText("finish_reason"), custom: m.custom(),
	})
	if a := c.agent(agentSpec{name: m.agent}); a.ok {
		c.handledBy(to.ref, a)
		c.handledBy(r.ref, a)
	}
	c.addCalls(m, r)
	c.answers++
}

// custom is what a message says besides what the records have a place for.
func (m message) custom() []pair {
	var pairs []pair
	if len(m.other) > 0 {
		pairs = append(pairs, entry("content_parts", strings.Join(m.other, ",")))
	}
	if m.role == roleUser && m.name != "" {
		pairs = append(pairs, entry("name", m.name))
	}
	return append(pairs, flatten(m.fields.without(knownKeys()...))...)
}

// toolsIn lists the names of an item's tools.
func toolsIn(raw json.RawMessage) []string {
	var names []string
	for _, raw := range elements(raw) {
		f, err := parseFields(raw)
		if err != nil {
			continue
		}
		if nested := f.object("function"); nested != nil {
			f = nested
		}
		names = append(names, f.firstText("name"))
	}
	return names
}

// usage reads usage under the names of either OpenAI interface.
func (m message) usage() usage {
	f := m.fields.object("usage")
	u := usage{prompt: f.whole("prompt_tokens"), completion: f.whole("completion_tokens"), total: f.whole("total_tokens")}
	if u.prompt == 0 {
		u.prompt = f.whole("input_tokens")
	}
	if u.completion == 0 {
		u.completion = f.whole("output_tokens")
	}
	return u
}
