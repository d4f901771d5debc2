//go:build !wasip1

package raftlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Names of the files of a node, in the folder for them.
const (
	StableFile = "stable.db"
	FirstLog   = "log-1.db"
)

const (
	// lockTimeout is how long bbolt waits for another process to let the file go.
	lockTimeout = time.Second
	// initialMapBytes is address space, not memory: bbolt must stop all readers to grow its map.
	initialMapBytes = 1 << 30
)

// CreateBolt makes the two files of a new node in the folder, which must exist. Files that hold entries or a vote
// already are never touched: that is an error of the kind fs.ErrExist. Empty ones, left by a first start that was cut
// short, are used.
func CreateBolt(folder string, onFault func(error)) (*Logs, *Stable, error) {
	for _, name := range []string{StableFile, FirstLog} {
		if err := refuseUsed(filepath.Join(folder, name)); err != nil {
			return nil, nil, err
		}
	}
	logs, stable, err := openBoth(folder, onFault)
	if err != nil {
		return nil, nil, err
	}
	if err := syncFolder(folder); err != nil {
		return nil, nil, errors.Join(err, logs.Close(), stable.Close())
	}
	return logs, stable, nil
}

// OpenBolt opens the two files of a node that has run before. A file that is not there, or empty, is an error of the
// kind fs.ErrNotExist: starting again without the vote or the log could take back what was promised to others. A file
// that bbolt would not read, or would read as of an earlier transaction, is an error of the kind [ErrDamaged].
func OpenBolt(folder string, onFault func(error)) (*Logs, *Stable, error) {
	for _, name := range []string{StableFile, FirstLog} {
		path := filepath.Join(folder, name)
		info, err := os.Stat(path)
		if err != nil {
			return nil, nil, fmt.Errorf("raft file: %w", err)
		}
		if info.Size() == 0 {
			return nil, nil, fmt.Errorf("raft file %s is empty: %w", path, fs.ErrNotExist)
		}
	}
	return openBoth(folder, onFault)
}

func openBoth(folder string, onFault func(error)) (*Logs, *Stable, error) {
	logPath, stablePath := filepath.Join(folder, FirstLog), filepath.Join(folder, StableFile)
	log, err := openFile(logPath)
	if err != nil {
		return nil, nil, err
	}
	stable, err := openFile(stablePath)
	if err != nil {
		return nil, nil, errors.Join(err, log.Close())
	}
	return NewLogs(log, Options{File: logPath, OnFault: onFault}),
		NewStable(stable, Options{File: stablePath, OnFault: onFault}), nil
}

func openFile(path string) (store *raftboltdb.BoltStore, err error) {
	if err := checkFile(path); err != nil {
		return nil, err
	}
	g := guard{file: path}
	err = g.run("open", func() error {
		store, err = raftboltdb.New(raftboltdb.Options{
			Path: path,
			BoltOptions: &bbolt.Options{
				Timeout:         lockTimeout,
				FreelistType:    bbolt.FreelistMapType,
				NoFreelistSync:  false,
				InitialMmapSize: initialMapBytes,
			},
		})
		return err
	})
	if err != nil {
		return nil, boltError(path, "open", err)
	}
	return store, nil
}

func boltError(path, what string, err error) error {
	switch {
	case errors.Is(err, ErrDamaged):
		return err
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%s: %s: another process holds the file: %w", path, what, err)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return fmt.Errorf("%s: %s: %v: %w", path, what, err, ErrDamaged)
	}
	return fmt.Errorf("%s: %s: %w", path, what, err)
}

// refuseUsed fails unless the file is absent, empty, or a bolt file with nothing in it.
func refuseUsed(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("raft file: %w", err)
	}
	if info.Size() == 0 {
		return nil
	}
	store, err := openFile(path)
	if err != nil {
		return err
	}
	defer store.Close()
	last, err := store.LastIndex()
	if err != nil {
		return fmt.Errorf("%s: last index: %w", path, err)
	}
	if _, err := store.Get([]byte("CurrentTerm")); last > 0 || !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return fmt.Errorf("raft file %s is in use already: %w", path, fs.ErrExist)
	}
	return nil
}

func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync folder %s: %w", folder, err)
	}
	return nil
}
