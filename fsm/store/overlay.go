package store

import (
	"bytes"
	"hash/maphash"
	"slices"

	"github.com/tidwall/btree"
)

// overlay is the writes of a batch over the state under it. Reads see both. Everything since the last mark can be undone.
// Keys and values that it is given are copied.
//
// Writes are found by hash: most rows of a batch are written once and never looked for in order. The order of a class of keys
// is made when a cursor first wants it, and kept from then on.
type overlay struct {
	base  reader
	seed  maphash.Seed
	slots []uint32 // hash to place in writes, from 1; 0 is free. A power of two, at most half of it used.
	// writes are in the order in which their keys came up. Some only remember what the state under the batch has.
	writes []*write
	order  [classes]*btree.BTreeG[*write] // nil until a cursor wants one of that class
	// undo holds what each change since the mark replaced.
	undo []undone
	// changes counts them, so that an open cursor notices.
	changes uint64
	probe   write

	// free are writes of earlier batches, sorted is what all has returned: memory for the next.
	free, sorted []*write
	slab         []write
	chunk        []byte
	// remembered is how many reads of the state under the batch are kept.
	remembered int
}

// undone is what a write was before a change.
type undone struct {
	w             *write
	value         []byte
	deleted, void bool
}

const (
	firstSlots = 1 << 7
	slabWrites = 1 << 6
	chunkBytes = 16 << 10

	// maxRemembered and maxRememberedBytes bound what is kept of reads: so many, each of at most so many bytes.
	maxRemembered      = 1 << 14
	maxRememberedBytes = 4 << 10

	// maxFree bounds the writes that are kept for the next batch, maxSlots the slots, maxUndo what can be undone.
	maxFree  = 1 << 14
	maxSlots = 1 << 15
	maxUndo  = 1 << 8
)

func newOverlay() *overlay {
	return &overlay{seed: maphash.MakeSeed(), slots: make([]uint32, firstSlots)}
}

// rest lets go of everything but memory. What was copied stays where it is, for whoever has it.
func (o *overlay) rest() {
	o.base, o.order, o.remembered = nil, [classes]*btree.BTreeG[*write]{}, 0
	for _, w := range o.writes {
		*w = write{}
	}
	if used := len(o.writes); len(o.slots) > maxSlots || len(o.slots) > max(16*used, firstSlots) {
		o.slots = make([]uint32, min(len(o.slots)/2, maxSlots))
	} else {
		clear(o.slots)
	}
	if o.free = append(o.free, o.writes...); len(o.free) > maxFree {
		o.free, o.writes, o.undo, o.sorted = nil, nil, nil, nil
	}
	if cap(o.undo) > maxUndo {
		o.undo = nil
	}
	clear(o.undo[:cap(o.undo)])
	clear(o.sorted)
	o.writes, o.undo, o.sorted = o.writes[:0], o.undo[:0], o.sorted[:0]
}

// find is the write of a key, nil when the key has not come up.
func (o *overlay) find(key []byte) (w *write, hash uint64) {
	hash = maphash.Bytes(o.seed, key)
	mask := uint64(len(o.slots) - 1)
	for at := hash & mask; o.slots[at] != 0; at = (at + 1) & mask {
		if w := o.writes[o.slots[at]-1]; w.hash == hash && bytes.Equal(w.key, key) {
			return w, hash
		}
	}
	return nil, hash
}

// insert adds a write that find did not find. It is void: it changes nothing yet.
func (o *overlay) insert(key []byte, hash uint64) *write {
	w := o.blank()
	w.key, w.hash, w.void = o.copy(key), hash, true
	o.writes = append(o.writes, w)
	if 2*len(o.writes) <= len(o.slots) {
		o.place(len(o.writes))
		return w
	}
	o.slots = make([]uint32, 2*len(o.slots))
	for n := range o.writes {
		o.place(n + 1)
	}
	return w
}

// blank is memory for a write.
func (o *overlay) blank() (w *write) {
	if last := len(o.free) - 1; last >= 0 {
		w, o.free = o.free[last], o.free[:last]
		return w
	}
	if len(o.slab) == 0 {
		o.slab = make([]write, slabWrites)
	}
	w, o.slab = &o.slab[0], o.slab[1:]
	return w
}

func (o *overlay) place(n int) {
	mask := uint64(len(o.slots) - 1)
	at := o.writes[n-1].hash & mask
	for o.slots[at] != 0 {
		at = (at + 1) & mask
	}
	o.slots[at] = uint32(n)
}

// copy keeps bytes as long as anybody needs them; the copy of none is not nil.
func (o *overlay) copy(b []byte) []byte {
	if len(b) > chunkBytes/4 {
		return append(make([]byte, 0, len(b)), b...)
	}
	if len(o.chunk)+len(b) > cap(o.chunk) {
		o.chunk = make([]byte, 0, chunkBytes)
	}
	start := len(o.chunk)
	o.chunk = append(o.chunk, b...)
	return o.chunk[start:len(o.chunk):len(o.chunk)]
}

func (o *overlay) get(key []byte) ([]byte, bool, error) {
	w, hash := o.find(key)
	if w != nil && !w.void {
		return w.value, !w.deleted, nil
	}
	if w != nil && w.known {
		return w.before, w.before != nil, nil
	}
	v, ok, err := o.base.get(key)
	if err == nil && o.remembered < maxRemembered && len(v) <= maxRememberedBytes {
		if w == nil {
			w = o.insert(key, hash)
		}
		w.learn(v, ok)
		o.remembered++
	}
	return v, ok, err
}

// learn notes what the state under the batch has.
func (w *write) learn(value []byte, ok bool) {
	w.known, w.before = true, nil
	if ok {
		if w.before = value; value == nil {
			w.before = []byte{}
		}
	}
}

// before returns what a key has, and the write to change it with. What the state under the batch has is remembered with it.
func (o *overlay) before(key []byte) (value []byte, w *write, err error) {
	w, hash := o.find(key)
	if w == nil {
		w = o.insert(key, hash)
	}
	if !w.void {
		return w.value, w, nil
	}
	if !w.known {
		v, ok, err := o.base.get(key)
		if err != nil {
			return nil, w, err
		}
		w.learn(v, ok)
	}
	return w.before, w, nil
}

// change makes a write say what is to be, and notes what it said.
func (o *overlay) change(w *write, value []byte, deleted bool) {
	o.undo = append(o.undo, undone{w, w.value, w.deleted, w.void})
	if w.void {
		if order := o.order[class(w.key)]; order != nil {
			order.Set(w)
		}
	}
	w.value, w.deleted, w.void = value, deleted, false
	o.changes++
}

func (o *overlay) write(key []byte) *write {
	w, hash := o.find(key)
	if w == nil {
		w = o.insert(key, hash)
	}
	return w
}

func (o *overlay) set(key, value []byte) { o.change(o.write(key), o.copy(value), false) }
func (o *overlay) remove(key []byte)     { o.change(o.write(key), nil, true) }

func (o *overlay) mark() { o.undo = o.undo[:0] }

func (o *overlay) revert() {
	for _, u := range slices.Backward(o.undo) {
		u.w.value, u.w.deleted, u.w.void = u.value, u.deleted, u.void
	}
	o.mark()
	o.changes++
}

// classes is how many classes of keys there are: the keyspaces, and the kinds of rows of tenants.
const classes = spaceTenant + 16

// class tells apart rows that lie in different parts of the store.
func class(key []byte) int {
	if key[0] == spaceTenant {
		return spaceTenant + int(key[tenantPrefixBytes-1])%16
	}
	return int(key[0]) % spaceTenant
}

// all returns the writes that change something, valid until rest. Those of a class come together, in the order of keys: most classes are
// written in order, so that sorting them is one look at each.
func (o *overlay) all() []*write {
	var ends [classes + 1]int
	for _, w := range o.writes {
		if !w.idle() {
			ends[class(w.key)+1]++
		}
	}
	for i := range classes {
		ends[i+1] += ends[i]
	}
	starts := ends
	out := slices.Grow(o.sorted, ends[classes])[:ends[classes]]
	o.sorted = out
	for _, w := range o.writes {
		if !w.idle() {
			c := class(w.key)
			out[ends[c]] = w
			ends[c]++
		}
	}
	for c := range classes {
		slices.SortFunc(out[starts[c]:starts[c+1]], func(a, b *write) int { return bytes.Compare(a.key, b.key) })
	}
	return out
}

// ordered is the writes of a class in the order of keys.
func (o *overlay) ordered(c int) *btree.BTreeG[*write] {
	if o.order[c] != nil {
		return o.order[c]
	}
	less := func(a, b *write) bool { return bytes.Compare(a.key, b.key) < 0 }
	o.order[c] = btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
	for _, w := range o.writes {
		if !w.void && class(w.key) == c {
			o.order[c].Set(w)
		}
	}
	return o.order[c]
}

// pivot is a write to search with, valid until the next search.
func (o *overlay) pivot(key []byte) *write {
	o.probe.key = key
	return &o.probe
}

// open starts a cursor over a range, which must lie in one class.
func (o *overlay) open(r keyRange, reverse bool) (cursor, error) {
	base, err := o.base.open(r, reverse)
	if err != nil {
		return nil, err
	}
	order := o.ordered(class(r.lower))
	return &mergedCursor{o: o, order: order, r: r, reverse: reverse, base: base, iter: order.Iter()}, nil
}
