package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func (p *program) newStatsCommand() *cobra.Command {
	cmd := p.client(verb{
		use: "stats", short: "Count what the graph holds", args: cobra.NoArgs,
		example: "  memory-graph stats -o json",
		run: func(ctx context.Context, c *call, _ []string) error {
			m, err := c.graph.GetMetrics(ctx, &emptypb.Empty{})
			if err != nil {
				return err
			}
			return c.out.show(m, func() string {
				whole := func(n int64) string { return strconv.FormatInt(n, 10) }
				return facts("nodes", whole(m.GetTotalNodes()), "edges", whole(m.GetTotalEdges()),
					"sessions", fmt.Sprintf("%d (%d active)", m.GetTotalSessions(), m.GetActiveSessions()),
					"average write", fmt.Sprintf("%.2f ms", m.GetAvgWriteLatencyMs()), "average read", fmt.Sprintf("%.2f ms", m.GetAvgReadLatencyMs()),
					"requests/s", whole(m.GetRequestsPerSecond()))
			})
		},
	})
	cmd.GroupID = groupClient
	return cmd
}

func (p *program) newHealthCommand() *cobra.Command {
	cmd := p.client(verb{
		use: "health", short: "Ask whether the server serves: exit code 0 when it does, else 1", args: cobra.NoArgs,
		example: "  memory-graph health --address 127.0.0.1:50051 --timeout 2s",
		run: func(ctx context.Context, c *call, _ []string) error {
			h, err := c.graph.Health(ctx, &emptypb.Empty{})
			if err != nil {
				return err
			}
			err = c.out.show(h, func() string {
				up := time.Duration(h.GetUptimeSeconds()) * time.Second
				return facts("status", h.GetStatus().String(), "version", h.GetVersion(), "up", up.String())
			})
			if err == nil && h.GetStatus() != pb.HealthResponse_SERVING {
				err = errors.New("the server does not serve; its log says why")
			}
			return err
		},
	})
	cmd.GroupID = groupClient
	return cmd
}
