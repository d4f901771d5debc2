package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Names of what tells of a damaged store.
const (
	damageName   = "store.damage"
	asidePrefix  = rowsName + ".damaged-"
	asideLayout  = "20060102T150405.000Z"
	maxNoteBytes = 4 << 10
)

// NoteDamage writes down that the store was found damaged. An earlier note stays: it is nearer to the cause.
func (f Folder) NoteDamage(text string) error {
	if known, err := f.Damage(); err == nil && known != "" {
		return nil
	}
	text = strings.ToValidUTF8(text[:min(len(text), maxNoteBytes)], "")
	if err := writeSynced(f.note(), []byte(text+"\n")); err != nil {
		return fmt.Errorf("note damage: %w", err)
	}
	return syncFolder(string(f))
}

// Damage is what was noted, empty for nothing.
func (f Folder) Damage() (string, error) {
	text, err := os.ReadFile(f.note())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("note of damage: %w", err)
	}
	noted := strings.TrimSpace(string(text))
	if noted == "" {
		noted = "it is not known how" // a crash cut the note short
	}
	return noted, nil
}

// ClearDamage removes the note.
func (f Folder) ClearDamage() error {
	if err := os.Remove(f.note()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("note of damage: %w", err)
	}
	return syncFolder(string(f))
}

func (f Folder) note() string { return filepath.Join(string(f), damageName) }

// MoveStoreAside renames the folder for the rows to `store.damaged-<moment>`, makes an empty one, and removes the note. It
// returns the new name. After a crash at any moment the rows are in either, whole as they were.
func (f Folder) MoveStoreAside(now time.Time) (string, error) {
	aside := filepath.Join(string(f), asidePrefix+now.UTC().Format(asideLayout))
	if _, err := os.Lstat(aside); err == nil {
		return "", fmt.Errorf("move the store aside: %s is there already", aside)
	}
	if err := os.Rename(f.Store(), aside); err != nil {
		return "", fmt.Errorf("move the store aside: %w", err)
	}
	if err := f.Make(); err != nil {
		return "", err
	}
	return aside, f.ClearDamage()
}

// MovedAside are the damaged stores that nobody has removed yet.
func (f Folder) MovedAside() ([]string, error) {
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return nil, fmt.Errorf("damaged stores: %w", err)
	}
	var paths []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), asidePrefix) {
			paths = append(paths, filepath.Join(string(f), e.Name()))
		}
	}
	return paths, nil
}
