package raftlog

import (
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// verifiers is how many goroutines read a log at the start: what a node has for processors when it does nothing else.
const verifiers = 2

// Verify reads every entry. The error is that of the first entry that is damaged, or of the first that is lacking
// between the first and the last, unless the hole ends at or below the snapshot index: raft leaves such a hole when it
// installs a snapshot, and never asks for what lies under it. The count is that of the entries read.
func (l *Logs) Verify(snapshotIndex uint64) (count int, err error) {
	first, err := l.FirstIndex()
	if err != nil {
		return 0, err
	}
	last, err := l.LastIndex()
	if err != nil {
		return 0, err
	}
	if first > last || (first == 0) != (last == 0) {
		return 0, l.report(fmt.Errorf("%s: log runs from %d to %d: %w", l.options.File, first, last, ErrDamaged))
	}
	if first == 0 {
		return 0, nil
	}
	var parts [verifiers]verified
	var reading sync.WaitGroup
	share := (last-first)/verifiers + 1
	for i := range parts {
		from := first + uint64(i)*share
		to := min(from+share-1, last)
		reading.Go(func() { parts[i] = l.verify(from, to, snapshotIndex) })
	}
	reading.Wait()
	for _, p := range parts {
		for _, s := range p.sizes {
			l.sizes.put(s.index, s.bytes)
		}
		count += len(p.sizes)
		if p.err != nil {
			return count, p.err
		}
	}
	return count, nil
}

// verified is what was found in a part of a log: the entries, up to the first error.
type verified struct {
	sizes []sized
	err   error
}

// verify reads the entries from one index to another, both included.
func (l *Logs) verify(from, to, snapshotIndex uint64) (v verified) {
	var log raft.Log
	for index := from; index <= to; index++ {
		err := l.GetLog(index, &log)
		if errors.Is(err, raft.ErrLogNotFound) {
			if index <= snapshotIndex {
				continue
			}
			err = l.report(fmt.Errorf("%s: log entry %d is not there, though there are earlier and later ones: %w", l.options.File, index, ErrDamaged))
		}
		if err != nil {
			v.err = err
			return v
		}
		v.sizes = append(v.sizes, sized{index, storedBytes(&log)})
	}
	return v
}
