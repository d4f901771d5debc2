package crash_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/crash"
)

// TestKilledImports kills a server with SIGKILL while it imports and takes single writes, in five imports or as many as
// MEMORY_GRAPH_CRASH_ROUNDS says, from the seed MEMORY_GRAPH_CRASH_SEED or a new one. `make crash` runs a hundred.
func TestKilledImports(t *testing.T) {
	binary, err := cluster.Binary(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	rounds := int(number(t, roundsVariable, 5))
	seed := number(t, seedVariable, rand.Uint64())
	t.Logf("seed %d", seed)
	report, err := crash.RunImports(t.Context(), crash.ImportConfig{
		Binary: binary, Folder: t.TempDir(), Paths: conversations(t), Seed: seed, Rounds: rounds, Writers: 2, Logf: t.Logf,
	})
	t.Logf("%+v", report)
	if err != nil {
		t.Fatal(err)
	}
	if report.Crashes < rounds || report.Acknowledged == 0 || report.Records == 0 || report.Checks <= 2*rounds {
		t.Errorf("the run proved nothing: %+v", report)
	}
	if report.Partial == 0 || report.Seen == 0 {
		t.Errorf("no crash came in the middle of an import: %+v", report)
	}
}

// talks is how many conversations an import has.
const talks = 80

// conversations are real ones where the data folder is, else some of our own making.
func conversations(t *testing.T) []string {
	t.Helper()
	root := os.Getenv("MEMORY_GRAPH_DATA")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "data")
	}
	for _, part := range []string{"tau-bench/historical_trajectories/*.json", "taskmaster-4/data/*.json"} {
		files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(part)))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) > 0 {
			t.Logf("importing %d conversations of %s", talks, files[0])
			return []string{first(t, files[0])}
		}
	}
	t.Logf("importing conversations of our own: no data in %s (set MEMORY_GRAPH_DATA)", root)
	return []string{madeUp(t)}
}

// first is a file with the first conversations of one that holds a list of them.
func first(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return lines(t, all[:min(talks, len(all))])
}

// lines is a file of one value a line.
func lines[V any](t *testing.T, values []V) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "talks.jsonl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	out := json.NewEncoder(f)
	for _, v := range values {
		if err := out.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// madeUp is a file of conversations of our own.
func madeUp(t *testing.T) string {
	t.Helper()
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	type talk struct {
		Messages []message `json:"messages"`
	}
	all := make([]talk, talks)
	for i := range all {
		for j := range 12 {
			all[i].Messages = append(all[i].Messages, message{"user", fmt.Sprintf("question %d of conversation %d", j, i)},
				message{"assistant", fmt.Sprintf("answer %d of conversation %d: %0200d", j, i, i*j)})
		}
	}
	return lines(t, all)
}
