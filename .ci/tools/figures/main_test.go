package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fake is a program that prints what it is told, whatever it is asked.
func fake(t *testing.T, script string) *bench {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return &bench{binary: path, pgbench: path, duration: time.Second}
}

const printed = `echo '{"server": {"version": "abc", "fsync": "on", "log_store": "boltdb", "raft_timing": "300/300/150 ms"},
"operations_per_second": %RATE%, "acknowledged": 7, "read_back": %BACK%, "latency_ms": {"p95": 49.5}}'`

func printing(rate, back string) string {
	return strings.NewReplacer("%RATE%", rate, "%BACK%", back).Replace(printed)
}

func TestATargetIsMetOrNot(t *testing.T) {
	for _, tt := range []struct {
		script string
		met    verdict
		figure string
	}{
		{printing("12000", "7"), yes, "12,000/s"},
		{printing("11999", "7"), no, "11,999/s"},
		{printing("12000", "6"), no, "no figure: 6 of 7 acknowledged writes were read back"},
		{"echo what went wrong >&2; exit 1", no, "no figure: what went wrong"},
		{"exit 0", no, "no figure"},
	} {
		b := fake(t, tt.script)
		l := b.measure(t.Context(), row{"writes", "12,000/s", atRate(12_000, 50, "write")})
		if l.met != tt.met || !strings.HasPrefix(l.figure, tt.figure) {
			t.Errorf("%s: met %s, %s", tt.script, l.met, l.figure)
		}
		if len(l.commands) != 1 || l.commands[0] != "program bench write --duration 1s" {
			t.Errorf("commands %q", l.commands)
		}
	}
}

func TestPostgreSQLMayBeAbsent(t *testing.T) {
	b := fake(t, `[ "$1" = bench ] && { `+printing("1", "7")+`; exit 0; }; exit 3`)
	if l := b.measure(t.Context(), comparisons()[0]); l.met != open || !strings.HasPrefix(l.figure, "not measured: PostgreSQL is not installed") {
		t.Errorf("%+v", l)
	}
}

func TestOnlyTheTableIsRewritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	const before = "head\n<!-- figures: begin -->\nold\n<!-- figures: end -->\ntail\n"
	if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := rewrite(path, "figures", "new\n"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if want := strings.Replace(before, "old", "new", 1); err != nil || string(got) != want {
		t.Errorf("%v: %s", err, got)
	}
	if err := rewrite(path, "large", "new\n"); err == nil || !strings.Contains(err.Error(), "no marks") {
		t.Error(err)
	}
}

// TestTheDocumentHasAllTables: what this program writes has a place to go to.
func TestTheDocumentHasAllTables(t *testing.T) {
	text, err := os.ReadFile("../../../docs/BENCHMARKS.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"figures", "postgres", "large", "cluster"} {
		if !strings.Contains(string(text), "<!-- "+table+": begin -->\n") || !strings.Contains(string(text), "<!-- "+table+": end -->") {
			t.Errorf("no marks of %s", table)
		}
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.4: "1,234,567"} {
		if got := whole(v); got != want {
			t.Errorf("%v is %s", v, got)
		}
	}
}

func TestEtcdMayBeAbsent(t *testing.T) {
	b := fake(t, printing("1", "7"))
	b.etcd = filepath.Join(t.TempDir(), "etcd")
	l := b.measure(t.Context(), row{"writes", "0.7 ×", againstEtcd("etcd-put", "256", timesPut)})
	if l.met != open || !strings.HasPrefix(l.figure, "not measured: etcd is not installed") {
		t.Errorf("%+v", l)
	}
}

// aCluster is a script that is a server, the status of three, and a run against them.
const aCluster = `case "$1" in
server) trap 'exit 0' TERM; echo ready grpc=127.0.0.1:$$ data=; while :; do sleep 0.1; done;;
cluster) echo '{"leader": "n2-1", "members": [{"id": "n1-1", "role": "voter"}, {"id": "n2-1", "role": "voter"}, {"id": "n3-1", "role": "voter"}]}';;
bench) echo "$@" >>"$0.asked"; echo '{"server": {"version": "abc"}, "operations_per_second": 6000, "acknowledged": 7, "read_back": %BACK%, "node_cpu_cores": [0.1, 0.2, 0.3]}';;
esac`

// TestAClusterIsStartedAndAsked: calls go to the node that leads, the command names it, all processes are measured, and nothing
// is left.
func TestAClusterIsStartedAndAsked(t *testing.T) {
	for back, want := range map[string]verdict{"7": yes, "6": no} {
		b := fake(t, strings.ReplaceAll(aCluster, "%BACK%", back))
		b.dataDir = t.TempDir()
		l := b.measure(t.Context(), clusterRows(1)[0])
		if l.met != want {
			t.Errorf("%s read back: %+v", back, l)
		}
		if want := "program bench write --clients 256 --duration 1s --address LEADER"; len(l.commands) != 1 || l.commands[0] != want {
			t.Errorf("commands %q", l.commands)
		}
		asked, err := os.ReadFile(b.binary + ".asked")
		pids := strings.Split(fieldAfter(string(asked), "--pid"), ",")
		if err != nil || len(pids) != nodes || fieldAfter(string(asked), "--address 127.0.0.1:") != pids[1] {
			t.Errorf("%v: %s", err, asked)
		}
		if left, err := os.ReadDir(b.dataDir); err != nil || len(left) != 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

// fieldAfter is the word behind a text.
func fieldAfter(s, text string) string {
	_, rest, _ := strings.Cut(s, text)
	word, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	return word
}
