package sim

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// How to run other seeds than those committed.
const (
	// seedVariable names one seed, seedsVariable how many from firstVariable on, durationVariable for how long each.
	seedVariable     = "MEMORY_GRAPH_SIM_SEED"
	seedsVariable    = "MEMORY_GRAPH_SIM_SEEDS"
	firstVariable    = "MEMORY_GRAPH_SIM_FIRST"
	durationVariable = "MEMORY_GRAPH_SIM_DURATION"
)

// committed are seeds that have something to show. What a run of one does differs a little from time to time, as goroutines do not take
// turns in one order; jepsen/sim/replay makes them.
func committed() []uint64 {
	return []uint64{
		12,   // five nodes: each of two sees others
		17,   // connections of a paused node are reset; a model in which its writes failed and its reads did not stood still here
		20,   // members come and go
		22,   // machines lose power, a disk is replaced
		3070, // a disk is replaced while a way is slow; of two nodes nobody could lead when it was slower than a lease
	}
}

// TestSeeds runs what is committed.
func TestSeeds(t *testing.T) {
	duration, seeds := 45*time.Second, committed()
	if raceDetector || testing.Short() {
		duration, seeds = 20*time.Second, seeds[len(seeds)-2:]
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { try(t, Config{Seed: seed, Duration: duration}) })
	}
}

// TestSeed repeats one seed, and tells its story.
func TestSeed(t *testing.T) {
	seed, ok := number(t, seedVariable)
	if !ok {
		t.Skipf("repeats the seed that %s names", seedVariable)
	}
	try(t, Config{Seed: seed, Duration: duration(t), Story: os.Stderr})
}

// TestTrace runs one seed and tells the hash of its trace, for jepsen/sim/replay.
func TestTrace(t *testing.T) {
	seed, ok := number(t, seedVariable)
	if !ok {
		t.Skipf("traces the seed that %s names", seedVariable)
	}
	r := try(t, Config{Seed: seed, Duration: duration(t), Trace: true})
	t.Logf("trace %s of %d lines", r.Trace, r.Lines)
}

// TestManySeeds runs as many as it is told, and sums them up.
func TestManySeeds(t *testing.T) {
	seeds, ok := number(t, seedsVariable)
	if !ok {
		t.Skipf("runs as many seeds as %s says", seedsVariable)
	}
	first, _ := number(t, firstVariable)
	began, sum := time.Now(), Report{}
	for seed := first; seed < first+seeds; seed++ {
		fmt.Printf("seed %d\n", seed) // at once: a run that stands still says nothing else
		sum.Add(try(t, Config{Seed: seed, Duration: duration(t)}))
	}
	fmt.Printf("\n%s\n%d anomalies, %v of real time\n", sum.Table(int(seeds)), len(sum.Anomalies), time.Since(began).Round(time.Second))
}

// try runs one, and says how to repeat what failed.
func try(t *testing.T, c Config) Report {
	t.Helper()
	r := Run(t, c)
	t.Log(r)
	for _, a := range r.Anomalies {
		t.Error(a)
	}
	if len(r.Anomalies) > 0 {
		t.Errorf("repeat it: %s=%d %s=%v go test -count=1 -run '^TestSeed$' -v ./jepsen/sim", seedVariable, c.Seed, durationVariable, c.Duration)
	}
	return r
}

func number(t *testing.T, variable string) (n uint64, ok bool) {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n, true
}

func duration(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv(durationVariable)
	if text == "" {
		return 3 * time.Minute
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", durationVariable, err)
	}
	return d
}
