package backups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/backup"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// A Folder holds the backups of one cluster and lineage, as files:
//
//	full-<lineage>-<revision>.mgb             the state at a revision, 16 hexadecimal digits
//	log-<lineage>-<revision>-<revision>.mgb   the entries after one revision up to another
//	.backup-…                                 what is not whole; gone when somebody follows into the folder again
//	LOCK                                      held by who follows into it
type Folder string

var backupName = regexp.MustCompile(`^(full-[0-9a-f]{8}-[0-9a-f]{16}|log-[0-9a-f]{8}-[0-9a-f]{16}-[0-9a-f]{16})\.mgb$`)

// nameOf is the name of a file in a folder.
func nameOf(f backup.File) string {
	if f.Header.Kind == pb.BackupKind_BACKUP_KIND_FULL {
		return fmt.Sprintf("full-%s-%016x.mgb", f.Header.Lineage, f.Header.Revision)
	}
	return fmt.Sprintf("log-%s-%016x-%016x.mgb", f.Header.Lineage, f.Header.Revision, f.Trailer.Revision)
}

// A Damaged file is one that does not begin or end as it should.
type Damaged struct {
	Name string
	Err  error
}

// Files are the backups in the folder by what they say of themselves, in the order of their names; and those that say nothing.
// Other files are none of its business. A folder that is not there has none.
func (f Folder) Files() (files []backup.File, damaged []Damaged, err error) {
	entries, err := os.ReadDir(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("folder of backups: %w", err)
	}
	for _, e := range entries {
		if !backupName.MatchString(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		file, err := Look(filepath.Join(string(f), e.Name()))
		if err != nil {
			damaged = append(damaged, Damaged{e.Name(), err})
			continue
		}
		files = append(files, file)
	}
	return files, damaged, nil
}

// Look reads what a file says of itself. Its name is the path.
func Look(path string) (backup.File, error) {
	in, err := os.Open(path)
	if err != nil {
		return backup.File{}, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return backup.File{}, err
	}
	header, trailer, err := backup.Ends(in, info.Size())
	if err != nil {
		return backup.File{}, fmt.Errorf("%s: %w", path, err)
	}
	return backup.File{Name: path, Header: header, Trailer: trailer}, nil
}

// clear removes what a process that was killed has left.
func (f Folder) clear() error {
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return fmt.Errorf("folder of backups: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporaryPrefix) && e.Type().IsRegular() {
			if err := os.Remove(filepath.Join(string(f), e.Name())); err != nil {
				return fmt.Errorf("folder of backups: %w", err)
			}
		}
	}
	return nil
}
