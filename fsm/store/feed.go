package store

import (
	"bytes"
	"fmt"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// An event stands in two rows: in the feed of all tenants with its body, in that of its tenant with what tells whom it
// concerns. The events of edges stand in the rows of the event before them if one command tells both, so that a node and
// its edges are two rows. A row has the key of its first event, and the others have the ordinals after it.
const (
	// maxRowEvents and maxRowBodies bound the events of one row, and the bytes of it that another may still join.
	maxRowEvents = 16
	maxRowBodies = 4 << 10
)

// lowestRow is the lowest key of a row that an event may stand in.
func (k EventKey) lowestRow() EventKey {
	return EventKey{k.Revision, k.Ordinal - min(k.Ordinal, maxRowEvents-1)}
}

// plus is the key of the nth event of a row.
func (k EventKey) plus(n int) EventKey { return EventKey{k.Revision, k.Ordinal + uint32(n)} }

// telling is the rows that the events of the command at hand go into, until they are written.
type telling struct {
	first  EventKey
	tenant graph.Tenant
	events int // 0 for none
	// bodies and index are the values of the two rows.
	bodies, index []byte
}

// takes reports an event that goes into the same rows as the one before it.
func (r *telling) takes(k EventKey, t graph.Tenant, typ pb.EventType, body []byte) bool {
	ofEdge := typ == pb.EventType_EVENT_TYPE_EDGE_CREATED || typ == pb.EventType_EVENT_TYPE_EDGE_DELETED
	return ofEdge && r.events > 0 && r.events < maxRowEvents && len(r.bodies)+len(body) <= maxRowBodies &&
		r.tenant == t && r.first.plus(r.events) == k
}

// PutEvent appends an event to the feed and to that of its tenant. Keys only grow.
func (b *Batch) PutEvent(k EventKey, t graph.Tenant, session graph.Position, typ pb.EventType, body []byte) {
	r := &b.telling
	if !r.takes(k, t, typ, body) {
		b.tell()
		r.first, r.tenant = k, t
		r.bodies, r.index = appendEventsHead(r.bodies[:0], t), append(r.index[:0], rowFormat)
	}
	r.events++
	r.bodies, r.index = appendBytes(r.bodies, body), appendEventIndex(r.index, typ, session)
	b.system.Events++
	b.system.EventRows++
	b.system.LastEvent = k
	b.events = append(b.events, Mark{k, t, session, typ})
}

// tell writes the rows that wait for more events. Whoever reads the feed calls it first.
func (b *Batch) tell() {
	r := &b.telling
	if r.events == 0 {
		return
	}
	r.events = 0
	b.rows.set(b.room.feed(r.first), r.bodies)
	b.rows.set(b.room.tenantFeed(r.tenant, r.first), r.index)
	if cap(r.bodies) > maxScratch {
		r.bodies = nil
	}
}

// feedRow is a row of the feed of all tenants.
type feedRow struct {
	first  EventKey
	tenant graph.Tenant
	bodies [][]byte
}

// findEvent finds the row of an event, and which one of the row it is; false when there is none.
func findEvent(rows reader, k EventKey) (row feedRow, n int, ok bool, err error) {
	row.first = k
	value, ok, err := rows.get(feedKey(k)) // most are the first of their row
	if err == nil && !ok && k.Ordinal > 0 {
		row.first, value, ok, err = rowBefore(rows, k)
	}
	if err != nil || !ok {
		return row, 0, false, at(feedKey(k), err)
	}
	row.tenant, row.bodies, err = decodeEvents(value, nil)
	n = int(k.Ordinal - row.first.Ordinal)
	return row, n, err == nil && n < len(row.bodies), at(feedKey(row.first), err)
}

// rowBefore is the last row before a place, if it may hold the event of that place.
func rowBefore(rows reader, k EventKey) (first EventKey, value []byte, ok bool, err error) {
	c, err := rows.open(keyRange{feedKey(k.lowestRow()), feedKey(k)}, true)
	if err != nil {
		return first, nil, false, err
	}
	defer c.close()
	if !c.first() {
		return first, nil, false, c.err()
	}
	value, err = c.value()
	return parseEventKey(c.key()), bytes.Clone(value), err == nil, err
}

// Event is the body of an event; false when there is none or it was trimmed.
func (b *Batch) Event(k EventKey) ([]byte, bool, error) {
	b.tell()
	row, n, ok, err := findEvent(b.rows, k)
	if err != nil || !ok {
		return nil, false, err
	}
	return row.bodies[n], true, nil
}

// SetEvent replaces the body of an event. It does nothing when the event was trimmed.
func (b *Batch) SetEvent(k EventKey, body []byte) {
	b.tell()
	row, n, ok, err := findEvent(b.rows, k)
	if err != nil {
		panic(fmt.Sprintf("store: change of an event: %v", err))
	}
	if ok {
		row.bodies[n] = body
		b.rows.set(feedKey(row.first), encodeEvents(row.tenant, row.bodies...))
	}
}

// TrimEvents removes the oldest events of revisions below one, at most limit of them.
func (b *Batch) TrimEvents(below graph.Revision, limit int) (removed int, err error) {
	b.tell()
	r := keyRange{lower: extend(feedKey(b.system.Trimmed), 0), upper: feedKey(EventKey{Revision: below})}
	if string(r.lower) >= string(r.upper) {
		return 0, nil
	}
	c, err := b.rows.open(r, false)
	if err != nil {
		return 0, fmt.Errorf("trim of events: %w", err)
	}
	defer c.close()
	for ok := removed < limit && c.first(); ok; ok = removed < limit && c.next() {
		n, err := b.trimRow(c, limit-removed)
		if err != nil {
			return removed, err
		}
		removed += n
	}
	return removed, c.err()
}

// trimRow removes the first events of the row under a cursor, at most limit of them. What is left becomes a row of its own.
func (b *Batch) trimRow(c cursor, limit int) (removed int, err error) {
	row := feedRow{first: parseEventKey(c.key())}
	value, err := c.value()
	if err == nil {
		row.tenant, row.bodies, err = decodeEvents(value, nil)
	}
	if err != nil {
		return 0, at(c.key(), err)
	}
	index := tenantFeedKey(row.tenant, row.first)
	if removed = min(limit, len(row.bodies)); removed < len(row.bodies) {
		events, err := b.indexed(row, index)
		if err != nil {
			return 0, err
		}
		rest := row.first.plus(removed)
		b.rows.set(feedKey(rest), encodeEvents(row.tenant, row.bodies[removed:]...))
		b.rows.set(tenantFeedKey(row.tenant, rest), encodeEventIndex(events[removed:]...))
	}
	b.rows.remove(feedKey(row.first))
	b.rows.remove(index)
	b.system.EventRows -= uint64(removed)
	b.system.Trimmed = row.first.plus(removed - 1)
	return removed, nil
}

// indexed is what the feed of the tenant has of a row, under its key there.
func (b *Batch) indexed(row feedRow, key []byte) ([]EventRow, error) {
	value, ok, err := b.rows.get(key)
	if err != nil {
		return nil, at(key, err)
	}
	events, err := decodeEventIndex(row.first, value, nil)
	if !ok || err == nil && len(events) != len(row.bodies) {
		return nil, damaged(key, fmt.Sprintf("tells of %d events, the feed of all of %d", len(events), len(row.bodies)))
	}
	return events, at(key, err)
}
