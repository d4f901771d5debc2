package cluster

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
)

// files are what a node keeps, on disk or in memory.
type files struct {
	logs   *raftlog.Logs
	stable *raftlog.Stable
	rows   *store.Store
}

// Keys that hashicorp/raft keeps in the stable store.
const keyCurrentTerm = "CurrentTerm"

// openFiles opens or makes what the node keeps.
func (n *Node) openFiles() (files, error) {
	if !n.config.InMemory {
		return n.openDisk()
	}
	if n.config.Disk != nil {
		return n.openSimulated(n.config.Disk)
	}
	meta, err := n.firstIdentity()
	if err != nil {
		return files{}, err
	}
	if n.config.measureRoom != nil {
		if err := n.openRoom(); err != nil {
			return files{}, err
		}
	}
	logs, stable := raftlog.NewMemory(n.fatal)
	f := files{logs: logs, stable: stable, rows: store.OpenMemory()}
	n.keep(meta, f)
	return f, nil
}

// keep hangs the files on the node, which closes them from now on.
func (n *Node) keep(meta identity.Meta, f files) {
	n.meta.Store(&meta)
	n.logs = f.logs
	n.machine = fsm.New(f.rows)
	if n.config.Peers != nil {
		n.machine.SetName(meta.NodeID)
	}
	n.snapshots = newSnapshots(f.rows)
	n.snapshots.unfit = n.Quarantine
	n.marks = &marks{upTo: n.machine.Applied()}
	n.replica = &replica{machine: n.machine, events: n.config.Events, fatal: n.fatal, appended: f.logs.AppendedBytes, sent: n.sent, skipped: n.sendAgain, heard: n.hear, marks: n.marks}
	n.parts.add(f.stable.Close)
	n.parts.add(f.logs.Close)
	n.parts.add(n.machine.Close)
	n.parts.add(n.snapshots.drop)
}

func (n *Node) newIdentity() (identity.Meta, error) {
	name := n.config.Name
	if name == "" {
		name = "node"
	}
	return identity.New{Name: name, Random: n.config.Random, Created: n.config.Clock(), CreatedBy: n.config.Version}.Make()
}

// firstIdentity is that of an empty folder: of a cluster of its own, or, with a port, of none yet.
func (n *Node) firstIdentity() (identity.Meta, error) {
	meta, err := n.newIdentity()
	if n.config.Peers != nil {
		meta.ClusterID, meta.Lineage = "", 0
	}
	return meta, err
}

// checkFiles sees that log and rows are whole and belong together. Damage of either is not repaired by starting over:
// what was promised to clients, and later to other nodes, would be taken back (DECISIONS.md D21).
func (n *Node) checkFiles(f files) error {
	sys := f.rows.System()
	if sys.ClusterID != "" && sys.ClusterID != n.Identity().ClusterID {
		return fmt.Errorf("store is of cluster %s, %s says %s: the folders of two nodes were mixed", sys.ClusterID, n.config.Folder, n.Identity().ClusterID)
	}
	if sys.FeatureLevel > fsm.FeatureLevel {
		return fmt.Errorf("store has feature level %d, this release knows %d: start a later release", sys.FeatureLevel, fsm.FeatureLevel)
	}
	first, err := f.logs.FirstIndex()
	if err != nil {
		return err
	}
	durable, err := remembered(f.stable, raftlog.KeyDurable)
	if err != nil {
		return err
	}
	if first > sys.Applied+1 {
		return fmt.Errorf("log begins at entry %d, store ends at entry %d (it was durable up to entry %d): the entries between are lost; restore a backup", first, sys.Applied, durable)
	}
	if _, err := f.logs.Verify(sys.Applied); err != nil {
		return fmt.Errorf("log is not whole; restore a backup: %w", err)
	}
	if err := n.checkEnds(f, sys.Applied, durable); err != nil {
		return err
	}
	term, err := f.stable.GetUint64([]byte(keyCurrentTerm))
	if err != nil && !errors.Is(err, raftlog.ErrKeyNotFound) {
		return err
	}
	if term == 0 && (first > 0 || sys.Applied > 0) {
		return fmt.Errorf("vote file has no term, but the log begins at entry %d and the store ends at entry %d: restore a backup", first, sys.Applied)
	}
	return nil
}

// checkEnds compares where log and rows end with what is remembered: rot at the end of either would look as if it had never
// been longer. Rows that went back are made good by the log. A log that is shorter than the rows was synced once, and is
// damaged, unless a snapshot that came in went past it.
func (n *Node) checkEnds(f files, applied, durable uint64) error {
	last, err := f.logs.LastIndex()
	if err != nil {
		return err
	}
	installed, err := remembered(f.stable, raftlog.KeyInstalled)
	if err != nil {
		return err
	}
	if err := reaches(f, last, durable, installed); err != nil {
		return err
	}
	if applied > last && installed <= last {
		return fmt.Errorf("%s ends at entry %d, but the store has entry %d, which was in it before: restore a backup: %w", f.logs.File(), last, applied, raftlog.ErrDamaged)
	}
	if applied < durable {
		n.logger.Error("store has lost rows that were durable: its MANIFEST is damaged; they are made again from the log", "folder", n.config.Folder, "ends_at", applied, "was_durable_to", durable)
		n.config.Events.rebuilt("", fmt.Errorf("store ends at entry %d, it was durable up to entry %d: %w", applied, durable, store.ErrDamaged))
	}
	return nil
}

// reaches sees that the log goes as far as rows were durable, which were made of it: what is gone of it was synced. A snapshot
// that came in leaves no entries up to its end.
func reaches(f files, last, durable, installed uint64) error {
	if last < durable && installed <= last {
		return fmt.Errorf("%s ends at entry %d, but the store was durable up to entry %d, which was in it before: restore a backup: %w", f.logs.File(), last, durable, raftlog.ErrDamaged)
	}
	return nil
}

// remembered reads an index that a replica remembered, 0 for none.
func remembered(stable *raftlog.Stable, key string) (uint64, error) {
	index, err := stable.GetUint64([]byte(key))
	if errors.Is(err, raftlog.ErrKeyNotFound) {
		return 0, nil
	}
	return index, err
}

// begin makes the first entry of a new cluster, of which this node is the only voter; a node with a port waits for Found or Adopt
// instead. It does nothing when the log has an entry, and can be done again when a first start was cut short.
func (n *Node) begin(logs raft.LogStore, stable raft.StableStore) error {
	if n.peers != nil {
		return n.resumeJoining(logs, stable)
	}
	if n.Identity().Waits() {
		return fmt.Errorf("%s is of a node that waits for a cluster: start it with its peer port", n.config.Folder)
	}
	return n.foundAlone(logs, stable)
}

func (n *Node) foundAlone(logs raft.LogStore, stable raft.StableStore) error {
	last, err := logs.LastIndex()
	if err != nil {
		return err
	}
	if last > 0 || n.machine.Applied() > 0 {
		return nil
	}
	id := raft.ServerID(n.Identity().NodeID)
	members := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: id, Address: raft.ServerAddress(id)}}}
	if err := stable.SetUint64([]byte(keyCurrentTerm), 1); err != nil {
		return fmt.Errorf("found cluster: %w", err)
	}
	entry := &raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(members)}
	if err := logs.StoreLog(entry); err != nil {
		return fmt.Errorf("found cluster: %w", err)
	}
	return nil
}
