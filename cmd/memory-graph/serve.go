package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/telemetry"
)

const (
	// drainTimeout is how long calls that have begun may go on after a signal to stop.
	drainTimeout = 10 * time.Second
	// failedTimeout is how long a server that has failed may take to close. The disk that made it fail may never answer.
	failedTimeout = 5 * time.Second
	// patience is how often a server that is not ready yet says so.
	patience = 5 * time.Second
)

// serve runs a server until ctx is done, which is a clean end, or until it fails.
func (p *program) serve(ctx context.Context, cfg serverConfig) error {
	restrictFiles()
	restrictMemory()
	return supervise(ctx, func(ctx context.Context, failed *failure) error { return p.runServer(ctx, cfg, failed) })
}

// runServer opens, serves and closes. What it defers, read from the end, is the shutdown.
func (p *program) runServer(ctx context.Context, cfg serverConfig, failed *failure) (err error) {
	logger := p.logger(cfg)
	raftMetrics, err := measureRaft()
	if err != nil {
		return err
	}
	counts := telemetry.NewNodeEvents()
	ports := &ports{config: &cfg}
	defer closing(&err, ports.close)
	peers, err := cfg.newPeering(logger, ports, counts)
	if err != nil {
		return err
	}
	admin := &here{retention: cfg.retention()}
	config := cfg.node(logger, failed.report)
	config.Events = eventsOf(counts)
	node, err := cluster.Open(peers.tell(config, admin))
	if err != nil {
		return err
	}
	defer closing(&err, node.Close)
	if err := peers.fits(node); err != nil {
		return err
	}
	admin.node = node

	api := cfg.api(logger)
	if !cfg.inMemory {
		api.Disk, api.Limit = diskOf(node), node.Limit
	}
	api.Cluster, api.Members = &everywhere{admin}, standingOf(node, peers.expires)
	api.Events = counts
	api.Fit = node.Fit()
	api.NodeID, api.History = node.Identity().NodeID, node
	server, err := rpc.New(api, &road{node: node}, node.Machine())
	if err != nil {
		return err
	}
	defer closing(&err, server.Close)
	if err := server.Metrics().Registry().Register(raftMetrics); err != nil {
		return fmt.Errorf("metrics of raft: %w", err)
	}

	if err := ports.open(); err != nil {
		return err
	}
	defer closing(&err, peers.close)
	if err := peers.start(node); err != nil {
		return err
	}
	running := start(server, ports, failed)
	defer running.wait()
	defer running.shutDown(logger, failed)
	defer handOver(node, logger, failed)

	if node.Quarantine() == nil { // else it says so to whoever asks, and goes on as a member
		err = awaitReady(ctx, node, logger, func() string { return waitsFor(node) })
	}
	if err == nil && node.Quarantine() == nil {
		err = p.welcome(ctx, cfg, logger, ports.api.Addr(), ports.metrics.Addr(), peers.describe())
	}
	if err != nil && ctx.Err() == nil {
		return err
	}
	<-ctx.Done()
	logger.Info("stopping; another signal stops at once", "calls_may_take", drainTimeout.String())
	return nil
}

// handOver gives leadership away, so that writers need not wait for an election. Reads and writes go on meanwhile.
func handOver(node *cluster.Node, logger hclog.Logger, failed *failure) {
	if err := node.HandOver(failed.ctx); err != nil {
		logger.Warn("leadership was not handed over; the others elect", "error", err)
	}
}

// waitsFor is what a node that is not ready waits for.
func waitsFor(node *cluster.Node) string {
	s, err := node.Status()
	switch {
	case err != nil:
		return err.Error()
	case len(s.Members.Servers) == 0:
		return "waiting for other nodes: this one belongs to no cluster yet"
	case len(s.Members.Servers) > 1 && s.Leader == (cluster.Leader{}):
		return fmt.Sprintf("waiting for a leader: %d of the %d voters have to be there", s.Members.Voters()/2+1, s.Members.Voters())
	}
	return "reading the log"
}

// closing closes something at the end of a function and adds what goes wrong to the function's error.
func closing(err *error, closeIt func() error) { *err = errors.Join(*err, closeIt()) }

// A failure is that a server cannot go on. The first report counts.
type failure struct {
	ctx    context.Context
	report context.CancelCauseFunc
}

// cause is what was reported, nil so far.
func (f *failure) cause() error { return context.Cause(f.ctx) }

// supervise runs a server and says how it did. The context that it hands on ends when the server is asked to stop, and
// when it has failed. A server that has failed and does not end is left behind: the process is about to.
func supervise(ctx context.Context, run func(context.Context, *failure) error) error {
	failed := &failure{}
	failed.ctx, failed.report = context.WithCancelCause(context.Background())
	defer failed.report(nil)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	context.AfterFunc(failed.ctx, stop)
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, failed) }()
	select {
	case err := <-ended:
		if cause := failed.cause(); cause != nil {
			return cause
		}
		return err
	case <-failed.ctx.Done():
	}
	select {
	case <-ended:
		return failed.cause()
	case <-time.After(failedTimeout):
		return fmt.Errorf("%w; it did not close within %v", failed.cause(), failedTimeout)
	}
}

// A waiter gets ready.
type waiter interface {
	WaitReady(context.Context) error
	// Limit says what the node lacks, nil for nothing.
	Limit() error
}

// awaitReady waits until the node reads and writes: somebody leads, and it has applied its log. However long that takes, it is no failure: what has been
// applied stays applied, and giving up would only begin anew.
func awaitReady(ctx context.Context, node waiter, logger hclog.Logger, waitsFor func() string) error {
	for start := time.Now(); ; {
		wait, cancel := context.WithTimeout(ctx, patience)
		err := node.WaitReady(wait)
		late := wait.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil {
			return nil
		}
		if !late {
			return fmt.Errorf("wait until the node is ready: %w", err)
		}
		waited := time.Since(start).Round(time.Second).String()
		if limit := node.Limit(); limit != nil {
			logger.Warn("not ready yet", "waited", waited, "error", limit)
		} else {
			logger.Info("not ready yet: "+waitsFor(), "waited", waited)
		}
	}
}

// serving is the goroutines that answer the two ports.
type serving struct {
	server *rpc.Server
	http   *http.Server
	done   chan struct{}
}

// start begins to answer. The listeners are the server's from then on.
func start(server *rpc.Server, ports *ports, failed *failure) *serving {
	api, metrics := ports.take()
	s := &serving{server: server, http: server.MetricsServer(), done: make(chan struct{}, 2)}
	run := func(what string, serve func() error) {
		if err := serve(); err != nil {
			failed.report(fmt.Errorf("%s: %w", what, err))
		}
		s.done <- struct{}{}
	}
	go run("serve the API", func() error { return server.Serve(api) })
	go run("serve metrics", func() error { return rpc.ServeMetrics(s.http, metrics) })
	return s
}

func (s *serving) wait() {
	for range cap(s.done) {
		<-s.done
	}
}

// shutDown lets calls finish and ends streams, then closes the metrics port, which tells meanwhile that this node is not
// ready. A server that has failed has nothing to finish.
func (s *serving) shutDown(logger hclog.Logger, failed *failure) {
	ctx, cancel := context.WithTimeout(failed.ctx, drainTimeout)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		logger.Warn("calls were cut off", "error", err)
	}
	if err := s.http.Shutdown(ctx); err != nil {
		logger.Debug("scrapes were cut off", "error", err, "close", s.http.Close())
	}
}

func (p *program) logger(cfg serverConfig) hclog.Logger {
	level, _ := parseLevel(cfg.logLevel) // validated
	return hclog.New(&hclog.LoggerOptions{Name: "memory-graph", Level: level, Output: p.stderr, JSONFormat: cfg.logJSON})
}
