package fsm

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
)

// Retention says how long events are kept. The zero value keeps them for ever.
type Retention struct {
	// Count is how many events to keep at the most; 0 is no bound.
	Count uint64
	// Age is how long to keep them by the instants of the log; 0 is no bound.
	Age time.Duration
}

// trimRows is how many events one command trims at the most.
const trimRows = 1000

// Chore returns the command that the leader should propose next to keep the state in order, nil when nothing is due: to
// sweep the rows of a committed deletion, or to trim events past their retention.
func (m *Machine) Chore(r Retention) ([]byte, error) {
	snap := m.store.Snapshot()
	defer snap.Close()
	tenant, ok, err := snap.DoomedTenant()
	if err != nil {
		return nil, err
	}
	if ok {
		return EncodeCommand(&logpb.Command{Tenant: uint32(tenant), Operation: &logpb.Command_Sweep{
			Sweep: &logpb.Sweep{Limit: graph.SweepRows},
		}})
	}
	below, due, err := trimBelow(snap, r)
	if err != nil || !due {
		return nil, err
	}
	return EncodeCommand(&logpb.Command{Operation: &logpb.Command_TrimEvents{
		TrimEvents: &logpb.TrimEvents{BelowRevision: uint64(below), Limit: trimRows},
	}})
}

// trimBelow decides by the oldest events alone: when they are over count or age, the next trimRows of them that are, go.
func trimBelow(snap *store.Snapshot, r Retention) (below graph.Revision, due bool, err error) {
	sys := snap.System()
	over := uint64(0)
	if r.Count > 0 && sys.EventRows > r.Count {
		over = sys.EventRows - r.Count
	}
	oldest := int64(0)
	if r.Age > 0 {
		oldest = sys.Instant - int64(r.Age)
	}
	seen := uint64(0)
	for row, err := range snap.Feed(store.EventKey{}) {
		if err != nil {
			return 0, false, err
		}
		aged := false
		if seen >= over && r.Age > 0 {
			var e logpb.StoredEvent
			if err := proto.Unmarshal(row.Body, &e); err != nil {
				return 0, false, fmt.Errorf("event %v: %w", row.Key, err)
			}
			aged = e.Instant < oldest
		}
		if seen++; (seen > over && !aged) || seen > trimRows {
			break
		}
		below, due = row.Key.Revision+1, true
	}
	return below, due, nil
}
