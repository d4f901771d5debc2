package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// quarantineName is the file that says that the state in this folder is wrong.
const quarantineName = "quarantine"

// NoteQuarantine writes down why the state in this folder must not be used any more. An earlier note stays.
func (f Folder) NoteQuarantine(text string) error {
	if known, err := f.Quarantine(); err == nil && known != "" {
		return nil
	}
	text = strings.ToValidUTF8(text[:min(len(text), maxNoteBytes)], "")
	if err := writeSynced(f.quarantine(), []byte(text+"\n")); err != nil {
		return fmt.Errorf("note of quarantine: %w", err)
	}
	return syncFolder(string(f))
}

// Quarantine is what was noted, empty for nothing.
func (f Folder) Quarantine() (string, error) {
	text, err := os.ReadFile(f.quarantine())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("note of quarantine: %w", err)
	}
	noted := strings.TrimSpace(string(text))
	if noted == "" {
		noted = "it is not known why" // a crash cut the note short
	}
	return noted, nil
}

func (f Folder) quarantine() string { return filepath.Join(string(f), quarantineName) }
