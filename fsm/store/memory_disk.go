package store

import (
	"fmt"
	"sync"
)

// MemoryDisk is what a store in memory leaves behind: the rows as of its last flush, or of the checkpoint that was installed since. It
// is for simulations whose nodes lose power; like the engine on disk, which keeps no log of its own, a store on it loses what was
// not flushed. The zero value is an empty disk.
type MemoryDisk struct {
	mu sync.Mutex
	// slot is what the next start opens, nil for nothing; guarded by mu.
	slot *memorySlot
}

// memorySlot is the durable state of one generation.
type memorySlot struct {
	mu   sync.Mutex
	tree *memoryTree // guarded by mu; nobody changes it
}

func (s *memorySlot) keep(tree *memoryTree) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tree = tree
}

func (s *memorySlot) copy() *memoryTree {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tree.Copy()
}

// Open opens the store that the disk has, or makes it. One at a time may be open, but for those that lost their disk to Cut.
func (d *MemoryDisk) Open() (*Store, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.slot == nil {
		d.slot = &memorySlot{tree: newMemoryTree()}
	}
	e := &memoryEngine{tree: d.slot.copy(), slot: d.slot}
	sys, err := readSystem(e.live())
	if err != nil {
		return nil, fmt.Errorf("store on a disk in memory: %w", err)
	}
	return newStore(Options{}.withDefaults(), memoryHome{disk: d}, &generation{engine: e, warm: newWarm()}, sys), nil
}

// Cut is the disk that would be found if power were lost now. A store that is open goes on with the old one.
func (d *MemoryDisk) Cut() *MemoryDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.slot == nil {
		return &MemoryDisk{}
	}
	return &MemoryDisk{slot: &memorySlot{tree: d.slot.copy()}}
}

func (d *MemoryDisk) adopt(s *memorySlot) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slot = s
}
