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
	if p := probe(snap.System()); p != nil {
		return EncodeCommand(p)
	}
	trim, err := trim(snap, r)
	if err != nil || trim.Limit == 0 {
		return nil, err
	}
	return EncodeCommand(&logpb.Command{Operation: &logpb.Command_TrimEvents{TrimEvents: trim}})
}

// trim decides by the oldest events alone: up to trimRows of them that are over count or age go, and not one more.
func trim(snap *store.Snapshot, r Retention) (*logpb.TrimEvents, error) {
	t, sys := &logpb.TrimEvents{}, snap.System()
	over := uint64(0)
	if r.Count > 0 && sys.EventRows > r.Count {
		over = sys.EventRows - r.Count
	}
	if over == 0 && r.Age == 0 {
		return t, nil
	}
	for row, err := range snap.Feed(sys.Trimmed) { // before that there are only the remains of rows, and those in millions
		if err != nil {
			return t, err
		}
		if uint64(t.Limit) >= over {
			old, err := older(row, sys.Instant, r.Age)
			if err != nil || !old {
				return t, err
			}
		}
		t.Limit++
		t.BelowRevision = uint64(row.Key.Revision) + 1
		if t.Limit == trimRows {
			break
		}
	}
	return t, nil
}

// older tells whether an event is past its age; 0 is no age.
func older(row store.FeedRow, now int64, age time.Duration) (bool, error) {
	if age == 0 {
		return false, nil
	}
	var e logpb.StoredEvent
	if err := proto.Unmarshal(row.Body, &e); err != nil {
		return false, fmt.Errorf("event %v: %w", row.Key, err)
	}
	return e.Instant < now-int64(age), nil
}
