package rpc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/backup"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// History is the log of this node, for those who copy it.
type History interface {
	// Entries reads entries that this node has applied, in order: those after an index and up to last, until they have so many bytes, and
	// one at least. The error wraps fsm.ErrCompacted when the first of them is no longer there.
	Entries(after, last uint64, bytes int) ([]fsm.LogEntry, error)
}

// maxBackups is how many full backups a node makes at a time: each has a compressor, which takes some MiB and a processor.
const maxBackups = 4

// backupChunk is how much of a backup goes into one message, and entriesChunk how many bytes of entries, unless one has more.
const (
	backupChunk  = 256 << 10
	entriesChunk = 1 << 20
)

// backups is BackupService.
type backups struct {
	graphgrpc.UnimplementedBackupServiceServer
	*Server
	// underway counts full backups.
	underway atomic.Int64
}

// Create streams a full backup of one snapshot. It reads as the client does: what it holds is a few blocks, and the snapshot.
func (b *backups) Create(_ *pb.CreateBackupRequest, stream grpc.ServerStreamingServer[pb.CreateBackupResponse]) error {
	defer b.underway.Add(-1)
	if b.underway.Add(1) > maxBackups {
		return errManySnapshots
	}
	st, err := b.readFirst(stream.Context())
	if err != nil {
		return err
	}
	defer st.Close()
	about := backup.About{NodeID: b.cfg.NodeID, CreatedBy: b.cfg.Version, Created: time.Now()}
	if err := stream.Send(&pb.CreateBackupResponse{Header: backup.HeaderOf(st.System(), about)}); err != nil {
		return err
	}
	out := bufio.NewWriterSize(chunks{stream}, backupChunk)
	if _, err := backup.Full(out, st.Snapshot, about); err != nil {
		return err
	}
	return out.Flush()
}

// chunks sends what is written as messages of a bounded size.
type chunks struct {
	stream grpc.ServerStreamingServer[pb.CreateBackupResponse]
}

func (c chunks) Write(p []byte) (int, error) {
	for sent := 0; sent < len(p); {
		if err := c.stream.Context().Err(); err != nil {
			return sent, context.Cause(c.stream.Context())
		}
		part := p[sent:min(sent+backupChunk, len(p))]
		if err := c.stream.Send(&pb.CreateBackupResponse{Chunk: part}); err != nil {
			return sent, err
		}
		sent += len(part)
	}
	return len(p), nil
}

// errNoHistory refuses to follow the log of a server that was given none.
var errNoHistory = &graph.Error{Kind: graph.Precondition, Reason: "NO_LOG", Message: "this server keeps no log that could be followed"}

// Follow streams committed entries. It holds nothing between two messages, so that it may be as slow as it likes until the log is
// cut behind it.
func (b *backups) Follow(req *pb.FollowBackupRequest, stream grpc.ServerStreamingServer[pb.FollowBackupResponse]) error {
	ctx := stream.Context()
	if b.cfg.History == nil {
		return errNoHistory
	}
	st, err := b.readFirst(ctx)
	if err != nil {
		return err
	}
	st.Close()
	sys := st.System()
	f := &logFollower{server: b.Server, send: stream.Send, after: graph.Revision(req.AfterRevision), request: req}
	if err := f.sameHistory(sys); err != nil {
		return err
	}
	if f.after > st.revision {
		return &graph.Error{Kind: graph.OutOfRange, Field: afterRevisionField, Reason: "REVISION_NOT_YET",
			Message: fmt.Sprintf("%s: revision %d does not exist yet: the graph is at revision %d", afterRevisionField, f.after, st.revision)}
	}
	if err := sendHeadersOf(stream); err != nil {
		return err
	}
	return f.follow(ctx, st.revision)
}

const afterRevisionField = "after_revision"

// sendHeadersOf sends the headers of every reply, so that the caller knows that the stream was accepted.
func sendHeadersOf(stream grpc.ServerStream) error {
	if typed, ok := stream.(*grpc.GenericServerStream[pb.FollowBackupRequest, pb.FollowBackupResponse]); ok {
		if st, ok := typed.ServerStream.(*serverStream); ok {
			return st.open(nil)
		}
	}
	return stream.SendHeader(nil)
}

// A logFollower sends the entries after a revision to one caller.
type logFollower struct {
	server  *Server
	send    func(*pb.FollowBackupResponse) error
	after   graph.Revision
	request *pb.FollowBackupRequest
}

// sameHistory refuses a place in another history.
func (f *logFollower) sameHistory(sys store.System) error {
	if given := f.request.ClusterId; given != sys.ClusterID {
		return &graph.Error{Kind: graph.Precondition, Field: "cluster_id", Reason: "OTHER_CLUSTER",
			Message: fmt.Sprintf("cluster_id: is of cluster %q, this is %s", clip(given, maxFieldBytes), sys.ClusterID)}
	}
	if current := formatLineage(sys.Lineage); f.request.Lineage != current {
		return &notedError{
			err: &graph.Error{Kind: graph.Precondition, Field: "lineage", Reason: graph.ReasonLineage, Message: "lineage: is " +
				clip(f.request.Lineage, maxFieldBytes) + ", but the graph was restored or recovered since and is of lineage " + current},
			notes: map[string]string{"lineage": current},
		}
	}
	return nil
}

// follow sends what there is, and waits for more unless the caller wants to end at a revision.
func (f *logFollower) follow(ctx context.Context, now graph.Revision) error {
	for {
		changed := f.server.machine.Changed()
		sys := f.server.machine.Store().System()
		if err := f.sameHistory(sys); err != nil {
			return err
		}
		if err := f.upTo(ctx, sys); err != nil {
			return err
		}
		if f.request.UntilNow && f.after >= now {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// upTo sends the entries up to a state, the last of them with its digest.
func (f *logFollower) upTo(ctx context.Context, sys store.System) error {
	digest := fsm.Digest(sys)
	for f.after < fsm.Revision(sys) {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if uint64(f.after) < sys.Base {
			return compacted(f.after, fmt.Errorf("revisions of this lineage begin at %d: %w", sys.Base+1, fsm.ErrCompacted))
		}
		entries, err := f.server.cfg.History.Entries(uint64(f.after)-sys.Base, sys.Applied, entriesChunk)
		if err == nil && len(entries) == 0 {
			err = fsm.ErrCompacted // a snapshot has brought them
		}
		if err != nil {
			return compacted(f.after, err)
		}
		m := &pb.FollowBackupResponse{}
		for _, e := range entries {
			f.after = graph.Revision(e.Index + sys.Base)
			m.Entries = append(m.Entries, &pb.BackupEntry{Revision: uint64(f.after), Data: e.Data})
		}
		if f.after == fsm.Revision(sys) {
			m.Entries[len(m.Entries)-1].Digest = digest[:]
		}
		if err := f.send(m); err != nil {
			return err
		}
	}
	return nil
}

// compacted says that the entries after a revision are gone.
func compacted(after graph.Revision, err error) error {
	if !errors.Is(err, fsm.ErrCompacted) {
		return fmt.Errorf("log after revision %d: %w", after, err)
	}
	return &graph.Error{Kind: graph.OutOfRange, Field: afterRevisionField, Reason: "LOG_COMPACTED",
		Message: fmt.Sprintf("%s: the log after revision %d is no longer on this node; take a full backup", afterRevisionField, after)}
}
