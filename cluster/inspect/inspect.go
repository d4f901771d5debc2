//go:build !wasip1

// Package inspect verifies the data folder of a node that is stopped.
//
// It reads everything: meta.json, every page and entry of the Raft log and the vote, every block of every file of the store,
// every row; and holds all of it against each other. It may replay the log into an empty store and compare what comes out. It
// promises to write nothing into the folder but the locks, to need a memory that does not grow with it, and to go on after
// what it finds. It repairs nothing.
package inspect

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/check"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
)

// The faults that come on top of those of a state.
const (
	// FaultIdentity: files are of different nodes, or do not say of which.
	FaultIdentity store.Fault = "identity"
	// FaultLog: an entry of the Raft log, or the vote, is not what was written. FaultGap: entries are not there.
	FaultLog store.Fault = "log"
	FaultGap store.Fault = "log-gap"
	// FaultReplay: the log leads to another state.
	FaultReplay store.Fault = "replay"
)

// ErrNotChecked is wrapped by errors that say why nothing was checked.
var ErrNotChecked = errors.New("nothing was checked")

// Stages of an inspection, for Options.Progress.
const (
	StageLog    = "log"
	StageFiles  = "files"
	StageRows   = "rows"
	StageReplay = "replay"
)

// Options of an inspection.
type Options struct {
	// Report hears of each finding, once. It must be set.
	Report func(store.Finding)
	// Progress hears how far a stage is: of entries, bytes or rows; total is 0 where it is not known. Its error ends the
	// inspection. nil is not asked.
	Progress func(stage string, done, total uint64) error
	// Replay applies the log to an empty store in a folder of its own in Scratch, which is removed in the end.
	Replay  bool
	Scratch string
	// CacheBytes bounds the cache of blocks, 0 for a small one.
	CacheBytes int64
}

// Log is what an inspection has read of the Raft log.
type Log struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// Entries that could be read, and their bytes.
	Entries uint64 `json:"entries"`
	Bytes   uint64 `json:"bytes"`
	Term    uint64 `json:"term"`
}

// Replay says what a replay came to.
type Replay string

// The outcomes of a replay.
const (
	ReplayNotAsked Replay = "not asked for"
	ReplayTooShort Replay = "not possible: the log was cut, it no longer begins with the first entry"
	ReplayBroken   Replay = "not possible: log or store cannot be read"
	ReplayEqual    Replay = "the same state"
	ReplayDiffers  Replay = "another state"
)

// Report is what an inspection has found out besides findings.
type Report struct {
	Folder    string `json:"folder"`
	ClusterID string `json:"cluster_id"`
	NodeID    string `json:"node_id"`
	Log       Log    `json:"log"`
	// Applied is the last entry in the store. The node applies those after it when it starts.
	Applied  uint64 `json:"applied"`
	Revision uint64 `json:"revision"`
	// Digest is that of the replicated state in the store.
	Digest string        `json:"digest"`
	Files  int           `json:"files"`
	Bytes  int64         `json:"bytes"`
	Rows   store.Checked `json:"rows"`
	Replay Replay        `json:"replay"`
	// Replayed is the last entry that was replayed, ReplayedDigest the digest at it.
	Replayed       uint64 `json:"replayed,omitempty"`
	ReplayedDigest string `json:"replayed_digest,omitempty"`
	// Leftovers are files of no use, which the node clears away when it starts.
	Leftovers []string `json:"leftovers,omitempty"`
}

// Folder inspects a data folder. The error is that of Progress, or wraps [ErrNotChecked]: the folder is in use or is none.
func Folder(path string, o Options) (Report, error) {
	folder := identity.Folder(path)
	if err := isNode(folder); err != nil {
		return Report{}, fmt.Errorf("%w: %w", err, ErrNotChecked)
	}
	lock, err := identity.Acquire(folder)
	if err != nil {
		return Report{}, fmt.Errorf("%w: %w", err, ErrNotChecked)
	}
	i := &inspection{o: o, folder: folder}
	i.report.Folder, i.report.Replay = path, ReplayNotAsked
	err = i.all()
	return i.report, errors.Join(err, lock.Release())
}

// isNode refuses what was never the folder of a node, before a lock is made in it.
func isNode(folder identity.Folder) error {
	info, err := os.Stat(string(folder))
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no folder", folder)
	}
	for _, part := range []string{folder.Meta(), folder.Raft(), folder.Store()} {
		if _, err := os.Stat(part); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("%s is the data folder of no node: neither meta.json nor raft nor store is in it", folder)
}

// inspection is one under way.
type inspection struct {
	o      Options
	folder identity.Folder
	report Report

	meta   identity.Meta
	logs   *raftlog.Logs
	stable *raftlog.Stable
	// broken: an entry of the log could not be read, so that it cannot be replayed.
	broken bool
}

func (i *inspection) fault(fault store.Fault, space, key, format string, args ...any) {
	i.o.Report(store.Finding{Fault: fault, Space: space, Key: key, Problem: fmt.Sprintf(format, args...)})
}

func (i *inspection) progress(stage string, done, total uint64) error {
	if i.o.Progress == nil {
		return nil
	}
	return i.o.Progress(stage, done, total)
}

func (i *inspection) all() (err error) {
	i.identify()
	logs, stable, logErr, stableErr := raftlog.OpenReadOnly(i.folder.Raft())
	i.logs, i.stable = logs, stable
	for _, err := range []error{logErr, stableErr} {
		if err != nil {
			i.broken = true
			i.fault(store.FaultFile, "raft file", i.folder.Raft(), "%v", err)
		}
	}
	defer func() { err = errors.Join(err, i.close()) }()
	if err := i.entries(); err != nil {
		return err
	}
	i.vote()
	rows, err := store.OpenReadOnly(i.folder.Store(), i.storeOptions())
	if err != nil {
		i.fault(store.FaultFile, "store file", i.folder.Store(), "%v", err)
		if i.o.Replay {
			i.report.Replay = ReplayBroken
		}
		return nil
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	return i.rows(rows)
}

func (i *inspection) close() error {
	var errs []error
	if i.logs != nil {
		errs = append(errs, i.logs.Close())
	}
	if i.stable != nil {
		errs = append(errs, i.stable.Close())
	}
	return errors.Join(errs...)
}

func (i *inspection) identify() {
	meta, err := identity.Load(i.folder)
	if err != nil {
		i.fault(FaultIdentity, "identity", i.folder.Meta(), "%v", err)
		return
	}
	i.meta = meta
	i.report.ClusterID, i.report.NodeID = meta.ClusterID, meta.NodeID
}

// cacheBytes is the cache of blocks of a store that is read once from end to end.
const cacheBytes = 64 << 20

func (i *inspection) storeOptions() store.Options {
	o := store.Options{CacheBytes: i.o.CacheBytes, MemTableBytes: 1 << 20}
	if o.CacheBytes == 0 {
		o.CacheBytes = cacheBytes
	}
	return o
}

// rows inspects the store, and how it fits the log.
func (i *inspection) rows(rows *store.Store) error {
	sys := rows.System()
	digest := fsm.Digest(sys)
	i.report.Applied, i.report.Revision, i.report.Digest = sys.Applied, uint64(fsm.Revision(sys)), hex.EncodeToString(digest[:])
	i.joins(sys)
	files, err := rows.CheckFiles(store.FileCheck{
		Report:   i.o.Report,
		Progress: func(bytes int64) error { return i.progress(StageFiles, uint64(bytes), 0) },
	})
	i.report.Files, i.report.Bytes, i.report.Leftovers = files.Files, files.Bytes, files.Leftovers
	if err != nil {
		return err
	}
	snap := rows.Snapshot()
	defer snap.Close()
	i.report.Rows, err = check.State(snap, check.Options{
		Report:   i.o.Report,
		Progress: func(rows uint64) error { return i.progress(StageRows, rows, 0) },
	})
	if err != nil || !i.o.Replay {
		return err
	}
	return i.replay(sys)
}

// joins holds the store against log and identity.
func (i *inspection) joins(sys store.System) {
	key := i.folder.Store()
	if sys.ClusterID != "" && i.meta.ClusterID != "" && sys.ClusterID != i.meta.ClusterID {
		i.fault(FaultIdentity, "store", key, "is of cluster %s, meta.json of %s: the folders of two nodes were mixed", sys.ClusterID, i.meta.ClusterID)
	}
	if sys.FeatureLevel > fsm.FeatureLevel {
		i.fault(FaultIdentity, "store", key, "has feature level %d, this release knows %d", sys.FeatureLevel, fsm.FeatureLevel)
	}
	members, err := decodeMembers(sys.Config)
	if err != nil {
		i.fault(store.FaultValue, "store", key, "members as of entry %d: %v", sys.ConfigIndex, err)
	}
	if sys.ConfigIndex > sys.Applied {
		i.fault(FaultLog, "store", key, "has members as of entry %d, but ends at entry %d", sys.ConfigIndex, sys.Applied)
	}
	if i.logs == nil {
		return
	}
	log := i.report.Log
	// Only what comes from others can be ahead of a node's own log.
	alone := sys.Base == 0 && len(members.Servers) == 1
	switch {
	case log.First > sys.Applied+1:
		i.fault(FaultGap, "store", key, "ends at entry %d, the log begins at entry %d", sys.Applied, log.First)
	case alone && log.Last < sys.Applied:
		i.fault(FaultGap, "store", key, "ends at entry %d, the log at entry %d", sys.Applied, log.Last)
	case log.First <= sys.Applied && sys.Applied <= log.Last && sys.Applied > 0:
		var entry raft.Log
		if err := i.logs.GetLog(sys.Applied, &entry); err == nil && entry.Term != sys.Term {
			i.fault(FaultLog, "store", key, "has entry %d of term %d, in the log it is of term %d", sys.Applied, sys.Term, entry.Term)
		}
	}
}

func decodeMembers(b []byte) (c raft.Configuration, err error) {
	if len(b) == 0 {
		return c, nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v: %w", p, store.ErrDamaged)
		}
	}()
	return raft.DecodeConfiguration(b), nil
}
