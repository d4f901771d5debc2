package importer

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// blocks are what the content of a message says, for formats whose messages are made of blocks: texts, tool calls and
// tool results side by side.
type blocks struct {
	texts    []string
	thoughts []string
	// other lists the blocks that are none of these, as "2:image".
	other   []string
	calls   []callBlock
	results []resultBlock
	// faults say what in it cannot be read.
	faults []string
}

// A callBlock is a tool call in a message.
type callBlock struct {
	id, name, parameters string
	// result tells calls apart by what comes of them, in ids; empty is nothing.
	result string
}

// A resultBlock is the result of a tool call in a message.
type resultBlock struct {
	id, name, text string
	failed         bool
	metadata       []pair
}

// text are the texts, joined by line breaks.
func (b *blocks) text() string { return strings.Join(b.texts, "\n") }

func (b *blocks) addText(text string, ok bool) bool {
	if ok {
		b.texts = append(b.texts, text)
	}
	return ok
}

func (b *blocks) addThought(text string, ok bool) bool {
	if ok {
		b.thoughts = append(b.thoughts, text)
	}
	return ok
}

// says is false for content that holds nothing but tool results.
func (b *blocks) says() bool {
	return len(b.texts)+len(b.thoughts)+len(b.other)+len(b.calls) > 0 || len(b.results)+len(b.faults) == 0
}

// custom is what the blocks say besides texts, calls and results.
func (b *blocks) custom() []pair {
	var pairs []pair
	if len(b.other) > 0 {
		pairs = append(pairs, entry("content_parts", strings.Join(b.other, ",")))
	}
	if len(b.thoughts) > 0 {
		pairs = append(pairs, entry("thinking", strings.Join(b.thoughts, "\n")))
	}
	return pairs
}

// readBlocks reads a content that is a text or a list of blocks. read takes one block, and says false when it is of no
// kind that it knows. A null or missing content is a fault.
func readBlocks(raw json.RawMessage, read func(*blocks, fields) bool) *blocks {
	b := &blocks{}
	var text string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		b.faults = append(b.faults, "the message has no content")
	case raw[0] == '"' && json.Unmarshal(raw, &text) == nil:
		b.texts = append(b.texts, text)
	case raw[0] == '[':
		for i, part := range elements(raw) {
			b.element(i, part, read)
		}
	default:
		b.faults = append(b.faults, "the content is neither text nor a list of blocks")
	}
	return b
}

func (b *blocks) element(i int, part json.RawMessage, read func(*blocks, fields) bool) {
	var text string
	if part[0] == '"' && json.Unmarshal(part, &text) == nil {
		b.texts = append(b.texts, text)
		return
	}
	f, err := parseFields(part)
	switch {
	case err != nil:
		b.faults = append(b.faults, fmt.Sprintf("content[%d]: %v", i, err))
	case !read(b, f):
		kind := f.firstText("type")
		if kind == "" {
			b.faults = append(b.faults, fmt.Sprintf("content[%d] is of no known kind", i))
			return
		}
		b.other = append(b.other, fmt.Sprintf("%d:%s", i, cutLong(kind)))
	}
}

// value is a member as text: a string as it reads, anything else as it stands in the file, null and nothing as "".
func (f fields) value(key string) string {
	if s, ok := f.text(key); ok {
		return s
	}
	if !f.present(key) {
		return ""
	}
	return string(f[key])
}

// openCalls are the calls of a session that wait for their results.
type openCalls struct{ turns []turn }

// tellCalls tells the calls of a response, in order. Parts of the key come before the place of the call in it.
func (o *openCalls) tellCalls(s *session, of *responseRef, calls []callBlock, spec callSpec) []*callRef {
	var t turn
	for i, c := range calls {
		one := spec
		one.where = fmt.Sprintf("%s, tool call %d", spec.where, i+1)
		one.callID, one.name, one.parameters = c.id, c.name, c.parameters
		if spec.key != nil {
			one.key = append(slices.Clone(spec.key), strconv.Itoa(i), c.result)
		}
		if told := s.call(of, one); told.ok {
			t.calls = append(t.calls, told)
		}
	}
	if len(t.calls) > 0 {
		o.turns = append(o.turns, t)
	}
	return t.calls
}

// find returns the open call with that id, or without one with that name: of the latest response that has one, in it
// the earliest. Ids repeat inside real sessions.
func (o *openCalls) find(id, name string) *callRef {
	for _, t := range slices.Backward(o.turns[max(0, len(o.turns)-maxLookBack):]) {
		for _, call := range t.calls {
			switch {
			case call.settled:
			case id != "" && call.callID == id, id == "" && (name == "" || call.node.ToolName == name):
				return call
			}
		}
	}
	return nil
}

// settle tells the results of a message. One that answers no call is reported.
func (o *openCalls) settle(s *session, where string, results []resultBlock, time *timestamppb.Timestamp) {
	for _, r := range results {
		call := o.find(r.id, r.name)
		if call == nil {
			s.problem(s.position(where), "tool call %q: %v", cutLong(cmp.Or(r.id, r.name)), errNoCall)
			continue
		}
		s.result(call, resultSpec{where: where, text: r.text, failed: r.failed, time: time, metadata: r.metadata})
	}
}

// sum is a digest of a piece of a file, for keys.
func sum(raw ...[]byte) string {
	h := sha256.New()
	for _, r := range raw {
		h.Write(r)
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// fresh is an id of the file, or nothing when it was there before: then it says no more which session is meant.
func (s *scribe) fresh(id string) string {
	if lower, ok := uuidText(id); ok && s.given[lower] {
		return ""
	}
	return id
}
