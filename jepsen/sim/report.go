package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is what came of a run, or of several.
type Report struct {
	Seed  uint64
	Nodes int
	// Writes were acknowledged, Reads answered, Events told.
	Writes, Reads, Events int
	// Faults counts those that were in force.
	Faults map[Fault]int
	// Elections counts leaderships that began, Snapshots and Installed those that were taken and came in, Failures nodes that ended by themselves.
	Elections, Snapshots, Installed, Failures int
	VirtualTime                               time.Duration
	// Anomalies are broken promises, the first few of them.
	Anomalies []string
	// Trace is the hash of so many lines, if one was asked for.
	Trace string
	Lines int
}

// Operations is everything that clients were told.
func (r Report) Operations() int { return r.Writes + r.Reads + r.Events }

// FaultCount is how many faults there were.
func (r Report) FaultCount() int {
	n := 0
	for _, c := range r.Faults {
		n += c
	}
	return n
}

// String is one line.
func (r Report) String() string {
	var faults []string
	for _, f := range slices.Sorted(maps.Keys(r.Faults)) {
		faults = append(faults, fmt.Sprintf("%s %d", f, r.Faults[f]))
	}
	return fmt.Sprintf("seed %d: %d nodes, %v, %d writes, %d reads, %d events, %d elections, %d snapshots, %d installed, %d failed; %s",
		r.Seed, r.Nodes, r.VirtualTime.Round(time.Second), r.Writes, r.Reads, r.Events, r.Elections, r.Snapshots, r.Installed, r.Failures, strings.Join(faults, ", "))
}

// Table is several runs for people.
func (r Report) Table(runs int) string {
	var b strings.Builder
	row := func(name string, value any) { fmt.Fprintf(&b, "| %s | %v |\n", name, value) }
	b.WriteString("| | |\n|---|---|\n")
	row("runs", runs)
	row("virtual hours of a cluster", fmt.Sprintf("%.1f", r.VirtualTime.Hours()))
	row("writes acknowledged", r.Writes)
	row("reads", r.Reads)
	row("events", r.Events)
	row("elections", r.Elections)
	row("snapshots taken", r.Snapshots)
	row("snapshots installed", r.Installed)
	row("nodes that ended by themselves", r.Failures)
	row("faults", r.FaultCount())
	for _, f := range slices.Sorted(maps.Keys(r.Faults)) {
		row("of these "+string(f), r.Faults[f])
	}
	return b.String()
}

// Add sums runs up.
func (r *Report) Add(other Report) {
	r.Writes, r.Reads, r.Events = r.Writes+other.Writes, r.Reads+other.Reads, r.Events+other.Events
	r.Elections, r.Snapshots, r.Installed, r.Failures = r.Elections+other.Elections, r.Snapshots+other.Snapshots, r.Installed+other.Installed, r.Failures+other.Failures
	r.VirtualTime += other.VirtualTime
	r.Anomalies = append(r.Anomalies, other.Anomalies...)
	if r.Faults == nil {
		r.Faults = map[Fault]int{}
	}
	for f, n := range other.Faults {
		r.Faults[f] += n
	}
}
