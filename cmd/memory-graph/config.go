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

// serverConfig is what the operator of a server may set: by flag, else by environment, else by file, else by default.
type serverConfig struct {
	dataDir          string
	inMemory, sample bool
	// autoFinalize is for dev: nobody goes back to an older release there.
	autoFinalize               bool
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
	peers                      peersConfig
}

// logLevels are the levels of the log, the loudest first.
func logLevels() []string { return []string{"trace", "debug", "info", "warn", "error", "off"} }

// flags offers what every server has.
func (c *serverConfig) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.dataDir, "data-dir", defaultDataDir, "folder that holds everything (DB_PATH)")
	f.StringVar(&c.grpcHost, "grpc-host", defaultHost, "address that the API listens on (GRPC_HOST)")
	f.IntVar(&c.grpcPort, "grpc-port", defaultGRPCPort, "port of the API, 0 for a free one (GRPC_PORT)")
	f.StringVar(&c.metricsHost, "metrics-host", defaultHost, "address that metrics and health listen on")
	f.IntVar(&c.metricsPort, "metrics-port", defaultMetricsPort, "port of metrics and health, 0 for a free one (METRICS_PORT)")
	f.StringVar(&c.logLevel, "log-level", "info", strings.Join(logLevels(), ", ")+" (LOG_LEVEL, RUST_LOG)")
	f.BoolVar(&c.logJSON, "log-json", false, "log JSON, one object a line")
	c.limits = defaultLimits()
	c.limits.flags(cmd)
	f.BoolVar(&c.reflection, "reflection", true, "offer gRPC server reflection (ENABLE_REFLECTION)")
	f.BoolVar(&c.health, "health", true, "offer grpc.health.v1 (ENABLE_HEALTH)")
	f.Uint64Var(&c.snapshotThreshold, "snapshot-threshold", cluster.DefaultSnapshotThreshold, "log entries after which the store is made durable and the log cut")
	f.DurationVar(&c.snapshotInterval, "snapshot-interval", cluster.DefaultSnapshotInterval, "how often to look whether that is due")
	f.Uint64Var(&c.trailingLogs, "trailing-logs", cluster.DefaultTrailingLogs, "log entries to keep after that, at least 1024")
	f.Uint64Var(&c.retainEvents, "event-retention-count", defaultEventCount, "events to keep, 0 for all")
	f.DurationVar(&c.retainAge, "event-retention-age", defaultEventAge, "how long to keep events, 0 for ever")
	f.Var(&c.diskReserve, "disk-reserve", "room that stays free on the disk of the data folder, below which writes are refused: as 512MiB; "+
		"auto for the larger of 1 GiB and 5 %, 0 for none (DISK_RESERVE)")
	_ = cmd.MarkFlagDirname("data-dir")
	_ = cmd.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions(logLevels(), cobra.ShellCompDirectiveNoFileComp))
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
	return errors.Join(append(problems, c.node(nil, nil).Validate(), c.api(nil).Validate(), c.peers.validate(c))...)
}

// node is the part of the configuration that is for the room below.
func (c *serverConfig) node(logger hclog.Logger, fail context.CancelCauseFunc) cluster.Config {
	return cluster.Config{
		Folder: c.dataDir, InMemory: c.inMemory, Name: c.peers.nodeID, Timing: c.peers.timing.timing(), Version: version, Random: rand.Reader, Logger: logger,
		SnapshotThreshold: c.snapshotThreshold, SnapshotInterval: c.snapshotInterval, TrailingLogs: c.trailingLogs, MaxLogBytes: uint64(c.limits.maxLogBytes),
		DiskReserve: int64(c.diskReserve), AutoFinalize: c.autoFinalize,
		Retention: c.retention(),
		Fatal:     func(err error) { fail(fmt.Errorf("the node failed: %w", err)) },
	}
}

// retention is how long events are kept.
func (c *serverConfig) retention() fsm.Retention {
	return fsm.Retention{Count: c.retainEvents, Age: c.retainAge}
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

// ports are the listeners for clients and for metrics.
type ports struct {
	config       *serverConfig
	api, metrics net.Listener
	taken        bool
}

// open opens both or none. Opening them again does nothing.
func (p *ports) open() (err error) {
	if p.api != nil {
		return nil
	}
	c := p.config
	if p.api, err = listen("grpc", c.grpcHost, c.grpcPort); err != nil {
		return err
	}
	if p.metrics, err = listen("metrics", c.metricsHost, c.metricsPort); err != nil {
		err, p.api = errors.Join(err, p.api.Close()), nil
	}
	return err
}

// take hands them to who closes them.
func (p *ports) take() (api, metrics net.Listener) {
	p.taken = true
	return p.api, p.metrics
}

// close closes those that nobody has taken.
func (p *ports) close() error {
	if p.api == nil || p.taken {
		return nil
	}
	return errors.Join(p.api.Close(), p.metrics.Close())
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
