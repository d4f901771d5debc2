//go:build !wasip1

package raftlog

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// OpenReadOnly opens the two files of a stopped node to be looked at, as [OpenBolt] opens them to be used; writing to them
// is an error. Both errors may be there: what could be opened is not nil.
func OpenReadOnly(folder string) (logs *Logs, stable *Stable, logErr, stableErr error) {
	logPath, stablePath := filepath.Join(folder, FirstLog), filepath.Join(folder, StableFile)
	if log, err := lookAt(logPath); err != nil {
		logErr = err
	} else {
		logs = NewLogs(log, Options{File: logPath})
	}
	if vote, err := lookAt(stablePath); err != nil {
		stableErr = err
	} else {
		stable = NewStable(vote, Options{File: stablePath})
	}
	return logs, stable, logErr, stableErr
}

func lookAt(path string) (store *raftboltdb.BoltStore, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("raft file: %w", err)
	}
	if info.Size() == 0 {
		return nil, fmt.Errorf("raft file %s is empty: %w", path, fs.ErrNotExist)
	}
	if err := checkFile(path); err != nil {
		return nil, err
	}
	g := guard{file: path}
	err = g.run("open", func() error {
		store, err = raftboltdb.New(raftboltdb.Options{
			Path: path, BoltOptions: &bbolt.Options{Timeout: lockTimeout, ReadOnly: true},
		})
		return err
	})
	if err != nil {
		return nil, boltError(path, "open", err)
	}
	return store, nil
}
