package graph

import (
	"encoding/json"
	"strconv"
	"time"

	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// EventPayload renders the JSON of an event: ids, types and times always, and the detail of its record while that exists.
func EventPayload(e *logpb.StoredEvent) string {
	o := object{json: make([]byte, 0, payloadBytes)}
	switch e.Type {
	case pb.EventType_EVENT_TYPE_SESSION_CREATED, pb.EventType_EVENT_TYPE_SESSION_CLOSED:
		o.text("session_id", e.SessionId)
		o.metadata(e.Detail)
		if e.Reason != "" {
			o.text("reason", e.Reason)
		}
	case pb.EventType_EVENT_TYPE_EDGE_CREATED, pb.EventType_EVENT_TYPE_EDGE_DELETED:
		o.text("edge_id", e.EdgeId)
		o.text("edge_type", e.EdgeType.String())
		o.text("from", e.FromNodeId)
		o.text("to", e.ToNodeId)
		o.text("session_id", e.SessionId)
		o.text("timestamp", formatTime(e.Instant))
	default:
		o.text("node_id", e.NodeId)
		o.text("node_type", e.NodeType.String())
		o.text("session_id", e.SessionId)
		o.text("timestamp", formatTime(e.Instant))
		o.detail(e.NodeType, e.Detail)
	}
	return string(append(o.json, '}'))
}

// Refresh brings an event in line with a view: what a deletion has hidden is told by no event from the acknowledgement on,
// whether a sweep has reached the event or not; and the end of a session tells its metadata while the session is there.
func Refresh(v View, e *logpb.StoredEvent) error {
	ended := e.Type == pb.EventType_EVENT_TYPE_SESSION_CLOSED && e.Reason == reasonClosed
	if e.Detail == nil && !ended {
		return nil
	}
	id := e.NodeId
	if id == "" {
		id = e.SessionId
	}
	rec, ok, err := v.NodeByID(id)
	if err != nil || !ok {
		e.Detail = nil
		return err
	}
	if ended {
		n, err := rec.Node()
		if err != nil {
			return err
		}
		e.Detail = &logpb.EventDetail{Metadata: n.GetSession().GetMetadata()}
	}
	return nil
}

func formatTime(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

// payloadBytes is what most payloads fit into.
const payloadBytes = 320

// An object is a JSON object under construction; its members keep the order in which they are added.
type object struct{ json []byte }

func (o *object) raw(key string, value []byte) {
	o.key(key)
	o.json = append(o.json, value...)
}

// key begins a member; keys are plain words of ours.
func (o *object) key(key string) {
	sep := byte(',')
	if len(o.json) == 0 {
		sep = '{'
	}
	o.json = append(o.json, sep, '"')
	o.json = append(o.json, key...)
	o.json = append(o.json, '"', ':')
}

// text adds a string. Most are ids and names, which stand in JSON as they are.
func (o *object) text(key, value string) {
	if !plain(value) {
		o.raw(key, quote(value))
		return
	}
	o.key(key)
	o.json = append(o.json, '"')
	o.json = append(o.json, value...)
	o.json = append(o.json, '"')
}

// plain reports a string that needs no escape in JSON, also not those that make it safe inside HTML.
func plain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

func (o *object) number(key string, n int64) { o.raw(key, strconv.AppendInt(nil, n, 10)) }

func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic("graph: a string is no JSON: " + err.Error())
	}
	return b
}

func (o *object) metadata(d *logpb.EventDetail) {
	b, err := json.Marshal(d.GetMetadata())
	if err != nil || len(d.GetMetadata()) == 0 {
		b = []byte("{}")
	}
	o.raw("metadata", b)
}

func (o *object) detail(t pb.NodeType, d *logpb.EventDetail) {
	if d == nil {
		return
	}
	switch t {
	case prompt:
		o.number("content_length", d.ContentLength)
		o.text("model", d.Model)
	case response:
		o.text("prompt_id", d.PromptId)
		o.number("content_length", d.ContentLength)
		usage := object{}
		usage.number("prompt_tokens", d.GetTokenUsage().GetPromptTokens())
		usage.number("completion_tokens", d.GetTokenUsage().GetCompletionTokens())
		usage.number("total_tokens", d.GetTokenUsage().GetTotalTokens())
		o.raw("tokens_used", append(usage.json, '}'))
		o.number("latency_ms", d.LatencyMs)
	case tool:
		o.text("tool_name", d.ToolName)
		o.text("status", d.Status)
		o.number("duration_ms", d.DurationMs)
	}
}
