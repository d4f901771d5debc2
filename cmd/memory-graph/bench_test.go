//go:build unix

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/load"
)

// benchQuickly are the flags of a run that is over soon.
func benchQuickly(workload string, more ...string) []string {
	return append([]string{
		"bench", workload, "--clients", "4", "--connections", "4", "--sessions", "4", "--preload", "200",
		"--warm-up", "20ms", "--duration", "500ms", "-o", "json",
	}, more...)
}

// untilMeasured runs a bench for longer and longer until something ended in its time: on a busy machine a call may take a while.
func untilMeasured(enough func(duration string) bool) {
	for d := 500 * time.Millisecond; !enough(d.String()) && d < 2*time.Minute; d *= 4 {
	}
}

func parseReport(t *testing.T, text string) benchReport {
	t.Helper()
	var r benchReport
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return r
}

func TestBenchEveryWorkload(t *testing.T) {
	s := startDev(t, on(t.TempDir())...)
	for _, w := range load.Workloads() {
		var r benchReport
		untilMeasured(func(duration string) bool {
			r = parseReport(t, s.must(t, benchQuickly(w.Name, "--duration", duration)...))
			return r.Operations > 0
		})
		if r.Workload != w.Name || r.Operations == 0 || r.PerSecond <= 0 || r.Seconds <= 0 {
			t.Errorf("%s: %+v", w.Name, r.Result)
		}
		if r.Acknowledged == 0 || r.ReadBack != r.Acknowledged {
			t.Errorf("%s: %d of %d read back", w.Name, r.ReadBack, r.Acknowledged)
		}
		if r.Server.Fsync != "" || r.Disk != nil {
			t.Errorf("%s: says what it cannot know: %+v, %+v", w.Name, r.Server, r.Disk)
		}
	}
	// What it writes is written.
	if text := s.must(t, "stats", "-o", "json"); strings.Contains(text, `"total_nodes": "0"`) {
		t.Error(text)
	}
	s.stop(t)
}

func TestBenchAsText(t *testing.T) {
	s := startDev(t, on(t.TempDir())...)
	var text string
	untilMeasured(func(duration string) bool {
		text = s.must(t, benchQuickly("events", "-o", "table", "--rate", "500", "--duration", duration)...)
		return strings.Contains(text, "event after write")
	})
	for _, want := range []string{"workload", "events", "per second", "p99.9", "event after write", "acknowledged writes", "500 calls a second"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	s.stop(t)
}

func TestBenchWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{"bench"},
		{"bench", "fly"},
		{"bench", "write", "--clients", "-1"},
		{"bench", "write", "--size", "2000000"},
		{"bench", "write", "--clients", "2", "--connections", "3"},
		{"bench", "write", "-o", "xml"},
		{"bench", "write", "--address", "127.0.0.1:1", "--", "--in-memory"},
		{"bench", "etcd-put"},
		{"bench", "write", "--pid", "1"},
		{"bench", "write", "--address", "127.0.0.1:1,127.0.0.1:2", "--clients", "1"},
		{"bench", "grow", "--nodes", "10"},
		{"bench", "transfer", "--nodes", "0"},
	} {
		if r := execute(t, "", args...); r.code != exitUsage || r.out != "" {
			t.Errorf("%v: code %d, %s%s", args, r.code, r.out, r.err)
		}
	}
}

func TestBenchWithoutAServer(t *testing.T) {
	if r := execute(t, "", benchQuickly("write", "--address", "127.0.0.1:1")...); r.code != exitFailed || r.out != "" {
		t.Errorf("code %d, %s%s", r.code, r.out, r.err)
	}
}

// benchStartsAServer: one command gives a figure, and leaves nothing behind.
func benchStartsAServer(t *testing.T, binary string) {
	folder := t.TempDir()
	profile := filepath.Join(folder, "client.prof")
	var report benchReport
	untilMeasured(func(duration string) bool {
		r := runProcess(t, binary, benchQuickly("write", "--duration", duration, "--data-dir", folder, "--cpu-profile", profile, "--", "--trailing-logs", "2048")...)
		if r.code != exitOK {
			t.Fatalf("code %d: %s", r.code, r.err)
		}
		report = parseReport(t, r.out)
		return report.Operations > 0
	})
	if s := report.Server; s.Fsync != "on" || s.Log == "" || s.Timing == "" || s.Version == "" || s.Flags != "--trailing-logs 2048" {
		t.Errorf("%+v", s)
	}
	if report.Disk == nil || report.Disk.Log.P50 <= 0 || report.ReadBack != report.Acknowledged || report.Operations == 0 {
		t.Errorf("%+v", report)
	}
	left, err := os.ReadDir(folder)
	if err != nil || len(left) != 1 || left[0].Name() != "client.prof" {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if r := runProcess(t, binary, benchQuickly("write", "--data-dir", folder, "--", "--no-such-flag")...); r.code != exitFailed || !strings.Contains(r.err, "ended before it was ready") {
		t.Errorf("a server that does not start: code %d, %s", r.code, r.err)
	}
}

// benchGrows: a large graph, small.
func benchGrows(t *testing.T, binary string) {
	folder := t.TempDir()
	var report growReport
	untilMeasured(func(duration string) bool {
		r := runProcess(t, binary, "bench", "grow", "--small", "1000", "--nodes", "2500", "--warm-up", "10ms", "--duration", duration, "--data-dir", folder, "-o", "json")
		if r.code != exitOK {
			t.Fatalf("code %d: %s", r.code, r.err)
		}
		report = growReport{}
		if err := json.Unmarshal([]byte(r.out), &report); err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(report.Growth.Costs, func(c growCost) bool { return c.Small.P50 <= 0 || c.Large.P50 <= 0 })
	})
	g := report.Growth
	if report.ReadBack < 2500 || report.ReadBack != report.Acknowledged || g.RSS == 0 || g.Restart <= 0 || g.Killed <= 0 || g.Loaded <= 0 {
		t.Errorf("%+v", report)
	}
	if len(g.Costs) != 6 {
		t.Errorf("%d calls", len(g.Costs))
	}
	for _, c := range g.Costs {
		if c.Small.P50 <= 0 || c.Large.P50 <= 0 {
			t.Errorf("%+v", c)
		}
	}
	// Two edges a prompt but for the first of a session, and the content of each, are there.
	if g.Content < 2500*load.DefaultSize || g.OnDisk < g.Content || g.Spaces["node"] < g.Content || g.Spaces["feed"] == 0 {
		t.Errorf("%+v", g)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// benchTransfers: what one server exports, another imports.
func benchTransfers(t *testing.T, binary string) {
	folder := t.TempDir()
	r := runProcess(t, binary, "bench", "transfer", "--nodes", "1500", "--data-dir", folder, "-o", "json")
	if r.code != exitOK {
		t.Fatalf("code %d: %s", r.code, r.err)
	}
	var report transferReport
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatal(err)
	}
	if report.Nodes != 1502 || report.Edges != 2998 || report.ReadBack != 1500 || report.Imported <= 0 || report.Exported <= 0 || report.FileBytes < 1500*load.DefaultSize {
		t.Errorf("%+v", report)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
