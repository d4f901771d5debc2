package store

import (
	"bytes"
	"fmt"
)

// scan calls fn with the rows of a range until it returns false or an error, which is returned with the key.
func scan(rows reader, r keyRange, fn func(key, value []byte) (more bool, err error)) error {
	c, err := rows.open(r, false)
	if err != nil {
		return err
	}
	defer c.close()
	for ok := c.first(); ok; ok = c.next() {
		v, err := c.value()
		more := false
		if err == nil {
			more, err = fn(c.key(), v)
		}
		if err != nil || !more {
			return at(c.key(), err)
		}
	}
	return c.err()
}

// typeRange is the part of an index that holds one type: its keys are prefix, type, rest.
type typeRange struct {
	typ byte
	keyRange
}

// bounds narrow every type of an index: keys whose rest lies in [from, to). nil is no bound.
type bounds struct{ from, to []byte }

// merged yields type and rest of the entries under prefix, in the order of rest, whatever their type. typ 0 is all types.
// rest is valid during the call of yield only.
type merged struct {
	rows    reader
	prefix  []byte
	typ     byte
	bounds  bounds
	reverse bool
}

func (m merged) each(yield func(typ byte, rest []byte) bool) error {
	ranges, err := m.ranges()
	if err != nil {
		return err
	}
	cursors := make([]cursor, 0, len(ranges))
	defer func() {
		for _, c := range cursors {
			c.close()
		}
	}()
	for _, r := range ranges {
		c, err := m.rows.open(r.keyRange, m.reverse)
		if err != nil {
			return err
		}
		if c.first() {
			cursors = append(cursors, c)
			continue
		}
		err = c.err()
		c.close()
		if err != nil {
			return err
		}
	}
	return m.merge(&cursors, yield)
}

// merge takes the nearest entry of all cursors until none is left. There are never many, so it looks at each.
func (m merged) merge(cursors *[]cursor, yield func(typ byte, rest []byte) bool) error {
	at := len(m.prefix)
	for len(*cursors) > 0 {
		best := 0
		for i := 1; i < len(*cursors); i++ {
			order := bytes.Compare((*cursors)[i].key()[at+1:], (*cursors)[best].key()[at+1:])
			if m.reverse {
				order = -order
			}
			if order < 0 {
				best = i
			}
		}
		c := (*cursors)[best]
		key := c.key()
		if len(key) <= at+1 {
			return fmt.Errorf("%s: %w", Describe(key), ErrDamaged)
		}
		if !yield(key[at], key[at+1:]) {
			return nil
		}
		if c.next() {
			continue
		}
		if err := c.err(); err != nil {
			return err
		}
		c.close()
		*cursors = append((*cursors)[:best], (*cursors)[best+1:]...)
	}
	return nil
}

// ranges finds the types that have entries: one seek each.
func (m merged) ranges() ([]typeRange, error) {
	if m.typ != 0 {
		return []typeRange{m.bound(m.typ)}, nil
	}
	c, err := m.rows.open(prefixRange(m.prefix), false)
	if err != nil {
		return nil, err
	}
	defer c.close()
	var out []typeRange
	for ok := c.first(); ok; {
		if len(c.key()) <= len(m.prefix) {
			return nil, fmt.Errorf("%s: %w", Describe(c.key()), ErrDamaged)
		}
		typ := c.key()[len(m.prefix)]
		out = append(out, m.bound(typ))
		if typ == 0xff {
			break
		}
		ok = c.seek(extend(m.prefix, typ+1))
	}
	return out, c.err()
}

func (m merged) bound(typ byte) typeRange {
	p := extend(m.prefix, typ)
	r := prefixRange(p)
	if m.bounds.from != nil {
		r.lower = extend(p, m.bounds.from...)
	}
	if m.bounds.to != nil {
		r.upper = extend(p, m.bounds.to...)
	}
	return typeRange{typ, r}
}
