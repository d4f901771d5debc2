package main

import (
	"math"
	"os"
	"runtime/debug"
)

const (
	// heapGrowth is how far the heap of a server grows between two collections, percent of what is live: little is, besides
	// the cache, and collecting ever so little ever so often costs a fifth of the processor. memoryTarget is how far it grows
	// at all before collections become frequent: the cache, the memtables and 176 MiB for requests and replies.
	heapGrowth   = 300
	memoryTarget = 560 << 20
)

// restrictMemory tells the runtime how much memory a server may trade for speed. GOGC and GOMEMLIMIT, the runtime's own
// settings, win.
func restrictMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(memoryTarget)
	}
}
