//go:build unix

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	server "github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// backupsMakeANewCluster follows a server, kills the follower, goes on, and makes a new server of what is there: the same graph, in
// which keys are known and places of the old history are told apart.
func backupsMakeANewCluster(t *testing.T, binary string) {
	from := startProcess(t, server.Options{Binary: binary, DataDir: t.TempDir()})
	mustAt(t, from.Address(), "import", filepath.Join("..", "..", "rpc", "importer", "testdata", "shapes"))
	dir := filepath.Join(t.TempDir(), "backups")
	killWhileFollowing(t, binary, from.Address(), dir)
	key := []string{"session", "create", "--idempotency-key", "once", "-o", "json"}
	keyed := mustAt(t, from.Address(), key...)
	mustAt(t, from.Address(), "backup", "follow", "--dir", dir, "--once")
	graph := graphgrpc.NewMemoryGraphServiceClient(connect(t, from.Address()))
	page, err := graph.Query(t.Context(), &pb.QueryRequest{Limit: 1})
	if err != nil || page.NextPageToken == "" {
		t.Fatal(page, err)
	}
	want := readEverything(t, from.Address())
	stopProcess(t, from)

	data := filepath.Join(t.TempDir(), "data")
	for _, args := range [][]string{
		{"backup", "verify", dir}, {"backup", "list", dir}, {"backup", "restore", "--follow", dir, "--data-dir", data}, {"check", "--data-dir", data},
	} {
		if r := execute(t, "", args...); r.code != exitOK {
			t.Fatalf("%q: exit code %d\n%s%s", args, r.code, r.out, r.err)
		}
	}
	to := startProcess(t, server.Options{Binary: binary, DataDir: data})
	got := readEverything(t, to.Address())
	if diff := cmp.Diff(want.Nodes, got.Nodes, protocmp.Transform()); diff != "" {
		t.Errorf("nodes: %s", diff)
	}
	if diff := cmp.Diff(want.Edges, got.Edges, protocmp.Transform()); diff != "" {
		t.Errorf("edges: %s", diff)
	}
	if diff := cmp.Diff(want.Counts, got.Counts); diff != "" || strings.Count(want.Events, "\n") != strings.Count(got.Events, "\n") {
		t.Errorf("counts: %s; %d events became %d", diff, strings.Count(want.Events, "\n"), strings.Count(got.Events, "\n"))
	}
	if again := mustAt(t, to.Address(), key...); again != keyed {
		t.Errorf("a key that was used before the backup: got %s, want %s", again, keyed)
	}
	graph = graphgrpc.NewMemoryGraphServiceClient(connect(t, to.Address()))
	if _, err := graph.Query(t.Context(), &pb.QueryRequest{Limit: 1, PageToken: page.NextPageToken}); reasonOf(status.Convert(err)) != "LINEAGE_CHANGED" {
		t.Errorf("a page token from before: %v", err)
	}
	stopProcess(t, to)
	damageIsNamed(t, dir)
}

// killWhileFollowing starts a follower and kills it once it has taken a full backup.
func killWhileFollowing(t *testing.T, binary, address, dir string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary, "backup", "follow", "--dir", dir, "--address", address)
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 5)
	if _, err := io.ReadFull(out, line); err != nil || string(line) != "full-" {
		t.Errorf("the follower said %q, %v", line, err)
	}
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait() // killed
	if err := os.WriteFile(filepath.Join(dir, ".backup-killed"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// damageIsNamed changes a byte of a full backup.
func damageIsNamed(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "full-*.mgb"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Clone(text)
	text[len(text)/2] ^= 1
	if err := os.WriteFile(files[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	for _, args := range [][]string{{"backup", "verify", files[0]}, {"backup", "restore", files[0], "--data-dir", data}} {
		if r := execute(t, "", args...); r.code != exitFailed || !strings.Contains(r.out+r.err, "at offset") {
			t.Errorf("%q: exit code %d\n%s%s", args, r.code, r.out, r.err)
		}
	}
	if _, err := os.Stat(filepath.Join(data, "meta.json")); err == nil {
		t.Error("a damaged backup was restored")
	}
}
