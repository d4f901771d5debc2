package conformance

import (
	"context"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

func metadataCases() []Case {
	return []Case{
		{Name: "every_reply_carries_revision_and_lineage", Section: "D5", Run: replyHeaders,
			Calls: []string{createSession, getSession, getNode, health, streamQuery, streamEvents, subscribe, exportRecords}},
		{Name: "the_revision_rises_with_each_write_and_covers_reads", Section: "D5", Run: revisionRises,
			Calls: []string{createSession, getSession, addPrompt}},
		{Name: "consistency_levels_are_known_or_refused", Section: "2", Run: consistencyLevels,
			Calls: []string{getSession, query, streamQuery, getEdges}},
		{Name: "max_staleness_is_a_duration", Section: "2", Run: maxStaleness, Calls: []string{getSession}},
		{Name: "min_revision_is_a_number", Section: "2", Run: minRevisionShape, Calls: []string{getSession, streamQuery}},
		{Name: "a_future_min_revision_waits_until_the_deadline", Section: "2", Run: minRevisionFuture,
			Calls: []string{getSession, streamQuery}},
		{Name: "a_min_revision_is_served_once_it_is_reached", Section: "2", Run: minRevisionReached,
			Calls: []string{getSession, addPrompt}},
		{Name: "an_idempotency_key_is_1_to_128_bytes", Section: "2", Run: keyShape, Calls: []string{createSession, addPrompt}},
		{Name: "compressed_requests_are_understood", Section: "2", Run: compressedRequests, Calls: []string{addPrompt}},
		{Name: "a_deadline_ends_a_call", Section: "2", Run: deadlineEndsCall, Calls: []string{streamEvents}},
	}
}

func replyHeaders(t *testing.T, e *Env) {
	ctx := t.Context()
	session := e.session(t).GetId()
	lineage := e.headerOf(t, func(opts ...grpc.CallOption) error {
		_, err := e.Graph.GetSession(ctx, &graphpb.GetSessionRequest{SessionId: session}, opts...)
		return err
	}, lineageHeader)
	fromHealth := e.headerOf(t, func(opts ...grpc.CallOption) error {
		_, err := e.Graph.Health(ctx, &emptypb.Empty{}, opts...)
		return err
	}, lineageHeader)
	wantEqual(t, "lineage of Health", lineage, fromHealth)

	// The rules of all replies look at the headers of these refusals and streams.
	refusal(e.Graph.GetNode(ctx, &graphpb.GetNodeRequest{NodeId: unique("nobody")}))(t, codes.NotFound)
	headers := []metadata.MD{
		must(must(e.Graph.StreamQuery(open(t), &graphpb.QueryRequest{SessionId: &session}))(t).Header())(t),
		must(must(e.Graph.StreamEvents(open(t), &graphpb.StreamEventsRequest{}))(t).Header())(t),
		must(must(e.Graph.SubscribeToSession(open(t), &graphpb.SubscribeRequest{SessionId: session}))(t).Header())(t),
		must(must(e.Transfer.Export(open(t), &graphpb.ExportRequest{SessionIds: []string{session}}))(t).Header())(t),
	}
	for i, header := range headers {
		wantEqual(t, "lineage of stream "+strconv.Itoa(i), []string{lineage}, header.Get(lineageHeader))
		if got := header.Get(revisionHeader); len(got) != 1 || !revisionShape.MatchString(got[0]) {
			t.Errorf("stream %d: revision in the header is %q", i, got)
		}
	}
}

// headerOf makes a call that has to succeed and returns one header of its reply.
func (e *Env) headerOf(t *testing.T, call func(...grpc.CallOption) error, key string) string {
	t.Helper()
	var header metadata.MD
	if err := call(grpc.Header(&header)); err != nil {
		t.Fatalf("call was refused: %v", err)
	}
	values := header.Get(key)
	if len(values) != 1 {
		t.Fatalf("header %s is %q, want one value", key, values)
	}
	return values[0]
}

// revisionOf makes a call that has to succeed and returns the revision of its reply.
func (e *Env) revisionOf(t *testing.T, call func(...grpc.CallOption) error) uint64 {
	t.Helper()
	return must(strconv.ParseUint(e.headerOf(t, call, revisionHeader), 10, 64))(t)
}

func (e *Env) readRevision(t *testing.T, session string) uint64 {
	t.Helper()
	return e.revisionOf(t, func(opts ...grpc.CallOption) error {
		_, err := e.Graph.GetSession(t.Context(), &graphpb.GetSessionRequest{SessionId: session}, opts...)
		return err
	})
}

func revisionRises(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	last := e.readRevision(t, session)
	for range 5 {
		var prompt *graphpb.PromptNode
		written := e.revisionOf(t, func(opts ...grpc.CallOption) (err error) {
			prompt, err = e.Graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{SessionId: session, Content: "x"}, opts...)
			return err
		})
		if written <= last {
			t.Errorf("revision of a write is %d after %d", written, last)
		}
		node := e.node(t, prompt.GetId())
		if node.GetRevision() == 0 || node.GetRevision() > written {
			t.Errorf("revision of the node is %d, of the reply that made it %d", node.GetRevision(), written)
		}
		last = e.readRevision(t, session)
		if last < written {
			t.Errorf("a read at %d after a write at %d", last, written)
		}
	}
}

func consistencyLevels(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	made := strconv.FormatUint(e.readRevision(t, session), 10) // another node may not have heard of it yet
	read := func(level string) error {
		ctx := with(t.Context(), "memory-graph-consistency", level, "memory-graph-min-revision", made)
		_, err := e.Graph.GetSession(ctx, &graphpb.GetSessionRequest{SessionId: session})
		return err
	}
	for _, level := range []string{"linearizable", "bounded", "local"} {
		if err := read(level); err != nil {
			t.Errorf("consistency %s: %v", level, err)
		}
	}
	for _, level := range []string{"eventual", "strong", "LOCALE", "1"} {
		wantField(t, wantStatus(t, read(level), codes.InvalidArgument), "memory-graph-consistency")
		bad := with(open(t), "memory-graph-consistency", level)
		invalid(e.Graph.Query(bad, &graphpb.QueryRequest{SessionId: &session}))(t, "memory-graph-consistency")
		invalid(e.Graph.GetEdges(bad, &graphpb.GetEdgesRequest{NodeId: session}))(t, "memory-graph-consistency")
		invalid(refusedStream(e.Graph.StreamQuery(bad, &graphpb.QueryRequest{SessionId: &session})))(t, "memory-graph-consistency")
	}
}

func maxStaleness(t *testing.T, e *Env) {
	request := &graphpb.GetSessionRequest{SessionId: e.session(t).GetId()}
	made := strconv.FormatUint(e.readRevision(t, request.GetSessionId()), 10) // another node may not have heard of it yet
	ctx := with(t.Context(), "memory-graph-consistency", "bounded", "memory-graph-min-revision", made)
	must(e.Graph.GetSession(with(ctx, "memory-graph-max-staleness", "5s"), request))(t)
	must(e.Graph.GetSession(with(ctx, "memory-graph-max-staleness", "1m30s"), request))(t)
	for _, bad := range []string{"soon", "5", "-1s"} {
		invalid(e.Graph.GetSession(with(ctx, "memory-graph-max-staleness", bad), request))(t, "memory-graph-max-staleness")
	}
}

func minRevisionShape(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	for _, bad := range []string{"abc", "-1", "1.5", "18446744073709551616", "0x10", " 1 2"} {
		ctx := with(open(t), "memory-graph-min-revision", bad)
		invalid(e.Graph.GetSession(ctx, &graphpb.GetSessionRequest{SessionId: session}))(t, "memory-graph-min-revision")
		invalid(refusedStream(e.Graph.StreamQuery(ctx, &graphpb.QueryRequest{SessionId: &session})))(t, "memory-graph-min-revision")
	}
}

func minRevisionFuture(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	for _, level := range []string{"linearizable", "local"} {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		ctx = with(ctx, "memory-graph-min-revision", "9000000000000000000", "memory-graph-consistency", level)
		refusal(e.Graph.GetSession(ctx, &graphpb.GetSessionRequest{SessionId: session}))(t, codes.DeadlineExceeded)
		if waited := time.Since(began); waited < 250*time.Millisecond {
			t.Errorf("answered after %v, want it to wait until the deadline", waited)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	ctx = with(ctx, "memory-graph-min-revision", "9000000000000000000")
	refusal(refusedStream(e.Graph.StreamQuery(ctx, &graphpb.QueryRequest{SessionId: &session})))(t, codes.DeadlineExceeded)
}

func minRevisionReached(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	now := e.readRevision(t, session)
	reached := func(revision uint64) error {
		ctx := with(t.Context(), "memory-graph-min-revision", strconv.FormatUint(revision, 10), "memory-graph-consistency", "local")
		_, err := e.Graph.GetSession(ctx, &graphpb.GetSessionRequest{SessionId: session})
		return err
	}
	if err := reached(now); err != nil {
		t.Errorf("min-revision that is reached: %v", err)
	}
	answered := make(chan error, 1)
	go func() { answered <- reached(now + 3) }()
	for range 4 {
		e.prompt(t, session, "move on")
	}
	if err := <-answered; err != nil {
		t.Errorf("min-revision that writes have reached: %v", err)
	}
}

func keyShape(t *testing.T, e *Env) {
	longest := strings.Repeat("k", 128-len(unique("")))
	must(e.Graph.CreateSession(keyed(t.Context(), unique(longest)), &graphpb.CreateSessionRequest{}))(t)
	session := e.session(t).GetId()
	for _, bad := range []string{"", unique(longest + "k")} {
		invalid(e.Graph.CreateSession(keyed(t.Context(), bad), &graphpb.CreateSessionRequest{}))(t, "idempotency-key")
		invalid(e.Graph.AddPrompt(keyed(t.Context(), bad), &graphpb.AddPromptRequest{
			SessionId: session, Content: "x",
		}))(t, "idempotency-key")
	}
	wantEqual(t, "nodes after refusals", int64(1), e.query(t, &graphpb.QueryRequest{SessionId: &session}).GetTotalCount())
}

func compressedRequests(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	text := strings.Repeat("again and ", 50_000)
	made := must(e.Graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{SessionId: session, Content: text},
		grpc.UseCompressor(gzip.Name)))(t)
	wantEqual(t, "length of the content", len(text), len(made.GetContent()))
	_, err := e.unchecked().AddPrompt(t.Context(), &graphpb.AddPromptRequest{
		SessionId: session, Content: strings.Repeat("bomb", 8<<20),
	}, grpc.UseCompressor(gzip.Name))
	wantStatus(t, err, codes.ResourceExhausted)
}

func deadlineEndsCall(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	stream, err := e.Graph.StreamEvents(ctx, &graphpb.StreamEventsRequest{SessionId: &session})
	if err == nil { // else the time was up before there was a connection
		_, err = stream.Recv()
	}
	if err == io.EOF || status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("stream with a deadline ended with %v, want DEADLINE_EXCEEDED", err)
	}
}
