package store

import (
	"bytes"

	"github.com/tidwall/btree"
)

// mergedCursor merges the writes with the rows under them; a write hides the row of its key. Changes made while it is
// open are seen when they lie ahead of it.
type mergedCursor struct {
	o       *overlay
	order   *btree.BTreeG[*write]
	r       keyRange
	reverse bool
	base    cursor
	onBase  bool // base stands on a row
	iter    btree.IterG[*write]
	over    *write // where iter stands, nil at its end
	changes uint64 // of the overlay when iter was placed
	current *write // the write under the cursor, nil for a row of base
	at      []byte
}

func (c *mergedCursor) seek(key []byte) bool {
	c.onBase = c.base.seek(key)
	c.place(key)
	return c.settle()
}

func (c *mergedCursor) first() bool {
	c.onBase = c.base.first()
	if c.reverse {
		c.place(c.r.upper)
	} else {
		c.place(c.r.lower)
	}
	return c.settle()
}

func (c *mergedCursor) next() bool {
	if c.changes != c.o.changes {
		return c.again()
	}
	if c.current == nil || c.onBase && bytes.Equal(c.base.key(), c.current.key) {
		c.onBase = c.base.next()
	}
	if c.current != nil {
		c.step()
	}
	return c.settle()
}

// again finds the place after the current key once the overlay has changed.
func (c *mergedCursor) again() bool {
	if c.reverse {
		return c.seek(append([]byte(nil), c.at...))
	}
	return c.seek(extend(c.at, 0))
}

// place puts iter at key: forwards on the first write at or after it, in reverse on the last before it.
func (c *mergedCursor) place(key []byte) {
	c.changes = c.o.changes
	c.iter.Release()
	c.iter.Init(c.order, false)
	pivot := c.o.pivot(key)
	var ok bool
	switch {
	case !c.reverse:
		if bytes.Compare(key, c.r.lower) < 0 {
			pivot.key = c.r.lower
		}
		ok = c.iter.Seek(pivot)
	default:
		if key == nil || c.r.upper != nil && bytes.Compare(key, c.r.upper) > 0 {
			pivot.key = c.r.upper
		}
		if pivot.key != nil && c.iter.Seek(pivot) {
			ok = c.iter.Prev()
		} else {
			ok = c.iter.Last()
		}
	}
	c.hold(ok)
}

func (c *mergedCursor) step() { c.hold(c.advance()) }

func (c *mergedCursor) advance() bool {
	if c.reverse {
		return c.iter.Prev()
	}
	return c.iter.Next()
}

// hold keeps what iter stands on, or the next write that was not undone, if it is in the range.
func (c *mergedCursor) hold(ok bool) {
	c.over = nil
	for ; ok; ok = c.advance() {
		w := c.iter.Item()
		if bytes.Compare(w.key, c.r.lower) < 0 || c.r.upper != nil && bytes.Compare(w.key, c.r.upper) >= 0 {
			return
		}
		if !w.void {
			c.over = w
			return
		}
	}
}

// settle picks the nearer of the two, passing over what is deleted.
func (c *mergedCursor) settle() bool {
	for {
		order := c.compare()
		switch {
		case c.over == nil && !c.onBase:
			if c.base.err() == nil {
				c.at = c.at[:0]
			}
			return false
		case order < 0:
			c.current = nil
			c.at = append(c.at[:0], c.base.key()...)
			return true
		case !c.over.deleted:
			c.current = c.over
			c.at = append(c.at[:0], c.over.key...)
			return true
		}
		if order == 0 {
			c.onBase = c.base.next()
		}
		c.step()
	}
}

// compare tells which comes first in the direction of the cursor: below 0 the row of base, above 0 the write, 0 for one
// key in both.
func (c *mergedCursor) compare() int {
	switch {
	case c.over == nil:
		return -1
	case !c.onBase:
		return 1
	}
	order := bytes.Compare(c.base.key(), c.over.key)
	if c.reverse {
		return -order
	}
	return order
}

func (c *mergedCursor) key() []byte { return c.at }

func (c *mergedCursor) value() ([]byte, error) {
	if c.current != nil {
		return c.current.value, nil
	}
	return c.base.value()
}

func (c *mergedCursor) err() error { return c.base.err() }
func (c *mergedCursor) close() {
	c.iter.Release()
	c.base.close()
}
