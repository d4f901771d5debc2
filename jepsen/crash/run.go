package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"google.golang.org/grpc"
)

// Config says how to run.
type Config struct {
	// Binary is the server, DataDir its folder.
	Binary, DataDir string
	// Seed decides on the load and on the moments of the crashes.
	Seed uint64
	// Rounds is the number of crashes, Writers that of concurrent writers.
	Rounds, Writers int
	// Args are added to those of the server.
	Args []string
	// Logf tells what happens; it may be nil.
	Logf func(format string, args ...any)
}

// Report counts what a run did.
type Report struct {
	Crashes, EarlyCrashes          int
	Acknowledged, Unknown, Retried int
	Events                         int
	// Compactions is how often the server looked whether to cut its log after a snapshot.
	Compactions int
}

const (
	// The load of a round goes on for a time between these.
	shortestRound, longestRound = 150 * time.Millisecond, 1200 * time.Millisecond
	// An early crash comes this soon after the start, in one of three rounds.
	latestEarlyCrash = 150 * time.Millisecond
	// So many writes, one after the other, come first: the log is then long enough to be cut.
	ageing = cluster.TrailingLogs + 200
	// What a call may take when the server lives.
	callWithin = 3 * time.Minute
)

// run is a run under way.
type run struct {
	config  Config
	random  *rand.Rand
	node    *cluster.Node
	writers []*writer
	watcher watcher
	report  Report
}

// Run crashes a server until the rounds are over. Its error names the seed, the round and what was lost.
func Run(ctx context.Context, config Config) (Report, error) {
	r := &run{
		config: config,
		random: rand.New(rand.NewPCG(config.Seed, 0)),
		node:   cluster.New(cluster.Options{Binary: config.Binary, DataDir: config.DataDir, Args: config.Args}),
	}
	for i := range config.Writers {
		r.writers = append(r.writers, newWriter(config.Seed, i))
	}
	err := r.all(ctx)
	for _, w := range r.writers {
		r.report.Acknowledged += w.acknowledged
		r.report.Unknown += w.unknown
		r.report.Retried += w.retried
	}
	r.report.Events = len(r.watcher.seen)
	if err != nil {
		err = fmt.Errorf("seed %d, crash %d: %w\nserver printed:\n%s", config.Seed, r.report.Crashes, err, r.node.Logs())
	}
	return r.report, errors.Join(err, r.node.Kill())
}

func (r *run) all(ctx context.Context) error {
	if err := r.age(ctx); err != nil {
		return err
	}
	for range r.config.Rounds {
		if err := r.round(ctx); err != nil {
			return err
		}
	}
	if err := r.inspect(ctx); err != nil {
		return err
	}
	if err := r.node.Stop(ctx); err != nil {
		return err
	}
	if err := r.inspect(ctx); err != nil {
		return fmt.Errorf("after a graceful restart: %w", err)
	}
	return r.node.Stop(ctx)
}

// age lets the first writer write alone until the log is long.
func (r *run) age(ctx context.Context) error {
	if err := r.node.Start(ctx); err != nil {
		return err
	}
	conn, err := r.node.Dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	graph, first := graphgrpc.NewMemoryGraphServiceClient(conn), r.writers[0]
	for range ageing {
		first.pending = first.next()
		if err := first.try(ctx, graph); err != nil {
			return fmt.Errorf("before the first crash: %w", err)
		}
	}
	return nil
}

// round looks at what is there, writes, and crashes.
func (r *run) round(ctx context.Context) error {
	if r.random.IntN(3) == 0 && r.node.Address() == "" {
		if err := r.crashEarly(); err != nil {
			return err
		}
	}
	if err := r.inspect(ctx); err != nil {
		return err
	}
	conn, err := r.node.Dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	load, stop := context.WithCancel(ctx)
	defer stop()
	var busy sync.WaitGroup
	failures := make([]error, len(r.writers)+1)
	for i, w := range r.writers {
		busy.Go(func() { failures[i] = w.write(load, graphgrpc.NewMemoryGraphServiceClient(conn)) })
	}
	busy.Go(func() { failures[len(r.writers)] = r.watcher.follow(load, graphgrpc.NewMemoryGraphServiceClient(conn)) })
	r.wait(ctx, shortestRound+time.Duration(r.random.Int64N(int64(longestRound-shortestRound))))
	compactions, scrapeErr := r.compactions(ctx)
	r.report.Compactions += compactions
	err = r.node.Kill()
	r.report.Crashes++
	// Writers end when their next call fails; the watcher when its stream breaks.
	busy.Wait()
	r.logf("crash %d", r.report.Crashes)
	return errors.Join(append(failures, scrapeErr, err)...)
}

var compactLogs = regexp.MustCompile(`(?m)^memory_graph_raft_compactLogs_count ([0-9]+)$`)

// compactions asks the server how often it has looked whether to cut its log. It proves that the run is about what it says.
func (r *run) compactions(ctx context.Context) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.node.MetricsAddress()+"/metrics", nil)
	if err != nil {
		return 0, fmt.Errorf("metrics: %w", err)
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("metrics: %w", err)
	}
	defer func() { _ = reply.Body.Close() }()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		return 0, fmt.Errorf("metrics: %w", err)
	}
	found := compactLogs.FindSubmatch(text)
	if found == nil {
		return 0, nil
	}
	return strconv.Atoi(string(found[1]))
}

// crashEarly kills the server while it starts.
func (r *run) crashEarly() error {
	if err := r.node.Launch(); err != nil {
		return err
	}
	r.wait(context.Background(), time.Duration(r.random.Int64N(int64(latestEarlyCrash))))
	r.report.EarlyCrashes++
	return r.node.Kill()
}

func (*run) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// inspect starts the server if need be, settles what is unknown and holds everything against the models.
func (r *run) inspect(ctx context.Context) error {
	if r.node.Address() == "" {
		if err := r.node.Start(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*callWithin)
	defer cancel()
	conn, err := r.node.Dial(grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	graph := graphgrpc.NewMemoryGraphServiceClient(conn)
	for _, w := range r.writers {
		if err := w.settle(ctx, graph); err != nil {
			return err
		}
		if err := w.repeat(ctx, graph); err != nil {
			return err
		}
	}
	v := verifier{graph: graph, transfer: graphgrpc.NewGraphTransferServiceClient(conn), writers: r.writers}
	if err := v.all(ctx); err != nil {
		return err
	}
	return v.events(ctx, &r.watcher)
}

func (r *run) logf(format string, args ...any) {
	if r.config.Logf != nil {
		r.config.Logf(format, args...)
	}
}
