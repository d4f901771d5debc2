package store

import (
	"fmt"
	"iter"
	"sync"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Snapshot is the state of all tenants after one batch. It never changes. Several goroutines may use it; each needs a
// View of its own. Close it: rows that it alone can see take up space.
type Snapshot struct {
	state *state
	err   error // why it could not be made; every read returns it
	once  sync.Once
}

// Snapshot takes the state after the last commit. It does not wait for a batch.
func (s *Store) Snapshot() *Snapshot {
	st, err := s.share()
	if err != nil {
		return &Snapshot{err: fmt.Errorf("snapshot: %w", err)}
	}
	return &Snapshot{state: st}
}

// Close frees the snapshot. Its views must not be used any more.
func (sn *Snapshot) Close() {
	sn.once.Do(func() {
		if sn.state != nil {
			sn.state.release()
		}
	})
}

// Err is why the snapshot could not be made; nil for a good one. Every read of a bad one returns it too.
func (sn *Snapshot) Err() error { return sn.err }

// System is as of the snapshot; that of a bad one is empty.
func (sn *Snapshot) System() System {
	if sn.state == nil {
		return System{}
	}
	return sn.state.system
}

func (sn *Snapshot) reader() reader {
	if sn.err != nil {
		return brokenReader{sn.err}
	}
	return sn.state.rows
}

// View reads the graph of a tenant.
func (sn *Snapshot) View(t graph.Tenant) *View {
	return &View{rows: sn.reader(), tenant: t, hidden: func() (*hidden, error) {
		if sn.err != nil {
			return nil, sn.err
		}
		return sn.state.hiddenOf(t)
	}}
}

// WalkRows calls fn with every key and value of the store, in order, until it returns an error, which is returned with
// the key. Both are valid during the call only.
func (sn *Snapshot) WalkRows(fn func(key, value []byte) error) error {
	return scan(sn.reader(), keyRange{lower: []byte{0}, upper: []byte{0xff}}, func(key, value []byte) (bool, error) {
		return true, fn(key, value)
	})
}

// Digest computes System.Digest anew from every covered row.
func (sn *Snapshot) Digest() (digest [4]uint64, err error) {
	err = sn.WalkRows(func(key, value []byte) error {
		if !covered(key) {
			return nil
		}
		h, err := rowHash(key, value)
		digest = add(digest, h)
		return err
	})
	return digest, err
}

// EventRow is an event of a tenant's feed.
type EventRow struct {
	Key  EventKey
	Type pb.EventType
	// Session is of the node it is about, 0 for none.
	Session graph.Position
	Body    []byte
}

// Events yields the events of a tenant, oldest first, strictly after a key. With a session the bodies of the others are
// not read: a caller can count what it passes.
func (sn *Snapshot) Events(t graph.Tenant, after EventKey, session graph.Position) iter.Seq2[EventRow, error] {
	return func(yield func(EventRow, error) bool) {
		if err := sn.events(t, after, session, func(r EventRow) bool { return yield(r, nil) }); err != nil {
			yield(EventRow{}, err)
		}
	}
}

func (sn *Snapshot) events(t graph.Tenant, after EventKey, session graph.Position, yield func(EventRow) bool) error {
	c, err := sn.reader().open(prefixRange([]byte{spaceFeed}), false)
	if err != nil {
		return err
	}
	defer c.close()
	told := feedCursor{cursor: c}
	r := prefixRange(tenantFeedPrefix(t))
	r.lower = tenantFeedKey(t, after.lowestRow())
	var list []EventRow
	return scan(sn.reader(), r, func(key, value []byte) (bool, error) {
		first := parseEventKey(key)
		if list, err = decodeEventIndex(first, value, list[:0]); err != nil {
			return false, err
		}
		for n, row := range list {
			if !after.Less(row.Key) {
				continue
			}
			if session == 0 || row.Session == session {
				if row.Body, err = told.body(t, first, n); err != nil {
					return false, err
				}
			}
			if !yield(row) {
				return false, nil
			}
		}
		return true, nil
	})
}

// feedCursor finds events in the global feed, in its order: the next one is most often in the same row or the next.
type feedCursor struct {
	cursor cursor
	placed bool
	row    feedRow // under the cursor, once events were read there
}

// find moves the cursor to a key; false when there is no such row.
func (f *feedCursor) find(key []byte) bool {
	f.placed = f.placed && f.cursor.next() && string(f.cursor.key()) <= string(key)
	if !f.placed || string(f.cursor.key()) != string(key) {
		f.placed = f.cursor.seek(key)
	}
	return f.placed && string(f.cursor.key()) == string(key)
}

// body is that of the nth event of a row, which is of a tenant.
func (f *feedCursor) body(t graph.Tenant, first EventKey, n int) ([]byte, error) {
	if f.row.first != first || len(f.row.bodies) == 0 {
		if err := f.read(first); err != nil {
			return nil, err
		}
	}
	switch {
	case f.row.tenant != t:
		return nil, damaged(feedKey(first), fmt.Sprintf("of tenant %d, but in the feed of %d", f.row.tenant, t))
	case n >= len(f.row.bodies):
		return nil, damaged(feedKey(first), fmt.Sprintf("has %d events, more are in the feed of its tenant", len(f.row.bodies)))
	}
	return append([]byte(nil), f.row.bodies[n]...), nil
}

func (f *feedCursor) read(first EventKey) error {
	f.row = feedRow{first: first, bodies: f.row.bodies[:0]}
	key := feedKey(first)
	if !f.find(key) {
		if err := f.cursor.err(); err != nil {
			return at(key, err)
		}
		return damaged(key, "missing, but in the feed of its tenant")
	}
	value, err := f.cursor.value()
	if err == nil {
		f.row.tenant, f.row.bodies, err = decodeEvents(value, f.row.bodies)
	}
	return at(key, err)
}

// FeedRow is an event of the feed of all tenants.
type FeedRow struct {
	Key    EventKey
	Tenant graph.Tenant
	Body   []byte
}

// Feed yields the events of all tenants, oldest first, strictly after a key.
func (sn *Snapshot) Feed(after EventKey) iter.Seq2[FeedRow, error] {
	return func(yield func(FeedRow, error) bool) {
		if err := sn.feed(after, func(r FeedRow) bool { return yield(r, nil) }); err != nil {
			yield(FeedRow{}, err)
		}
	}
}

func (sn *Snapshot) feed(after EventKey, yield func(FeedRow) bool) error {
	r := keyRange{feedKey(after.lowestRow()), []byte{spaceFeed + 1}}
	var bodies [][]byte
	return scan(sn.reader(), r, func(key, value []byte) (bool, error) {
		t, list, err := decodeEvents(value, bodies[:0])
		if err != nil {
			return false, err
		}
		bodies = list
		first := parseEventKey(key)
		for n, body := range list {
			row := FeedRow{Key: first.plus(n), Tenant: t, Body: append([]byte(nil), body...)}
			if after.Less(row.Key) && !yield(row) {
				return false, nil
			}
		}
		return true, nil
	})
}

// Outcome is the body of an exactly-once row, whether it has expired or not.
func (sn *Snapshot) Outcome(t graph.Tenant, id [16]byte) (body []byte, ok bool, err error) {
	return readOutcome(sn.reader(), t, id)
}

// DoomedTenant is a tenant that has a deletion with rows still to be swept, the lowest.
func (sn *Snapshot) DoomedTenant() (graph.Tenant, bool, error) {
	c, err := sn.reader().open(prefixRange([]byte{spaceDoomed}), false)
	if err != nil {
		return 0, false, err
	}
	defer c.close()
	if !c.first() {
		return 0, false, c.err()
	}
	p := parser{b: c.key()[1:]}
	return graph.Tenant(p.be32()), p.err == nil, p.err
}

// FirstEvent is the oldest retained event of a tenant.
func (sn *Snapshot) FirstEvent(t graph.Tenant) (EventKey, bool, error) { return sn.endEvent(t, false) }

// LastEvent is the newest event of a tenant.
func (sn *Snapshot) LastEvent(t graph.Tenant) (EventKey, bool, error) { return sn.endEvent(t, true) }

func (sn *Snapshot) endEvent(t graph.Tenant, newest bool) (EventKey, bool, error) {
	c, err := sn.reader().open(prefixRange(tenantFeedPrefix(t)), newest)
	if err != nil {
		return EventKey{}, false, err
	}
	defer c.close()
	if !c.first() {
		return EventKey{}, false, c.err()
	}
	first := parseEventKey(c.key())
	if !newest {
		return first, true, nil
	}
	value, err := c.value()
	if err != nil {
		return EventKey{}, false, at(c.key(), err)
	}
	events, err := decodeEventIndex(first, value, nil)
	return events[len(events)-1].Key, err == nil, at(c.key(), err)
}

func damaged(key []byte, what string) error {
	return fmt.Errorf("%s: %s: %w", Describe(key), what, ErrDamaged)
}

// brokenReader answers everything with an error.
type brokenReader struct{ err error }

func (b brokenReader) get([]byte) ([]byte, bool, error)    { return nil, false, b.err }
func (b brokenReader) open(keyRange, bool) (cursor, error) { return nil, b.err }
