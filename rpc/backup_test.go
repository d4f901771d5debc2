package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/backup"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// Entries makes memoryLog a History, of what was not cut.
func (l *memoryLog) Entries(after, last uint64, bytes int) ([]fsm.LogEntry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []fsm.LogEntry
	size := 0
	for _, e := range l.entries {
		if e.Index > after && e.Index <= last && (size < bytes || len(out) == 0) {
			out = append(out, e)
			size += len(e.Data)
		}
	}
	if len(out) > 0 && out[0].Index != after+1 {
		return nil, fmt.Errorf("test: %w", fsm.ErrCompacted)
	}
	return out, nil
}

// historic is a server whose log can be followed.
func historic(t *testing.T) (*rig, graphgrpc.BackupServiceClient) {
	t.Helper()
	log := newMemoryLog(t)
	r := startOn(t, log, func(c *Config) { c.NodeID, c.History = "n1-00000001", log })
	return r, graphgrpc.NewBackupServiceClient(r.conn)
}

// fullBackup is a full backup by the API.
func fullBackup(t *testing.T, r *rig, c graphgrpc.BackupServiceClient) (*pb.BackupHeader, []byte) {
	t.Helper()
	stream, err := c.Create(r.ctx(), &pb.CreateBackupRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var h *pb.BackupHeader
	var text []byte
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return h, text
		}
		if err != nil {
			t.Fatal(err)
		}
		if m.Header != nil {
			if h != nil || len(text) > 0 {
				t.Error("the header does not come first, or twice")
			}
			h = m.Header
		}
		text = append(text, m.Chunk...)
	}
}

func loaded(t *testing.T, text []byte) *fsm.Machine {
	t.Helper()
	in, err := backup.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	s := store.OpenMemory()
	if _, err := backup.Load(in, s, nil); err != nil {
		t.Fatal(err)
	}
	return fsm.New(s)
}

func (r *rig) digest() [32]byte { return fsm.Digest(r.log.machine.Store().System()) }

func TestABackupAndTheLogBehindItMakeTheState(t *testing.T) {
	r, c := historic(t)
	session := r.session().Id
	for range 30 {
		r.prompt(session, "what")
	}
	h, text := fullBackup(t, r, c)
	if h.NodeId != "n1-00000001" || h.CreatedBy != "1.2.3" || h.Lineage != formatLineage(testLineage) || h.Kind != pb.BackupKind_BACKUP_KIND_FULL {
		t.Errorf("header %v", h)
	}
	m := loaded(t, text)
	if fsm.Digest(m.Store().System()) != r.digest() {
		t.Fatal("the backup has another state than the server")
	}

	ctx := r.ctx()
	stream, err := c.Follow(ctx, &pb.FollowBackupRequest{ClusterId: h.ClusterId, Lineage: h.Lineage, AfterRevision: h.Revision})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		r.prompt(session, "more")
		for done := false; !done; {
			reply, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range reply.Entries {
				m.Apply([]fsm.LogEntry{{Index: e.Revision, Data: e.Data}})
				digest := fsm.Digest(m.Store().System())
				if done = len(e.Digest) > 0; done && !bytes.Equal(e.Digest, digest[:]) {
					t.Fatalf("entry %d: another digest", i)
				}
			}
		}
	}
	if fsm.Digest(m.Store().System()) != r.digest() {
		t.Error("the entries lead to another state")
	}
}

func TestFollowEndsWithWhatWasThere(t *testing.T) {
	r, c := historic(t)
	h, _ := fullBackup(t, r, c)
	r.prompt(r.session().Id, "what")
	stream, err := c.Follow(r.ctx(), &pb.FollowBackupRequest{ClusterId: h.ClusterId, Lineage: h.Lineage, AfterRevision: h.Revision, UntilNow: true})
	entries := 0
	for err == nil {
		var reply *pb.FollowBackupResponse
		reply, err = stream.Recv()
		entries += len(reply.GetEntries())
	}
	if !errors.Is(err, io.EOF) || entries != 2 {
		t.Errorf("%d entries, %v", entries, err)
	}
}

func TestFollowRefusesWhatItCannotGive(t *testing.T) {
	r, c := historic(t)
	for range 5 {
		r.session()
	}
	h, _ := fullBackup(t, r, c)
	r.log.set(func() { r.log.entries = slices.Delete(r.log.entries, 0, 3) })
	for _, tt := range []struct {
		name   string
		change func(*pb.FollowBackupRequest)
		code   codes.Code
		reason string
	}{
		{"a log that was cut", func(f *pb.FollowBackupRequest) { f.AfterRevision = 2 }, codes.OutOfRange, "LOG_COMPACTED"},
		{"a revision to come", func(f *pb.FollowBackupRequest) { f.AfterRevision++ }, codes.OutOfRange, "REVISION_NOT_YET"},
		{"another lineage", func(f *pb.FollowBackupRequest) { f.Lineage = "00000001" }, codes.FailedPrecondition, "LINEAGE_CHANGED"},
		{"another cluster", func(f *pb.FollowBackupRequest) { f.ClusterId = "other" }, codes.FailedPrecondition, "OTHER_CLUSTER"},
	} {
		req := &pb.FollowBackupRequest{ClusterId: h.ClusterId, Lineage: h.Lineage, AfterRevision: h.Revision}
		tt.change(req)
		stream, err := c.Follow(r.ctx(), req)
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != tt.code || infoOf(err).GetReason() != tt.reason {
			t.Errorf("%s: got %v, want %v %s", tt.name, err, tt.code, tt.reason)
		}
	}
	bare := start(t)
	stream, err := graphgrpc.NewBackupServiceClient(bare.conn).Follow(bare.ctx(), &pb.FollowBackupRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if infoOf(err).GetReason() != "NO_LOG" {
		t.Errorf("a server without a log: got %v", err)
	}
}

// TestABackupHoldsASnapshot: it is one of the calls that are bounded and cut off when they are read too slowly.
func TestABackupHoldsASnapshot(t *testing.T) {
	for method, want := range map[string]bool{"Create": true, "Follow": false} {
		c := &call{method: shortName("/" + graphgrpc.BackupService_ServiceDesc.ServiceName + "/" + method)}
		if got := c.holdsSnapshot(); got != want {
			t.Errorf("%s: %v, want %v", c.method, got, want)
		}
	}
}

// TestFullBackupsAreBounded: as many as are allowed are under way while nobody reads them.
func TestFullBackupsAreBounded(t *testing.T) {
	r, c := historic(t)
	session := r.session().Id
	for i := range uint64(40) {
		r.prompt(session, babble(i, 64<<10)) // more than what is under way on a stream that nobody reads
	}
	ctx, cancel := context.WithCancel(r.ctx())
	defer cancel()
	for range maxBackups {
		stream, err := c.Create(ctx, &pb.CreateBackupRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	stream, err := c.Create(ctx, &pb.CreateBackupRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted || infoOf(err).GetReason() != "OVERLOADED" {
		t.Fatalf("one more: %v", err)
	}
	cancel()
	r.await(func() bool {
		stream, err := c.Create(r.ctx(), &pb.CreateBackupRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		return err == nil
	})
}

// babble is text that does not compress well.
func babble(seed uint64, bytes int) string {
	text := make([]byte, bytes)
	chance := rand.New(rand.NewPCG(seed, 1))
	for i := range text {
		text[i] = byte(' ' + chance.IntN(90))
	}
	return string(text)
}
