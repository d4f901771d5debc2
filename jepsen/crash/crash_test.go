package crash_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/crash"
)

const (
	roundsVariable = "MEMORY_GRAPH_CRASH_ROUNDS"
	seedVariable   = "MEMORY_GRAPH_CRASH_SEED"
)

// TestCrash kills a server under load three times, or as often as MEMORY_GRAPH_CRASH_ROUNDS says, from the seed
// MEMORY_GRAPH_CRASH_SEED or a new one. Snapshots and compactions happen many times a round.
func TestCrash(t *testing.T) {
	binary, err := cluster.Binary(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	rounds := int(number(t, roundsVariable, 3))
	seed := number(t, seedVariable, rand.Uint64())
	t.Logf("seed %d", seed)
	folder := filepath.Join(t.TempDir(), "data")
	report, err := crash.Run(t.Context(), crash.Config{
		Binary: binary, DataDir: folder, Seed: seed, Rounds: rounds, Writers: 6,
		Args: cluster.Compacting(), Logf: t.Logf,
	})
	t.Logf("%+v", report)
	if err != nil {
		t.Fatal(err)
	}
	if report.Acknowledged == 0 || report.Crashes != rounds || report.Compactions == 0 {
		t.Errorf("the run proved nothing: %+v", report)
	}
	if out, err := exec.CommandContext(t.Context(), binary, "check", "--data-dir", folder).CombinedOutput(); err != nil {
		t.Errorf("check of what is left: %v\n%s", err, out)
	}
}

func number(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}
