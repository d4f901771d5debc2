package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
)

// trailingLogs is as few as a node allows.
const trailingLogs = 1024

// Config says what to run.
type Config struct {
	// Seed decides on faults and operations.
	Seed uint64
	// Nodes is how many there are, 3 to 5; 0 leaves it to the seed.
	Nodes int
	// Duration is how long the cluster is hurt, in virtual time.
	Duration time.Duration
	// Faults are those that may happen; nil leaves it to the seed, which takes some of all.
	Faults []Fault
	// SnapshotEntries and SnapshotInterval say how often the log is cut; 0 leaves it to the seed.
	SnapshotEntries  uint64
	SnapshotInterval time.Duration
	// Timing is that of Raft; zero leaves it to the seed: a LAN, and followers that are told of commits sooner or later.
	Timing cluster.Timing
	// Trace makes a hash of everything that the nodes log, with the virtual time, and of all that was done to them.
	Trace bool
	// Story hears what was done and what nodes warn of; nil for nobody.
	Story io.Writer
}

// run is one cluster with what is done to it.
type run struct {
	config  Config
	began   time.Time
	random  *rand.Rand
	network *network
	logger  hclog.Logger
	secret  secret.Secret
	watch   *watch
	graves  sync.WaitGroup

	// machines are all that are used now, spare the names that are free.
	machines []*machine
	spare    []string

	mu        sync.Mutex
	trace     hash.Hash
	lines     int
	anomalies []string
	faults    map[Fault]int
}

// maxAnomalies bounds what is kept.
const maxAnomalies = 20

// Run runs one cluster in a bubble of its own. What is wrong is in the report; t fails only when the run could not be made.
func Run(t *testing.T, config Config) Report {
	var report Report
	synctest.Test(t, func(t *testing.T) { report = newRun(config).all(t.Context()) })
	return report
}

func newRun(config Config) *run {
	random := rand.New(rand.NewPCG(config.Seed, 1))
	choose(&config, random)
	r := &run{config: config, began: time.Now(), random: random, faults: map[Fault]int{}, spare: []string{"n7", "n6", "n5", "n4", "n3", "n2", "n1"}}
	r.network = newNetwork(rand.New(rand.NewPCG(config.Seed, 2)))
	r.watch = newWatch(r)
	if config.Trace {
		r.trace = sha256.New()
	}
	level := hclog.Warn
	if config.Trace {
		level = hclog.Debug
	}
	if config.Story == nil && !config.Trace {
		level = hclog.Off
	}
	r.logger = hclog.New(&hclog.LoggerOptions{Name: "sim", Level: level, Output: logWriter{r}, DisableTime: true})
	return r
}

// choose fills in what the seed decides.
func choose(c *Config, random *rand.Rand) {
	nodes, entries, interval := 3+2*random.IntN(2)*random.IntN(2), uint64(64)<<random.IntN(4), time.Duration(1+random.IntN(10))*time.Second
	timing := cluster.LAN()
	timing.Commit = []time.Duration{10, 50, 100}[random.IntN(3)] * time.Millisecond
	faults := allFaults()
	random.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	faults = faults[:len(faults)/2+random.IntN(len(faults)/2+1)]
	if c.Nodes == 0 {
		c.Nodes = nodes
	}
	if c.SnapshotEntries == 0 {
		c.SnapshotEntries = entries
	}
	if c.SnapshotInterval == 0 {
		c.SnapshotInterval = interval
	}
	if c.Timing == (cluster.Timing{}) {
		c.Timing = timing
	}
	if c.Faults == nil {
		c.Faults = faults
	}
}

// all is the whole story of a run.
func (r *run) all(ctx context.Context) Report {
	err := r.found(ctx)
	var l *load
	if err == nil {
		l, err = r.openLoad(ctx)
	}
	if err == nil {
		sampling, stop := context.WithCancel(ctx)
		r.graves.Go(func() { r.watch.sample(sampling) })
		err = r.hurt(ctx, l)
		if err == nil {
			err = r.settle(ctx, l)
		}
		stop()
	}
	if err != nil {
		r.anomaly("%v", err)
	}
	report := Report{Seed: r.config.Seed, Nodes: r.config.Nodes}
	if l != nil {
		report.Writes, report.Reads, report.Events = l.counts()
		l.close()
	}
	r.end()
	report.Elections, report.Failures = r.watch.counts()
	report.Snapshots, report.Installed = int(r.watch.snapshots.Load()), int(r.watch.installed.Load())
	report.VirtualTime = time.Since(r.began)
	r.mu.Lock()
	defer r.mu.Unlock()
	report.Anomalies, report.Faults = r.anomalies, r.faults
	if r.trace != nil {
		report.Trace, report.Lines = hex.EncodeToString(r.trace.Sum(nil)), r.lines
	}
	return report
}

// end kills what runs and waits until the last goroutine is gone.
func (r *run) end() {
	for _, m := range r.machines {
		m.crash(false)
	}
	r.graves.Wait()
}

// anomaly notes that a promise was broken.
func (r *run) anomaly(format string, args ...any) {
	text := fmt.Sprintf("%v: ", time.Since(r.began)) + fmt.Sprintf(format, args...)
	r.mu.Lock()
	if len(r.anomalies) < maxAnomalies {
		r.anomalies = append(r.anomalies, text)
	}
	r.mu.Unlock()
	r.tell("ANOMALY %s", text)
}

// tell writes a line of the story, and makes it a part of the trace.
func (r *run) tell(format string, args ...any) {
	r.write(fmt.Sprintf(format, args...) + "\n")
}

func (r *run) write(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := time.Since(r.began)
	if r.trace != nil {
		fmt.Fprintf(r.trace, "%d %s", at, line)
		r.lines++
	}
	if r.config.Story != nil {
		fmt.Fprintf(r.config.Story, "%12v %s", at.Round(time.Microsecond), line)
	}
}

// logWriter takes what nodes log.
type logWriter struct{ run *run }

func (w logWriter) Write(line []byte) (int, error) {
	w.run.write(string(line))
	return len(line), nil
}

// pass lets virtual time pass: in a bubble sleeping is what moves it.
func pass(d time.Duration) { time.Sleep(d) }
