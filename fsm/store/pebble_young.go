//go:build !wasip1

package store

import "hash/maphash"

// young tells which ids may have been written lately. Of all others the files of the engine have the last word, and their
// filters say nearly always that there is none: a search of the memtables, which have no filters, costs several times as much.
// It is of the one who applies, and knows all that was applied since the engine was opened: without a log the memtables are
// empty then.
//
// What is in files need not be known any more. So there are two filters, and the older one is given up when all that it has
// is there.
type young struct {
	seed     maphash.Seed
	now, old idFilter
	// most is how many ids a filter takes before it becomes the old one, look how many it has when that is tried next.
	most, look int
}

// idFilter is a Bloom filter of a cache line for each id.
type idFilter struct {
	lines [][8]uint64
	ids   int
	// upTo is the entry that the ids came with, or one after them.
	upTo uint64
}

const (
	filterLines = 1 << filterLineBits
	// The first bits of a hash choose the line, the last ones bits of it.
	filterLineBits = 13
	filterProbes   = 4
	// youngIDs are two thirds of what two memtables have, or less: of so many, one in two hundred others is searched in vain.
	youngIDs = 1 << 18
)

func newYoung() young { return young{seed: maphash.MakeSeed(), most: youngIDs, look: youngIDs} }

// asked reports keys that are looked up to find that there is none, and that are not known to lie behind all others.
func asked(key []byte) bool {
	switch class(key) {
	case spaceTenant + kindNodeID, spaceTenant + kindEdgeID:
		return true
	case spaceOutcome:
		return growing(key) == 0
	default:
		return false
	}
}

// add notes the key of a write, one that removes too.
func (y *young) add(key []byte) {
	if !asked(key) {
		return
	}
	if y.now.lines == nil {
		y.now.lines = make([][8]uint64, filterLines)
	}
	y.now.add(maphash.Bytes(y.seed, key))
}

// filed reports a key of which the files have the last word.
func (y *young) filed(key []byte) bool {
	if !asked(key) {
		return false
	}
	h := maphash.Bytes(y.seed, key)
	return !y.now.has(h) && !y.old.has(h)
}

// full reports that it is time to settle.
func (y *young) full() bool { return y.now.ids >= y.look }

// settle is told what was applied last, and asks what of it is in files when that may make a difference.
func (y *young) settle(applied uint64, durable func() (uint64, error)) error {
	y.look = y.now.ids + y.most/8
	if y.old.ids > 0 {
		// Later than upTo, for there may be several batches of one entry.
		if in, err := durable(); err != nil || in <= y.old.upTo {
			return err
		}
	}
	y.now, y.old = y.old, y.now
	y.old.upTo = applied
	clear(y.now.lines)
	y.now.ids, y.look = 0, y.most
	return nil
}

func (f *idFilter) add(h uint64) {
	line := &f.lines[h>>(64-filterLineBits)]
	for range filterProbes {
		line[h>>6&7] |= 1 << (h & 63)
		h >>= 9
	}
	f.ids++
}

func (f *idFilter) has(h uint64) bool {
	if f.ids == 0 {
		return false
	}
	line := &f.lines[h>>(64-filterLineBits)]
	for range filterProbes {
		if line[h>>6&7]&(1<<(h&63)) == 0 {
			return false
		}
		h >>= 9
	}
	return true
}
