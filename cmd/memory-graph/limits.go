package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc"
)

// limits are what a server takes on at once and for how long.
type limits struct {
	maxConnections, maxPerAddress, maxCalls, maxSnapshots int
	requestMemory, partialMemory, maxLogBytes             size
	requestTimeout, stallTimeout                          time.Duration
	connectionIdle, connectionAge                         time.Duration
}

// defaultLimits are those of the rooms below.
func defaultLimits() limits {
	api := rpc.DefaultConfig()
	return limits{
		maxConnections: api.MaxConnections, maxPerAddress: api.MaxPerAddress, maxCalls: api.MaxCalls, maxSnapshots: api.MaxSnapshots,
		requestMemory: size(api.RequestBudget), partialMemory: size(api.PartialBudget), maxLogBytes: cluster.DefaultMaxLogBytes,
		requestTimeout: api.RequestTimeout, stallTimeout: api.StallTimeout,
		connectionIdle: api.ConnectionIdle, connectionAge: api.ConnectionAge,
	}
}

// flags offers them, with the values that they have as defaults.
func (l *limits) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&l.maxConnections, "max-connections", l.maxConnections, "connections to accept at a time (GRPC_MAX_CONNECTIONS)")
	f.IntVar(&l.maxPerAddress, "max-connections-per-address", l.maxPerAddress,
		"connections to accept from one address, 0 for as many as there are: behind a proxy all clients have one (GRPC_MAX_CONNECTIONS_PER_ADDRESS)")
	f.DurationVar(&l.connectionIdle, "max-connection-idle", l.connectionIdle, "after how long without a call a connection is closed, 0 for never (GRPC_MAX_CONNECTION_IDLE_MS)")
	f.DurationVar(&l.connectionAge, "max-connection-age", l.connectionAge, "after how long a client has to connect anew, 0 for never (GRPC_MAX_CONNECTION_AGE_MS)")
	f.IntVar(&l.maxCalls, "max-calls", l.maxCalls, "calls under way at a time, streams among them (GRPC_MAX_CALLS)")
	f.DurationVar(&l.requestTimeout, "request-timeout", l.requestTimeout, "deadline of calls whose client sets none (REQUEST_TIMEOUT_MS)")
	f.DurationVar(&l.stallTimeout, "stall-timeout", l.stallTimeout, "how long a reader of StreamQuery or Export may keep the server waiting (GRPC_STALL_TIMEOUT_MS)")
	f.IntVar(&l.maxSnapshots, "max-snapshots", l.maxSnapshots, "calls of StreamQuery and Export at a time: each holds a snapshot of the store (GRPC_MAX_SNAPSHOTS)")
	f.Var(&l.requestMemory, "request-memory", "bytes of requests and replies of more than 64 KiB under way at a time (GRPC_REQUEST_MEMORY)")
	f.Var(&l.partialMemory, "partial-request-memory", "bytes of requests that have not come in full at a time (GRPC_PARTIAL_REQUEST_MEMORY)")
	f.Var(&l.maxLogBytes, "max-log-bytes", "how large the Raft log grows before it is cut, 1024 entries apart (RAFT_MAX_LOG_BYTES)")
}

// api puts the limits of the service into its configuration.
func (l *limits) api(c *rpc.Config) {
	c.MaxConnections, c.MaxPerAddress, c.ConnectionIdle, c.ConnectionAge = l.maxConnections, l.maxPerAddress, l.connectionIdle, l.connectionAge
	c.MaxCalls, c.MaxSnapshots = l.maxCalls, l.maxSnapshots
	c.RequestTimeout, c.StallTimeout = l.requestTimeout, l.stallTimeout
	c.RequestBudget, c.PartialBudget = int64(l.requestMemory), int64(l.partialMemory)
}

// size is a flag of bytes: a whole number with or without a unit.
type size int64

func (s *size) Type() string   { return "size" }
func (s *size) String() string { return formatSize(int64(*s)) }

func (s *size) Set(v string) error {
	n, ok := parseSize(v)
	if !ok {
		return fmt.Errorf("%q is no size: use a whole number of bytes, KiB, MiB, GiB or TiB, as in 512MiB", v)
	}
	*s = size(n)
	return nil
}
