package npm_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

const (
	client  = "@llm-dev-ops/llm-memory-graph-client@0.1.0"
	within  = 3 * time.Minute
	patient = 5 * time.Minute
)

// project is a folder with the client, installed by npm and not repaired.
func project(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the published client is not tested: %v", err)
		}
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "package.json"), `{"name": "e2e", "version": "1.0.0", "private": true}`)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1", client)
	install.Dir = dir
	install.WaitDelay = time.Second
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("the published client is not tested: npm cannot install it: %v\n%s", err, out)
	}
	for _, name := range []string{"calls.js", "failover.js", "rolling.js"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(text))
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func binary(t *testing.T) string {
	t.Helper()
	path, err := cluster.Binary(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func server(t *testing.T, binary string) *cluster.Node {
	t.Helper()
	node := cluster.New(cluster.Options{Binary: binary, DataDir: filepath.Join(t.TempDir(), "data")})
	t.Cleanup(func() {
		if err := node.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(node.Logs())
		}
	})
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return node
}

// node runs a program in JavaScript and wants it to succeed.
func node(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func TestThePublishedClient(t *testing.T) {
	program, dir := binary(t), project(t)
	t.Run("does not start as it is published", func(t *testing.T) {
		if out, err := node(t, dir, "calls.js", "127.0.0.1:1"); err == nil || !strings.Contains(out, "memory_graph.proto") {
			t.Errorf("the client needs no repair any more: %v\n%s", err, out)
		}
	})
	repair := exec.CommandContext(t.Context(), program, "npm-repair", dir)
	if out, err := repair.CombinedOutput(); err != nil {
		t.Fatalf("npm-repair: %v\n%s", err, out)
	}
	t.Run("makes every call", func(t *testing.T) {
		s := server(t, program)
		out, err := node(t, dir, "calls.js", s.Address())
		if err != nil {
			t.Fatalf("calls.js: %v\n%s", err, out)
		}
		made := map[string]bool{}
		for _, line := range strings.Split(out, "\n") {
			if call, ok := strings.CutPrefix(line, "ok "); ok {
				made[call] = true
			}
		}
		calls := graphpb.File_llm_memory_graph_v1_memory_graph_proto.Services().Get(0).Methods()
		for i := range calls.Len() {
			name := string(calls.Get(i).Name())
			name = strings.ToLower(name[:1]) + name[1:]
			if name != "closeSession" && !made[name] { // an addition of ours, which the client does not know
				t.Errorf("%s was not made", name)
			}
		}
		if len(made) != 24 {
			t.Errorf("%d calls were made: %v", len(made), made)
		}
	})
	t.Run("goes over to the next address", func(t *testing.T) { failsOver(t, program, dir) })
	t.Run("hardly notices a rolling restart", func(t *testing.T) { rolls(t, program, dir) })
	t.Run("is repaired by the script too", func(t *testing.T) {
		path := filepath.Join(dir, "node_modules", "@llm-dev-ops", "proto")
		want, err := os.ReadFile(filepath.Join(path, "memory_graph.proto"))
		if err := errors.Join(err, os.RemoveAll(path)); err != nil {
			t.Fatal(err)
		}
		script, err := filepath.Abs(filepath.Join("..", "..", "deploy", "npm", "repair.sh"))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "sh", script)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("repair.sh: %v\n%s", err, out)
		}
		if got, err := os.ReadFile(filepath.Join(path, "memory_graph.proto")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: the script puts another file in place", err)
		}
	})
}

// failsOver gives the client the addresses of two servers, each a graph of its own, and kills the one that it talks to. The first
// in the list is one where nobody listens.
func failsOver(t *testing.T, program, dir string) {
	first, second := server(t, program), server(t, program)
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "failover.js", fmt.Sprintf("ipv4:127.0.0.1:1,%s,%s", first.Address(), second.Address()))
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	var errs bytes.Buffer
	cmd.Stderr = &errs
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	session := func() string {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("failover.js: %v, %v\n%s", err, cmd.Wait(), &errs)
		}
		return strings.TrimSpace(line)
	}
	has(t, first, session())
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "killed\n"); err != nil {
		t.Fatal(err)
	}
	has(t, second, session())
	if err := cmd.Wait(); err != nil {
		t.Errorf("failover.js: %v\n%s", err, &errs)
	}
}

// has wants a server to have a session.
func has(t *testing.T, s *cluster.Node, id string) {
	t.Helper()
	conn, err := s.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "memory-graph-consistency", "linearizable")
	if _, err := graphgrpc.NewMemoryGraphServiceClient(conn).GetSession(ctx, &graphpb.GetSessionRequest{SessionId: id}); err != nil {
		t.Fatalf("session %q: %v", id, err)
	}
}
