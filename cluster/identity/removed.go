package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// removedName is the file with the ids of nodes that operators have removed.
const removedName = "removed"

// Removed are the ids of nodes that are not to be taken in again, in the order in which that was noted.
func (f Folder) Removed() ([]string, error) {
	text, err := os.ReadFile(f.removed())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("removed nodes: %w", err)
	}
	return strings.Fields(string(text)), nil
}

// SetRemoved writes them down: after a crash at any moment the folder has the old ones or the new ones.
func (f Folder) SetRemoved(ids []string) error {
	temp := f.removed() + ".tmp"
	if err := writeSynced(temp, []byte(strings.Join(ids, "\n")+"\n")); err != nil {
		return fmt.Errorf("removed nodes: %w", err)
	}
	if err := os.Rename(temp, f.removed()); err != nil {
		return fmt.Errorf("removed nodes: %w", err)
	}
	return syncFolder(string(f))
}

func (f Folder) removed() string { return filepath.Join(string(f), removedName) }
