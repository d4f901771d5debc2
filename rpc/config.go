package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/telemetry"
)

// Config is what an operator may set. Start from DefaultConfig.
type Config struct {
	// Version of the program, for Health and the metrics port.
	Version string
	// MaxConnections bounds open connections; more wait to be accepted.
	MaxConnections int
	// MaxPerAddress bounds the open connections from one address; more are closed at once. 0 is for no bound of its own, as all
	// clients behind a proxy have one address.
	MaxPerAddress int
	// ConnectionIdle and ConnectionAge are after how long without a call, or at all, a connection is closed; 0 for never. Calls
	// may go on for a minute beyond that age.
	ConnectionIdle, ConnectionAge time.Duration
	// MaxCalls bounds the calls that are under way at once, streams among them, of all connections together; more are refused.
	MaxCalls int
	// RequestBudget bounds the bytes of the requests of more than 64 KiB that are under way at once, of all connections
	// together. Memory for about three times as many is in use then.
	RequestBudget int64
	// PartialBudget bounds the bytes of requests that have begun to come and are not complete, of all connections together.
	// Above it the connections that hold most for longest are closed.
	PartialBudget int64
	// RequestTimeout is the deadline of unary calls whose caller set none, and of the first message and the first read of a
	// stream.
	RequestTimeout time.Duration
	// LeaderTimeout is how long a call waits for a leader before it is told that there is none.
	LeaderTimeout time.Duration
	// StallTimeout is how long a reader of StreamQuery, Export or a backup may keep the server waiting before it is cut off, with one
	// message and, beyond what 32 KiB a second take, in all: they hold a snapshot meanwhile.
	StallTimeout time.Duration
	// MaxSnapshots bounds these calls; more are refused.
	MaxSnapshots int
	// Reflection and Health offer server reflection and grpc.health.v1.
	Reflection, Health bool
	// Disk tells how full the disk of this node is, for metrics; nil for a node without one.
	Disk func() telemetry.Disk
	// Members tells where this node stands in its cluster, for metrics; nil for a server that does not know.
	Members func() (telemetry.Members, error)
	// Events are the counters of what the node behind the server tells, for metrics; nil for a server without one.
	Events *telemetry.NodeEvents
	// Fit ends when the state of this node must not be read any more, and its cause says why; nil for a server that cannot know.
	Fit context.Context
	// Limit says what this node does not do although it serves, for the metrics port; nil for a node without limits.
	Limit func() error
	// NodeID is written into backups of this node, and History is its log, for those who follow it; nil for a server without one.
	NodeID  string
	History History
	// Cluster answers ClusterService; nil for a server without that service.
	Cluster Cluster
	// Logger hears of panics and of damage; nil for none.
	Logger hclog.Logger
}

// Defaults of Config.
const (
	DefaultMaxConnections = 10_000
	DefaultMaxCalls       = 20_000
	DefaultMaxSnapshots   = 256
	DefaultRequestBudget  = 256 << 20 // bytes
	DefaultPartialBudget  = 256 << 20 // bytes
	DefaultRequestTimeout = 30 * time.Second
	DefaultLeaderTimeout  = 10 * time.Second
	DefaultStallTimeout   = time.Minute
)

// DefaultConfig is the configuration of a server about which nobody has said anything.
func DefaultConfig() Config {
	return Config{
		Version: "dev", MaxConnections: DefaultMaxConnections, MaxCalls: DefaultMaxCalls, RequestBudget: DefaultRequestBudget,
		PartialBudget: DefaultPartialBudget, RequestTimeout: DefaultRequestTimeout,
		LeaderTimeout: DefaultLeaderTimeout, StallTimeout: DefaultStallTimeout, MaxSnapshots: DefaultMaxSnapshots, Reflection: true, Health: true,
	}
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	var problems []error
	if c.Version == "" {
		problems = append(problems, errors.New("version is empty"))
	}
	if c.MaxConnections < 1 {
		problems = append(problems, fmt.Errorf("max connections is %d, at least 1", c.MaxConnections))
	}
	if c.MaxPerAddress < 0 {
		problems = append(problems, fmt.Errorf("max connections per address is %d, 0 for no bound or more", c.MaxPerAddress))
	}
	if c.MaxCalls < 1 || c.MaxSnapshots < 1 {
		problems = append(problems, fmt.Errorf("max calls is %d and max snapshots is %d, at least 1", c.MaxCalls, c.MaxSnapshots))
	}
	if c.ConnectionIdle < 0 || c.ConnectionAge < 0 {
		problems = append(problems, fmt.Errorf("connections end when idle for %v or %v old, 0 for never or more", c.ConnectionIdle, c.ConnectionAge))
	}
	if c.RequestBudget < graph.MaxRequestBytes {
		problems = append(problems, fmt.Errorf("request budget is %d bytes, at least %d", c.RequestBudget, graph.MaxRequestBytes))
	}
	if c.PartialBudget < graph.MaxRequestBytes {
		problems = append(problems, fmt.Errorf("budget of partial requests is %d bytes, at least %d", c.PartialBudget, graph.MaxRequestBytes))
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"request timeout", c.RequestTimeout}, {"leader timeout", c.LeaderTimeout}, {"stall timeout", c.StallTimeout}} {
		if d.value < time.Millisecond {
			problems = append(problems, fmt.Errorf("%s is %v, at least 1ms", d.name, d.value))
		}
	}
	return errors.Join(problems...)
}
