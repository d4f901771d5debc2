package main

import (
	"fmt"
	"math"
	"runtime"
	"strconv"
)

// A row measures one figure of the list that this server was built to.
type row struct {
	name, target string
	measure      func(*session) (figure string, met verdict, err error)
}

// What was asked for. Rates are per second, times milliseconds, sizes bytes.
const (
	writes256, writes1024, writeP95 = 12_000, 20_000, 50
	onceLog                         = 1.5
	imported, batched, gotten       = 20_000, 20_000, 18_000
	streamed, heard, eventP99       = 150_000, 80_000, 20
	mixedP95                        = 100
	busy                            = 0.70
	crowdRSS                        = 1.5 * (1 << 30)
	steadyRSS                       = 64 << 20
)

func figures() []row {
	return []row{
		{"AddPrompt, 256 clients", "12,000/s, p95 < 50 ms", atRate(writes256, writeP95, "write", "--clients", "256")},
		{"AddPrompt, 1,024 clients", "20,000/s", atRate(writes1024, 0, "write", "--clients", "1024")},
		{"AddPrompt, 1 client", "1.5 × the log alone", onlyTheLog},
		{"import of own JSON Lines", "20,000 nodes/s", fromFile},
		{"Import stream, 2 at once", "–", asItIs("import")},
		{"BatchCreateNodes of 100", "20,000 nodes/s", atRate(batched, 0, "batch", "--batch", "100")},
		{"GetNode, 64 clients", "18,000/s", atRate(gotten, 0, "read", "--clients", "64")},
		{"StreamQuery of 200,000 prompts", "150,000 nodes/s, constant memory", steady},
		{"events, from the beginning", "80,000/s to one subscriber", atRate(heard, 0, "feed", "--preload", "100000")},
		{"events, live, BatchCreateNodes of 100", "80,000/s to one subscriber", atRate(heard, 0, "events", "--batch", "100", "--clients", "8")},
		{"event after its write", "p99 < 20 ms above the write", lateness},
		{"mixed, 1,000 calls at once", "p95 < 100 ms", mixed},
		{"10,000 connections", "all answered, RSS < 1.5 GB", crowd},
		{"writes at 70 % CPU", "–", atBusy("write", "256", writes256)},
		{"reads at 70 % CPU", "–", atBusy("read", "64", gotten)},
	}
}

// told is what every figure tells beside its rate.
func told(r result) string {
	text := whole(r.PerSecond) + "/s"
	// The calls of streams and imports are as long as anybody likes.
	if r.Operations == r.Calls {
		text += fmt.Sprintf("; p50 %s, p95 %s, p99 %s ms", short(r.Latency.P50), short(r.Latency.P95), short(r.Latency.P99))
	}
	text += fmt.Sprintf("; server %.2f cores, %.1f µs CPU each, %d MiB; client %.2f cores", r.ServerCores, r.ServerCPU, r.ServerRSS>>20, r.ClientCores)
	if r.Refused > 0 {
		text += fmt.Sprintf("; %d refused", r.Refused)
	}
	return text
}

func whole(v float64) string {
	s := strconv.FormatInt(int64(math.Round(v)), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// short is a time in milliseconds with as many digits as matter.
func short(v float64) string {
	digits := 0
	switch {
	case v < 1:
		digits = 3
	case v < 100:
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

// atRate is a workload with a least rate and, unless 0, a longest p95.
func atRate(rate, p95 float64, args ...string) func(*session) (string, verdict, error) {
	return func(s *session) (string, verdict, error) {
		r, err := s.ours(args...)
		if err != nil {
			return "", no, err
		}
		return told(r), judge(r.PerSecond >= rate && (p95 == 0 || r.Latency.P95 < p95)), nil
	}
}

// asItIs is a workload without a target.
func asItIs(args ...string) func(*session) (string, verdict, error) {
	return func(s *session) (string, verdict, error) {
		figure, _, err := atRate(0, 0, args...)(s)
		return figure, open, err
	}
}

func fromFile(s *session) (string, verdict, error) {
	r, err := s.ours("transfer", "--nodes", "200000")
	if err != nil {
		return "", no, err
	}
	figure := fmt.Sprintf("%s nodes/s with 2 edges each; export %s nodes/s; server %.2f cores, %.0f µs CPU a node",
		whole(r.Imported), whole(r.Exported), r.ServerCores, r.ServerCPU)
	return figure, judge(r.Imported >= imported), nil
}

func onlyTheLog(s *session) (string, verdict, error) {
	r, err := s.ours("write", "--clients", "1")
	if err != nil {
		return "", no, err
	}
	times := r.Latency.P50 / r.Disk.Log.P50
	figure := fmt.Sprintf("%.2f ×: p50 %s ms, one entry into the log alone p50 %s ms, append and sync p50 %s ms; %s",
		times, short(r.Latency.P50), short(r.Disk.Log.P50), short(r.Disk.Sync.P50), told(r))
	return figure, judge(times <= onceLog), nil
}

func steady(s *session) (string, verdict, error) {
	r, err := s.ours("stream", "--preload", "200000")
	if err != nil {
		return "", no, err
	}
	return fmt.Sprintf("%s; RSS rose by %d MiB", told(r), r.Growth>>20), judge(r.PerSecond >= streamed && r.Growth < steadyRSS), nil
}

func lateness(s *session) (string, verdict, error) {
	r, err := s.ours("events", "--clients", "64")
	if err != nil {
		return "", no, err
	}
	a := r.Above
	return fmt.Sprintf("p50 %s, p95 %s, p99 %s ms after the acknowledgement; %s writes/s, p95 %s ms; %s", short(a.P50), short(a.P95), short(a.P99),
		whole(float64(r.Calls)/r.Seconds), short(r.Latency.P95), told(r)), judge(a.P99 < eventP99), nil
}

func mixed(s *session) (string, verdict, error) {
	r, err := s.ours("mixed", "--clients", "1000")
	if err != nil {
		return "", no, err
	}
	return told(r), judge(r.Latency.P95 < mixedP95), nil
}

func crowd(s *session) (string, verdict, error) {
	r, err := s.ours("connections", "--clients", "10000")
	if err != nil {
		return "", no, err
	}
	return told(r), judge(r.Refused == 0 && r.ServerRSS < crowdRSS), nil
}

// atBusy looks for the rate at which the server keeps 70 % of the machine's processors busy, between a rate that was less and one
// that was more. A call costs less the more there are at once, so the next rate to try is not simply in proportion.
func atBusy(workload, clients string, rate float64) func(*session) (string, verdict, error) {
	const tries = 6
	return func(s *session) (string, verdict, error) {
		want := busy * float64(runtime.NumCPU())
		var best, low, high result
		for range tries {
			r, err := s.ours(workload, "--clients", clients, "--rate", strconv.FormatFloat(math.Round(rate), 'f', -1, 64))
			if err != nil {
				return "", no, err
			}
			if math.Abs(r.ServerCores-want) <= math.Abs(best.ServerCores-want) {
				best = r
				s.commands = s.commands[len(s.commands)-1:]
			} else {
				s.commands = s.commands[:1]
			}
			if math.Abs(r.ServerCores-want) < 0.03*want {
				break
			}
			if r.ServerCores < want && r.PerSecond >= keptUp*rate {
				low = r
			} else {
				high = r
			}
			if high.PerSecond == 0 {
				rate *= 1.3
				continue
			}
			share := 0.5
			if high.ServerCores > want {
				share = (want - low.ServerCores) / (high.ServerCores - low.ServerCores)
			}
			rate = low.PerSecond + (high.PerSecond-low.PerSecond)*min(max(share, 0.1), 0.9)
		}
		return fmt.Sprintf("%.0f %% CPU; %s", 100*best.ServerCores/float64(runtime.NumCPU()), told(best)), open, nil
	}
}

// keptUp is the part of the calls that were meant to begin which a server must answer, or the rate was too high for it.
const keptUp = 0.98

// How much faster than PostgreSQL this server is to be.
const times64, times256 = 2, 3

func comparisons() []row {
	return []row{
		{"AddPrompt against PostgreSQL, 64 clients", "2 ×", against("64", times64)},
		{"AddPrompt against PostgreSQL, 256 clients", "3 ×", against("256", times256)},
	}
}

// against measures both in turn, twice, with a session for each client on both sides.
func against(clients string, times float64) func(*session) (string, verdict, error) {
	const rounds = 2
	return func(s *session) (string, verdict, error) {
		var ours, theirs [rounds]result
		var a, b float64
		var err error
		for i := range rounds {
			if ours[i], err = s.ours("write", "--clients", clients, "--sessions", clients); err != nil {
				return "", no, err
			}
			if theirs[i], err = s.postgres("-clients", clients); err != nil {
				return "", no, err
			}
			a += ours[i].PerSecond
			b += theirs[i].PerSecond
		}
		describe := func(r [rounds]result) string {
			return fmt.Sprintf("%s and %s/s (p95 %s and %s ms; server %.2f and %.2f cores, client %.2f and %.2f)", whole(r[0].PerSecond), whole(r[1].PerSecond),
				short(r[0].Latency.P95), short(r[1].Latency.P95), r[0].ServerCores, r[1].ServerCores, r[0].ClientCores, r[1].ClientCores)
		}
		return fmt.Sprintf("%.2f ×: ours %s, %s %s", a/b, describe(ours), theirs[0].System, describe(theirs)), judge(a >= times*b), nil
	}
}
