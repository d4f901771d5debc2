package crash

import (
	"context"
	"encoding/json"
	"fmt"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/google/go-cmp/cmp"
)

// lastEventHeader says the newest event at the call.
const lastEventHeader = "memory-graph-last-event"

// events compares all events with the models: each acknowledged change was told, once, and nothing else.
func (v verifier) events(ctx context.Context, told *watcher) error {
	all, err := v.readEvents(ctx)
	if err != nil {
		return err
	}
	if err := told.compare(all.seen); err != nil {
		return err
	}
	told.seen = all.seen
	want, got := v.expected(), make(map[string]int)
	edges := make(map[string]bool)
	for _, event := range all.seen {
		kind, id, err := about(event)
		if err != nil {
			return err
		}
		switch event.GetType() {
		case graphpb.EventType_EVENT_TYPE_EDGE_CREATED:
			if edges[id] {
				return fmt.Errorf("%w: edge %s was made twice", errEvents, id)
			}
			edges[id] = true
		case graphpb.EventType_EVENT_TYPE_EDGE_DELETED:
			if !edges[id] {
				return fmt.Errorf("%w: edge %s was deleted and was not there", errEvents, id)
			}
			delete(edges, id)
		default:
			if optional := kind == "NODE_TYPE_SESSION" || kind == "NODE_TYPE_TEMPLATE" &&
				event.GetType() == graphpb.EventType_EVENT_TYPE_NODE_UPDATED; !optional {
				got[fmt.Sprint(event.GetType(), " ", id)]++
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("%w: number of events by type and id (-want +got):\n%s", errEvents, diff)
	}
	there, err := v.edgeIDs(ctx)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(there, edges); diff != "" {
		return fmt.Errorf("%w: edges that are there and edges as told (-there +told):\n%s", errEvents, diff)
	}
	return nil
}

// readEvents reads from the oldest to the newest event.
func (v verifier) readEvents(ctx context.Context) (*watcher, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := &watcher{}
	stream, err := v.graph.StreamEvents(ctx, &graphpb.StreamEventsRequest{FromBeginning: true})
	if err != nil {
		return nil, fmt.Errorf("read the events: %w", err)
	}
	header, err := stream.Header()
	if err != nil {
		return nil, fmt.Errorf("read the events: %w", err)
	}
	last := header.Get(lastEventHeader)
	for len(last) > 0 && last[0] != "" && all.last() < last[0] {
		event, err := stream.Recv()
		if err != nil {
			return nil, fmt.Errorf("read the events: %w", err)
		}
		if err := all.take(event); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// expected counts the events of all models, but those of edges, whose ids the server makes.
func (v verifier) expected() map[string]int {
	want := make(map[string]int)
	for _, w := range v.writers {
		for id := range w.model.created {
			want[fmt.Sprint(graphpb.EventType_EVENT_TYPE_NODE_CREATED, " ", id)]++
		}
		for id := range w.model.deleted {
			want[fmt.Sprint(graphpb.EventType_EVENT_TYPE_NODE_DELETED, " ", id)]++
		}
		for id, times := range w.model.updates {
			want[fmt.Sprint(graphpb.EventType_EVENT_TYPE_NODE_UPDATED, " ", id)] += times
		}
		for id := range w.model.opened {
			want[fmt.Sprint(graphpb.EventType_EVENT_TYPE_SESSION_CREATED, " ", id)]++
		}
		for id, times := range w.model.ended {
			want[fmt.Sprint(graphpb.EventType_EVENT_TYPE_SESSION_CLOSED, " ", id)] += times
		}
	}
	return want
}

// about is what an event is about: the type of node, if it is one, and the id.
func about(event *graphpb.Event) (kind, id string, err error) {
	var payload struct {
		NodeID    string `json:"node_id"`
		NodeType  string `json:"node_type"`
		EdgeID    string `json:"edge_id"`
		SessionID string `json:"session_id"`
	}
	if err := json.Unmarshal([]byte(event.GetPayload()), &payload); err != nil {
		return "", "", fmt.Errorf("payload of event %s: %w", event.GetId(), err)
	}
	for _, id := range []string{payload.NodeID, payload.EdgeID, payload.SessionID} {
		if id != "" {
			return payload.NodeType, id, nil
		}
	}
	return "", "", fmt.Errorf("%w: event %s is about nothing", errEvents, event.GetId())
}
