package identity

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Names of what a recovery leaves in a data folder: what it did, and the Raft log as it was.
const (
	recoveryPrefix = "recovery-"
	recoverySuffix = ".json"
	rescuedPrefix  = raftName + ".before-recovery-"
)

// RecoveryName is the name of a record that is begun now. Names sort by time.
func RecoveryName(now time.Time) string {
	return recoveryPrefix + now.UTC().Format(asideLayout) + recoverySuffix
}

// Recoveries are the names of the records of recoveries, the oldest first.
func (f Folder) Recoveries() ([]string, error) {
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return nil, fmt.Errorf("records of recoveries: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), recoveryPrefix) && strings.HasSuffix(e.Name(), recoverySuffix) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// ReadRecovery reads a record.
func (f Folder) ReadRecovery(name string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(string(f), name))
	if err != nil {
		return nil, fmt.Errorf("record of a recovery: %w", err)
	}
	return text, nil
}

// SaveRecovery replaces a record: after a crash at any moment there is the old one or the new one, whole.
func (f Folder) SaveRecovery(name string, text []byte) error {
	path := filepath.Join(string(f), name)
	if err := writeSynced(path+".tmp", text); err != nil {
		return fmt.Errorf("record of a recovery: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("record of a recovery: %w", err)
	}
	return syncFolder(string(f))
}

// RescuedRaft is where the Raft log lies as it was before the recovery of a record.
func (f Folder) RescuedRaft(record string) string {
	moment := strings.TrimSuffix(strings.TrimPrefix(record, recoveryPrefix), recoverySuffix)
	return filepath.Join(string(f), rescuedPrefix+moment)
}

// RescueRaft moves the Raft log aside, unless the recovery of this record has done so, and leaves an empty folder in its place.
func (f Folder) RescueRaft(record string) error {
	aside := f.RescuedRaft(record)
	_, err := os.Lstat(aside)
	if errors.Is(err, os.ErrNotExist) {
		err = os.Rename(f.Raft(), aside)
	} else if err == nil {
		err = os.RemoveAll(f.Raft()) // what a recovery that was cut short had begun
	}
	if err != nil {
		return fmt.Errorf("move the raft log aside: %w", err)
	}
	return f.Make()
}
