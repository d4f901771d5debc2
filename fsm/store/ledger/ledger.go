// Package ledger compares two heaps of keys of any size in a memory of fixed size.
//
// What is stored is entered on one side and what should be on the other, in any order and with amounts. A first pass keeps
// a sum per group of keys, under a hash that is new each time; a group whose sides are not equal does not add up, but for
// one chance in 2^64. Later passes over the same entries keep the keys of such groups, some groups at a time, and name the
// keys that differ. A heap without faults so costs one pass and 512 KiB, a few faults a second pass.
//
// It promises that what it names differs. It knows nothing of what a key says.
package ledger

import (
	"hash/maphash"
	"maps"
	"slices"
)

const (
	groupBits = 16
	groups    = 1 << groupBits

	// DefaultRoom is how many keys one pass keeps at the most, about, each of some hundred bytes.
	DefaultRoom = 1 << 20
)

// Ledger is the two sides. One goroutine uses it.
type Ledger struct {
	seed    maphash.Seed
	room    uint64
	entries uint64
	sums    []uint64
	// open are the groups that do not add up and were not looked at; nil before the end of the first pass.
	open   []uint32
	passes int
	// kept are the keys of the groups chosen for this pass.
	chosen map[uint32]bool
	kept   map[string]Entry
}

// Entry is what was entered for one key on each side.
type Entry struct{ Stored, Due int64 }

// New makes an empty ledger whose later passes keep about so many keys.
func New(room int) *Ledger {
	return &Ledger{seed: maphash.MakeSeed(), room: uint64(room), sums: make([]uint64, groups)}
}

// Stored enters an amount of a key that is there.
func (l *Ledger) Stored(key []byte, amount int64) { l.enter(key, Entry{Stored: amount}) }

// Due enters an amount of a key that should be there.
func (l *Ledger) Due(key []byte, amount int64) { l.enter(key, Entry{Due: amount}) }

func (l *Ledger) enter(key []byte, e Entry) {
	h := maphash.Bytes(l.seed, key)
	group := uint32(h >> (64 - groupBits))
	if l.passes == 0 {
		l.entries++
		l.sums[group] += h * uint64(e.Stored-e.Due)
		return
	}
	if l.chosen[group] {
		was := l.kept[string(key)]
		l.kept[string(key)] = Entry{was.Stored + e.Stored, was.Due + e.Due}
	}
}

// Next ends a pass, and reports whether another one over the same entries would find more: it will look at the groups that
// this call has chosen.
func (l *Ledger) Next() bool {
	if l.passes == 0 {
		for g, sum := range l.sums {
			if sum != 0 {
				l.open = append(l.open, uint32(g))
			}
		}
	}
	l.passes++
	each := l.entries/groups + 1
	n := min(max(1, int(l.room/each)), len(l.open))
	l.chosen, l.kept = make(map[uint32]bool, n), map[string]Entry{}
	for _, g := range l.open[:n] {
		l.chosen[g] = true
	}
	l.open = l.open[n:]
	return n > 0
}

// Differences calls fn with each key whose sides differ of those that this pass has kept, in the order of keys.
func (l *Ledger) Differences(fn func(key []byte, e Entry)) {
	for _, key := range slices.Sorted(maps.Keys(l.kept)) {
		if e := l.kept[key]; e.Stored != e.Due {
			fn([]byte(key), e)
		}
	}
}

// Unseen is how many groups do not add up and were not looked at by the passes so far.
func (l *Ledger) Unseen() int { return len(l.open) }
