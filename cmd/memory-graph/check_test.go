package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/check"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
)

// sampleFolder is the folder of a server that has loaded the sample and was stopped.
func sampleFolder(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "data")
	s := startDev(t, on(folder, "--sample")...)
	s.stop(t)
	return folder
}

func TestCheckOfAFolderThatIsWhole(t *testing.T) {
	folder := sampleFolder(t)
	r := execute(t, "", "check", "--data-dir", folder, "--replay", "--scratch", t.TempDir())
	for _, want := range []string{"findings       0", "the same state", "nodes", folder} {
		if r.code != exitOK || !strings.Contains(r.out, want) {
			t.Fatalf("want %q in %+v", want, r)
		}
	}
	r = execute(t, "", "check", "--data-dir", folder, "-o", "json")
	var got checkResult
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || r.code != exitOK {
		t.Fatalf("%v, %+v", err, r)
	}
	if got.Total != 0 || got.Findings == nil || got.Rows.Nodes < 10 || got.Digest == "" || got.Applied == 0 || got.NodeID == "" {
		t.Errorf("%+v", got)
	}
}

func TestCheckTakesTheFolderFromTheEnvironment(t *testing.T) {
	var out, errs bytes.Buffer
	p := surroundings(map[string]string{"DB_PATH": sampleFolder(t)}, &out, &errs)
	if code := p.run(t.Context(), []string{"check"}); code != exitOK {
		t.Errorf("exit code %d: %s%s", code, &out, &errs)
	}
}

func TestCheckOfAFolderInUse(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	startDev(t, on(folder)...)
	r := execute(t, "", "check", "--data-dir", folder)
	if r.code != exitUsage || !strings.Contains(r.err, "data folder is in use") || !strings.Contains(r.err, "nothing was checked") {
		t.Errorf("%+v", r)
	}
	for _, args := range [][]string{{"--data-dir", t.TempDir()}, {"--data-dir", folder + "/none"}, {"-o", "tree"}, {"--max-findings", "-1"}, {"more"}} {
		if r := execute(t, "", append([]string{"check"}, args...)...); r.code != exitUsage || r.err == "" || r.out != "" {
			t.Errorf("%q: %+v", args, r)
		}
	}
}

// TestCheckOfADamagedFolder: findings are printed up to a bound, and all are counted.
func TestCheckOfADamagedFolder(t *testing.T) {
	folder := sampleFolder(t)
	rows, err := store.OpenPebble(identity.Folder(folder).Store(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := rows.Begin()
	for i := range 5 {
		b.Tx(1).SetInvocations(1, uint32(i+1))
		b.PutOutcome(1, [16]byte{byte(i)}, 1, []byte("\x1b[31m"))
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	r := execute(t, "", "check", "--data-dir", folder, "--max-findings", "2")
	if r.code != exitFailed || !strings.Contains(r.out, "findings       6 (2 printed)") || strings.Count(r.out, "\noutcome: ") != 1 ||
		!strings.Contains(r.err, "6 findings") || strings.Contains(r.out, "\x1b") {
		t.Errorf("%+v", r)
	}
	r = execute(t, "", "check", "--data-dir", folder, "-o", "json", "--max-findings", "100")
	var got checkResult
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || r.code != exitFailed || got.Total != 6 || len(got.Findings) != 6 {
		t.Fatalf("%v, %+v", err, r)
	}
	if f := got.Findings[0]; f.Fault != check.FaultOutcome || f.Space != "outcome" || f.Key == "" || f.Raw == "" || f.Problem == "" {
		t.Errorf("%+v", f)
	}
	if err := os.Remove(filepath.Join(folder, "meta.json")); err != nil {
		t.Fatal(err)
	}
	if r := execute(t, "", "check", "--data-dir", folder, "-o", "yaml"); r.code != exitFailed || !strings.Contains(r.out, "fault: identity") {
		t.Errorf("%+v", r)
	}
}
