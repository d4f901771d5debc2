package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// eventFlags are what the command's flags are read into.
type eventFlags struct {
	follow, fromBeginning bool
	session, after        string
	types                 []string
}

func (p *program) newEventsCommand() *cobra.Command {
	var f eventFlags
	cmd := p.client(verb{
		use: "events", short: "Print what happened, or follow what happens", args: cobra.NoArgs, kind: streaming,
		long: `Print what happened, in order, up to now. With --follow, print what happens from now on until interrupted; a server that goes
away is waited for, and nothing is missed or printed twice meanwhile. --after continues behind an event that is still retained.`,
		example: `  memory-graph events --session 0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11
  memory-graph events --follow --type node-created -o json`,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().BoolVar(&f.follow, "follow", false, "go on with what happens from now on")
			cmd.Flags().BoolVar(&f.fromBeginning, "from-beginning", false, "with --follow: begin with the oldest event that is retained")
			cmd.Flags().StringVar(&f.session, "session", "", "only events of this session")
			cmd.Flags().StringVar(&f.after, "after", "", "only events behind the one with this id")
			cmd.Flags().StringArrayVar(&f.types, "type", nil, "only events of this type, such as node-created; may be repeated")
			cmd.MarkFlagsMutuallyExclusive("from-beginning", "after")
		},
		run: func(ctx context.Context, c *call, _ []string) error {
			req, err := f.request()
			if err != nil {
				return err
			}
			if f.follow {
				return c.follow(ctx, req)
			}
			return c.pastEvents(ctx, req)
		},
	})
	cmd.GroupID = groupClient
	return cmd
}

func (f *eventFlags) request() (*pb.StreamEventsRequest, error) {
	req := &pb.StreamEventsRequest{AfterEventId: f.after, FromBeginning: f.after == "" && (f.fromBeginning || !f.follow)}
	if f.session != "" {
		req.SessionId = &f.session
	}
	for _, name := range f.types {
		t, err := parseEnum[pb.EventType]("event type", "EVENT_TYPE_", pb.EventType_name, name)
		if err != nil {
			return nil, err
		}
		req.EventTypes = append(req.EventTypes, t)
	}
	return req, nil
}

// lastEvent reads from a stream's header which event was the newest when it began; "" when there was none. ok is false
// when the server does not say.
func lastEvent(header metadata.MD) (id string, ok bool) {
	values := header.Get(keyLastEvent)
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}

// pastEvents prints events up to the one that was the newest at the call. The stream itself never ends, and a filter could
// hide that event, so everything is asked for and filtered here.
func (c *call) pastEvents(ctx context.Context, req *pb.StreamEventsRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.graph.StreamEvents(ctx, &pb.StreamEventsRequest{AfterEventId: req.GetAfterEventId(), FromBeginning: req.GetFromBeginning()})
	if err != nil {
		return err
	}
	header, err := stream.Header()
	if err := c.tellRevision(header, err); err != nil {
		return err
	}
	last, ok := lastEvent(header)
	if !ok {
		// A refused stream has no header; its reason comes with the first read.
		if _, err := stream.Recv(); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		return errors.New("the server does not say where its events end; use --follow")
	}
	// Ids of one history sort as text.
	for at := req.GetAfterEventId(); at < last; {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		at = e.GetId()
		if at > last {
			return nil
		}
		if wanted(e, req) {
			if err := c.event(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// wanted says whether an event passes the filters of the request.
func wanted(e *pb.Event, req *pb.StreamEventsRequest) bool {
	if len(req.GetEventTypes()) > 0 && !slices.Contains(req.GetEventTypes(), e.GetType()) {
		return false
	}
	return req.SessionId == nil || payloadOf(e).SessionID == req.GetSessionId()
}

// follow prints events as they happen, across restarts of the servers, until it is interrupted or time is up.
func (c *call) follow(ctx context.Context, req *pb.StreamEventsRequest) error {
	stream, err := c.graph.StreamEvents(ctx, req)
	if err != nil {
		return err
	}
	if err := c.tellRevision(stream.Header()); err != nil {
		return err
	}
	for {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil
		}
		if s, _, ok := remote(err); ok && s.Code() == codes.DeadlineExceeded && c.timeout > 0 {
			return nil // the server noticed the end of the time a little earlier
		}
		if err != nil {
			return err
		}
		if err := c.event(e); err != nil {
			return err
		}
	}
}

// eventPayload are the parts of a payload that a line shows.
type eventPayload struct {
	NodeID    string `json:"node_id"`
	NodeType  string `json:"node_type"`
	EdgeID    string `json:"edge_id"`
	EdgeType  string `json:"edge_type"`
	From      string `json:"from"`
	To        string `json:"to"`
	SessionID string `json:"session_id"`
	Reason    string `json:"reason"`
}

func payloadOf(e *pb.Event) eventPayload {
	var p eventPayload
	_ = json.Unmarshal([]byte(e.GetPayload()), &p) // a payload of another shape has nothing to show
	return p
}

// event prints one event.
func (c *call) event(e *pb.Event) error {
	return c.out.item(func() ([]byte, error) { return eventJSON(e) }, func() string {
		p := payloadOf(e)
		about := ""
		switch {
		case p.EdgeID != "":
			about = fmt.Sprintf("%s %s -> %s", p.EdgeType, p.From, p.To)
		case p.NodeID != "":
			about = p.NodeType + " " + p.NodeID
		default:
			about = p.Reason
		}
		line := fmt.Sprintf("%s  %s  %-15s  %s  %s", printable(e.GetId()), instant(e.GetTimestamp()), eventName(e.GetType()),
			printable(p.SessionID), printable(about))
		return strings.TrimRight(line, " ")
	})
}

// eventJSON is an event as one line of JSON, its payload as the object that it is.
func eventJSON(e *pb.Event) ([]byte, error) {
	raw, err := marshal(e)
	if err != nil || !json.Valid([]byte(e.GetPayload())) {
		return raw, err
	}
	type event struct {
		ID        json.RawMessage `json:"id"`
		Type      json.RawMessage `json:"type"`
		Timestamp json.RawMessage `json:"timestamp"`
		Payload   json.RawMessage `json:"payload"`
		Revision  json.RawMessage `json:"revision"`
		Chain     json.RawMessage `json:"chain"`
	}
	var v event
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	v.Payload = json.RawMessage(e.GetPayload())
	return marshalValue(v)
}
