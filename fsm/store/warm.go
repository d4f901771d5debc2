package store

import "bytes"

// warm is what the writer of a generation knows of its rows without reading them. Sessions that are written in are
// written in again, and new ids lie behind all others: so most commands need no row from the engine.
type warm struct {
	// young and old are rows that were read or written lately; nil is no row. When young is full it becomes old.
	young, old map[string][]byte
	bytes      int // of young
	// ends are keys above which there are no others with the prefix.
	ends map[string][]byte
}

const (
	// warmBytes bounds the rows of each half, warmRowBytes one of them; warmEnds bounds the prefixes.
	warmBytes    = 4 << 20
	warmRowBytes = 4 << 10
	warmEnds     = 1 << 10
	// warmOverhead is what a row costs beside its bytes, roughly.
	warmOverhead = 64
)

func newWarm() *warm {
	return &warm{young: map[string][]byte{}, old: map[string][]byte{}, ends: map[string][]byte{}}
}

// row is what is known of a key.
func (r *warm) row(key []byte) (value []byte, known bool) {
	if v, ok := r.young[string(key)]; ok {
		return v, true
	}
	if v, ok := r.old[string(key)]; ok {
		r.keep(key, v)
		return v, true
	}
	return nil, false
}

// keep notes a row, or that there is none.
func (r *warm) keep(key, value []byte) {
	if len(value) > warmRowBytes {
		r.forget(key)
		return
	}
	if r.bytes > warmBytes {
		r.young, r.old = r.old, r.young
		clear(r.young)
		r.bytes = 0
	}
	if value != nil {
		value = append(make([]byte, 0, len(value)), value...)
	}
	r.young[string(key)] = value
	r.bytes += len(key) + len(value) + warmOverhead
}

func (r *warm) forget(key []byte) {
	delete(r.young, string(key))
	delete(r.old, string(key))
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
		delete(r.old, string(w.key))
		r.keep(w.key, w.value)
	case read:
		r.forget(w.key)
	}
	if n := growing(w.key); n > 0 && !w.deleted {
		if end, ok := r.ends[string(w.key[:n])]; ok && bytes.Compare(w.key, end) > 0 {
			r.ends[string(w.key[:n])] = w.key
		}
	}
}

// growing is the length of the prefix of keys that come roughly in their order, 0 for others: ids that are UUIDs (those
// that this server makes begin with the time), and minted request ids.
func growing(key []byte) int {
	switch class(key) {
	case spaceTenant + kindNodeID:
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
