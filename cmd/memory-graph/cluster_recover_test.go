package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
)

// recovering runs `cluster recover` with an answer on standard input.
func recovering(t *testing.T, answer string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	p := surroundings(nil, &out, &errs)
	p.stdin, p.now = strings.NewReader(answer), func() time.Time { return time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC) }
	code := p.run(t.Context(), append([]string{"cluster", "recover"}, args...))
	return result{code, out.String(), errs.String()}
}

// TestRecoverIsExplicit: it tells what it would do, asks, writes down what it did, and the node goes on with all of its data in
// another cluster.
func TestRecoverIsExplicit(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	s := startDev(t, on(folder, "--sample")...)
	var before clusterStatus
	if err := json.Unmarshal([]byte(s.must(t, "cluster", "status", "-o", "json")), &before); err != nil {
		t.Fatal(err)
	}
	if r := recovering(t, "", "--data-dir", folder, "--yes"); r.code != exitFailed || !strings.Contains(r.err, "in use") {
		t.Errorf("of a node that runs: %+v", r)
	}
	s.stop(t)

	var plan cluster.RecoveryRecord
	r := recovering(t, "", "--data-dir", folder, "--dry-run", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &plan); err != nil || plan.NodeID != before.Leader || plan.FromCluster != before.ClusterID || plan.LastIndex == 0 {
		t.Fatalf("%v, %+v", err, r)
	}
	for _, answer := range []string{"", "yes\n", "dev\n"} {
		if r := recovering(t, answer, "--data-dir", folder); r.code != exitFailed || !strings.Contains(r.err, "nothing was done") || r.out != "" {
			t.Errorf("answer %q: %+v", answer, r)
		}
	}
	r = recovering(t, plan.NodeID+"\n", "--data-dir", folder)
	for _, want := range []string{"recovered", "old cluster            " + before.ClusterID, "what to do next", "--join", "old member"} {
		if r.code != exitOK || !strings.Contains(r.out, want) {
			t.Errorf("%q is missing in %+v", want, r)
		}
	}

	again := startDev(t, on(folder)...)
	var after clusterStatus
	if err := json.Unmarshal([]byte(again.must(t, "cluster", "status", "-o", "json")), &after); err != nil {
		t.Fatal(err)
	}
	if after.ClusterID == before.ClusterID || after.Leader != before.Leader || after.Revision <= before.Revision {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if out := again.must(t, "query", "--type", "tool", "--filter", "status=failed"); !strings.Contains(out, "start_generator") {
		t.Errorf("the data is gone: %s", out)
	}
}

func TestRecoverOfNoFolder(t *testing.T) {
	if r := recovering(t, "", "--data-dir", t.TempDir(), "--yes"); r.code != exitFailed || !strings.Contains(r.err, "not the data folder of a node") {
		t.Errorf("%+v", r)
	}
	if r := recovering(t, "", "-o", "xml"); r.code != exitUsage {
		t.Errorf("%+v", r)
	}
}
