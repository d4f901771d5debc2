package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// roleName is the file with the role that a node was given by order.
const roleName = "role"

// maxRoleBytes bounds a role.
const maxRoleBytes = 63

// Role is the role that the node was given by order, empty for none: then it has the one that it is started with.
func (f Folder) Role() (string, error) {
	text, err := os.ReadFile(f.role())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("role: %w", err)
	}
	role, whole := strings.CutSuffix(string(text), "\n")
	if !whole || !namePattern.MatchString(role) {
		return "", fmt.Errorf("%s: %q is no role: remove the file, and give the node its role again: %w", f.role(), text[:min(len(text), maxRoleBytes)], ErrDamaged)
	}
	return role, nil
}

// SetRole writes the role down: after a crash at any moment the folder has the old one or the new one.
func (f Folder) SetRole(role string) error {
	if !namePattern.MatchString(role) {
		return fmt.Errorf("role %q: want a word of a-z", role)
	}
	temp := f.role() + ".tmp"
	if err := writeSynced(temp, []byte(role+"\n")); err != nil {
		return fmt.Errorf("role: %w", err)
	}
	if err := os.Rename(temp, f.role()); err != nil {
		return fmt.Errorf("role: %w", err)
	}
	return syncFolder(string(f))
}

func (f Folder) role() string { return filepath.Join(string(f), roleName) }
