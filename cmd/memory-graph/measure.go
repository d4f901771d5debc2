package main

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/telemetry"
)

// measureRaft puts what Raft and its log measure of themselves among the server's metrics.
func measureRaft(server *rpc.Server) error {
	sink, err := telemetry.NewRaftSink(server.Metrics().Registry())
	if err != nil {
		return err
	}
	return telemetry.MeasureRaft(sink)
}

func isEmpty(ctx context.Context, conn grpc.ClientConnInterface) (bool, error) {
	m, err := graphgrpc.NewMemoryGraphServiceClient(conn).GetMetrics(ctx, &emptypb.Empty{})
	return m.GetTotalNodes() == 0, err
}
