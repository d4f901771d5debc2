package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// What latencies are recorded with: from a microsecond to ten minutes, three digits.
const (
	shortestLatency = int64(1)
	longestLatency  = int64(10 * time.Minute / time.Microsecond)
	latencyDigits   = 3
)

// A tally counts what was measured. Some connections share one, for each is large.
type tally struct {
	mu      sync.Mutex // guards all
	latency *hdrhistogram.Histogram
	// calls that were answered, what they did (a batch does many things), and the bytes of the answers.
	calls, operations, refused int64
}

func newTally() *tally {
	return &tally{latency: hdrhistogram.New(shortestLatency, longestLatency, latencyDigits)}
}

// call counts an answered call.
func (t *tally) call(took time.Duration, operations int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls++
	t.operations += operations
	t.tookLocked(took)
}

// refuse counts a call that found no room.
func (t *tally) refuse() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused++
}

// tookLocked records a latency. What is out of range is recorded as the range's end.
func (t *tally) tookLocked(d time.Duration) {
	us := min(max(d.Microseconds(), shortestLatency), longestLatency)
	_ = t.latency.RecordValue(us) // in range
}

// add takes in another tally. Nobody may write to either any more.
func (t *tally) add(o *tally) {
	t.latency.Merge(o.latency)
	t.calls += o.calls
	t.operations += o.operations
	t.refused += o.refused
}

// Latency are the percentiles of a run, milliseconds.
type Latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

func (t *tally) percentiles() Latency {
	if t.latency.TotalCount() == 0 {
		return Latency{}
	}
	at := func(q float64) float64 { return float64(t.latency.ValueAtQuantile(q)) / 1000 }
	return Latency{
		Mean: t.latency.Mean() / 1000, P50: at(50), P90: at(90), P95: at(95), P99: at(99), P999: at(99.9),
		Max: float64(t.latency.Max()) / 1000,
	}
}
