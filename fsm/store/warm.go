package store

import (
	"bytes"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// warm is what the writer of a generation knows of its rows without reading them. Sessions that are written in are
// written in again, and new ids lie behind all others: so most commands need no row from the engine.
type warm struct {
	// young and old are rows that were read or written lately; nil is no row. When young is full it becomes old.
	young, old map[warmKey][]byte
	bytes      int // of young
	// chunk is what values are copied to.
	chunk []byte
	// ends are keys above which there are no others with the prefix.
	ends map[string][]byte
	// gone is what deletions hide of a tenant, as of the last commit.
	gone map[graph.Tenant]*hidden
}

const (
	// warmBytes bounds the rows of each half, warmRowBytes one of them; warmEnds bounds the prefixes.
	warmBytes    = 4 << 20
	warmRowBytes = 4 << 10
	warmEnds     = 1 << 10
	// warmTenants bounds the tenants of which it is known what is hidden.
	warmTenants = 1 << 10
	// warmOverhead is what a row costs beside its bytes, roughly; warmChunk is how much memory for them is made at a time.
	warmOverhead = 64
	warmChunk    = 64 << 10
)

// warmKey is a key of a row that is kept, without memory of its own. Longer keys are of ids that are not UUIDs.
type warmKey struct {
	length byte
	bytes  [tenantPrefixBytes + 1 + 16]byte
}

func warmKeyOf(key []byte) (k warmKey, ok bool) {
	k.length = byte(copy(k.bytes[:], key))
	return k, len(key) <= len(k.bytes)
}

func newWarm() *warm {
	return &warm{young: map[warmKey][]byte{}, old: map[warmKey][]byte{}, ends: map[string][]byte{}, gone: map[graph.Tenant]*hidden{}}
}

// hidden is what is known of deletions. Whoever takes it keeps it true: a batch that is not stored leaves nothing in it.
func (r *warm) hidden() map[graph.Tenant]*hidden {
	if len(r.gone) > warmTenants {
		clear(r.gone)
	}
	return r.gone
}

// row is what is known of a key.
func (r *warm) row(key []byte) (value []byte, known bool) {
	k, ok := warmKeyOf(key)
	if !ok {
		return nil, false
	}
	if v, ok := r.young[k]; ok {
		return v, true
	}
	if v, ok := r.old[k]; ok {
		r.keep(key, v)
		return v, true
	}
	return nil, false
}

// keep notes a row, or that there is none.
func (r *warm) keep(key, value []byte) {
	k, ok := warmKeyOf(key)
	if !ok || len(value) > warmRowBytes {
		r.forget(key)
		return
	}
	if r.bytes > warmBytes {
		r.young, r.old = r.old, r.young
		clear(r.young)
		r.bytes = 0
	}
	if value != nil {
		value = r.copy(value)
	}
	r.young[k] = value
	r.bytes += len(key) + len(value) + warmOverhead
}

// copy is a value in memory of ours, not nil.
func (r *warm) copy(value []byte) []byte {
	if len(r.chunk)+len(value) > cap(r.chunk) {
		r.chunk = make([]byte, 0, warmChunk)
	}
	start := len(r.chunk)
	r.chunk = append(r.chunk, value...)
	return r.chunk[start:len(r.chunk):len(r.chunk)]
}

func (r *warm) forget(key []byte) {
	if k, ok := warmKeyOf(key); ok {
		delete(r.young, k)
		delete(r.old, k)
	}
}

// keeps reports the rows that are kept when they are read, and those that are kept when they are written too.
func (*warm) keeps(key []byte) (read, written bool) {
	switch class(key) {
	case spaceTenant + kindNode, spaceTenant + kindState, spaceTenant + kindCounter, spaceTenant + kindInvocations:
		return true, true
	case spaceTenant + kindNodeID:
		return true, false
	default:
		return false, false
	}
}

// wrote follows a write that was committed.
func (r *warm) wrote(w *write) {
	switch read, written := r.keeps(w.key); {
	case written:
		if k, ok := warmKeyOf(w.key); ok {
			delete(r.old, k)
		}
		r.keep(w.key, w.value)
	case read:
		r.forget(w.key)
	}
	if n := growing(w.key); n > 0 && !w.deleted {
		if end, ok := r.ends[string(w.key[:n])]; ok && bytes.Compare(w.key, end) > 0 {
			r.ends[string(w.key[:n])] = bytes.Clone(w.key)
		}
	}
}

// growing is the length of the prefix of keys that come roughly in their order, 0 for others: ids that are UUIDs (those
// that this server makes begin with the time), and minted request ids.
func growing(key []byte) int {
	switch class(key) {
	case spaceTenant + kindNodeID, spaceTenant + kindEdgeID:
		if key[tenantPrefixBytes] == idUUID {
			return tenantPrefixBytes + 1
		}
	case spaceOutcome:
		if key[outcomePrefixBytes] == 0 {
			return outcomePrefixBytes + 1
		}
	}
	return 0
}

// latestRows reads the present state of a generation for its writer.
type latestRows struct {
	snapshot
	known *warm
}

func (l latestRows) get(key []byte) ([]byte, bool, error) {
	if read, _ := l.known.keeps(key); read {
		if v, ok := l.known.row(key); ok {
			return v, v != nil, nil
		}
	}
	if n := growing(key); n > 0 {
		end, err := l.end(key[:n])
		if err != nil || bytes.Compare(key, end) > 0 {
			return nil, false, err
		}
	}
	v, ok, err := l.snapshot.get(key)
	if read, _ := l.known.keeps(key); ok && read {
		l.known.keep(key, v)
	}
	return v, ok, err
}

// end is a key above which there is no other with the prefix; the prefix itself when there is none at all.
func (l latestRows) end(prefix []byte) ([]byte, error) {
	if end, ok := l.known.ends[string(prefix)]; ok {
		return end, nil
	}
	c, err := l.open(prefixRange(prefix), true)
	if err != nil {
		return nil, err
	}
	defer c.close()
	end := append([]byte(nil), prefix...)
	if c.first() {
		end = append(end[:0], c.key()...)
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	if len(l.known.ends) >= warmEnds {
		clear(l.known.ends)
	}
	l.known.ends[string(prefix)] = end
	return end, nil
}
