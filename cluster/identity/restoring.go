package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// restoringName is the note that a folder is being made of a backup. Without meta.json it means that this was cut short.
const restoringName = "restoring"

// ErrRestoring says that a folder was being made of a backup, and that this did not come to its end.
var ErrRestoring = errors.New("the restore of a backup into it was not finished: restore it again")

// CheckEmpty refuses a folder that holds anything but what a restore that was cut short has left. One that is not there is empty.
func CheckEmpty(f Folder) error {
	entries, err := os.ReadDir(string(f))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("data folder: %w", err)
	}
	if _, err := os.Stat(f.Meta()); err == nil {
		return fmt.Errorf("%s is the data folder of a node: choose an empty one", f)
	}
	begun, err := restoring(f)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); name != lockName && name != "lost+found" && !begun {
			return fmt.Errorf("%s is not empty, %s is in it: choose an empty folder", f, name)
		}
	}
	return nil
}

// BeginRestore notes in an empty folder, whose lock the caller has, that it is being made of a backup, so that no node starts in it.
// What a restore that was cut short has left is cleared away.
func BeginRestore(f Folder) error {
	if err := CheckEmpty(f); err != nil {
		return err
	}
	if err := removeRestored(f); err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(string(f), restoringName), []byte("a backup is being restored into this folder\n")); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return syncFolder(string(f))
}

// EndRestore says that the folder is whole: it has its meta.json.
func EndRestore(f Folder) error {
	if err := os.Remove(filepath.Join(string(f), restoringName)); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return syncFolder(string(f))
}

// AbandonRestore leaves the folder empty again, but for its lock.
func AbandonRestore(f Folder) error {
	if err := removeRestored(f); err != nil {
		return err
	}
	return EndRestore(f)
}

// removeRestored removes what a restore makes, and nothing else.
func removeRestored(f Folder) error {
	for _, part := range []string{f.Meta(), f.Raft(), f.Store(), f.Meta() + ".tmp"} {
		if err := os.RemoveAll(part); err != nil {
			return fmt.Errorf("data folder: %w", err)
		}
	}
	return nil
}

// without is why a folder has no meta.json.
func without(f Folder) error {
	begun, err := restoring(f)
	switch {
	case err != nil:
		return err
	case begun:
		return fmt.Errorf("%s: %w", f, ErrRestoring)
	default:
		return fmt.Errorf("%s: %w", f, ErrNone)
	}
}

func restoring(f Folder) (bool, error) {
	_, err := os.Stat(filepath.Join(string(f), restoringName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("data folder: %w", err)
	}
	return true, nil
}
