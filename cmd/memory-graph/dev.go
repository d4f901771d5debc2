package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc"
)

// Defaults of the server's flags.
const (
	defaultDataDir     = "./data"
	defaultHost        = "127.0.0.1"
	defaultGRPCPort    = 50051
	defaultMetricsPort = 9090
	// Events older than this, or beyond this many, are trimmed.
	defaultEventAge   = 30 * 24 * time.Hour
	defaultEventCount = 10_000_000
)

// serverConfig is what the operator of a server may set: by flag, else by environment, else by default.
type serverConfig struct {
	dataDir                    string
	inMemory, sample           bool
	grpcHost, metricsHost      string
	grpcPort, metricsPort      int
	logLevel                   string
	logJSON                    bool
	limits                     limits
	reflection, health         bool
	snapshotThreshold          uint64
	snapshotInterval           time.Duration
	trailingLogs, retainEvents uint64
	retainAge                  time.Duration
	diskReserve                reserveSize
}

// logLevels are the levels of the log, the loudest first.
func logLevels() []string { return []string{"trace", "debug", "info", "warn", "error", "off"} }

func (p *program) newDevCommand() *cobra.Command {
	cfg := &serverConfig{limits: defaultLimits()}
	cmd := &cobra.Command{
		Use:     "dev",
		GroupID: groupServer,
		Short:   "Start a single-node server",
		Long: `dev starts a durable server of one node. It takes the same road as a cluster: every write is in the Raft log, synced,
before it is acknowledged.

It listens on loopback, asks for no credentials and encrypts nothing. Once it serves it prints a line that begins with
"ready" and names its addresses. It stops cleanly on an interrupt: calls that have begun finish first; a second interrupt
stops it at once, and what was acknowledged stays.

Each setting is taken from its flag, else from the environment variable named with it, else from its default.`,
		Example: `  memory-graph dev
  memory-graph dev --sample
  memory-graph dev --data-dir /var/lib/memory-graph --grpc-port 0 --metrics-port 0
  memory-graph dev --in-memory`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(p.fromEnvironment(cmd), cfg.validate()); err != nil {
				return err
			}
			p.started = true
			return p.serve(cmd.Context(), *cfg)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.dataDir, "data-dir", defaultDataDir, "folder that holds everything (DB_PATH)")
	f.BoolVar(&cfg.inMemory, "in-memory", false, "keep everything in memory; nothing survives the process")
	f.BoolVar(&cfg.sample, "sample", false, "load a small sample when the graph is empty, and show it")
	f.StringVar(&cfg.grpcHost, "grpc-host", defaultHost, "address that the API listens on (GRPC_HOST)")
	f.IntVar(&cfg.grpcPort, "grpc-port", defaultGRPCPort, "port of the API, 0 for a free one (GRPC_PORT)")
	f.StringVar(&cfg.metricsHost, "metrics-host", defaultHost, "address that metrics and health listen on")
	f.IntVar(&cfg.metricsPort, "metrics-port", defaultMetricsPort, "port of metrics and health, 0 for a free one (METRICS_PORT)")
	f.StringVar(&cfg.logLevel, "log-level", "info", strings.Join(logLevels(), ", ")+" (LOG_LEVEL, RUST_LOG)")
	f.BoolVar(&cfg.logJSON, "log-json", false, "log JSON, one object a line")
	cfg.limits.flags(cmd)
	f.BoolVar(&cfg.reflection, "reflection", true, "offer gRPC server reflection (ENABLE_REFLECTION)")
	f.BoolVar(&cfg.health, "health", true, "offer grpc.health.v1 (ENABLE_HEALTH)")
	f.Uint64Var(&cfg.snapshotThreshold, "snapshot-threshold", cluster.DefaultSnapshotThreshold, "log entries after which the store is made durable and the log cut")
	f.DurationVar(&cfg.snapshotInterval, "snapshot-interval", cluster.DefaultSnapshotInterval, "how often to look whether that is due")
	f.Uint64Var(&cfg.trailingLogs, "trailing-logs", cluster.DefaultTrailingLogs, "log entries to keep after that, at least 1024")
	f.Uint64Var(&cfg.retainEvents, "event-retention-count", defaultEventCount, "events to keep, 0 for all")
	f.DurationVar(&cfg.retainAge, "event-retention-age", defaultEventAge, "how long to keep events, 0 for ever")
	f.Var(&cfg.diskReserve, "disk-reserve", "room that stays free on the disk of the data folder, below which writes are refused: as 512MiB; "+
		"auto for the larger of 1 GiB and 5 %, 0 for none (DISK_RESERVE)")
	_ = cmd.MarkFlagDirname("data-dir")
	_ = cmd.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions(logLevels(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// validate reports every problem at once, of what the flags cannot know to be wrong.
func (c *serverConfig) validate() error {
	var problems []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	_, err := parseLevel(c.logLevel)
	add(err != nil, "--log-level: %w", err)
	for _, l := range []struct {
		what, host string
		port       int
	}{{"grpc", c.grpcHost, c.grpcPort}, {"metrics", c.metricsHost, c.metricsPort}} {
		add(l.port < 0 || l.port > math.MaxUint16, "--%s-port: %d is no port: use 0 to 65535", l.what, l.port)
		add(l.host == "", "--%s-host is empty: use 0.0.0.0 to listen on every address", l.what)
	}
	same := c.grpcPort == c.metricsPort && (c.grpcHost == c.metricsHost || unspecified(c.grpcHost) || unspecified(c.metricsHost))
	add(c.grpcPort != 0 && same, "--grpc-port and --metrics-port are both %d", c.grpcPort)
	// The room below takes 0 for its default.
	add(c.snapshotThreshold == 0, "--snapshot-threshold is 0, at least 1")
	add(c.snapshotInterval == 0, "--snapshot-interval is 0, at least 1ms")
	add(c.limits.maxLogBytes == 0, "--max-log-bytes is 0, at least 1MiB")
	add(c.trailingLogs == 0, "--trailing-logs is 0, at least 1024")
	return errors.Join(append(problems, c.node(nil, nil).Validate(), c.api(nil).Validate())...)
}

// node is the part of the configuration that is for the room below.
func (c *serverConfig) node(logger hclog.Logger, fail context.CancelCauseFunc) cluster.Config {
	return cluster.Config{
		Folder: c.dataDir, InMemory: c.inMemory, Name: "dev", Version: version, Random: rand.Reader, Logger: logger,
		SnapshotThreshold: c.snapshotThreshold, SnapshotInterval: c.snapshotInterval, TrailingLogs: c.trailingLogs, MaxLogBytes: uint64(c.limits.maxLogBytes),
		DiskReserve: int64(c.diskReserve),
		Retention:   fsm.Retention{Count: c.retainEvents, Age: c.retainAge},
		Fatal:       func(err error) { fail(fmt.Errorf("the node failed: %w", err)) },
	}
}

// api is the part of the configuration that is for the service.
func (c *serverConfig) api(logger hclog.Logger) rpc.Config {
	cfg := rpc.DefaultConfig()
	cfg.Version = version
	if logger != nil {
		cfg.Logger = logger.Named("rpc")
	}
	c.limits.api(&cfg)
	cfg.Reflection, cfg.Health = c.reflection, c.health
	return cfg
}

// listeners open both ports or none.
func (c *serverConfig) listeners() (api, metrics net.Listener, err error) {
	if api, err = listen("grpc", c.grpcHost, c.grpcPort); err != nil {
		return nil, nil, err
	}
	if metrics, err = listen("metrics", c.metricsHost, c.metricsPort); err != nil {
		return nil, nil, errors.Join(err, api.Close())
	}
	return api, metrics, nil
}

// listen opens a port; its error says which flag would help.
func listen(what, host string, port int) (net.Listener, error) {
	network := "tcp"
	if net.ParseIP(host).To4() != nil {
		network = "tcp4" // or 0.0.0.0 would listen on IPv6, too
	}
	l, err := net.Listen(network, net.JoinHostPort(host, strconv.Itoa(port)))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%w; choose another port with --%s-port, 0 for a free one", err, what)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%w; choose a port above 1023 with --%s-port, 0 for a free one", err, what)
	case err != nil:
		return nil, fmt.Errorf("%w; choose another address with --%s-host", err, what)
	}
	return l, nil
}

// unspecified says whether a server that listens on the host hears every address of the machine.
func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsUnspecified()
}

// place names where the data is.
func (c *serverConfig) place() string {
	if c.inMemory {
		return "memory"
	}
	return c.dataDir
}

func parseLevel(name string) (hclog.Level, error) {
	level := hclog.LevelFromString(strings.ToLower(name))
	if level == hclog.NoLevel {
		return level, fmt.Errorf("%q is no log level: use one of %s", name, strings.Join(logLevels(), ", "))
	}
	return level, nil
}
