package telemetry

import (
	"sync"
	"time"
)

// windowSeconds is how far averages look back.
const windowSeconds = 60

// Minute is how a node has fared in the last minute, the running second left out unless there is no other.
type Minute struct {
	// Write and Read are averages, 0 without calls.
	Write, Read time.Duration
	// RequestsPerSecond is rounded to the nearest.
	RequestsPerSecond int64
}

// second is what happened within one second.
type second struct {
	at                      int64 // Unix seconds
	requests, writes, reads int64
	writing, reading        time.Duration
}

// window is a ring of the last seconds.
type window struct {
	since int64 // Unix seconds of its making

	mu   sync.Mutex
	ring [windowSeconds + 1]second // guarded by mu
}

func newWindow(now time.Time) *window { return &window{since: now.Unix()} }

// slotLocked is the second that now lies in. Callers hold mu.
func (w *window) slotLocked(now time.Time) *second {
	at := now.Unix()
	s := &w.ring[((at%int64(len(w.ring)))+int64(len(w.ring)))%int64(len(w.ring))]
	if s.at != at {
		*s = second{at: at}
	}
	return s
}

func (w *window) request(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slotLocked(now).requests++
}

func (w *window) write(now time.Time, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.slotLocked(now)
	s.writes++
	s.writing += took
}

func (w *window) read(now time.Time, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.slotLocked(now)
	s.reads++
	s.reading += took
}

// minute sums up.
func (w *window) minute(now time.Time) Minute {
	w.mu.Lock()
	defer w.mu.Unlock()
	var sum second
	for _, s := range w.ring {
		if age := now.Unix() - s.at; age < 0 || age >= windowSeconds {
			continue
		}
		sum.requests += s.requests
		sum.writes, sum.writing = sum.writes+s.writes, sum.writing+s.writing
		sum.reads, sum.reading = sum.reads+s.reads, sum.reading+s.reading
	}
	lived := min(max(now.Unix()-w.since+1, 1), windowSeconds)
	m := Minute{RequestsPerSecond: (sum.requests + lived/2) / lived}
	if sum.writes > 0 {
		m.Write = sum.writing / time.Duration(sum.writes)
	}
	if sum.reads > 0 {
		m.Read = sum.reading / time.Duration(sum.reads)
	}
	return m
}
