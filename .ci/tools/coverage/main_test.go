package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	ownTests = `mode: atomic
example.org/m/graph/a.go:1.1,2.2 3 7
example.org/m/graph/a.go:3.1,4.2 1 0
example.org/m/fsm/b.go:1.1,2.2 4 0
example.org/m/proto/c.pb.go:1.1,2.2 1000 0
`
	server = `mode: set
example.org/m/graph/a.go:1.1,2.2 3 0
example.org/m/fsm/b.go:1.1,2.2 4 1
`
)

func TestAStatementCoveredInEitherProfileCounts(t *testing.T) {
	dir := t.TempDir()
	profiles := []string{put(t, dir, "a", ownTests), put(t, dir, "b", server)}
	merged := filepath.Join(dir, "merged")
	var out strings.Builder
	if err := run(87, merged, "example.org/m", profiles, &out); err != nil {
		t.Fatal(err)
	}
	want := ` 100.0 %       4 statements  fsm
  75.0 %       4 statements  graph
  87.5 %       8 statements  total, at least 87.0 % wanted
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	got, err := os.ReadFile(merged)
	if err != nil {
		t.Fatal(err)
	}
	wantMerged := `mode: set
example.org/m/fsm/b.go:1.1,2.2 4 1
example.org/m/graph/a.go:1.1,2.2 3 1
example.org/m/graph/a.go:3.1,4.2 1 0
`
	if string(got) != wantMerged {
		t.Errorf("merged: got\n%s\nwant\n%s", got, wantMerged)
	}
}

func TestTooLittleCoverageFails(t *testing.T) {
	err := run(50, "", "", []string{put(t, t.TempDir(), "a", ownTests)}, &strings.Builder{})
	if want := "coverage is 37.5 %, below 50.0 %"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestNoStatementsAreNoCoverage(t *testing.T) {
	if err := run(1, "", "", []string{put(t, t.TempDir(), "a", "mode: set\n")}, &strings.Builder{}); err == nil {
		t.Error("an empty profile passes")
	}
}

func TestBrokenProfilesAreRefused(t *testing.T) {
	for _, text := range []string{"mode: set\nx.go:1.1,2.2 1\n", "mode: set\nx.go:1.1,2.2 one 1\n"} {
		if err := run(0, "", "", []string{put(t, t.TempDir(), "a", text)}, &strings.Builder{}); err == nil {
			t.Errorf("accepted %q", text)
		}
	}
	if err := run(0, "", "", []string{filepath.Join(t.TempDir(), "absent")}, &strings.Builder{}); err == nil {
		t.Error("accepted an absent profile")
	}
}

func put(t *testing.T, dir, name, text string) string {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
