package main

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
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
	maxConnections             int
	requestTimeout             time.Duration
	reflection, health         bool
	snapshotThreshold          uint64
	trailingLogs, retainEvents uint64
	retainAge                  time.Duration
}

func (p *program) newDevCommand() *cobra.Command {
	cfg := &serverConfig{}
	cmd := &cobra.Command{
		Use:     "dev",
		GroupID: groupServer,
		Short:   "Start a single-node server",
		Long: `dev starts a durable server of one node. It takes the same road as a cluster: every write is in the Raft log, synced,
before it is acknowledged.

It listens on loopback and asks for no credentials. It prints a line that begins with "ready" once it serves, and stops
cleanly on an interrupt: calls that have begun finish first.`,
		Example: `  memory-graph dev
  memory-graph dev --sample
  memory-graph dev --data-dir /var/lib/memory-graph --grpc-port 0 --metrics-port 0
  memory-graph dev --in-memory`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.fromEnvironment(cmd, cfg); err != nil {
				return err
			}
			if err := cfg.validate(); err != nil {
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
	f.StringVar(&cfg.logLevel, "log-level", "info", "trace, debug, info, warn, error or off (LOG_LEVEL, RUST_LOG)")
	f.BoolVar(&cfg.logJSON, "log-json", false, "log JSON, one object a line")
	f.IntVar(&cfg.maxConnections, "max-connections", rpc.DefaultMaxConnections, "connections to accept at a time (GRPC_MAX_CONNECTIONS)")
	f.DurationVar(&cfg.requestTimeout, "request-timeout", rpc.DefaultRequestTimeout, "deadline of calls whose client sets none (REQUEST_TIMEOUT_MS)")
	f.BoolVar(&cfg.reflection, "reflection", true, "offer gRPC server reflection (ENABLE_REFLECTION)")
	f.BoolVar(&cfg.health, "health", true, "offer grpc.health.v1 (ENABLE_HEALTH)")
	f.Uint64Var(&cfg.snapshotThreshold, "snapshot-threshold", cluster.DefaultSnapshotThreshold, "log entries after which the store is made durable and the log cut")
	f.Uint64Var(&cfg.trailingLogs, "trailing-logs", cluster.DefaultTrailingLogs, "log entries to keep after that, at least 1024")
	f.Uint64Var(&cfg.retainEvents, "event-retention-count", defaultEventCount, "events to keep, 0 for all")
	f.DurationVar(&cfg.retainAge, "event-retention-age", defaultEventAge, "how long to keep events, 0 for ever")
	return cmd
}

// A setting is an environment variable that stands in for a flag.
type setting struct {
	name, flag string
	// convert turns the variable's value into the flag's; nil takes it as it is.
	convert func(string) (string, error)
}

var settings = [...]setting{
	{name: "DB_PATH", flag: "data-dir"},
	{name: "GRPC_HOST", flag: "grpc-host"},
	{name: "GRPC_PORT", flag: "grpc-port"},
	{name: "METRICS_PORT", flag: "metrics-port"},
	{name: "RUST_LOG", flag: "log-level", convert: rustLog},
	{name: "LOG_LEVEL", flag: "log-level"},
	{name: "GRPC_MAX_CONNECTIONS", flag: "max-connections"},
	{name: "REQUEST_TIMEOUT_MS", flag: "request-timeout", convert: milliseconds},
	{name: "ENABLE_REFLECTION", flag: "reflection"},
	{name: "ENABLE_HEALTH", flag: "health"},
}

// unsupported are variables of features that this version does not have. Starting without what they ask for would be
// worse than not starting: a server believed to be protected, or to archive, that does not.
var unsupported = [...]string{
	"TLS_CERT_PATH", "TLS_KEY_PATH", "TLS_CA_CERT_PATH", "API_KEY_REQUIRED", "API_KEYS",
	"PLUGIN_DIRS", "REGISTRY_URL", "REGISTRY_API_KEY", "VAULT_URL", "VAULT_API_KEY",
}

// fromEnvironment fills flags that were not given from the environment.
func (p *program) fromEnvironment(cmd *cobra.Command, _ *serverConfig) error {
	for _, name := range unsupported {
		if v := p.getenv(name); v != "" && v != "false" && v != "0" {
			return fmt.Errorf("%s is set, but this version has no such feature: unset it to start without", name)
		}
	}
	given := map[string]bool{}
	for _, s := range settings {
		given[s.flag] = given[s.flag] || cmd.Flags().Changed(s.flag)
	}
	for _, s := range settings {
		v := p.getenv(s.name)
		if v == "" || given[s.flag] {
			continue
		}
		if s.convert != nil {
			converted, err := s.convert(v)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			v = converted
		}
		if err := cmd.Flags().Set(s.flag, v); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// rustLog understands a level alone; a directive for a module is refused rather than ignored.
func rustLog(v string) (string, error) {
	if _, err := parseLevel(v); err != nil {
		return "", fmt.Errorf("%q is not understood: use one of trace, debug, info, warn, error, off, or LOG_LEVEL", v)
	}
	return v, nil
}

func milliseconds(v string) (string, error) {
	ms, err := strconv.ParseInt(v, 10, 64)
	if err != nil || ms < 1 || ms > math.MaxInt64/int64(time.Millisecond) {
		return "", fmt.Errorf("%q is no number of milliseconds above 0", v)
	}
	return (time.Duration(ms) * time.Millisecond).String(), nil
}

// validate reports what cobra cannot know to be wrong.
func (c *serverConfig) validate() error {
	if _, err := parseLevel(c.logLevel); err != nil {
		return err
	}
	for _, port := range []struct {
		flag string
		n    int
	}{{"--grpc-port", c.grpcPort}, {"--metrics-port", c.metricsPort}} {
		if port.n < 0 || port.n > math.MaxUint16 {
			return fmt.Errorf("%s %d is no port: use 0 to 65535", port.flag, port.n)
		}
	}
	if c.grpcPort != 0 && c.grpcPort == c.metricsPort && c.grpcHost == c.metricsHost {
		return fmt.Errorf("--grpc-port and --metrics-port are both %d", c.grpcPort)
	}
	if c.retainAge < 0 {
		return fmt.Errorf("--event-retention-age %v is negative", c.retainAge)
	}
	return nil
}

// place names where the data is, for people.
func (c *serverConfig) place() string {
	if c.inMemory {
		return "memory"
	}
	return cmp.Or(c.dataDir, defaultDataDir)
}

func listen(host string, port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
}
