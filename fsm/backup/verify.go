package backup

import (
	"fmt"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/check"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Verify reads a full backup into an empty store, and holds every record against every other as `memory-graph check` does. Findings
// go to report; an error means that the file is not whole, or that of progress. The store is the caller's to throw away.
func Verify(b *Reader, s *store.Store, report func(store.Finding), progress func(bytes int64) error) (store.Checked, error) {
	if _, err := Load(b, s, progress); err != nil {
		return store.Checked{}, err
	}
	snap := s.Snapshot()
	defer snap.Close()
	return check.State(snap, check.Options{Report: report, Progress: func(uint64) error {
		if progress == nil {
			return nil
		}
		return progress(b.Offset())
	}})
}

// VerifyEntries reads an increment and sees that a replica could apply every entry.
func VerifyEntries(b *Reader, progress func(bytes int64) error) (*pb.BackupTrailer, error) {
	return b.Entries(func(e *pb.BackupEntry) error {
		if progress != nil {
			if err := progress(b.Offset()); err != nil {
				return err
			}
		}
		if err := fsm.VerifyEntry(e.Data); err != nil {
			return b.placed(fmt.Errorf("entry at revision %d: %w: %w", e.Revision, err, ErrDamaged))
		}
		return nil
	})
}
