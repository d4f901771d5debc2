package store

import (
	"errors"
	"fmt"
	"slices"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// Batch is the effects of one or more log entries on their way into the store. Its writes are seen by its own reads only,
// until Commit. One goroutine uses it, and only one is open at a time. It panics when the rows cannot be read for a
// write: a replica that skips one diverges.
type Batch struct {
	store   *Store
	gen     *generation
	live    snapshot
	system  System
	expiry  []byte // Store.expiry as of this batch
	marked  System
	from    []byte // expiry at the mark
	highest uint64 // position below which rows may exist in the store
	known   map[graph.Tenant]*hidden
	events  []Mark // those of this batch
	kept    int    // how many of them were there at the mark
	txs     map[graph.Tenant]*Tx
	stored  bool
	*desk
}

// desk is memory that goes from one batch to the next.
type desk struct {
	rows    *overlay
	telling telling
	room    scratch
}

// Begin opens a batch. It panics when one is open already or the store is closed.
func (s *Store) Begin() *Batch {
	g, err := s.acquire()
	if err != nil {
		panic(fmt.Sprintf("store: batch: %v", err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing {
		panic("store: a batch is open")
	}
	s.writing = true
	d := s.desk
	s.desk = nil
	if d == nil {
		d = &desk{rows: newOverlay()}
	}
	live := latestRows{g.engine.live(), g.warm}
	d.rows.base = live
	return &Batch{
		store: s, gen: g, live: live, desk: d, system: s.system, marked: s.system,
		expiry: s.expiry, from: s.expiry, highest: s.system.Position, known: g.warm.hidden(), txs: map[graph.Tenant]*Tx{},
	}
}

// System is the batch's own copy, to be changed by its user and stored by Commit.
func (b *Batch) System() *System { return &b.system }

// Mark sets the point that Revert goes back to. The start of the batch is one.
func (b *Batch) Mark() {
	b.tell()
	b.rows.mark()
	b.marked, b.from, b.kept = b.system, b.expiry, len(b.events)
}

// Revert undoes everything since the last Mark, rows and System.
func (b *Batch) Revert() {
	b.rows.revert()
	b.system, b.expiry, b.events = b.marked, b.from, b.events[:b.kept]
	b.telling.events = 0
	clear(b.known)
}

// Commit stores the batch as a whole with its System. It is not synced: Flush does that. The batch must not be used again.
func (b *Batch) Commit() error {
	defer b.Discard()
	if b.gen == nil {
		return errors.New("commit: the batch is over")
	}
	b.tell()
	digest := b.system.Digest
	writes := b.rows.all()
	for _, w := range writes {
		if !covered(w.key) {
			continue
		}
		err := b.learn(w)
		if err == nil {
			digest, err = digestChange(digest, w)
		}
		if err != nil {
			return fmt.Errorf("commit: %w", err)
		}
	}
	b.system.Digest = digest
	writes = append(writes, &write{key: systemKey, value: b.system.encode()})
	if err := b.gen.engine.apply(slices.Values(writes)); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	for _, w := range writes {
		b.gen.warm.wrote(w)
	}
	b.stored = true
	b.store.mu.Lock()
	b.store.system, b.store.expiry = b.system, b.expiry
	passed := b.store.passedLocked()
	b.store.mu.Unlock()
	b.store.recent.add(b.events, b.system.revision())
	passed.release()
	return nil
}

// learn reads the value that a write replaces. A node or an edge at a position that this batch handed out replaces none.
func (b *Batch) learn(w *write) error {
	if w.known {
		return nil
	}
	w.known = true
	if kind := w.key[tenantPrefixBytes-1]; w.key[0] == spaceTenant && (kind == kindNode || kind == kindEdge) {
		p := parser{b: w.key[tenantPrefixBytes:]}
		if p.be64() > b.highest {
			return nil
		}
	}
	v, _, err := b.live.get(w.key)
	w.before = v
	return at(w.key, err)
}

// Discard gives the batch up. After Commit it does nothing.
func (b *Batch) Discard() {
	if b.gen == nil {
		return
	}
	if err := b.live.close(); err != nil {
		b.store.o.report(fmt.Errorf("close of a batch: %w", err))
	}
	if !b.stored {
		clear(b.known)
	}
	b.telling.events = 0
	b.rows.rest()
	g := b.gen
	b.gen = nil
	b.store.mu.Lock()
	b.store.writing, b.store.desk = false, b.desk
	b.store.mu.Unlock()
	b.store.release(g)
}

// Tx reads and changes the graph of a tenant.
func (b *Batch) Tx(t graph.Tenant) *Tx {
	x := b.txs[t]
	if x == nil {
		hide := func() (*hidden, error) { return b.hidden(t) }
		x = &Tx{View: View{rows: b.rows, tenant: t, hidden: hide}, batch: b}
		b.txs[t] = x
	}
	return x
}

func (b *Batch) hidden(t graph.Tenant) (*hidden, error) {
	if h := b.known[t]; h != nil {
		return h, nil
	}
	h, err := loadHidden(b.rows, t)
	if err == nil {
		b.known[t] = h
	}
	return h, err
}

// replace writes a row and returns what was there, nil for nothing.
func (b *Batch) replace(key, value []byte) (before []byte) {
	before, w := b.before(key)
	b.rows.change(w, b.rows.copy(value), false)
	return before
}

// take removes a row and returns what was there, nil for nothing.
func (b *Batch) take(key []byte) (before []byte) {
	before, w := b.before(key)
	b.rows.change(w, nil, true)
	return before
}

func (b *Batch) before(key []byte) ([]byte, *write) {
	before, w, err := b.rows.before(key)
	if err != nil {
		panic(fmt.Sprintf("store: write of %s: %v", Describe(key), err))
	}
	return before, w
}

// change adds to a counter. One that reaches 0 goes.
func (b *Batch) change(key []byte, by int64) {
	before, w := b.before(key)
	var n uint64
	var err error
	if before != nil {
		n, err = decodeNumber(before)
	}
	if err == nil && int64(n)+by < 0 {
		err = ErrDamaged
	}
	if err != nil {
		panic(fmt.Sprintf("store: change of %s by %d: %v", Describe(key), by, err))
	}
	if n = uint64(int64(n) + by); n == 0 {
		b.rows.change(w, nil, true)
	} else {
		b.rows.change(w, b.rows.copy(appendNumber(b.room.value, n)), false)
	}
}

// Outcome is the body of an exactly-once row, whether it has expired or not.
func (b *Batch) Outcome(t graph.Tenant, id [16]byte) (body []byte, ok bool, err error) {
	return readOutcome(b.rows, t, id)
}

func readOutcome(rows reader, t graph.Tenant, id [16]byte) (body []byte, ok bool, err error) {
	key := outcomeKey(t, id)
	v, ok, err := rows.get(key)
	if err != nil || !ok {
		return nil, false, at(key, err)
	}
	_, body, err = decodeOutcome(v)
	return body, err == nil, at(key, err)
}

// PutOutcome stores an exactly-once row, in place of an older one of that id. expires is Unix nanoseconds.
func (b *Batch) PutOutcome(t graph.Tenant, id [16]byte, expires int64, body []byte) {
	key := b.room.outcome(t, id)
	before := b.replace(key, b.room.keeps(appendOutcome(b.room.value, expires, body)))
	if before == nil {
		b.change(counterKey(t, countOutcomes, 0), 1)
	} else {
		old, _, err := decodeOutcome(before)
		if err != nil {
			panic(fmt.Sprintf("store: write of %v", at(key, err)))
		}
		b.rows.remove(expiryKey(old, t, id))
	}
	row := b.room.expiry(expires, t, id)
	b.rows.set(row, nil)
	if string(row) < string(b.expiry) {
		b.expiry = append([]byte(nil), row...)
	}
}

// ExpireOutcomes removes rows that expired at or before an instant, oldest first, at most limit, of any tenant.
func (b *Batch) ExpireOutcomes(now int64, limit int) (removed int, err error) {
	all := keyRange{lower: later([]byte{spaceExpiry}, b.expiry), upper: []byte{spaceExpiry + 1}}
	live := all.upper
	if now < 1<<63-1 {
		live = expiryKey(now+1, 0, [16]byte{})
	}
	if limit <= 0 || string(all.lower) >= string(live) {
		return 0, nil
	}
	c, err := b.rows.open(all, false)
	if err != nil {
		return 0, fmt.Errorf("expiry of outcomes: %w", err)
	}
	defer c.close()
	due := make([][]byte, 0, limit+1)
	for ok := c.first(); ok && len(due) <= limit; ok = c.next() {
		due = append(due, append([]byte(nil), c.key()...))
		if string(c.key()) >= string(live) {
			break
		}
	}
	if err := c.err(); err != nil {
		return 0, fmt.Errorf("expiry of outcomes: %w", err)
	}
	for _, key := range due {
		b.expiry = key
		if removed == limit || string(key) >= string(live) {
			return removed, nil
		}
		p := parser{b: key[9:]}
		t, id := graph.Tenant(p.be32()), [16]byte(p.rest())
		b.rows.remove(key)
		b.take(outcomeKey(t, id))
		b.change(counterKey(t, countOutcomes, 0), -1)
		removed++
	}
	b.expiry = all.upper
	return removed, nil
}

// CountOutcomes is how many exactly-once rows a tenant has, expired ones that were not swept yet included.
func (b *Batch) CountOutcomes(t graph.Tenant) (int64, error) {
	return b.Tx(t).counter(counterKey(t, countOutcomes, 0))
}
