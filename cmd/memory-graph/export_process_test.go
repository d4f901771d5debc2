//go:build unix

package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/emptypb"

	server "github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// exportsMakeTheSameGraph imports everything that there is to import, and then moves it from server to server.
func exportsMakeTheSameGraph(t *testing.T, binary string) {
	shapes := filepath.Join("..", "..", "rpc", "importer", "testdata", "shapes")
	for _, tt := range []struct {
		name, folder string
	}{
		{"samples", shapes},
		{"data sets", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			folder := tt.folder
			if folder == "" {
				folder = filepath.Dir(dataFolder(t, "tau-bench"))
			}
			from := startProcess(t, server.Options{Binary: binary, DataDir: t.TempDir()})
			first := importedCounts(t, from.Address(), folder)
			closed := firstSession(t, from.Address())
			mustAt(t, from.Address(), "session", "close", closed) // a closed session stays closed
			want := exported(t, from.Address())

			to := startProcess(t, server.Options{Binary: binary, DataDir: t.TempDir()})
			file := filepath.Join(t.TempDir(), "graph.jsonl")
			if err := os.WriteFile(file, want, 0o600); err != nil {
				t.Fatal(err)
			}
			importAndKill(t, binary, to.Address(), file)
			again := importedCounts(t, to.Address(), file)
			if again["created"]+again["unchanged"] != first["created"] || again["skipped"] != 0 {
				t.Errorf("imported %v of %v", again, first)
			}
			sameExport(t, want, exported(t, to.Address()))
			if again = importedCounts(t, to.Address(), file); again["created"] != 0 || again["unchanged"] != first["created"] {
				t.Errorf("imported once more: %v", again)
			}
			stopProcess(t, to) // and it is on the disk
			if err := to.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			sameExport(t, want, exported(t, to.Address()))
			zipped(t, to.Address(), want)
			partOf(t, to.Address(), closed)
			stopProcess(t, to)
			stopProcess(t, from)
		})
	}
}

func firstSession(t *testing.T, address string) string {
	t.Helper()
	for _, line := range strings.Split(mustAt(t, address, "export"), "\n") {
		if id, ok := strings.CutPrefix(line, `{"node":{"id":"`); ok && strings.Contains(line, `"session":{`) {
			return id[:strings.IndexByte(id, '"')]
		}
	}
	t.Fatal("no session")
	return ""
}

func exported(t *testing.T, address string) []byte {
	t.Helper()
	return []byte(mustAt(t, address, "export"))
}

// sameExport compares exports but for their headers, which name the store that they came from.
func sameExport(t *testing.T, want, got []byte) {
	t.Helper()
	_, want, _ = bytes.Cut(want, []byte("\n"))
	_, got, _ = bytes.Cut(got, []byte("\n"))
	if bytes.Equal(want, got) {
		return
	}
	wants, gots := bytes.Split(want, []byte("\n")), bytes.Split(got, []byte("\n"))
	for i, line := range wants {
		if i >= len(gots) || !bytes.Equal(line, gots[i]) {
			t.Fatalf("%d and %d lines; line %d differs:\nwant %.2000s\n got %.2000s", len(wants), len(gots), i+2, line, gots[min(i, len(gots)-1)])
		}
	}
	t.Fatalf("%d lines became %d", len(wants), len(gots))
}

// importAndKill kills an import once the server has something of it.
func importAndKill(t *testing.T, binary, address, file string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary, "import", file, "--address", address)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	graph := graphgrpc.NewMemoryGraphServiceClient(connect(t, address))
	for {
		m, err := graph.GetMetrics(t.Context(), &emptypb.Empty{})
		if err != nil {
			t.Fatal(err)
		}
		if m.TotalNodes > 0 {
			break
		}
	}
	if err := command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	_ = command.Wait() // it was killed
}

// zipped exports into a gzipped file, which holds the same.
func zipped(t *testing.T, address string, want []byte) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "graph.jsonl.gz")
	r := execute(t, "", "export", "--address", address, "-o", file)
	if r.code != exitOK || !strings.Contains(r.err, "nodes") || r.out != "" {
		t.Fatalf("export -o: %+v", r)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	sameExport(t, want, got)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v beside the export, %v", entries, err)
	}
	if r := execute(t, "", "export", "--address", address, "-o", filepath.Join(dir, "absent", "x")); r.code != exitFailed {
		t.Errorf("export into a folder that is not there: %+v", r)
	}
}

// partOf exports one session, and what was written since then and since never.
func partOf(t *testing.T, address, id string) {
	t.Helper()
	part := mustAt(t, address, "export", "--session", id)
	if !strings.Contains(part, `{"node":{"id":"`+id+`"`) || strings.Count(part, `"session":{`) != 1 {
		t.Errorf("export of one session:\n%.2000s", part)
	}
	if none := mustAt(t, address, "export", "--since", "2200-01-01"); strings.Count(none, "\n") != 2 || !strings.HasSuffix(none, `{"end":{"nodes":0,"edges":0}}`+"\n") {
		t.Errorf("export of nothing:\n%s", none)
	}
}
