package main

import (
	"context"

	"github.com/spf13/cobra"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func (p *program) newEdgeCommand() *cobra.Command {
	return p.group("edge", "Create, list and delete edges", `  memory-graph edge list 0196fd1e-8c30-7b11-8a44-2f1d9b7c0a52 --direction both`,
		p.newEdgeCreateCommand(), p.newEdgeListCommand(), p.newEdgeDeleteCommand())
}

func parseEdgeType(s string) (pb.EdgeType, error) {
	return parseEnum[pb.EdgeType]("edge type", "EDGE_TYPE_", pb.EdgeType_name, s)
}

func edgeRows(edges []*pb.Edge) string {
	rows := make([][]string, 0, len(edges))
	for _, e := range edges {
		rows = append(rows, []string{edgeName(e.GetType()), e.GetFromNodeId(), e.GetToNodeId(), pairsText(e.GetProperties()), e.GetId()})
	}
	return grid([]string{"type", "from", "to", "properties", "id"}, rows)
}

func edgeFacts(e *pb.Edge) string {
	return facts("id", e.GetId(), "type", edgeName(e.GetType()), "from", e.GetFromNodeId(), "to", e.GetToNodeId(),
		"created", instant(e.GetCreatedAt()), "properties", pairsText(e.GetProperties()))
}

func (p *program) newEdgeCreateCommand() *cobra.Command {
	e := &pb.Edge{}
	var edgeType string
	var properties []string
	return p.client(verb{
		use: "create", short: "Link two nodes", args: cobra.NoArgs, kind: write,
		example: `  memory-graph edge create --from 0196fd1e-8c30-7b11-8a44-2f1d9b7c0a52 --to planner --type handled-by
  memory-graph edge create --from one --to two --type references --property context_type=document`,
		flags: func(cmd *cobra.Command) {
			f := cmd.Flags()
			f.StringVar(&e.FromNodeId, "from", "", "id of the node that the edge starts from")
			f.StringVar(&e.ToNodeId, "to", "", "id of the node that the edge ends in")
			f.StringVar(&edgeType, "type", "", "such as handled-by, transfers-to, references")
			f.StringVar(&e.Id, "id", "", "id of the edge; made by the server when empty")
			f.StringArrayVar(&properties, "property", nil, "key=value, may be repeated")
			require(cmd, "from", "to", "type")
		},
		run: func(ctx context.Context, c *call, _ []string) (err error) {
			if e.Type, err = parseEdgeType(edgeType); err != nil {
				return err
			}
			if e.Properties, err = parsePairs("property", properties); err != nil {
				return err
			}
			made, err := c.graph.CreateEdge(ctx, &pb.CreateEdgeRequest{Edge: e})
			if err != nil {
				return err
			}
			return c.out.show(made, func() string { return edgeFacts(made) })
		},
	})
}

func (p *program) newEdgeListCommand() *cobra.Command {
	var direction, edgeType string
	return p.client(verb{
		use: "list NODE", short: "List the edges of a node", args: cobra.ExactArgs(1),
		example: `  memory-graph edge list 0196fd1e-8c30-7b11-8a44-2f1d9b7c0a52
  memory-graph edge list 0196fd1e-8c30-7b11-8a44-2f1d9b7c0a52 --direction incoming --type responds-to`,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&direction, "direction", "outgoing", "outgoing, incoming or both")
			cmd.Flags().StringVar(&edgeType, "type", "", "only edges of this type")
		},
		run: func(ctx context.Context, c *call, args []string) error {
			d, err := parseEnum[pb.EdgeDirection]("direction", "EDGE_DIRECTION_", pb.EdgeDirection_name, direction)
			if err != nil {
				return err
			}
			req := &pb.GetEdgesRequest{NodeId: args[0], Direction: &d, PageSize: storyPage}
			if edgeType != "" {
				t, err := parseEdgeType(edgeType)
				if err != nil {
					return err
				}
				req.Type = &t
			}
			all := &pb.GetEdgesResponse{}
			for {
				page, err := c.graph.GetEdges(ctx, req)
				if err != nil {
					return err
				}
				all.Edges = append(all.Edges, page.GetEdges()...)
				if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
					break
				}
			}
			return c.out.show(all, func() string { return edgeRows(all.GetEdges()) })
		},
	})
}

func (p *program) newEdgeDeleteCommand() *cobra.Command {
	return p.client(verb{
		use: "delete ID", short: "Delete an edge", args: cobra.ExactArgs(1), kind: write,
		example: "  memory-graph edge delete 0196fd1e-8c32-7d44-b0a1-5e6f7a8b9c0d",
		run: func(ctx context.Context, c *call, args []string) error {
			if _, err := c.graph.DeleteEdge(ctx, &pb.DeleteEdgeRequest{EdgeId: args[0]}); err != nil {
				return err
			}
			return c.deleted("edge", args[0])
		},
	})
}
