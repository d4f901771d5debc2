package rpc

import (
	"fmt"
	"math"
	"regexp"
	"strconv"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

const afterField = "after_event_id"

// eventID is `<lineage 8 hex>-<revision 16 hex>-<ordinal 8 hex>`: it sorts as text within a lineage (D5).
func eventID(lineage uint32, k store.EventKey) string {
	return fmt.Sprintf("%08x-%016x-%08x", lineage, uint64(k.Revision), k.Ordinal)
}

var eventIDShape = regexp.MustCompile(`^([0-9a-f]{8})-([0-9a-f]{16})-([0-9a-f]{8})$`)

// parseEventID reads the id of an event of this lineage.
func parseEventID(id string, lineage uint32) (store.EventKey, error) {
	parts := eventIDShape.FindStringSubmatch(id)
	if parts == nil {
		return store.EventKey{}, graph.Invalidf(afterField, "%q is no id of an event", clip(id, maxFieldBytes))
	}
	var n [3]uint64
	for i := range n {
		v, err := strconv.ParseUint(parts[i+1], 16, 64)
		if err != nil {
			return store.EventKey{}, graph.Invalidf(afterField, "%q is no id of an event", id)
		}
		n[i] = v
	}
	if uint32(n[0]) != lineage {
		return store.EventKey{}, lineageChanged(afterField, uint32(n[0]), lineage)
	}
	return store.EventKey{Revision: graph.Revision(n[1]), Ordinal: uint32(n[2])}, nil
}

// endOf is the place after all events of a revision.
func endOf(r graph.Revision) store.EventKey {
	return store.EventKey{Revision: r, Ordinal: math.MaxUint32}
}

// before is the place right before an event.
func before(k store.EventKey) store.EventKey {
	if k.Ordinal > 0 {
		return store.EventKey{Revision: k.Revision, Ordinal: k.Ordinal - 1}
	}
	return endOf(k.Revision - 1)
}

// noSuchEventYet refuses to resume after an event that has not happened.
func noSuchEventYet(id string, last graph.Revision) error {
	return &graph.Error{Kind: graph.OutOfRange, Field: afterField, Reason: "EVENT_NOT_YET",
		Message: fmt.Sprintf("%s: %s does not exist yet: the graph is at revision %d", afterField, id, last)}
}

// trimmedEvents refuses to resume where events are missing, and names the oldest one that is still there.
func trimmedEvents(oldest string) error {
	message := "events after the given one are no longer retained"
	if oldest != "" {
		message += "; the oldest is " + oldest
	}
	return &notedError{
		err:   &graph.Error{Kind: graph.OutOfRange, Field: afterField, Reason: "EVENTS_TRIMMED", Message: message},
		notes: map[string]string{"oldest_event_id": oldest},
	}
}
