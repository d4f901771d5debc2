//go:build !wasip1

package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
)

// openDisk opens the data folder, or makes it that of a new node.
func (n *Node) openDisk() (files, error) {
	folder := identity.Folder(n.config.Folder)
	if err := folder.Make(); err != nil {
		return files{}, err
	}
	lock, err := identity.Acquire(folder)
	if err != nil {
		return files{}, err
	}
	n.parts.add(lock.Release)
	if err := n.openRoom(); err != nil {
		return files{}, err
	}
	meta, err := identity.Load(folder)
	fresh := errors.Is(err, identity.ErrNone)
	if err != nil && !fresh {
		return files{}, err
	}
	f, err := n.openLogs(folder, fresh)
	if err != nil {
		return files{}, err
	}
	if f.rows, err = n.openRows(folder, f, fresh); err != nil {
		return files{}, errors.Join(err, f.logs.Close(), f.stable.Close())
	}
	if fresh {
		meta, err = n.settle(folder, f.rows)
	}
	if err != nil {
		return files{}, errors.Join(err, f.rows.Close(), f.logs.Close(), f.stable.Close())
	}
	n.keep(meta, f)
	return f, nil
}

func (n *Node) openLogs(folder identity.Folder, fresh bool) (f files, err error) {
	open := raftlog.OpenBolt
	if fresh {
		open = raftlog.CreateBolt
	}
	f.logs, f.stable, err = open(folder.Raft(), n.fatal)
	if err != nil {
		err = fmt.Errorf("raft log: %w", err)
	}
	return f, err
}

// settle gives an empty folder its identity. That comes last: a first start that is cut short is simply done again.
func (n *Node) settle(folder identity.Folder, rows *store.Store) (identity.Meta, error) {
	if at := rows.System().Applied; at > 0 {
		return identity.Meta{}, fmt.Errorf("%s is missing, but the store ends at entry %d: restore the file from a copy", folder.Meta(), at)
	}
	meta, err := n.firstIdentity()
	if err != nil {
		return identity.Meta{}, err
	}
	return meta, identity.Save(folder, meta)
}

// storePause is how long the store waits between two tries of a write that fails.
const storePause = 500 * time.Millisecond

// storeOptions let the node hear of a store that fails behind its back.
func (n *Node) storeOptions() store.Options {
	o := n.config.Store
	theirs := o.OnError
	o.OnError = func(err error) {
		if theirs != nil {
			theirs(err)
		}
		n.fatal(fmt.Errorf("store: %w", err))
	}
	o.OnFull = n.storeFull
	o.Pause = func() { time.Sleep(storePause) }
	if o.OnMessage == nil {
		logger := n.config.Logger.Named("store")
		o.OnMessage = func(text string) { logger.Debug(text) }
	}
	return o
}

// storeFull frees the ballast, once: a flush cannot be refused as a command can. Without one the store fails, which ends the
// node.
func (n *Node) storeFull(path string) bool {
	n.room.Met()
	freed := n.room.FreeBallast()
	if freed {
		n.logger.Error("disk is full: the ballast is freed for the store", "file", path)
	}
	return freed
}
