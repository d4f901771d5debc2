package conformance

import (
	"strings"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// largeSessionEvents reads the events of a large session while its rows are being swept: of what is deleted, only ids,
// types and times remain (D17), whether the sweep has come to it or not.
func largeSessionEvents(t *testing.T, e *Env) {
	own := e.own(t)
	session, _ := own.large(t)
	own.deleteSession(t, session)
	created := 0
	for _, event := range own.events(t, &graphpb.StreamEventsRequest{FromBeginning: true}).until(t, func(event *graphpb.Event) bool {
		return event.GetType() == graphpb.EventType_EVENT_TYPE_SESSION_CLOSED
	}) {
		if event.GetType() == graphpb.EventType_EVENT_TYPE_NODE_CREATED {
			created++
		}
		for _, detail := range []string{"content_length", "model", "tokens_used", "tool_name"} {
			if strings.Contains(event.GetPayload(), detail) {
				t.Fatalf("event %s of a deleted session tells %s", event.GetId(), event.GetPayload())
			}
		}
	}
	wantEqual(t, "nodes told to be created", largeNodes, created)
}
