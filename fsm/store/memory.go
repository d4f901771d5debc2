package store

import (
	"bytes"
	"encoding/binary"
	"iter"
	"sync"

	"github.com/tidwall/btree"
)

// memoryRows is the name of the one file that a frozen memory engine has.
const memoryRows = "rows"

type memoryRow struct{ key, value []byte }

type memoryTree = btree.BTreeG[memoryRow]

// memoryEngine keeps the rows in a copy-on-write tree. Without a slot what it holds is gone with the process, so it counts
// all of it as durable.
type memoryEngine struct {
	// slot is where flushes go, nil for nowhere.
	slot *memorySlot
	mu   sync.Mutex
	tree *memoryTree // guarded by mu
}

func newMemoryEngine() *memoryEngine { return &memoryEngine{tree: newMemoryTree()} }

func newMemoryTree() *memoryTree {
	less := func(a, b memoryRow) bool { return bytes.Compare(a.key, b.key) < 0 }
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

func (m *memoryEngine) copy() memorySnapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return memorySnapshot{m.tree.Copy()}
}

func (m *memoryEngine) snapshot() (snapshot, error) { return m.copy(), nil }

func (m *memoryEngine) live() snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return memorySnapshot{m.tree}
}

// apply changes a copy, so that a snapshot that is taken meanwhile sees nothing of it.
func (m *memoryEngine) apply(writes iter.Seq[*write]) error {
	tree := m.copy().tree
	for w := range writes {
		if w.deleted {
			tree.Delete(memoryRow{key: w.key})
		} else {
			tree.Set(memoryRow{w.key, w.value})
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tree = tree
	return nil
}

func (m *memoryEngine) durable(key []byte) ([]byte, bool, error) {
	if m.slot != nil {
		return memorySnapshot{m.slot.copy()}.get(key)
	}
	return m.copy().get(key)
}

func (m *memoryEngine) flush() error {
	if m.slot != nil {
		m.slot.keep(m.copy().tree)
	}
	return nil
}

func (m *memoryEngine) close() error                      { return nil }
func (m *memoryEngine) checkpoint(string) (frozen, error) { return memoryFrozen{m.copy()}, nil }

// memorySnapshot reads a tree that nobody changes.
type memorySnapshot struct{ tree *memoryTree }

func (s memorySnapshot) get(key []byte) ([]byte, bool, error) {
	r, ok := s.tree.Get(memoryRow{key: key})
	return r.value, ok, nil
}

func (s memorySnapshot) open(r keyRange, reverse bool) (cursor, error) {
	return &memoryCursor{iter: s.tree.Iter(), r: r, reverse: reverse}, nil
}

func (s memorySnapshot) close() error { return nil }

type memoryCursor struct {
	iter    btree.IterG[memoryRow]
	r       keyRange
	reverse bool
	row     memoryRow
}

func (c *memoryCursor) seek(key []byte) bool {
	if c.reverse {
		if c.r.upper != nil && bytes.Compare(key, c.r.upper) > 0 {
			key = c.r.upper
		}
		if c.iter.Seek(memoryRow{key: key}) {
			return c.hold(c.iter.Prev())
		}
		return c.hold(c.iter.Last())
	}
	if bytes.Compare(key, c.r.lower) < 0 {
		key = c.r.lower
	}
	return c.hold(c.iter.Seek(memoryRow{key: key}))
}

func (c *memoryCursor) first() bool {
	switch {
	case !c.reverse:
		return c.seek(c.r.lower)
	case c.r.upper == nil:
		return c.hold(c.iter.Last())
	default:
		return c.seek(c.r.upper)
	}
}

func (c *memoryCursor) next() bool {
	if c.reverse {
		return c.hold(c.iter.Prev())
	}
	return c.hold(c.iter.Next())
}

func (c *memoryCursor) hold(ok bool) bool {
	if !ok {
		return false
	}
	c.row = c.iter.Item()
	return bytes.Compare(c.row.key, c.r.lower) >= 0 && (c.r.upper == nil || bytes.Compare(c.row.key, c.r.upper) < 0)
}

func (c *memoryCursor) key() []byte            { return c.row.key }
func (c *memoryCursor) value() ([]byte, error) { return c.row.value, nil }
func (c *memoryCursor) err() error             { return nil }
func (c *memoryCursor) close()                 { c.iter.Release() }

// appendRow is how a row is written in the file of a memory engine: lengths and bytes of key and value.
func appendRow(b []byte, r memoryRow) []byte {
	return appendBytes(appendBytes(b, r.key), r.value)
}

func rowBytes(r memoryRow) int64 {
	var b [2 * binary.MaxVarintLen64]byte
	n := binary.PutUvarint(b[:], uint64(len(r.key)))
	n += binary.PutUvarint(b[n:], uint64(len(r.value)))
	return int64(n + len(r.key) + len(r.value))
}
