package identity

import (
	"fmt"
	"os"
	"path/filepath"
)

// Names in a data folder.
const (
	metaName = "meta.json"
	lockName = "LOCK"
	raftName = "raft"
	rowsName = "store"
)

const (
	folderMode = 0o700
	fileMode   = 0o600
)

// Folder is a data folder:
//
//	meta.json   who it belongs to
//	LOCK        held while a process uses the folder
//	raft/       the log and the vote
//	store/      the state machine's rows, and what it stages
//	role        the role that the node was given by order
//	removed     the nodes that operators have removed and that could not be told
//	store.damage           a note that the rows were found damaged
//	store.damaged-<moment> damaged rows that were moved aside
//	quarantine             a note that the state was found to differ from that of the others
//	restoring   a note that the folder is being made of a backup; without meta.json that was cut short
//	ballast     room for a bad moment (package reserve)
type Folder string

// Raft is the folder for the log and the vote.
func (f Folder) Raft() string { return filepath.Join(string(f), raftName) }

// Store is the folder for the rows.
func (f Folder) Store() string { return filepath.Join(string(f), rowsName) }

// Meta is the path of meta.json.
func (f Folder) Meta() string { return filepath.Join(string(f), metaName) }

// Make makes the folder and those in it, for this user only, and leaves what is there.
func (f Folder) Make() error {
	for _, dir := range []string{string(f), f.Raft(), f.Store()} {
		if err := os.MkdirAll(dir, folderMode); err != nil {
			return fmt.Errorf("data folder: %w", err)
		}
	}
	return syncFolder(string(f))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}
