package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// queryFlags are what a query is made of.
type queryFlags struct {
	session, nodeType, after, before, pageToken string
	limit, offset                               int32
	filters                                     []string
	stream, all, skipTotal                      bool
}

func (p *program) newQueryCommand() *cobra.Command {
	var q queryFlags
	cmd := p.client(verb{
		use: "query", short: "Find nodes, newest first", args: cobra.NoArgs, kind: streaming,
		long: `Find nodes, newest first. Everything given must hold. Filters: model, finish_reason, tool_name, status, role, name, version
(equal), content (contains), metadata.<key>, custom.<key> (equal), latency_ms, duration_ms, total_tokens (equal, or with > or <
behind the name). A time is RFC 3339, a date, or how long ago it was (90m).`,
		example: `  memory-graph query --type tool --filter status=failed
  memory-graph query --session 0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11 --all -o json
  memory-graph query --type response --after 24h --filter 'total_tokens>1000' --stream`,
		flags: q.add,
		run: func(ctx context.Context, c *call, _ []string) error {
			req, err := q.request(p.now())
			if err != nil {
				return err
			}
			switch {
			case q.stream && q.all:
				return usagef("--stream and --all exclude each other: both give everything")
			case q.stream:
				return c.streamQuery(ctx, req)
			case q.all:
				return c.queryAll(ctx, req)
			default:
				return c.queryPage(ctx, req)
			}
		},
	})
	cmd.GroupID = groupClient
	return cmd
}

func (q *queryFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&q.session, "session", "", "only what belongs to this session")
	f.StringVar(&q.nodeType, "type", "", "session, prompt, response, tool, agent or template")
	f.StringVar(&q.after, "after", "", "not older than this")
	f.StringVar(&q.before, "before", "", "not newer than this")
	f.Int32Var(&q.limit, "limit", 0, "at most so many, up to 10000; 0 is the server's default")
	f.Int32Var(&q.offset, "offset", 0, "nodes to leave out; --page-token is faster")
	f.StringVar(&q.pageToken, "page-token", "", "continue where the page before ended")
	f.StringArrayVar(&q.filters, "filter", nil, "key=value, may be repeated")
	f.BoolVar(&q.skipTotal, "skip-total", false, "do not count all matches")
	f.BoolVar(&q.stream, "stream", false, "print all matches as they come, as of one moment")
	f.BoolVar(&q.all, "all", false, "print all pages as they come")
	types := cobra.FixedCompletions([]string{"session", "prompt", "response", "tool", "agent", "template"}, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("type", types)
}

func (q *queryFlags) request(now time.Time) (*pb.QueryRequest, error) {
	req := &pb.QueryRequest{Limit: q.limit, Offset: q.offset, PageToken: q.pageToken, SkipTotal: q.skipTotal}
	if q.session != "" {
		req.SessionId = &q.session
	}
	if q.nodeType != "" {
		t, err := parseEnum[pb.NodeType]("node type", "NODE_TYPE_", pb.NodeType_name, q.nodeType)
		if err != nil {
			return nil, err
		}
		req.NodeType = &t
	}
	var err error
	if req.After, err = parseTime("after", q.after, now); err != nil {
		return nil, err
	}
	if req.Before, err = parseTime("before", q.before, now); err != nil {
		return nil, err
	}
	req.Filters, err = parseFilters(q.filters)
	return req, err
}

// parseFilters reads key=value, and key>value or key<value for the keys with that suffix.
func parseFilters(filters []string) (map[string]string, error) {
	m := make(map[string]string, len(filters))
	for _, f := range filters {
		i := strings.IndexAny(f, "=<>")
		if i <= 0 {
			return nil, usagef("--filter %q: want key=value, key>value or key<value", f)
		}
		key, value := f[:i], f[i+1:]
		if f[i] != '=' {
			key = f[:i+1]
			if strings.HasPrefix(value, "=") {
				return nil, usagef("--filter %q: there is no %c=, only %c", f, f[i], f[i])
			}
		}
		m[key] = value
	}
	return m, nil
}

// parseTime reads RFC 3339, a date (UTC), or a duration that has passed since. Empty is unset.
func parseTime(flag, s string, now time.Time) (*timestamppb.Timestamp, error) {
	if s == "" {
		return nil, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return timestamppb.New(t), nil
		}
	}
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		return timestamppb.New(now.Add(-ago)), nil
	}
	return nil, usagef("--%s %q: want RFC 3339 such as 2026-03-01T09:00:00Z, a date, or a duration such as 90m", flag, s)
}

func (c *call) queryPage(ctx context.Context, req *pb.QueryRequest) error {
	got, err := c.graph.Query(ctx, req)
	if err != nil {
		return err
	}
	return c.out.show(got, func() string {
		text := nodeRows(got.GetNodes())
		if !req.GetSkipTotal() || got.GetNextPageToken() != "" {
			text += "\n" + page(len(got.GetNodes()), got.GetTotalCount(), got.GetTotalIsLowerBound(), got.GetNextPageToken())
		}
		return text
	})
}

func (c *call) queryAll(ctx context.Context, req *pb.QueryRequest) error {
	req.SkipTotal = true
	for {
		got, err := c.graph.Query(ctx, req)
		if err != nil {
			return err
		}
		for _, n := range got.GetNodes() {
			if err := c.node(n); err != nil {
				return err
			}
		}
		if req.PageToken = got.GetNextPageToken(); req.PageToken == "" {
			return nil
		}
	}
}

// node prints a node of a stream.
func (c *call) node(n *pb.Node) error {
	return c.out.item(func() ([]byte, error) { return marshal(n) }, func() string { return nodeLine(n, c.out.width) })
}

func (c *call) streamQuery(ctx context.Context, req *pb.QueryRequest) error {
	stream, err := c.graph.StreamQuery(ctx, req)
	if err != nil {
		return err
	}
	if err := c.tellRevision(stream.Header()); err != nil {
		return err
	}
	for {
		n, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.node(n); err != nil {
			return err
		}
	}
}

// tellRevision tells the revision of a stream; unary calls do it by themselves.
func (c *call) tellRevision(header metadata.MD, err error) error {
	if report := c.revisionTo(c.verbose); report != nil && err == nil {
		report(header)
	}
	return err
}
