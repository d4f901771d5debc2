//go:build !wasip1

package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/membership"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
)

// Recovery makes a cluster of one out of what is left of one that has lost most of its voters for good. It works on the folder of a
// node that is stopped. What the node has in its log counts as agreed upon; what the others had beyond it is lost.
//
// The cluster that comes of it has another id and lineage, and its revisions begin above all of the old one: should a node of the
// old one come back, it and this one refuse each other. Such nodes join with empty folders.
type Recovery struct {
	// Folder is the data folder.
	Folder string
	// Version of the program, written down.
	Version string
	// Random is where ids come from; Clock says when, time.Now when nil.
	Random io.Reader
	Clock  func() time.Time
	// Store are the options of the rows.
	Store store.Options
	// interrupt is called between two steps, in tests; its error ends the recovery there, as a crash would.
	interrupt func(step string) error
}

// A RecoveryRecord is what a recovery does, and in the end what it did. It stays in the folder.
type RecoveryRecord struct {
	Begun time.Time `json:"begun"`
	// Finished is zero while it is not.
	Finished time.Time `json:"finished"`
	By       string    `json:"by,omitempty"`
	NodeID   string    `json:"node_id"`
	// The cluster that was, and the one that is made of it.
	FromCluster string `json:"from_cluster_id"`
	FromLineage uint32 `json:"from_lineage"`
	ToCluster   string `json:"to_cluster_id"`
	ToLineage   uint32 `json:"to_lineage"`
	// LastTerm and LastIndex are of the newest log entry. Of several nodes the one with the highest term, and among those with the
	// highest index, has the most.
	LastTerm  uint64 `json:"last_term"`
	LastIndex uint64 `json:"last_index"`
	// Applied is where the rows ended: entries behind that were in the log alone, and may not have been agreed upon.
	Applied uint64 `json:"applied"`
	// Revision is the last one of the old cluster here, Above where those of the new one begin.
	Revision uint64 `json:"revision"`
	Above    uint64 `json:"revisions_above"`
	// Members are those of the old cluster.
	Members []RecoveredMember `json:"members"`
	// RaftLog is where the old log was moved.
	RaftLog string `json:"old_raft_log"`
}

// RecoveredMember is a member of the cluster that was.
type RecoveredMember struct {
	NodeID  string `json:"node_id"`
	Address string `json:"address"`
	Voter   bool   `json:"voter"`
}

// Plan looks at the folder and says what Run would do, which it does not.
func (r Recovery) Plan() (RecoveryRecord, error) {
	var record RecoveryRecord
	err := r.locked(func(f identity.Folder) (err error) {
		_, record, err = r.plan(f)
		return err
	})
	return record, err
}

// Run recovers. Cut short it is to be run again, and goes on where it was; no node starts in the folder before.
func (r Recovery) Run() (RecoveryRecord, error) {
	var record RecoveryRecord
	err := r.locked(func(f identity.Folder) (err error) {
		var name string
		if name, record, err = r.plan(f); err != nil {
			return err
		}
		return r.run(f, name, &record)
	})
	return record, err
}

func (r Recovery) locked(do func(identity.Folder) error) (err error) {
	folder := identity.Folder(r.Folder)
	if _, err := os.Stat(folder.Meta()); err != nil {
		return fmt.Errorf("recover: %s is not the data folder of a node: %w", r.Folder, err)
	}
	lock, err := identity.Acquire(folder)
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	if err := do(folder); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	return nil
}

func (r Recovery) now() time.Time {
	if r.Clock == nil {
		return time.Now().UTC().Truncate(time.Millisecond)
	}
	return r.Clock().UTC().Truncate(time.Millisecond)
}

// plan is a new record, or that of a recovery that was cut short.
func (r Recovery) plan(f identity.Folder) (name string, record RecoveryRecord, err error) {
	names, err := f.Recoveries()
	if err != nil {
		return "", record, err
	}
	for _, name := range names {
		text, err := f.ReadRecovery(name)
		if err != nil {
			return "", record, err
		}
		var earlier RecoveryRecord
		if err := json.Unmarshal(text, &earlier); err != nil {
			return "", record, fmt.Errorf("%s: %w", name, err)
		}
		if earlier.Finished.IsZero() {
			return name, earlier, nil
		}
	}
	record, err = r.look(f)
	name = identity.RecoveryName(record.Begun)
	record.RaftLog = f.RescuedRaft(name)
	return name, record, err
}

// look reads all of the folder. What is damaged is refused here, while nothing is changed yet.
func (r Recovery) look(f identity.Folder) (record RecoveryRecord, err error) {
	if noted, err := f.Quarantine(); err != nil || noted != "" {
		return record, errors.Join(err, fmt.Errorf("the node of %s is in quarantine (%s): recover from another one, or from a backup", f, noted))
	}
	meta, err := identity.Load(f)
	if err != nil {
		return record, err
	}
	if meta.Waits() {
		return record, fmt.Errorf("%s belongs to no cluster and has no data: start it with an empty folder", meta.NodeID)
	}
	next, err := identity.New{Name: "node", Random: r.Random, Created: r.now(), CreatedBy: r.Version}.Make()
	if err != nil {
		return record, err
	}
	record = RecoveryRecord{
		Begun: r.now(), By: r.Version, NodeID: meta.NodeID, FromCluster: meta.ClusterID, FromLineage: meta.Lineage,
		ToCluster: next.ClusterID, ToLineage: next.Lineage,
	}
	return record, r.with(f, meta, func(files files) error {
		sys := files.rows.System()
		if sys.ClusterID == "" {
			return fmt.Errorf("%s is of cluster %s and has nothing of it: remove the folder, nothing is lost with it", meta.NodeID, meta.ClusterID)
		}
		last, err := files.logs.LastIndex()
		if err != nil {
			return err
		}
		record.Applied, record.LastIndex, record.LastTerm = sys.Applied, max(last, sys.Applied), sys.Term
		members := sys.Config
		err = r.entries(files, func(log *raft.Log) {
			record.LastTerm = log.Term
			if log.Type == raft.LogConfiguration {
				members = log.Data
			}
		})
		if err != nil {
			return err
		}
		for _, s := range raft.DecodeConfiguration(members).Servers {
			record.Members = append(record.Members, RecoveredMember{NodeID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter})
		}
		record.Revision = record.LastIndex + sys.Base
		record.Above = record.Revision + RevisionLeap
		if record.Above+RevisionLeap < record.Revision {
			return fmt.Errorf("revision %d leaves no room above it", record.Revision)
		}
		return nil
	})
}

// with opens log and rows, checked as at the start of a node.
func (r Recovery) with(f identity.Folder, meta identity.Meta, do func(files) error) (err error) {
	var opened files
	opened.logs, opened.stable, err = raftlog.OpenBolt(f.Raft(), func(error) {})
	if err != nil {
		return fmt.Errorf("raft log: %w", err)
	}
	defer func() { err = errors.Join(err, opened.logs.Close(), opened.stable.Close()) }()
	if opened.rows, err = store.OpenPebble(f.Store(), r.Store); err != nil {
		return fmt.Errorf("store: %w: start the node once, it makes its store again from the log", err)
	}
	defer func() { err = errors.Join(err, opened.rows.Close()) }()
	n := &Node{config: Config{Folder: r.Folder}, logger: hclog.NewNullLogger()}
	n.meta.Store(&meta)
	if err := n.checkFiles(opened); err != nil {
		return err
	}
	return do(opened)
}

// entries are those in the log that the rows lack.
func (r Recovery) entries(f files, each func(*raft.Log)) error {
	last, err := f.logs.LastIndex()
	if err != nil {
		return err
	}
	for i := f.rows.System().Applied + 1; i <= last; i++ {
		var log raft.Log
		if err := f.logs.GetLog(i, &log); err != nil {
			return err
		}
		each(&log)
	}
	return nil
}

// run does what the record says. The cluster id in meta.json goes first, that in the rows last: in between they do not agree, and
// no node starts.
func (r Recovery) run(f identity.Folder, name string, record *RecoveryRecord) error {
	meta, err := identity.Load(f)
	if err != nil {
		return err
	}
	before := meta
	before.ClusterID, before.Lineage = record.FromCluster, record.FromLineage
	meta.ClusterID, meta.Lineage = record.ToCluster, record.ToLineage
	steps := []struct {
		what string
		do   func() error
	}{
		{"record", func() error { return r.save(f, name, *record) }},
		{"identity", func() error { return identity.Save(f, meta) }},
		{"replay", func() error { return r.replay(f, before, record) }},
		{"log", func() error { return r.newLog(f, name) }},
		{"rows", func() error { return r.adopt(f, record) }},
		{"role", func() error { return r.vote(f) }},
		{"end", func() error {
			record.Finished = r.now()
			return r.save(f, name, *record)
		}},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w: run it again", s.what, err)
		}
		if r.interrupt != nil {
			if err := r.interrupt(s.what); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r Recovery) save(f identity.Folder, name string, record RecoveryRecord) error {
	text, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	return f.SaveRecovery(name, append(text, '\n'))
}

// replay applies what is in the log alone, unless that was done before.
func (r Recovery) replay(f identity.Folder, before identity.Meta, record *RecoveryRecord) error {
	if _, err := os.Stat(record.RaftLog); err == nil {
		return nil
	}
	return r.with(f, before, func(files files) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("an entry cannot be applied: %v", p)
			}
		}()
		machine := fsm.New(files.rows)
		err = r.entries(files, func(log *raft.Log) {
			entry := fsm.LogEntry{Index: log.Index, Term: log.Term}
			switch log.Type {
			case raft.LogCommand:
				entry.Data = log.Data
			case raft.LogConfiguration:
				entry.Configuration = log.Data
			}
			machine.Apply([]fsm.LogEntry{entry})
		})
		return errors.Join(err, files.rows.Flush())
	})
}

// newLog moves the log aside and makes an empty one, as behind a snapshot that has just come in.
func (r Recovery) newLog(f identity.Folder, name string) error {
	if err := f.RescueRaft(name); err != nil {
		return err
	}
	return restoredLog(f, store.System{Applied: 1, Term: 1})
}

// adopt gives the rows to the new cluster, whose only voter this node is.
func (r Recovery) adopt(f identity.Folder, record *RecoveryRecord) (err error) {
	rows, err := store.OpenPebble(f.Store(), r.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if rows.System().ClusterID == record.ToCluster {
		return nil
	}
	address := record.NodeID
	for _, m := range record.Members {
		if m.NodeID == record.NodeID {
			address = m.Address
		}
	}
	batch := rows.Begin()
	sys := batch.System()
	sys.ClusterID, sys.Lineage = record.ToCluster, record.ToLineage
	sys.Applied, sys.Term, sys.ConfigIndex = 1, 1, 1
	sys.Base = record.Above
	sys.Config = raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{
		{Suffrage: raft.Voter, ID: raft.ServerID(record.NodeID), Address: raft.ServerAddress(address)},
	}})
	if err := batch.Commit(); err != nil {
		return err
	}
	return rows.Flush()
}

// vote makes a voter of a node that was told to be something else, and forgets who was removed from the old cluster, as this node may have been:
// those to come would remove it again.
func (r Recovery) vote(f identity.Folder) error {
	removed, err := f.Removed()
	if err == nil && len(removed) > 0 {
		err = f.SetRemoved(nil)
	}
	if err != nil {
		return err
	}
	role, err := f.Role()
	if err != nil || role == "" {
		return err
	}
	return f.SetRole(string(membership.RoleVoter))
}
