package raftlog

import "github.com/hashicorp/raft"

// MemoryFile is the name that errors give to a store that is not on disk.
const MemoryFile = "memory"

// NewMemory returns a log and a stable store that live as long as the process. What they hold is sealed and verified
// just as on disk.
func NewMemory(onFault func(error)) (*Logs, *Stable) {
	o := Options{File: MemoryFile, OnFault: onFault}
	inner := raft.NewInmemStore()
	return NewLogs(inner, o), NewStable(inner, o)
}
