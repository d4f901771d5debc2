package check

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/history"
)

// linearizable are the numbers of the histories of etcd that are, as porcupine's own tests have it. The cluster of number 95 did not start.
func linearizable() []int {
	return []int{2, 5, 7, 18, 25, 31, 38, 45, 48, 49, 51, 53, 56, 67, 75, 76, 80, 87, 92, 98, 100, 101, 102}
}

// TestHistoriesOfEtcd: Jepsen's histories of etcd 0.4, which porcupine carries along, are judged as porcupine's tests judge them.
func TestHistoriesOfEtcd(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/anishathalye/porcupine").Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		t.Skipf("the module cache does not have porcupine's sources: %v", err)
	}
	judged := 0
	for n := range 103 {
		if n == 95 || n%everyNth != 0 {
			continue
		}
		name := filepath.Join(dir, "test_data", "jepsen", fmt.Sprintf("etcd_%03d.log", n))
		file, err := os.Open(name)
		if errors.Is(err, os.ErrNotExist) {
			t.Skipf("porcupine's module has no test data: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		v := Registers(etcdHistory(t, file), 5*time.Minute)
		_ = file.Close()
		if want := slices.Contains(linearizable(), n); v.Valid != want || v.Unknown != "" {
			t.Errorf("history %d: %v, want %v", n, v, want)
		}
		judged++
	}
	if judged != 102 && everyNth == 1 {
		t.Errorf("%d histories were judged, want 102", judged)
	}
}

// etcdHistory reads lines such as `INFO  jepsen.util - 3	:invoke	:cas	[1 2]`.
func etcdHistory(t *testing.T, file *os.File) []history.Op {
	t.Helper()
	line := regexp.MustCompile(`^INFO\s+jepsen\.util\s+-\s+(\d+)\s+:(invoke|ok|fail|info)\s+:(read|write|cas)\s+(.+)$`)
	numbers := regexp.MustCompile(`\d+`)
	asked := map[history.Process]json.RawMessage{}
	var ops []history.Op
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		m := line.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		o := history.Op{Index: len(ops), Process: history.Process(n), Type: history.Type(m[2]), F: m[3]}
		found := numbers.FindAllString(m[4], -1)
		r := Register{Key: "r"}
		switch {
		case o.F == RegisterCAS && len(found) == 2:
			r.From, r.Value = found[0], &found[1]
		case len(found) == 1:
			r.Value = &found[0]
		}
		if o.Value, err = json.Marshal(r); err != nil {
			t.Fatal(err)
		}
		switch {
		case o.Type == history.Invoke:
			asked[o.Process] = o.Value
		case strings.Contains(m[4], ":timed-out"):
			o.Value, o.Error = asked[o.Process], "DEADLINE_EXCEEDED"
		case o.Type == history.Fail:
			o.Error = "ABORTED"
		}
		ops = append(ops, o)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return ops
}
