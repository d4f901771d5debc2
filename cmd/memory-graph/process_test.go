//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/emptypb"

	server "github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// TestProcess runs the program as the processes that people run, one build for all.
func TestProcess(t *testing.T) {
	binary, err := server.Binary(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, binary string)
	}{
		{"a restart keeps everything", restartKeepsEverything},
		{"raft is measured", raftIsMeasured},
		{"files are private", filesArePrivate},
		{"two servers", twoServers},
		{"a second signal stops at once", secondSignal},
		{"an interrupt stops while calls run", interruptDrains},
		{"a store that fails ends the process", storeFails},
		{"the next steps can be typed", nextStepsCanBeTyped},
		{"real conversations", realConversations},
		{"exports make the same graph", exportsMakeTheSameGraph},
		{"backups make a new cluster", backupsMakeANewCluster},
		{"bench starts a server", benchStartsAServer},
		{"bench grows a server", benchGrows},
		{"bench transfers a graph", benchTransfers},
		{"a cluster on this machine", clusterOnThisMachine},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(t, binary)
		})
	}
}

// startProcess starts a node, which is killed when the test ends.
func startProcess(t *testing.T, o server.Options) *server.Node {
	t.Helper()
	n := server.New(o)
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Kill(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// stopProcess stops a node cleanly: by SIGTERM, with exit code 0.
func stopProcess(t *testing.T, n *server.Node) {
	t.Helper()
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// everything is what a graph holds, in the order in which it is told.
type everything struct {
	Nodes  []*pb.Node
	Edges  []*pb.Edge
	Counts []int64
	Events string
}

func readEverything(t *testing.T, address string) everything {
	t.Helper()
	conn := connect(t, address)
	m, err := graphgrpc.NewMemoryGraphServiceClient(conn).GetMetrics(t.Context(), &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	e := everything{Counts: []int64{m.TotalNodes, m.TotalEdges, m.TotalSessions, m.ActiveSessions}}
	stream, err := graphgrpc.NewGraphTransferServiceClient(conn).Export(t.Context(), &pb.ExportRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		e.Nodes, e.Edges = append(e.Nodes, chunk.Nodes...), append(e.Edges, chunk.Edges...)
	}
	e.Events = mustAt(t, address, "events", "-o", "json")
	return e
}

func (e everything) wantSame(t *testing.T, when string, got everything) {
	t.Helper()
	if diff := cmp.Diff(e, got, protocmp.Transform()); diff != "" {
		t.Errorf("%s (-before +after):\n%s", when, diff)
	}
}

// restartKeepsEverything: also one after a crash, in another place, and with other settings.
func restartKeepsEverything(t *testing.T, binary string) {
	home := filepath.Join(t.TempDir(), "first place")
	n := startProcess(t, server.Options{Binary: binary, DataDir: home, Args: []string{"--sample"}})
	once := []string{"session", "create", "--idempotency-key", "once", "--metadata", "user=ada", "-o", "json"}
	created := mustAt(t, n.Address(), once...)
	before := readEverything(t, n.Address())
	if len(before.Nodes) < 10 || len(before.Edges) < 10 || strings.Count(before.Events, "\n") < 10 {
		t.Fatalf("%d nodes, %d edges, events:\n%s", len(before.Nodes), len(before.Edges), before.Events)
	}
	stopProcess(t, n)

	check := func(when string, o server.Options) *server.Node {
		t.Helper()
		o.Binary = binary
		n := startProcess(t, o)
		before.wantSame(t, when, readEverything(t, n.Address()))
		if got := mustAt(t, n.Address(), once...); got != created {
			t.Errorf("%s: the same key created %s, before %s", when, got, created)
		}
		before.wantSame(t, when+" and a retry", readEverything(t, n.Address()))
		return n
	}
	n = check("after a restart", server.Options{DataDir: home})
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	small := []string{"--snapshot-threshold", "1", "--snapshot-interval", "10ms", "--trailing-logs", "1024"}
	n = check("after a crash", server.Options{DataDir: home, Args: small})
	awaitMetric(t, n.MetricsAddress(), "memory_graph_raft_snapshot_persist_count ")
	before.wantSame(t, "after a snapshot", readEverything(t, n.Address()))
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	away := filepath.Join(t.TempDir(), "second")
	if err := os.Rename(home, away); err != nil {
		t.Fatal(err)
	}
	stopProcess(t, check("in another place", server.Options{DataDir: away, Args: small}))
}

// awaitMetric asks until a server has measured something for the first time.
func awaitMetric(t *testing.T, address, name string) {
	t.Helper()
	eventually(t, "there is "+name, func() bool {
		_, body := get(t, address, "/metrics")
		return strings.Contains(body, "\n"+name)
	})
}

// raftIsMeasured: the build has the tag without which Raft exports nothing.
func raftIsMeasured(t *testing.T, binary string) {
	n := startProcess(t, server.Options{Binary: binary, DataDir: t.TempDir()})
	mustAt(t, n.Address(), "session", "create")
	code, body := get(t, n.MetricsAddress(), "/metrics")
	for _, want := range []string{"\nmemory_graph_raft_apply ", "\nmemory_graph_raft_state_leader ", "\nmemory_graph_active_sessions 1\n"} {
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("status %d, want %q in\n%s", code, want, body)
		}
	}
	stopProcess(t, n)
}

// filesArePrivate walks the folder while the server runs and after it, whatever the umask was.
func filesArePrivate(t *testing.T, binary string) {
	folder := filepath.Join(t.TempDir(), "data")
	old := syscall.Umask(0)
	n := startProcess(t, server.Options{Binary: binary, DataDir: folder})
	syscall.Umask(old)
	mustAt(t, n.Address(), "session", "create")
	walk := func() {
		t.Helper()
		seen := 0
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					return nil // the server has removed it meanwhile
				}
				return err
			}
			info, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil // the server has removed it meanwhile
			}
			if err != nil {
				return err
			}
			seen++
			if mode := info.Mode(); mode.Perm()&0o077 != 0 || !mode.IsDir() && mode.Perm()&0o100 != 0 {
				t.Errorf("%s: mode %v", path, mode)
			}
			return nil
		})
		if err != nil || seen < 8 {
			t.Errorf("looked at %d files: %v", seen, err)
		}
	}
	walk()
	stopProcess(t, n)
	walk()
}

func twoServers(t *testing.T, binary string) {
	folder := t.TempDir()
	first := startProcess(t, server.Options{Binary: binary, DataDir: folder})
	second := startProcess(t, server.Options{Binary: binary, DataDir: t.TempDir()})
	mustAt(t, first.Address(), "session", "create")
	if a, b := nodes(t, first.Address()), nodes(t, second.Address()); a != 1 || b != 0 {
		t.Errorf("one node was created: the first server has %d, the second %d", a, b)
	}
	pid, err := os.ReadFile(filepath.Join(folder, "LOCK"))
	if err != nil {
		t.Fatal(err)
	}
	r := runProcess(t, binary, append([]string{"dev"}, on(folder)...)...)
	if r.code != exitFailed || !strings.Contains(r.err, "(process "+strings.TrimSpace(string(pid))+"): stop it or choose another folder") {
		t.Errorf("a second server on the same folder: %+v", r)
	}
	meta := filepath.Join(second.DataDir(), "meta.json")
	stopProcess(t, second)
	writeFile(t, meta, "{}")
	if r := runProcess(t, binary, append([]string{"dev"}, on(second.DataDir())...)...); r.code != exitFailed || !strings.Contains(r.err, meta) {
		t.Errorf("damaged meta.json: %+v", r)
	}
	if r := runProcess(t, binary, "health", "--address", first.Address()); r.code != exitOK || !strings.Contains(r.out, "SERVING") {
		t.Errorf("health: %+v", r)
	}
	address := first.Address()
	stopProcess(t, first)
	if r := runProcess(t, binary, "health", "--address", address); r.code != exitFailed {
		t.Errorf("health of a server that has gone: %+v", r)
	}
}

// runProcess runs a command line to its end.
func runProcess(t *testing.T, binary string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// command is a server process that the test sends signals to.
type command struct {
	*exec.Cmd
	out          *watchedBuffer
	api, metrics string
}

func startCommand(t *testing.T, binary string, args ...string) *command {
	t.Helper()
	c := &command{Cmd: exec.Command(binary, append([]string{"dev"}, args...)...), out: newWatchedBuffer()}
	c.Stdout, c.Stderr = c.out, c.out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.ProcessState == nil {
			_ = c.Process.Kill() // it may have gone meanwhile
			_ = c.Wait()
		}
	})
	select {
	case <-c.out.ready:
	case <-time.After(5 * time.Minute):
		t.Fatalf("not ready:\n%s", c.out)
	}
	fields := readyFields(readyLine(c.out.String()))
	c.api, c.metrics = fields["grpc"], fields["metrics"]
	return c
}

func (c *command) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := c.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// pending begins a call that waits for a revision that is far away, and returns when the server has it.
func pending(t *testing.T, c *command) (answer <-chan error) {
	t.Helper()
	conn := connect(t, c.api)
	client := graphgrpc.NewMemoryGraphServiceClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	session, err := client.CreateSession(ctx, &pb.CreateSessionRequest{})
	if err != nil {
		t.Fatal(err)
	}
	events, err := client.StreamEvents(ctx, &pb.StreamEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := events.Header(); err != nil {
		t.Fatal(err)
	}
	late, err := conn.NewStream(metadata.AppendToOutgoingContext(ctx, keyMinRevision, "1000000000"), &grpc.StreamDesc{},
		graphgrpc.MemoryGraphService_GetSession_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	get := &pb.GetSessionRequest{SessionId: session.Id}
	if err := errors.Join(late.SendMsg(get), late.CloseSend()); err != nil {
		t.Fatal(err)
	}
	// A call behind it on the same connection: when that is answered, the server has begun the one before.
	if _, err := client.GetSession(ctx, get); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- late.RecvMsg(&pb.Session{}) }()
	c.signal(t, syscall.SIGTERM)
	if _, err := events.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a stream of events ended with %v", err)
	}
	return done
}

// secondSignal: the first lets calls finish, which takes its time; the second does not.
func secondSignal(t *testing.T, binary string) {
	folder := t.TempDir()
	c := startCommand(t, binary, on(folder)...)
	answer := pending(t, c)
	if code, body := get(t, c.metrics, "/ready"); code != 503 {
		t.Errorf("a server that is stopping says %d %s", code, body)
	}
	c.signal(t, syscall.SIGTERM)
	err := c.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() {
		t.Errorf("ended with %v, want by the signal", err)
	}
	if err := <-answer; status.Code(err) != codes.Unavailable {
		t.Errorf("the call that was cut off: %v", err)
	}
	// Nothing that was acknowledged is gone.
	n := startProcess(t, server.Options{Binary: binary, DataDir: folder})
	if got := mustAt(t, n.Address(), "session", "list"); !strings.Contains(got, "active") {
		t.Errorf("sessions:\n%s", got)
	}
}

// interruptDrains: an interrupt, as from a terminal, is a request to stop, too.
func interruptDrains(t *testing.T, binary string) {
	c := startCommand(t, binary, on(t.TempDir())...)
	mustAt(t, c.api, "session", "create")
	c.signal(t, syscall.SIGINT)
	if err := c.Wait(); err != nil {
		t.Errorf("ended with %v\n%s", err, c.out)
	}
}

// storeFails takes the folder of the rows away, so that they cannot be flushed when the server stops. The store tries for
// ever; the process must not.
func storeFails(t *testing.T, binary string) {
	folder, away := t.TempDir(), filepath.Join(t.TempDir(), "rows")
	c := startCommand(t, binary, on(folder)...)
	mustAt(t, c.api, "session", "create", "--metadata", "user=ada")
	rows, err := filepath.Glob(filepath.Join(folder, "store", "g-*"))
	if err != nil || len(rows) != 1 {
		t.Fatalf("the rows are in %v, %v", rows, err)
	}
	if err := os.Rename(rows[0], away); err != nil {
		t.Fatal(err)
	}
	c.signal(t, syscall.SIGTERM)
	err = c.Wait()
	if c.ProcessState.ExitCode() != exitFailed || !strings.Contains(c.out.String(), "memory-graph: the node failed: store: ") {
		t.Errorf("ended with %v\n%s", err, c.out)
	}
	// What was acknowledged is in the log.
	if err := os.Rename(away, rows[0]); err != nil {
		t.Fatal(err)
	}
	n := startProcess(t, server.Options{Binary: binary, DataDir: folder})
	if got := mustAt(t, n.Address(), "session", "list"); !strings.Contains(got, "user=ada") {
		t.Errorf("sessions:\n%s", got)
	}
	stopProcess(t, n)
}

// nextStepsCanBeTyped runs what a new server proposes, as it stands.
func nextStepsCanBeTyped(t *testing.T, binary string) {
	c := startCommand(t, binary, on(t.TempDir(), "--sample", "--log-level", "off")...)
	_, steps, _ := strings.Cut(c.out.String(), "try, in another terminal:\n")
	tried := 0
	for line := range strings.Lines(steps) {
		words := strings.Fields(line)
		if !strings.HasPrefix(line, "  ") || words[0] != binary || strings.Contains(line, "PATH") {
			continue
		}
		r := result{code: exitFailed}
		if words[1] == "events" {
			endsInTime(func(within string) bool {
				r = runProcess(t, words[0], append(words[1:], "--timeout", within)...)
				return r.code == exitOK
			})
		} else {
			r = runProcess(t, words[0], words[1:]...)
		}
		if r.code != exitOK || r.out == "" && words[1] != "events" {
			t.Errorf("%q: %+v", line, r)
		}
		tried++
	}
	if tried != 3 {
		t.Errorf("tried %d commands of\n%s", tried, steps)
	}
	c.signal(t, syscall.SIGTERM)
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

// nodes is how many nodes a server has.
func nodes(t *testing.T, address string) int64 {
	t.Helper()
	var m pb.MetricsResponse
	if err := protojson.Unmarshal([]byte(mustAt(t, address, "stats", "-o", "json")), &m); err != nil {
		t.Fatal(err)
	}
	return m.TotalNodes
}
