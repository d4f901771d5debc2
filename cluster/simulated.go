package cluster

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
)

// A Disk stands in for the data folder of a node in memory, which can so lose power and come back. It is for simulations (DECISIONS.md
// D25): neither bbolt nor Pebble is under it. One node at a time uses it.
type Disk interface {
	// Identity is what SaveIdentity wrote last, [identity.ErrNone] on a new disk.
	Identity() (identity.Meta, error)
	// SaveIdentity writes it for good.
	SaveIdentity(identity.Meta) error
	// Logs and Stable hold log and vote. What was written outlives every crash from when the write has returned.
	Logs() raft.LogStore
	Stable() raft.StableStore
	// Rows opens the store, or makes it; the node closes it.
	Rows() (*store.Store, error)
}

// openSimulated opens what the disk has, or makes it that of a new node. The identity comes last, as in a folder.
func (n *Node) openSimulated(d Disk) (files, error) {
	o := raftlog.Options{File: raftlog.MemoryFile, OnFault: n.fatal}
	f := files{logs: raftlog.NewLogs(d.Logs(), o), stable: raftlog.NewStable(d.Stable(), o)}
	meta, err := d.Identity()
	fresh := errors.Is(err, identity.ErrNone)
	if err != nil && !fresh {
		return files{}, err
	}
	if f.rows, err = d.Rows(); err != nil {
		return files{}, err
	}
	if fresh {
		if meta, err = n.firstIdentity(); err == nil {
			err = d.SaveIdentity(meta)
		}
	}
	if err != nil {
		return files{}, errors.Join(fmt.Errorf("identity: %w", err), f.rows.Close())
	}
	n.keep(meta, f)
	return f, nil
}

// saveIdentity writes down who this node is, where it keeps anything.
func (n *Node) saveIdentity(m identity.Meta) error {
	switch {
	case !n.config.InMemory:
		return identity.Save(identity.Folder(n.config.Folder), m)
	case n.config.Disk != nil:
		return n.config.Disk.SaveIdentity(m)
	}
	return nil
}
