//go:build !wasip1

package backups

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/backup"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is a node in memory with its API.
type source struct {
	t        *testing.T
	node     *cluster.Node
	client   graphgrpc.BackupServiceClient
	sessions int
	// cut is the last entry that its log does not have any more.
	cut atomic.Uint64
}

// Entries is the log of the node, but for what is cut.
func (s *source) Entries(after, last uint64, bytes int) ([]fsm.LogEntry, error) {
	if after < s.cut.Load() {
		return nil, fmt.Errorf("test: %w", fsm.ErrCompacted)
	}
	return s.node.Entries(after, last, bytes)
}

func (s *source) Propose(ctx context.Context, command []byte) (fsm.Result, error) {
	return s.node.Propose(ctx, command)
}
func (s *source) Barrier(ctx context.Context, d time.Duration) error { return s.node.Barrier(ctx, d) }
func (s *source) Ready() error                                       { return s.node.Ready() }

// open starts a node, in memory without a folder.
func open(t *testing.T, folder string) *source {
	t.Helper()
	s := &source{t: t}
	var err error
	s.node, err = cluster.Open(cluster.Config{
		InMemory: folder == "", Folder: folder, Random: rand.Reader, DiskReserve: -1, Store: store.Options{CacheBytes: 8 << 20, MemTableBytes: 1 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := rpc.DefaultConfig()
	cfg.NodeID, cfg.History = s.node.Identity().NodeID, s
	server, err := rpc.New(cfg, s, s.node.Machine())
	if err != nil {
		t.Fatal(err)
	}
	lis, served := bufconn.Listen(1<<20), make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(conn.Close(), server.Close(), <-served, s.node.Close()); err != nil {
			t.Error(err)
		}
	})
	s.client = graphgrpc.NewBackupServiceClient(conn)
	if err := s.node.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// write makes sessions.
func (s *source) write(n int) {
	s.t.Helper()
	for range n {
		s.sessions++
		c := &logpb.Command{Tenant: 1, Operation: &logpb.Command_CreateSession{CreateSession: &logpb.CreateSession{
			Session: &pb.Session{Id: fmt.Sprintf("00000000-0000-4000-8000-%012d", s.sessions)},
		}}}
		b, err := fsm.EncodeCommand(c)
		if err != nil {
			s.t.Fatal(err)
		}
		if r, err := s.node.Propose(s.t.Context(), b); err != nil || r.Err != nil {
			s.t.Fatal(err, r.Err)
		}
	}
}

func (s *source) system() store.System { return s.node.Machine().Store().System() }

// follower is one that ends with what is there, and tells a test what it says.
func (s *source) follower(dir string, said *[]string) *Follower {
	return &Follower{Client: s.client, Folder: Folder(dir), Once: true, Report: func(text string) {
		if said == nil {
			s.t.Log(text)
			return
		}
		*said = append(*said, text)
	}}
}

func (s *source) follow(dir string) {
	s.t.Helper()
	if err := s.follower(dir, nil).Run(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// restore makes a folder of the backups.
func restore(t *testing.T, r Restore) (Restored, error) {
	t.Helper()
	r.Into.Folder, r.Into.Name, r.Into.Random = filepath.Join(t.TempDir(), "data"), "again", rand.Reader
	r.Into.Store = store.Options{CacheBytes: 8 << 20, MemTableBytes: 1 << 20}
	r.Report = func(text string) { t.Log(text) }
	return r.Run()
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		if e.Name() != "LOCK" {
			all = append(all, e.Name())
		}
	}
	return all
}

func TestAFileAppearsWhenItIsWhole(t *testing.T) {
	s := open(t, "")
	s.write(10)
	path := filepath.Join(t.TempDir(), "full.mgb")
	told := int64(0)
	f, err := CreateFile(t.Context(), s.client, path, func(bytes int64) { told = bytes })
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != told || info.Mode().Perm() != 0o600 || f.Trailer.Sessions != 10 {
		t.Errorf("%v, %d bytes told, %v, %v", info, told, f, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := CreateFile(ctx, s.client, path, nil); err == nil {
		t.Error("cancelled: no error")
	}
	if left := names(t, filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := CreateFile(t.Context(), s.client, os.DevNull, nil); err == nil || !strings.Contains(err.Error(), "no file") {
		t.Errorf("into a device: %v", err)
	}
	if after, err := os.Stat(path); err != nil || after.Size() != info.Size() {
		t.Errorf("what stood there before is gone: %v", err)
	}
}

// TestAFollowedFolderRestores: to its end, a revision, a moment; into a node that starts.
func TestAFollowedFolderRestores(t *testing.T) {
	s, dir := open(t, ""), t.TempDir()
	s.write(5)
	s.follow(dir)
	s.write(5)
	middle := s.system()
	s.follow(dir)
	s.write(5)
	if err := os.WriteFile(filepath.Join(dir, temporaryPrefix+"killed"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.follow(dir)
	if left := names(t, dir); len(left) != 3 || strings.HasPrefix(left[0], temporaryPrefix) {
		t.Fatalf("the folder has %v, want a full backup and two increments", left)
	}
	end := s.system()
	for _, tt := range []struct {
		until backup.Until
		want  store.System
	}{{backup.Until{}, end}, {backup.Until{Revision: fsm.Revision(middle)}, middle}, {backup.Until{Instant: middle.Instant}, middle}} {
		done, err := restore(t, Restore{Folder: Folder(dir), Until: tt.until})
		if err != nil {
			t.Fatal(err)
		}
		if got := done.Source; fsm.Digest(got) != fsm.Digest(tt.want) {
			t.Errorf("until %v: another state than the source had", tt.until)
		}
		if done.Issued < fsm.Revision(end) || fsm.Revision(done.System) <= done.Issued {
			t.Errorf("until %v: begins at revision %d, the source was at %d", tt.until, fsm.Revision(done.System), fsm.Revision(end))
		}
	}
	done, err := restore(t, Restore{Full: filepath.Join(dir, names(t, dir)[0]), Folder: Folder(dir)})
	if err != nil {
		t.Fatal(err)
	}
	again := open(t, done.Folder)
	again.sessions = s.sessions
	again.write(3)
	err = again.follower(dir, nil).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "another folder") {
		t.Errorf("following a restored cluster into the old folder: %v", err)
	}
}

func TestFollowingLive(t *testing.T) {
	s, dir := open(t, ""), t.TempDir()
	s.write(1)
	took := make(chan backup.File, 100)
	f := s.follower(dir, nil)
	f.Once, f.Every, f.Took = false, 20*time.Millisecond, func(f backup.File) { took <- f }
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	<-took // the full backup
	for range 3 {
		s.write(10)
		for want := uint64(fsm.Revision(s.system())); (<-took).Trailer.Revision < want; {
		}
	}
	second := s.follower(dir, nil)
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("two followers of one folder: %v", err)
	}
	s.write(7) // what has come by the end is there
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s.follow(dir)
	restored, err := restore(t, Restore{Folder: Folder(dir)})
	if err != nil || fsm.Digest(restored.Source) != fsm.Digest(s.system()) {
		t.Errorf("another state than the source's, %v", err)
	}
}

func TestACutLogIsToldAndAFullBackupIsTaken(t *testing.T) {
	s, dir := open(t, ""), t.TempDir()
	s.write(3)
	s.follow(dir)
	s.write(3)
	s.follow(dir)
	s.write(20)
	s.cut.Store(s.node.Machine().Applied() - 5)
	var said []string
	if err := s.follower(dir, &said).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(said, "\n"); !strings.Contains(text, "taking a full backup") || !strings.Contains(text, "can be restored") {
		t.Errorf("it says:\n%s", text)
	}
	s.write(2)
	s.follow(dir)
	done, err := restore(t, Restore{Folder: Folder(dir)})
	if err != nil || fsm.Digest(done.Source) != fsm.Digest(s.system()) || len(done.Increments) == 0 {
		t.Errorf("%d increments, %v", len(done.Increments), err)
	}
	if got := len(names(t, dir)); got != 4 {
		t.Errorf("%v: want two full backups and two increments", names(t, dir))
	}
}

// TestMomentsBetweenFullBackupsStayThere: a full backup that is taken because the last one is old leaves no gap.
func TestMomentsBetweenFullBackupsStayThere(t *testing.T) {
	s, dir := open(t, ""), t.TempDir()
	s.write(3)
	s.follow(dir)
	s.write(3)
	between := s.system()
	s.write(3)
	files, _, err := Folder(dir).Files()
	if err == nil {
		_, err = s.follower(dir, nil).full(t.Context(), files)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.follow(dir)
	done, err := restore(t, Restore{Folder: Folder(dir), Until: backup.Until{Revision: fsm.Revision(between)}})
	if err != nil || fsm.Digest(done.Source) != fsm.Digest(between) {
		t.Errorf("%v", err)
	}
}

func TestADamagedFileIsNamedAndNothingIsRestored(t *testing.T) {
	s, dir := open(t, ""), t.TempDir()
	s.write(50)
	s.follow(dir)
	name := filepath.Join(dir, names(t, dir)[0])
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Clone(text)
	text[len(text)/2] ^= 4
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := restore(t, Restore{Full: name}); !errors.Is(err, backup.ErrDamaged) || !strings.Contains(err.Error(), filepath.Base(name)) || !strings.Contains(err.Error(), "offset") {
		t.Errorf("got %v", err)
	}
}
