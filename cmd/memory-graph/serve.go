package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc"
)

const (
	// readyTimeout is how long a node of its own may take to lead.
	readyTimeout = 30 * time.Second
	// drainTimeout is how long calls that have begun may go on after a signal to stop.
	drainTimeout = 10 * time.Second
)

// serve runs a server until ctx is done or the node fails. What it defers, read from the end, is the shutdown.
func (p *program) serve(ctx context.Context, cfg serverConfig) error {
	logger, err := p.logger(cfg)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	node, err := cluster.Open(cfg.node(logger, stop))
	if err != nil {
		return err
	}
	defer func() { report(logger, "close the node", node.Close()) }()

	server, err := rpc.New(cfg.api(logger), &road{node: node}, node.Machine())
	if err != nil {
		return err
	}
	defer func() { report(logger, "close the server", server.Close()) }()
	if err := measureRaft(server); err != nil {
		return err
	}

	api, metrics, err := cfg.listeners()
	if err != nil {
		return err
	}
	running := start(stop, server, api, metrics)
	defer running.wait()
	defer shutDown(logger, server, running.http)

	if err := awaitLeader(ctx, node); err != nil {
		return err
	}
	if cfg.sample {
		if err := p.showSample(ctx, api.Addr().String()); err != nil {
			return err
		}
	}
	logger.Warn("no credentials are asked for and nothing is encrypted: keep this server on loopback or a network you trust")
	fmt.Fprintf(p.stdout, "ready grpc=%s metrics=%s data=%s\n", api.Addr(), metrics.Addr(), cfg.place())
	if cfg.sample {
		p.showNextSteps(api.Addr().String(), metrics.Addr().String())
	}
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

func awaitLeader(ctx context.Context, node *cluster.Node) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := node.Barrier(ctx, 0); err != nil {
		return fmt.Errorf("the node did not become ready: %w", err)
	}
	return nil
}

func report(logger hclog.Logger, what string, err error) {
	if err != nil {
		logger.Error(what, "error", err)
	}
}

func (c *serverConfig) node(logger hclog.Logger, stop context.CancelCauseFunc) cluster.Config {
	return cluster.Config{
		Folder: c.dataDir, InMemory: c.inMemory, Name: "dev", Version: version, Random: rand.Reader, Logger: logger,
		SnapshotThreshold: c.snapshotThreshold, TrailingLogs: c.trailingLogs,
		Retention: fsm.Retention{Count: c.retainEvents, Age: c.retainAge},
		Fatal:     func(err error) { stop(fmt.Errorf("the node failed: %w", err)) },
	}
}

func (c *serverConfig) api(logger hclog.Logger) rpc.Config {
	cfg := rpc.DefaultConfig()
	cfg.Version, cfg.Logger = version, logger.Named("rpc")
	cfg.MaxConnections, cfg.RequestTimeout = c.maxConnections, c.requestTimeout
	cfg.Reflection, cfg.Health = c.reflection, c.health
	return cfg
}

func (c *serverConfig) listeners() (api, metrics net.Listener, err error) {
	if api, err = listen(c.grpcHost, c.grpcPort); err != nil {
		return nil, nil, fmt.Errorf("%w; choose another with --grpc-port, 0 for a free one", err)
	}
	if metrics, err = listen(c.metricsHost, c.metricsPort); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%w; choose another with --metrics-port, 0 for a free one", err), api.Close())
	}
	return api, metrics, nil
}

// serving is the goroutines that answer the two ports.
type serving struct {
	http *http.Server
	done chan struct{}
}

func start(stop context.CancelCauseFunc, server *rpc.Server, api, metrics net.Listener) *serving {
	s := &serving{http: server.MetricsServer(), done: make(chan struct{}, 2)}
	run := func(what string, serve func() error) {
		if err := serve(); err != nil {
			stop(fmt.Errorf("%s: %w", what, err))
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

// shutDown lets calls finish and ends streams, then closes the metrics port.
func shutDown(logger hclog.Logger, server *rpc.Server, metrics *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	report(logger, "finish calls", server.Shutdown(ctx))
	report(logger, "close the metrics port", metrics.Shutdown(ctx))
}

func (p *program) logger(cfg serverConfig) (hclog.Logger, error) {
	level, err := parseLevel(cfg.logLevel)
	return hclog.New(&hclog.LoggerOptions{
		Name: "memory-graph", Level: level, Output: p.stderr, JSONFormat: cfg.logJSON,
	}), err
}

func parseLevel(name string) (hclog.Level, error) {
	level := hclog.LevelFromString(strings.ToLower(name))
	if level == hclog.NoLevel {
		return level, fmt.Errorf("%q is no log level: use trace, debug, info, warn, error or off", name)
	}
	return level, nil
}

// showSample loads the sample into a graph without nodes, and prints it.
func (p *program) showSample(ctx context.Context, address string) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	empty, err := isEmpty(ctx, conn)
	if err != nil || !empty {
		return err
	}
	_, err = loadSample(ctx, conn, p.stdout)
	return err
}

func (p *program) showNextSteps(api, metrics string) {
	fmt.Fprintf(p.stdout, `
try, in another terminal:
  bin/memory-graph session list --address %[1]s
  bin/memory-graph query --address %[1]s --type tool_invocation --filter status=failed
  bin/memory-graph events --follow --address %[1]s
  bin/memory-graph import PATH --address %[1]s      your own chats: JSON or JSONL
  open http://%[2]s/
stop with ctrl-c; the data stays.
`, api, metrics)
}

// road makes the replicated log what the API writes through.
type road struct{ node *cluster.Node }

func (r *road) Propose(ctx context.Context, command []byte) (fsm.Result, error) {
	result, err := r.node.Propose(ctx, command)
	return result, logError(err)
}

func (r *road) Barrier(ctx context.Context, staleness time.Duration) error {
	return logError(r.node.Barrier(ctx, staleness))
}

func (r *road) Ready() error { return logError(r.node.Ready()) }

// logError says in the API's words why the log gave no result.
func logError(err error) error {
	var failed *cluster.Error
	if !errors.As(err, &failed) {
		return err
	}
	kinds := map[cluster.Kind]rpc.LogKind{
		cluster.NoLeader: rpc.NoLeader, cluster.Overloaded: rpc.Overloaded, cluster.Stopping: rpc.Stopping,
		cluster.Interrupted: rpc.Interrupted, cluster.Failed: rpc.Stopping,
	}
	return &rpc.LogError{Kind: kinds[failed.Kind], NotProposed: failed.NotProposed, Err: err}
}
