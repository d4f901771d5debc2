//go:build !wasip1

package inspect

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/check"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
)

// replayBatch is how many entries are applied at a time.
const replayBatch = 64

// replay applies the log to an empty store: up to where the store of the node ends, where both must be the same, and then to
// its end, whose state is checked as the node's own was. That is the state in which the node would start.
func (i *inspection) replay(sys store.System) (err error) {
	log := i.report.Log
	switch {
	case i.logs == nil || i.broken:
		i.report.Replay = ReplayBroken
		return nil
	case log.First != 1 || sys.Base != 0:
		i.report.Replay = ReplayTooShort
		return nil
	}
	dir, err := os.MkdirTemp(i.o.Scratch, "memory-graph-replay-")
	if err != nil {
		return fmt.Errorf("folder for the replay: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	rows, err := store.OpenPebble(filepath.Join(dir, "store"), store.Options{CacheBytes: cacheBytes})
	if err != nil {
		return fmt.Errorf("store for the replay: %w", err)
	}
	m := fsm.New(rows)
	defer func() { err = errors.Join(err, m.Close()) }()
	return i.replayInto(m, sys)
}

func (i *inspection) replayInto(m *fsm.Machine, sys store.System) error {
	if err := i.apply(m, min(sys.Applied, i.report.Log.Last)); err != nil {
		return unlessRefused(err)
	}
	i.report.Replay = ReplayEqual
	if got, want := fsm.Digest(m.Store().System()), fsm.Digest(sys); got != want {
		i.report.Replay = ReplayDiffers
		i.fault(FaultReplay, "store", i.folder.Store(), "has the digest %x at entry %d, replaying the log gives %x", want, sys.Applied, got)
	}
	if err := i.apply(m, i.report.Log.Last); err != nil {
		return unlessRefused(err)
	}
	digest := fsm.Digest(m.Store().System())
	i.report.Replayed, i.report.ReplayedDigest = i.report.Log.Last, hex.EncodeToString(digest[:])
	snap := m.Store().Snapshot()
	defer snap.Close()
	_, err := check.State(snap, check.Options{
		Report: func(f store.Finding) {
			f.Key += ", as replayed"
			i.o.Report(f)
		},
		Progress: func(rows uint64) error { return i.progress(StageRows, rows, 0) },
	})
	return err
}

// errRefused says that an entry could not be applied, which was told.
var errRefused = errors.New("entry was not applied")

func unlessRefused(err error) error {
	if errors.Is(err, errRefused) {
		return nil
	}
	return err
}

// apply applies the entries up to one. A machine that panics has met what it cannot apply.
func (i *inspection) apply(m *fsm.Machine, last uint64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			i.report.Replay = ReplayDiffers
			i.fault(FaultReplay, "raft log", i.folder.Raft(), "cannot be applied after entry %d: %v", m.Applied(), p)
			err = errRefused
		}
	}()
	for next := m.Applied() + 1; next <= last; {
		var entries []fsm.LogEntry
		for ; next <= last && len(entries) < replayBatch; next++ {
			var e raft.Log
			if err := i.logs.GetLog(next, &e); err != nil {
				return fmt.Errorf("replay: %w", err)
			}
			entry := fsm.LogEntry{Index: e.Index, Term: e.Term}
			switch e.Type {
			case raft.LogCommand:
				entry.Data = e.Data
			case raft.LogConfiguration:
				entry.Configuration = e.Data
			}
			entries = append(entries, entry)
		}
		m.Apply(entries)
		if err := i.progress(StageReplay, next-1, i.report.Log.Last); err != nil {
			return err
		}
	}
	return nil
}
