package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/telemetry"
)

// Bounds of the transport.
const (
	maxConcurrentStreams = 100
	maxHeaderListBytes   = 16 << 10
	handshakeTimeout     = 10 * time.Second
	// Clients may ping this often, also without a call: what a proxy in between needs to keep its connections.
	minPingInterval = 10 * time.Second
	// A connection that is silent for this long is probed, and closed when it does not answer.
	pingAfter   = time.Minute
	pingTimeout = 20 * time.Second
	// What runs on a connection that has reached its age, where there is one, may go on for so long.
	agedGrace = time.Minute
)

// compression names what requests may be compressed with besides nothing. Their size is bounded after decompression.
const compression = gzip.Name

// Server answers the API on one listener.
type Server struct {
	graphgrpc.UnimplementedMemoryGraphServiceServer

	cfg     Config
	log     Log
	machine *fsm.Machine
	metrics *telemetry.Metrics
	logger  hclog.Logger
	budget  *requestBudget
	gate    *gate
	// snapshots are the calls that hold one while they send.
	snapshots atomic.Int64
	// following are the streams of events.
	following atomic.Int64
	// dropped is when connections that take no replies were last looked for, Unix nanoseconds.
	dropped atomic.Int64
	// partials are the requests that have not come in full.
	partials *partials
	grpc     *grpc.Server
	started  time.Time

	// stop is cancelled when the server begins to go down: streams end then.
	stop    context.Context
	halt    context.CancelFunc
	streams sync.WaitGroup
}

// New makes a server that writes through log and reads from machine, which must be what log applies to. Close frees it.
func New(cfg Config, log Log, machine *fsm.Machine) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("rpc configuration: %w", err)
	}
	s := &Server{cfg: cfg, log: log, machine: machine, logger: cfg.Logger, started: time.Now()}
	s.budget = &requestBudget{limit: cfg.RequestBudget}
	s.gate = newGate(cfg, s.budget, s.turnedAway)
	if s.logger == nil {
		s.logger = hclog.NewNullLogger()
	}
	s.metrics = telemetry.New(telemetry.Options{Methods: methods(), Counts: s.counts, Cache: s.cache, Disk: cfg.Disk, Members: cfg.Members, Events: cfg.Events})
	s.partials = newPartials(cfg.PartialBudget, func(peer net.Addr, bytes int64) {
		s.metrics.Closed(telemetry.PartialRequests)
		s.logger.Warn("closed a connection: requests that do not come in full take all the memory that there is for them", "peer", peer, "bytes", bytes)
	})
	s.partials.untaken = func(peer net.Addr) {
		s.metrics.Closed(telemetry.UntakenReplies)
		s.logger.Warn("closed a connection: it takes no replies, and they take all the memory that there is for them", "peer", peer)
	}
	s.budget.full = s.dropStale
	s.stop, s.halt = context.WithCancel(context.Background())
	s.grpc = grpc.NewServer(
		grpc.ForceServerCodecV2(newCodec(s.budget)),
		grpc.MaxRecvMsgSize(graph.MaxRequestBytes),
		grpc.MaxConcurrentStreams(maxConcurrentStreams),
		grpc.MaxHeaderListSize(maxHeaderListBytes),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPingInterval, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: pingAfter, Timeout: pingTimeout, MaxConnectionIdle: cfg.ConnectionIdle,
			MaxConnectionAge: cfg.ConnectionAge, MaxConnectionAgeGrace: agedGrace,
		}),
		grpc.WaitForHandlers(true),
		grpc.InTapHandle(s.gate.admit),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
	)
	services := budgeted{s.grpc, s.budget}
	graphgrpc.RegisterMemoryGraphServiceServer(services, s)
	graphgrpc.RegisterGraphTransferServiceServer(services, &transfer{Server: s})
	graphgrpc.RegisterBackupServiceServer(services, &backups{Server: s})
	if cfg.Cluster != nil {
		graphgrpc.RegisterClusterServiceServer(services, &admin{cluster: cfg.Cluster})
	}
	if cfg.Health {
		grpc_health_v1.RegisterHealthServer(services, &healthService{server: s})
	}
	if cfg.Reflection {
		reflection.Register(services)
	}
	s.gate.know(s.grpc.GetServiceInfo())
	s.logger.Debug("serving", "compression", compression)
	return s, nil
}

// methods are the calls that metrics know from the start.
func methods() []string {
	var names []string
	for _, service := range []grpc.ServiceDesc{graphgrpc.MemoryGraphService_ServiceDesc, graphgrpc.GraphTransferService_ServiceDesc, graphgrpc.BackupService_ServiceDesc, graphgrpc.ClusterService_ServiceDesc} {
		for _, m := range service.Methods {
			names = append(names, shortName("/"+service.ServiceName+"/"+m.MethodName))
		}
		for _, m := range service.Streams {
			names = append(names, shortName("/"+service.ServiceName+"/"+m.StreamName))
		}
	}
	return names
}

// Metrics are the server's, for the metrics port and for what else the program measures.
func (s *Server) Metrics() *telemetry.Metrics { return s.metrics }

// Serve answers calls that arrive at lis, which it closes, until Shutdown or Close. Then it returns nil.
func (s *Server) Serve(lis net.Listener) error {
	err := s.grpc.Serve(watchedListener{newLimitListener(lis, s.cfg.MaxConnections, s.cfg.MaxPerAddress, s.metrics.Connections, func() { s.metrics.Closed(telemetry.AddressShare) }), s.partials})
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// Shutdown says NOT_SERVING, ends streams with UNAVAILABLE, lets calls that have begun finish until ctx is done, and then
// cuts them off. No call runs any more when it returns. The error is that of ctx if calls were cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.halt()
	done := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
		s.grpc.Stop()
		<-done
	}
	s.streams.Wait()
	return err
}

// Close cuts all calls off.
func (s *Server) Close() error {
	s.halt()
	s.grpc.Stop()
	s.streams.Wait()
	return nil
}

// dropStale closes the connections that leave replies untaken, when there is no room for other replies: not more often than
// it can make a difference.
func (s *Server) dropStale() {
	now := time.Now()
	last := s.dropped.Load()
	if now.UnixNano()-last < int64(s.cfg.StallTimeout/looksPerStall) || !s.dropped.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	s.partials.dropStale(now.Add(-s.cfg.StallTimeout))
}

// turnedAway counts a call that was not let in.
func (s *Server) turnedAway(method string, refusal error) {
	c := &call{method: shortName(method)}
	s.finished(method, c, refusal, time.Now())
}

// serving is nil when this node serves its role, else it says why not.
func (s *Server) serving() error {
	if s.stop.Err() != nil {
		return errStopping
	}
	return s.log.Ready()
}

// errStopping ends what runs when the server goes down.
var errStopping error = &LogError{Kind: Stopping, NotProposed: true, Err: errors.New("this node is going down")}

// counts are the gauges of replicated state.
func (s *Server) counts() (telemetry.Counts, error) {
	snap := s.machine.Store().Snapshot()
	defer snap.Close()
	return countsOf(snap.View(graph.DefaultTenant))
}

// cache is how the cache of this node's store fares.
func (s *Server) cache() telemetry.Cache {
	c := s.machine.Store().Cache()
	return telemetry.Cache{Hits: c.Hits, Requests: c.Hits + c.Misses, Bytes: c.Bytes}
}

func countsOf(v graph.View) (c telemetry.Counts, err error) {
	for _, count := range []struct {
		into *int64
		read func() (int64, error)
	}{
		{&c.Nodes, func() (int64, error) { return v.CountNodes(0, 0) }},
		{&c.Sessions, func() (int64, error) { return v.CountNodes(0, sessionType) }},
		{&c.Edges, v.CountEdges},
		{&c.ActiveSessions, v.CountActiveSessions},
	} {
		if *count.into, err = count.read(); err != nil {
			return c, err
		}
	}
	return c, nil
}
