package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// Health says whether this node can serve.
func (s *Server) Health(context.Context, *emptypb.Empty) (*pb.HealthResponse, error) {
	status := pb.HealthResponse_SERVING
	if s.serving() != nil {
		status = pb.HealthResponse_NOT_SERVING
	}
	return &pb.HealthResponse{
		Status: status, Version: s.cfg.Version, UptimeSeconds: int64(time.Since(s.started) / time.Second),
	}, nil
}

// GetMetrics counts what the caller's tenant holds, and says how this node has fared in the last minute.
func (s *Server) GetMetrics(ctx context.Context, _ *emptypb.Empty) (*pb.MetricsResponse, error) {
	st, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	counts, err := countsOf(st.view)
	if err != nil {
		return nil, err
	}
	minute := s.metrics.LastMinute()
	return &pb.MetricsResponse{
		TotalNodes: counts.Nodes, TotalEdges: counts.Edges, TotalSessions: counts.Sessions, ActiveSessions: counts.ActiveSessions,
		AvgWriteLatencyMs: minute.Write.Seconds() * 1e3, AvgReadLatencyMs: minute.Read.Seconds() * 1e3,
		RequestsPerSecond: minute.RequestsPerSecond,
	}, nil
}

// healthService is grpc.health.v1: what Kubernetes and load balancers ask.
type healthService struct {
	grpc_health_v1.UnimplementedHealthServer
	server *Server
}

// watchInterval is how often a watch looks whether the node still serves.
const watchInterval = 500 * time.Millisecond

// services are those that it knows; "" is the whole server.
func healthServices() []string {
	return []string{"", graphgrpc.MemoryGraphService_ServiceDesc.ServiceName, graphgrpc.GraphTransferService_ServiceDesc.ServiceName}
}

func (h *healthService) status(service string) (status grpc_health_v1.HealthCheckResponse_ServingStatus, known bool) {
	for _, name := range healthServices() {
		if name != service {
			continue
		}
		if h.server.serving() != nil {
			return grpc_health_v1.HealthCheckResponse_NOT_SERVING, true
		}
		return grpc_health_v1.HealthCheckResponse_SERVING, true
	}
	return grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN, false
}

// Check tells whether a service is served.
func (h *healthService) Check(_ context.Context, req *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	status, known := h.status(req.GetService())
	if !known {
		return nil, &graph.Error{Kind: graph.NotFound, Message: "unknown service", ResourceType: "service", ResourceName: req.GetService()}
	}
	return &grpc_health_v1.HealthCheckResponse{Status: status}, nil
}

// List tells it of all services.
func (h *healthService) List(context.Context, *grpc_health_v1.HealthListRequest) (*grpc_health_v1.HealthListResponse, error) {
	reply := &grpc_health_v1.HealthListResponse{Statuses: map[string]*grpc_health_v1.HealthCheckResponse{}}
	for _, name := range healthServices() {
		status, _ := h.status(name)
		reply.Statuses[name] = &grpc_health_v1.HealthCheckResponse{Status: status}
	}
	return reply, nil
}

// Watch tells it at once and whenever it changes. The last word, before the stream ends, is NOT_SERVING.
func (h *healthService) Watch(req *grpc_health_v1.HealthCheckRequest, stream grpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	ctx, told := stream.Context(), grpc_health_v1.HealthCheckResponse_UNKNOWN
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		if status, _ := h.status(req.GetService()); status != told {
			told = status
			if err := stream.Send(&grpc_health_v1.HealthCheckResponse{Status: status}); err != nil {
				return err
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			if status, known := h.status(req.GetService()); known && status != told {
				_ = stream.Send(&grpc_health_v1.HealthCheckResponse{Status: status}) // a peer that has gone does not hear it
			}
			return context.Cause(ctx)
		}
	}
}
