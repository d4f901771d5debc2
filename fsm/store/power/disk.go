//go:build !wasip1

// Package power lets tests of other rooms cut the power under a store.
//
// A [Disk] is a file system in memory that knows what was synced. It holds a store like a real one does, and [Disk.Cut] gives
// the disk that would be found after power was lost: all that was synced, and any part of the rest. It is for tests only.
package power

import (
	"fmt"
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
)

// Disk is a disk for one store.
type Disk struct{ fs *vfs.MemFS }

// folder is the one of the store; there is no other.
const folder = "store"

// NewDisk makes an empty disk.
func NewDisk() *Disk { return &Disk{fs: vfs.NewCrashableMem()} }

// Open opens the store on the disk, or makes it.
func (d *Disk) Open(o store.Options) (*store.Store, error) {
	s, err := store.OpenPebbleOn(d.fs, folder, o)
	if err != nil {
		return nil, fmt.Errorf("on a disk in memory: %w", err)
	}
	return s, nil
}

// Cut is what the disk holds if power is lost now; random decides what of that which was not synced. The disk goes on.
func (d *Disk) Cut(random *rand.Rand) *Disk {
	return &Disk{fs: d.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: random.IntN(101), RNG: random})}
}
