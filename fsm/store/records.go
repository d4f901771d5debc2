package store

import (
	"encoding/binary"
	"fmt"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
)

// DigestFormat numbers what System.Digest is computed of: raise it when the keys or values of covered rows change, and a digest
// that came with records of another format is not held against theirs. A store goes on with the digest that it has, and members whose digests
// differ go into quarantine for good (package cluster): whoever raises it must see that all make theirs anew at the same log entry.
const DigestFormat = 1

// Records calls fn with the state as records, which do not depend on how rows are laid out, until it returns an error. The system
// comes first, without what is of this replica's Raft; then events, outcomes, deletions under way, and of each tenant nodes, edges, states of
// sessions and counters. What follows from those, a [Load] makes anew. A record is valid during the call only.
func (sn *Snapshot) Records(fn func(*logpb.StateRecord) error) error {
	w := &recordWalk{rows: sn.reader(), fn: fn}
	sys := sn.System()
	w.record.Record = &logpb.StateRecord_System{System: sys.record()}
	if err := fn(&w.record); err != nil {
		return at(systemKey, err)
	}
	if err := w.events(); err != nil {
		return err
	}
	if err := w.each(keyRange{[]byte{spaceOutcome}, []byte{spaceOutcome + 1}}, w.outcome); err != nil {
		return err
	}
	if err := w.each(keyRange{[]byte{spaceDoomed}, []byte{spaceDoomed + 1}}, w.deletion); err != nil {
		return err
	}
	return eachTenant(w.rows, func(t graph.Tenant) error {
		for _, part := range []struct {
			kind byte
			fn   func(t graph.Tenant, key, value []byte) error
		}{{kindNode, w.node}, {kindEdge, w.edge}, {kindState, w.session}, {kindCounter, w.counter}, {kindInvocations, w.invocations}} {
			err := w.each(prefixRange(tenantKey(t, part.kind, 0)), func(key, value []byte) error { return part.fn(t, key, value) })
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// eachTenant calls fn with each tenant that has data, in order.
func eachTenant(rows reader, fn func(graph.Tenant) error) error {
	c, err := rows.open(prefixRange([]byte{spaceTenant}), false)
	if err != nil {
		return err
	}
	defer c.close()
	for ok := c.first(); ok; {
		key := c.key()
		if len(key) < tenantPrefixBytes {
			return damaged(key, "is no key of this store")
		}
		t := graph.Tenant(binary.BigEndian.Uint32(key[1:]))
		if err := fn(t); err != nil {
			return err
		}
		if t == 1<<32-1 {
			break
		}
		ok = c.seek(tenantKey(t+1, 0, 0))
	}
	return c.err()
}

// recordWalk makes records of rows, in memory that it uses again.
type recordWalk struct {
	rows   reader
	fn     func(*logpb.StateRecord) error
	record logpb.StateRecord
}

func (w *recordWalk) each(r keyRange, fn func(key, value []byte) error) error {
	return scan(w.rows, r, func(key, value []byte) (bool, error) { return true, fn(key, value) })
}

// place is the position at the end of a key.
func place(key []byte) (uint64, error) {
	if len(key) != positionKeyBytes {
		return 0, errNoKey
	}
	return binary.BigEndian.Uint64(key[tenantPrefixBytes:]), nil
}

var errNoKey = fmt.Errorf("is no key of this store: %w", ErrDamaged)

func (s *System) record() *logpb.StateSystem {
	digest := make([]byte, 0, 32)
	for i := len(s.Digest) - 1; i >= 0; i-- {
		digest = be64(digest, s.Digest[i])
	}
	return &logpb.StateSystem{
		Applied: s.Applied, Base: s.Base, Lineage: s.Lineage, ClusterId: s.ClusterID, Key: s.Key[:], FeatureLevel: s.FeatureLevel,
		Instant: s.Instant, Position: s.Position, Commands: s.Commands, Digest: digest, DigestFormat: DigestFormat, Chain: s.Chain[:],
		Events: s.Events, EventRows: s.EventRows, LastEvent: s.LastEvent.record(), Trimmed: s.Trimmed.record(),
	}
}

func (k EventKey) record() *logpb.StateEventKey {
	return &logpb.StateEventKey{Revision: uint64(k.Revision), Ordinal: k.Ordinal}
}

// events walks both feeds side by side.
func (w *recordWalk) events() error {
	c, err := w.rows.open(prefixRange([]byte{spaceTenantFeed}), false)
	if err != nil {
		return err
	}
	defer c.close()
	index, e := feedCursor{cursor: c}, &logpb.StateEvents{}
	w.record.Record = &logpb.StateRecord_Events{Events: e}
	var bodies [][]byte
	var marks []EventRow
	return w.each(prefixRange([]byte{spaceFeed}), func(key, value []byte) error {
		if len(key) != feedKeyBytes {
			return errNoKey
		}
		first := parseEventKey(key)
		var t graph.Tenant
		var err error
		if t, bodies, err = decodeEvents(value, bodies[:0]); err != nil {
			return err
		}
		if !index.find(tenantFeedKey(t, first)) {
			if err := c.err(); err != nil {
				return err
			}
			return fmt.Errorf("is not in the feed of its tenant: %w", ErrDamaged)
		}
		value, err = c.value()
		if err == nil {
			marks, err = decodeEventIndex(first, value, marks[:0])
		}
		if err == nil && len(marks) != len(bodies) {
			err = fmt.Errorf("has %d events, the feed of its tenant %d: %w", len(bodies), len(marks), ErrDamaged)
		}
		if err != nil {
			return err
		}
		e.Tenant, e.First, e.Events = uint32(t), first.record(), e.Events[:0]
		for i, body := range bodies {
			e.Events = append(e.Events, &logpb.StateEvent{Type: uint32(marks[i].Type), Session: uint64(marks[i].Session), Event: body})
		}
		return w.fn(&w.record)
	})
}

func (w *recordWalk) outcome(key, value []byte) error {
	expires, body, err := decodeOutcome(value)
	if err == nil && len(key) != outcomeKeyBytes {
		err = errNoKey
	}
	if err != nil {
		return err
	}
	w.record.Record = &logpb.StateRecord_Outcome{Outcome: &logpb.StateOutcome{
		Tenant: binary.BigEndian.Uint32(key[1:]), RequestId: key[outcomePrefixBytes:], Expires: expires, Outcome: body,
	}}
	return w.fn(&w.record)
}

func (w *recordWalk) deletion(key, value []byte) error {
	d, err := decodeDoomed(value)
	if err == nil && len(key) != doomedBytes {
		err = errNoKey
	}
	if err != nil {
		return err
	}
	w.record.Record = &logpb.StateRecord_Deletion{Deletion: &logpb.StateDeletion{
		Tenant: binary.BigEndian.Uint32(key[1:]), Sequence: binary.BigEndian.Uint64(key[5:]), Session: d.Session, Position: uint64(d.Position),
		Phase: uint32(d.Phase), ReachedTime: d.Reached.Time, ReachedPosition: uint64(d.Reached.Position),
	}}
	return w.fn(&w.record)
}

func (w *recordWalk) node(t graph.Tenant, key, value []byte) error {
	position, err := place(key)
	if err != nil {
		return err
	}
	r, _, err := decodeNode(value, graph.Position(position))
	if err != nil {
		return err
	}
	w.record.Record = &logpb.StateRecord_Node{Node: &logpb.StateNode{
		Tenant: uint32(t), Position: position, Created: uint64(r.Created), Modified: uint64(r.Modified), Ordinal: r.Ordinal,
		Session: uint64(r.Session), Node: r.Wire,
	}}
	return w.fn(&w.record)
}

func (w *recordWalk) edge(t graph.Tenant, key, value []byte) error {
	position, err := place(key)
	if err != nil {
		return err
	}
	r, err := decodeEdge(value, graph.Position(position))
	if err != nil {
		return err
	}
	w.record.Record = &logpb.StateRecord_Edge{Edge: &logpb.StateEdge{
		Tenant: uint32(t), Position: position, Created: uint64(r.Created), Modified: uint64(r.Modified), Automatic: r.Automatic,
		From: uint64(r.From), To: uint64(r.To), FromSession: uint64(r.FromSession), ToSession: uint64(r.ToSession), Edge: r.Wire,
	}}
	return w.fn(&w.record)
}

func (w *recordWalk) session(t graph.Tenant, key, value []byte) error {
	position, err := place(key)
	if err != nil {
		return err
	}
	r, err := decodeState(value, graph.Position(position))
	if err != nil {
		return err
	}
	w.record.Record = &logpb.StateRecord_Session{Session: &logpb.StateSession{
		Tenant: uint32(t), Position: position, State: uint32(r.State), Updated: r.Updated, Tail: uint64(r.Tail),
	}}
	return w.fn(&w.record)
}

func (w *recordWalk) counter(t graph.Tenant, key, value []byte) error {
	n, err := decodeNumber(value)
	if err != nil {
		return err
	}
	c := &logpb.StateCounter{Tenant: uint32(t), Count: n}
	p := parser{b: key[tenantPrefixBytes:]}
	kind := p.take(1)
	if p.err == nil {
		c.Kind = logpb.StateCounter_Kind(kind[0])
		session, other, typed := counterParts(c.Kind)
		if session {
			c.Session = p.be64()
		}
		if other {
			c.Other = p.be64()
		}
		if typed && p.err == nil {
			if typ := p.take(1); typ != nil {
				c.Type = uint32(typ[0])
			}
		}
	}
	if p.end(); p.err != nil {
		return p.err
	}
	w.record.Record = &logpb.StateRecord_Counter{Counter: c}
	return w.fn(&w.record)
}

// counterParts says what the key of a counter has besides its kind.
func counterParts(k logpb.StateCounter_Kind) (session, other, typed bool) {
	switch byte(k) {
	case countNodes:
		return false, false, true
	case countMembers:
		return true, false, true
	case countTouching:
		return true, false, false
	case countBetween:
		return true, true, false
	default:
		return false, false, false
	}
}

func (w *recordWalk) invocations(t graph.Tenant, key, value []byte) error {
	position, err := place(key)
	if err != nil {
		return err
	}
	n, err := decodeNumber(value)
	if err != nil {
		return err
	}
	w.record.Record = &logpb.StateRecord_Invocations{Invocations: &logpb.StateInvocations{Tenant: uint32(t), Position: position, Next: n}}
	return w.fn(&w.record)
}
