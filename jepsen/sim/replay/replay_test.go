package replay

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// runVariable says that the test is to run: it compiles the product for another machine twice over, which takes minutes and gigabytes.
const (
	runVariable      = "MEMORY_GRAPH_SIM_REPLAY"
	seedVariable     = "MEMORY_GRAPH_SIM_SEED"
	durationVariable = "MEMORY_GRAPH_SIM_DURATION"
	// duration is the virtual time of each run.
	duration = "20s"
)

// TestASeedReplaysBitForBit: the same seed twice ends in the same trace of all that nodes logged and clients were told, another seed in
// another.
func TestASeedReplaysBitForBit(t *testing.T) {
	if os.Getenv(runVariable) == "" {
		t.Skipf("make sim-replay runs it: %s is not set", runVariable)
	}
	file := filepath.Join(t.TempDir(), "sim.wasm")
	if err := Build(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	p, err := Load(t.Context(), file, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	first, second, other := trace(t, p, 7), trace(t, p, 7), trace(t, p, 8)
	if first != second {
		t.Errorf("seed 7 ended in %s and in %s", first, second)
	}
	if first == other {
		t.Errorf("seeds 7 and 8 both ended in %s", first)
	}
}

// trace runs one seed and finds the hash in what it said.
func trace(t *testing.T, p *Program, seed uint64) string {
	t.Helper()
	var out bytes.Buffer
	environment := [][2]string{{seedVariable, strconv.FormatUint(seed, 10)}, {durationVariable, duration}}
	if err := p.Run(t.Context(), seed, "TestTrace", environment, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	found := regexp.MustCompile(`trace ([0-9a-f]{64}) of (\d+) lines`).FindStringSubmatch(out.String())
	if found == nil || found[2] == "0" {
		t.Fatalf("seed %d told of no trace:\n%s", seed, out.Bytes())
	}
	t.Logf("seed %d: %s\n%s", seed, found[0], out.Bytes())
	return found[1]
}
