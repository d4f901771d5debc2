//go:build !wasip1

package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// RevisionLeap is how far the revisions of a restored graph begin above the highest that anybody knows of its source (DECISIONS.md
// D5). The source may have gone on after its backup: at 100,000 entries a second it needs 127 days to come so far.
const RevisionLeap = 1 << 40

// Restore is what a data folder is made with from a backup.
type Restore struct {
	// Folder is empty or not there.
	Folder string
	// Name is the first part of the node id, as in Config.
	Name string
	// Version of the program, written down in the folder.
	Version string
	// Random is where ids come from; Clock says when, time.Now when nil.
	Random io.Reader
	Clock  func() time.Time
	// Store are the options of the rows.
	Store store.Options
	// Fill fills an empty store with the state, still that of its source, and returns the highest revision that the source is known
	// to have given.
	Fill func(*store.Store) (issued graph.Revision, err error)
}

// Restored is what became of a restore.
type Restored struct {
	Identity identity.Meta
	// Source is the state as it was filled in, with cluster id, lineage and revision of its source; System what it is now.
	Source, System store.System
}

// Run makes the folder that of the only voter of a new cluster: the graph is that of the source, with its keys, under another cluster id and
// lineage, and its revisions begin above all of the source. Until it is whole no node starts in the folder; when something goes
// wrong the folder is left empty.
func (r Restore) Run() (done Restored, err error) {
	folder := identity.Folder(r.Folder)
	if err := errors.Join(identity.CheckEmpty(folder), os.MkdirAll(r.Folder, 0o700)); err != nil {
		return done, fmt.Errorf("restore: %w", err)
	}
	lock, err := identity.Acquire(folder)
	if err != nil {
		return done, fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	if err := identity.BeginRestore(folder); err != nil {
		return done, fmt.Errorf("restore: %w", err)
	}
	if done, err = r.into(folder); err != nil {
		return done, errors.Join(fmt.Errorf("restore: %w", err), identity.AbandonRestore(folder))
	}
	return done, identity.EndRestore(folder)
}

func (r Restore) into(folder identity.Folder) (done Restored, err error) {
	clock := r.Clock
	if clock == nil {
		clock = time.Now
	}
	meta, err := identity.New{Name: r.Name, Random: r.Random, Created: clock(), CreatedBy: r.Version}.Make()
	if err != nil {
		return done, err
	}
	if err := folder.Make(); err != nil {
		return done, err
	}
	if done, err = r.rows(folder, meta); err != nil {
		return done, err
	}
	if err := restoredLog(folder, done.System); err != nil {
		return done, err
	}
	done.Identity = meta
	return done, identity.Save(folder, meta)
}

// rows fills the store, and gives what is in it to the new cluster.
func (r Restore) rows(folder identity.Folder, meta identity.Meta) (done Restored, err error) {
	rows, err := store.OpenPebble(folder.Store(), r.Store)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	issued, err := r.Fill(rows)
	if err != nil {
		return done, err
	}
	done.Source = rows.System()
	issued = max(issued, fsm.Revision(done.Source))
	if issued+2*RevisionLeap < issued {
		return done, fmt.Errorf("revision %d of the source leaves no room above it", issued)
	}
	batch := rows.Begin()
	sys := batch.System()
	sys.ClusterID, sys.Lineage = meta.ClusterID, meta.Lineage
	// The log begins anew: what is here is as if a snapshot had brought it, at its first index.
	sys.Applied, sys.Term, sys.ConfigIndex = 1, 1, 1
	sys.Base = uint64(issued) + RevisionLeap
	sys.Config = raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{
		{Suffrage: raft.Voter, ID: raft.ServerID(meta.NodeID), Address: raft.ServerAddress(meta.NodeID)},
	}})
	done.System = *sys
	if err := batch.Commit(); err != nil {
		return done, err
	}
	return done, rows.Flush()
}

// restoredLog makes an empty log behind the state. It must not begin with the first entry: a node that joins would replay it, and
// lack all that was restored.
func restoredLog(folder identity.Folder, sys store.System) (err error) {
	logs, stable, err := raftlog.CreateBolt(folder.Raft(), func(error) {})
	if err != nil {
		return fmt.Errorf("raft log: %w", err)
	}
	defer func() { err = errors.Join(err, logs.Close(), stable.Close()) }()
	for _, v := range []struct {
		key   string
		value uint64
	}{{keyCurrentTerm, sys.Term}, {raftlog.KeyInstalled, sys.Applied}, {raftlog.KeyDurable, sys.Applied}} {
		if err := stable.SetUint64([]byte(v.key), v.value); err != nil {
			return fmt.Errorf("raft log: %w", err)
		}
	}
	return nil
}
