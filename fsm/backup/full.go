package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// About is what a header says besides the state.
type About struct {
	NodeID, CreatedBy string
	Created           time.Time
}

// HeaderOf is the header of a full backup of a state.
func HeaderOf(sys store.System, a About) *pb.BackupHeader {
	digest := fsm.Digest(sys)
	return &pb.BackupHeader{
		Kind: pb.BackupKind_BACKUP_KIND_FULL, ClusterId: sys.ClusterID, Lineage: formatLineage(sys.Lineage),
		Revision: uint64(fsm.Revision(sys)), FeatureLevel: sys.FeatureLevel, Instant: graph.Timestamp(sys.Instant),
		NodeId: a.NodeID, Digest: digest[:], Created: timestamppb.New(a.Created), CreatedBy: a.CreatedBy,
	}
}

func formatLineage(l uint32) string { return fmt.Sprintf("%08x", l) }

// Full writes a full backup of a snapshot. It needs a memory of a few blocks.
func Full(w io.Writer, snap *store.Snapshot, a About) (*pb.BackupTrailer, error) {
	b, err := NewWriter(w, HeaderOf(snap.System(), a))
	if err != nil {
		return nil, err
	}
	if err := snap.Records(b.record); err != nil {
		return nil, err
	}
	return b.Close()
}

// count counts a record as what it is.
func count(t *pb.BackupTrailer, r *logpb.StateRecord) {
	t.Records++
	switch r := r.Record.(type) {
	case *logpb.StateRecord_Node:
		t.Nodes++
	case *logpb.StateRecord_Edge:
		t.Edges++
	case *logpb.StateRecord_Session:
		t.Sessions++
	case *logpb.StateRecord_Events:
		t.Events += uint64(len(r.Events.Events))
	case *logpb.StateRecord_Outcome:
		t.Outcomes++
	}
}

func sameCounts(a, b *pb.BackupTrailer) bool {
	return a.Records == b.Records && a.Nodes == b.Nodes && a.Edges == b.Edges && a.Sessions == b.Sessions && a.Events == b.Events &&
		a.Outcomes == b.Outcomes && a.Entries == b.Entries && a.Commands == b.Commands
}

// Load fills an empty store with a full backup, and returns the state, still that of its source. Until all was read and found to be
// whole the store counts as empty; one into which a load has failed is good for nothing. progress hears of the bytes that
// were read, and its error ends the load; nil is not asked.
func Load(b *Reader, s *store.Store, progress func(bytes int64) error) (store.System, error) {
	h := b.Header()
	if h.FeatureLevel > fsm.FeatureLevel {
		return store.System{}, fmt.Errorf("backup has feature level %d, this release knows %d: %w", h.FeatureLevel, fsm.FeatureLevel, ErrVersion)
	}
	l, err := s.Load()
	if err != nil {
		return store.System{}, err
	}
	defer l.Close()
	trailer, err := b.records(func(r *logpb.StateRecord) error {
		if progress != nil && b.count.Records%1024 == 0 {
			if err := progress(b.Offset()); err != nil {
				return err
			}
		}
		return l.Put(r)
	})
	if err != nil {
		return store.System{}, err
	}
	if err := l.Check(); err != nil {
		return store.System{}, fmt.Errorf("the backup file as a whole: %v: %w", err, ErrDamaged)
	}
	if err := agree(h, trailer, l); err != nil {
		return store.System{}, fmt.Errorf("the backup file as a whole: %v: %w", err, ErrDamaged)
	}
	if err := l.Commit(); err != nil {
		return store.System{}, err
	}
	return l.System(), nil
}

// agree sees that header and trailer tell of what was read.
func agree(h *pb.BackupHeader, t *pb.BackupTrailer, l *store.Load) error {
	sys := l.System()
	if sys.FeatureLevel != h.FeatureLevel || sys.ClusterID != h.ClusterId || formatLineage(sys.Lineage) != h.Lineage || uint64(fsm.Revision(sys)) != h.Revision {
		return errors.New("its header names another state than its records")
	}
	if digest := fsm.Digest(sys); l.Compares() && (!bytes.Equal(h.Digest, digest[:]) || !bytes.Equal(t.Digest, digest[:])) {
		return fmt.Errorf("its records have the digest %x, its header says %x and its trailer %x", digest, h.Digest, t.Digest)
	}
	return nil
}
