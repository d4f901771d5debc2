package backups

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/backup"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// increments writes entries into one file after another.
type increments struct {
	follower *Follower
	// place is where the last file ended.
	place place
	file  *os.File // nil while there is nothing to write
	out   *backup.Writer
	head  *pb.BackupHeader
}

// take writes entries, and ends a file that is large enough.
func (w *increments) take(entries []*pb.BackupEntry) error {
	for _, e := range entries {
		if w.file == nil {
			if err := w.begin(); err != nil {
				return err
			}
		}
		if err := w.out.Entry(e); err != nil {
			return err
		}
	}
	if w.file != nil && w.out.Bytes()+int64(w.out.Pending()) >= w.follower.Bytes {
		return w.finish()
	}
	return nil
}

func (w *increments) begin() error {
	file, err := os.CreateTemp(string(w.follower.Folder), temporaryPrefix+"*")
	if err != nil {
		return err
	}
	w.head = &pb.BackupHeader{
		Kind: pb.BackupKind_BACKUP_KIND_INCREMENT, ClusterId: w.place.full.ClusterId, Lineage: w.place.full.Lineage, Revision: w.place.revision,
		FeatureLevel: w.place.full.FeatureLevel, Instant: w.place.instant, Created: timestamppb.New(time.Now()), CreatedBy: w.follower.Version,
	}
	out, err := backup.NewWriter(file, w.head)
	if err != nil {
		return errors.Join(err, file.Close(), os.Remove(file.Name()))
	}
	w.file, w.out = file, out
	return nil
}

// finish ends the file at hand, which appears in the folder; without one it does nothing.
func (w *increments) finish() error {
	if w.file == nil {
		return nil
	}
	file := w.file
	w.file = nil
	trailer, err := w.out.Close()
	if err = errors.Join(err, finish(file, err == nil)); err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	done := backup.File{Header: w.head, Trailer: trailer}
	done.Name = filepath.Join(string(w.follower.Folder), nameOf(done))
	if err := appear(file.Name(), done.Name); err != nil {
		return err
	}
	w.place.revision, w.place.instant = trailer.Revision, trailer.Instant
	w.follower.took(done)
	return nil
}
