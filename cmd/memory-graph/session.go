package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func (p *program) newSessionCommand() *cobra.Command {
	return p.group("session", "Create, read, close and delete sessions", `  memory-graph session list
  memory-graph session show 0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11`,
		p.newSessionCreateCommand(), p.newSessionGetCommand(), p.newSessionShowCommand(), p.newSessionListCommand(),
		p.newSessionCloseCommand(), p.newSessionDeleteCommand())
}

func sessionFacts(s *pb.Session) string {
	return facts("id", s.GetId(), "state", activity(s), "created", instant(s.GetCreatedAt()), "updated", instant(s.GetUpdatedAt()),
		"metadata", pairsText(s.GetMetadata()))
}

func (p *program) newSessionCreateCommand() *cobra.Command {
	var metadata []string
	return p.client(verb{
		use: "create", short: "Open a session", args: cobra.NoArgs, kind: write,
		example: "  memory-graph session create --metadata user=ada --metadata app=support",
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringArrayVar(&metadata, "metadata", nil, "key=value, may be repeated")
		},
		run: func(ctx context.Context, c *call, _ []string) error {
			m, err := parsePairs("metadata", metadata)
			if err != nil {
				return err
			}
			s, err := c.graph.CreateSession(ctx, &pb.CreateSessionRequest{Metadata: m})
			if err != nil {
				return err
			}
			return c.out.show(s, func() string { return sessionFacts(s) })
		},
	})
}

func (p *program) newSessionGetCommand() *cobra.Command {
	return p.client(verb{
		use: "get ID", short: "Show what a session is, without its content", args: cobra.ExactArgs(1),
		example: "  memory-graph session get 0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11 -o json",
		run: func(ctx context.Context, c *call, args []string) error {
			s, err := c.graph.GetSession(ctx, &pb.GetSessionRequest{SessionId: args[0]})
			if err != nil {
				return err
			}
			return c.out.show(s, func() string { return sessionFacts(s) })
		},
	})
}

func (p *program) newSessionListCommand() *cobra.Command {
	req := &pb.ListSessionsRequest{}
	return p.client(verb{
		use: "list", short: "List sessions, newest first", args: cobra.NoArgs,
		example: "  memory-graph session list --limit 20",
		flags: func(cmd *cobra.Command) {
			cmd.Flags().Int32Var(&req.Limit, "limit", 0, "sessions on a page, at most 10000; 0 is the server's default of 100")
			cmd.Flags().Int32Var(&req.Offset, "offset", 0, "sessions to leave out; --page-token is faster")
			cmd.Flags().StringVar(&req.PageToken, "page-token", "", "continue where the page before ended")
		},
		run: func(ctx context.Context, c *call, _ []string) error {
			list, err := c.graph.ListSessions(ctx, req)
			if err != nil {
				return err
			}
			return c.out.show(list, func() string { return sessionRows(list) })
		},
	})
}

func sessionRows(list *pb.ListSessionsResponse) string {
	rows := make([][]string, 0, len(list.GetSessions()))
	for _, s := range list.GetSessions() {
		rows = append(rows, []string{s.GetId(), activity(s), instant(s.GetCreatedAt()), instant(s.GetUpdatedAt()), pairsText(s.GetMetadata())})
	}
	return grid([]string{"id", "state", "created", "updated", "metadata"}, rows) + "\n" +
		page(len(rows), list.GetTotalCount(), false, list.GetNextPageToken())
}

// page tells how much of the whole a table shows, and how to get the rest.
func page(shown int, total int64, atLeast bool, next string) string {
	more := ""
	if atLeast {
		more = "at least "
	}
	line := fmt.Sprintf("%d of %s%d", shown, more, total)
	if next != "" {
		line += "; continue with --page-token " + printable(next)
	}
	return line
}

func (p *program) newSessionCloseCommand() *cobra.Command {
	return p.client(verb{
		use: "close ID", short: "End a session: it takes no more prompts", args: cobra.ExactArgs(1), kind: write,
		example: "  memory-graph session close 0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11",
		run: func(ctx context.Context, c *call, args []string) error {
			s, err := c.graph.CloseSession(ctx, &pb.CloseSessionRequest{SessionId: args[0]})
			if err != nil {
				return err
			}
			return c.out.show(s, func() string { return sessionFacts(s) })
		},
	})
}

func (p *program) newSessionDeleteCommand() *cobra.Command {
	return p.client(verb{
		use: "delete ID", short: "Delete a session and everything that belongs to it", args: cobra.ExactArgs(1), kind: write,
		example: "  memory-graph session delete 0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11",
		run: func(ctx context.Context, c *call, args []string) error {
			if _, err := c.graph.DeleteSession(ctx, &pb.DeleteSessionRequest{SessionId: args[0]}); err != nil {
				return err
			}
			return c.deleted("session", args[0])
		},
	})
}

// deleted confirms a deletion.
func (c *call) deleted(what, id string) error {
	return c.out.showValue(map[string]string{"deleted": id}, func() string { return "deleted " + what + " " + printable(id) })
}

func (p *program) newSessionShowCommand() *cobra.Command {
	var draw treeOptions
	return p.client(verb{
		use: "show ID", short: "Draw a session as a tree", args: cobra.ExactArgs(1),
		long: `Draw a session as a tree: prompts, the responses to them, the tool calls of those with their status and duration, with
agents, templates, tokens and times. Long texts are cut to one line; --full shows them whole.`,
		example: `  memory-graph session show 0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11
  memory-graph session show 0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11 --full | less`,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().BoolVar(&draw.full, "full", false, "show texts whole")
			cmd.Flags().BoolVar(&draw.ids, "ids", false, "show the id of each node")
			cmd.Flags().IntVar(&draw.width, "width", 0, "columns of a line; 0 is the terminal's width")
		},
		run: func(ctx context.Context, c *call, args []string) error {
			story, err := fetchStory(ctx, c.graph, args[0])
			if err != nil {
				return err
			}
			if draw.width <= 0 {
				draw.width = c.out.width
			}
			if c.out.format == formatTable {
				return c.out.text(drawStory(story, draw))
			}
			v, err := storyValue(story)
			if err != nil {
				return err
			}
			return c.out.showValue(v, nil)
		},
	})
}

// storyDocument is a session with its content as one JSON document.
type storyDocument struct {
	Session json.RawMessage `json:"session"`
	// Nodes are prompts, responses and tool invocations, oldest first; Related are the agents and templates.
	Nodes   json.RawMessage `json:"nodes"`
	Edges   json.RawMessage `json:"edges"`
	Related json.RawMessage `json:"related"`
	Totals  totals          `json:"totals"`
}

func storyValue(s *story) (storyDocument, error) {
	d := storyDocument{Totals: s.totals()}
	var err error
	if d.Session, err = marshal(s.session); err != nil {
		return d, err
	}
	if d.Nodes, err = marshalList(s.nodes); err != nil {
		return d, err
	}
	var edges []*pb.Edge
	var related []*pb.Node
	seen := make(map[string]bool)
	for _, n := range s.nodes {
		for _, e := range s.edges[n.GetId()] {
			edges = append(edges, e)
			if r := s.related[e.GetToNodeId()]; r != nil && !seen[r.GetId()] {
				seen[r.GetId()] = true
				related = append(related, r)
			}
		}
	}
	if d.Edges, err = marshalList(edges); err != nil {
		return d, err
	}
	d.Related, err = marshalList(related)
	return d, err
}
