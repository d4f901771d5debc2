package cluster

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
)

// Entries reads entries that this node has applied from its log, in order: those after an index and up to last, until they have so
// many bytes, and one at least. Entries without commands have no data. None means that there are none. The error wraps
// [fsm.ErrCompacted] when the first of them is no longer in the log, or never was: a snapshot brought its effects.
func (n *Node) Entries(after, last uint64, bytes int) ([]fsm.LogEntry, error) {
	last = min(last, n.machine.Applied())
	var entries []fsm.LogEntry
	for size := 0; after < last && (size < bytes || len(entries) == 0); after++ {
		var e raft.Log
		err := n.logs.GetLog(after+1, &e)
		if errors.Is(err, raft.ErrLogNotFound) {
			err = fsm.ErrCompacted
		}
		if err != nil && len(entries) > 0 {
			break // the next call says why
		}
		if err != nil {
			return nil, fmt.Errorf("entry %d of the log: %w", after+1, err)
		}
		entry := fsm.LogEntry{Index: e.Index, Term: e.Term}
		if e.Type == raft.LogCommand {
			entry.Data = e.Data
		}
		entries = append(entries, entry)
		size += len(entry.Data) + entryOverhead
	}
	return entries, nil
}

// entryOverhead is what an entry without data counts for, bytes.
const entryOverhead = 32
