package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

func TestBadInputNamesTheField(t *testing.T) {
	r := start(t)
	s := r.session()
	p := r.prompt(s.Id, "x")
	long := strings.Repeat("x", graph.MaxIDBytes+1)
	foreign := "00000000-0000-4000-8000-000000000000"
	direction := pb.EdgeDirection(77)
	for _, c := range []struct {
		name    string
		call    func(context.Context) error
		code    codes.Code
		message string
		field   string
	}{
		{"session no UUID", calling(r.GetSession, &pb.GetSessionRequest{SessionId: "7"}), codes.InvalidArgument, `session_id: "7" is not a UUID`, "session_id"},
		{"session empty", calling(r.DeleteSession, &pb.DeleteSessionRequest{}), codes.InvalidArgument, "session_id: is required", "session_id"},
		{"close empty", calling(r.CloseSession, &pb.CloseSessionRequest{}), codes.InvalidArgument, "", "session_id"},
		{"session unknown", calling(r.GetSession, &pb.GetSessionRequest{SessionId: foreign}), codes.NotFound, "Session not found: " + foreign, ""},
		{"prompt as session", calling(r.CloseSession, &pb.CloseSessionRequest{SessionId: foreign}), codes.NotFound, "Session not found: " + foreign, ""},
		{"metadata", calling(r.CreateSession, &pb.CreateSessionRequest{Metadata: map[string]string{"": "x"}}), codes.InvalidArgument, "", "metadata"},
		{"sessions limit", calling(r.ListSessions, &pb.ListSessionsRequest{Limit: -1}), codes.InvalidArgument, "", "limit"},
		{"sessions limit", calling(r.ListSessions, &pb.ListSessionsRequest{Limit: 10_001}), codes.InvalidArgument, "", "limit"},
		{"sessions offset", calling(r.ListSessions, &pb.ListSessionsRequest{Offset: -1}), codes.InvalidArgument, "", "offset"},
		{"sessions token", calling(r.ListSessions, &pb.ListSessionsRequest{PageToken: "x"}), codes.InvalidArgument, "", "page_token"},
		{"no node", calling(r.CreateNode, &pb.CreateNodeRequest{}), codes.InvalidArgument, "", "node.node_data"},
		{"type only", calling(r.CreateNode, &pb.CreateNodeRequest{Node: &pb.Node{Id: "x", Type: pb.NodeType_NODE_TYPE_AGENT}}), codes.InvalidArgument, "", "node.node_data"},
		{"node empty id", calling(r.GetNode, &pb.GetNodeRequest{}), codes.InvalidArgument, "node_id: is required", "node_id"},
		{"node long id", calling(r.GetNode, &pb.GetNodeRequest{NodeId: long}), codes.InvalidArgument, "", "node_id"},
		{"node unknown", calling(r.GetNode, &pb.GetNodeRequest{NodeId: "x"}), codes.NotFound, "Node not found: x", ""},
		{"update nothing", calling(r.UpdateNode, &pb.UpdateNodeRequest{}), codes.InvalidArgument, "", "node.node_data"},
		{"delete empty", calling(r.DeleteNode, &pb.DeleteNodeRequest{}), codes.InvalidArgument, "", "node_id"},
		{"delete session node", calling(r.DeleteNode, &pb.DeleteNodeRequest{NodeId: s.Id}), codes.InvalidArgument, "", "node_id"},
		{"batch empty", calling(r.BatchCreateNodes, &pb.BatchCreateNodesRequest{}), codes.InvalidArgument, "nodes: is required", "nodes"},
		{"batch too many", calling(r.BatchCreateNodes, &pb.BatchCreateNodesRequest{Nodes: make([]*pb.Node, 1001)}), codes.InvalidArgument, "", "nodes"},
		{"batch second", calling(r.BatchCreateNodes, &pb.BatchCreateNodesRequest{Nodes: []*pb.Node{
			{NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{Name: "x"}}}, {NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{}}},
		}}), codes.InvalidArgument, "", "nodes[1].agent.name"},
		{"batch get many", calling(r.BatchGetNodes, &pb.BatchGetNodesRequest{NodeIds: make([]string, 1001)}), codes.InvalidArgument, "", "node_ids"},
		{"batch get empty id", calling(r.BatchGetNodes, &pb.BatchGetNodesRequest{NodeIds: []string{"x", ""}}), codes.InvalidArgument, "", "node_ids[1]"},
		{"batch get page", calling(r.BatchGetNodes, &pb.BatchGetNodesRequest{PageSize: -1}), codes.InvalidArgument, "", "page_size"},
		{"batch get token", calling(r.BatchGetNodes, &pb.BatchGetNodesRequest{PageToken: "AAAA"}), codes.InvalidArgument, "", "page_token"},
		{"no edge", calling(r.CreateEdge, &pb.CreateEdgeRequest{}), codes.InvalidArgument, "", "edge"},
		{"edges empty", calling(r.GetEdges, &pb.GetEdgesRequest{}), codes.InvalidArgument, "", "node_id"},
		{"edges direction", calling(r.GetEdges, &pb.GetEdgesRequest{NodeId: p.Id, Direction: &direction}), codes.InvalidArgument, "", "direction"},
		{"edges page", calling(r.GetEdges, &pb.GetEdgesRequest{NodeId: p.Id, PageSize: 10_001}), codes.InvalidArgument, "", "page_size"},
		{"edges token", calling(r.GetEdges, &pb.GetEdgesRequest{NodeId: p.Id, PageToken: "!"}), codes.InvalidArgument, "", "page_token"},
		{"edges unknown", calling(r.GetEdges, &pb.GetEdgesRequest{NodeId: "x"}), codes.NotFound, "Node not found: x", ""},
		{"edge empty", calling(r.DeleteEdge, &pb.DeleteEdgeRequest{}), codes.InvalidArgument, "", "edge_id"},
		{"edge unknown", calling(r.DeleteEdge, &pb.DeleteEdgeRequest{EdgeId: "x"}), codes.NotFound, "", ""},
		{"query type", calling(r.Query, &pb.QueryRequest{NodeType: pb.NodeType(99).Enum()}), codes.InvalidArgument, "", "node_type"},
		{"query limit", calling(r.Query, &pb.QueryRequest{Limit: -5}), codes.InvalidArgument, "", "limit"},
		{"query offset", calling(r.Query, &pb.QueryRequest{Offset: -5}), codes.InvalidArgument, "", "offset"},
		{"query token", calling(r.Query, &pb.QueryRequest{PageToken: "zz"}), codes.InvalidArgument, "", "page_token"},
		{"query filter", calling(r.Query, &pb.QueryRequest{Filters: map[string]string{"colour": "x"}}), codes.InvalidArgument, "", "filters[colour]"},
		{"query session", calling(r.Query, &pb.QueryRequest{SessionId: &foreign}), codes.NotFound, "Session not found: " + foreign, ""},
		{"prompt session", calling(r.AddPrompt, &pb.AddPromptRequest{Content: "x"}), codes.InvalidArgument, "", "session_id"},
		{"prompt content", calling(r.AddPrompt, &pb.AddPromptRequest{SessionId: s.Id}), codes.InvalidArgument, "", "content"},
		{"prompt unknown session", calling(r.AddPrompt, &pb.AddPromptRequest{SessionId: foreign, Content: "x"}), codes.NotFound, "Session not found: " + foreign, ""},
		{"response usage", calling(r.AddResponse, &pb.AddResponseRequest{PromptId: p.Id}), codes.InvalidArgument, "Missing token_usage", "token_usage"},
		{"response prompt", calling(r.AddResponse, &pb.AddResponseRequest{TokenUsage: &pb.TokenUsage{}}), codes.InvalidArgument, "", "prompt_id"},
		{"response unknown prompt", calling(r.AddResponse, &pb.AddResponseRequest{PromptId: "x", TokenUsage: &pb.TokenUsage{}}), codes.NotFound, "", ""},
		{"no tool", calling(r.AddToolInvocation, &pb.AddToolInvocationRequest{}), codes.InvalidArgument, "", "tool_invocation"},
		{"no template", calling(r.CreateTemplate, &pb.CreateTemplateRequest{}), codes.InvalidArgument, "", "template"},
		{"template empty", calling(r.InstantiateTemplate, &pb.InstantiateTemplateRequest{SessionId: s.Id}), codes.InvalidArgument, "", "template_id"},
		{"template session", calling(r.InstantiateTemplate, &pb.InstantiateTemplateRequest{TemplateId: "x"}), codes.InvalidArgument, "", "session_id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refusedWith(t, c.call(r.ctx()), c.code, c.message, c.field)
		})
	}
}

// calling makes a call whose reply does not matter.
func calling[Req, Res any](method func(context.Context, Req, ...grpc.CallOption) (Res, error), req Req) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := method(ctx, req)
		return err
	}
}

func TestBadMetadata(t *testing.T) {
	r := start(t)
	for _, c := range []struct{ key, value string }{
		{keyConsistency, "eventual"},
		{keyMaxStaleness, "soon"},
		{keyMaxStaleness, "-1s"},
		{keyMinRevision, "-1"},
		{keyMinRevision, "latest"},
		{keyIdempotency, ""},
		{keyIdempotency, strings.Repeat("k", 129)},
		{keyCascade, "yes"},
	} {
		err := calling(r.CreateSession, &pb.CreateSessionRequest{})(r.ctx(c.key, c.value))
		refusedWith(t, err, codes.InvalidArgument, "", c.key)
		stream, err := r.StreamEvents(r.ctx(c.key, c.value), &pb.StreamEventsRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		refusedWith(t, err, codes.InvalidArgument, "", c.key)
	}
	for _, key := range []string{keyConsistency, keyMaxStaleness, keyMinRevision, keyIdempotency, keyCascade} {
		err := calling(r.CreateSession, &pb.CreateSessionRequest{})(r.ctx(key, "1", key, "2"))
		refusedWith(t, err, codes.InvalidArgument, key+": was given 2 times", key)
	}
}

func TestEveryKindHasACode(t *testing.T) {
	want := map[graph.Kind]codes.Code{
		graph.NotFound: codes.NotFound, graph.Invalid: codes.InvalidArgument, graph.Exists: codes.AlreadyExists,
		graph.Precondition: codes.FailedPrecondition, graph.Stale: codes.Aborted, graph.Exhausted: codes.ResourceExhausted,
		graph.OutOfRange: codes.OutOfRange,
	}
	for k := graph.Kind(1); !strings.HasPrefix(k.Error(), "kind "); k++ {
		st, damaged := asStatus(fmt.Errorf("wrapped: %w", &graph.Error{Kind: k, Message: "m"}))
		if got := status.Code(st); got != want[k] || damaged {
			t.Errorf("%v becomes %v, want %v", k, got, want[k])
		}
	}
	if len(want) != 7 {
		t.Error("a kind is missing above")
	}
	defer func() {
		if recover() == nil {
			t.Error("an unknown kind has a code")
		}
	}()
	kindAnswer(99)
}

func TestErrorsThatAreNoRefusals(t *testing.T) {
	bad := errors.New("boom")
	for _, c := range []struct {
		err     error
		code    codes.Code
		retry   time.Duration
		reason  string
		not     string
		damaged bool
	}{
		{&LogError{Kind: NoLeader, NotProposed: true, Err: bad}, codes.Unavailable, time.Second, "NO_LEADER", "true", false},
		{&LogError{Kind: Overloaded, NotProposed: true, RetryAfter: 5 * time.Second, Err: bad}, codes.ResourceExhausted, 5 * time.Second, "OVERLOADED", "true", false},
		{&LogError{Kind: DiskReserve, NotProposed: true, Err: bad}, codes.ResourceExhausted, 30 * time.Second, "DISK_RESERVE", "true", false},
		{&LogError{Kind: Quarantined, NotProposed: true, Err: bad}, codes.Unavailable, time.Second, "NODE_QUARANTINED", "true", false},
		{&LogError{Kind: Stopping, Err: bad}, codes.Unavailable, time.Second, "STOPPING", "false", false},
		{&LogError{Kind: Interrupted, Err: context.DeadlineExceeded}, codes.DeadlineExceeded, 0, "DEADLINE_EXCEEDED", "false", false},
		{context.Canceled, codes.Canceled, 0, "CANCELLED", "", false},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), codes.DeadlineExceeded, 0, "DEADLINE_EXCEEDED", "", false},
		{store.ErrClosed, codes.Unavailable, time.Second, "STOPPING", "", false},
		{fmt.Errorf("x: %w", store.ErrDamaged), codes.DataLoss, 0, "DATA_LOSS", "", true},
		{errDisk, codes.DataLoss, 0, "DATA_LOSS", "", true},
		{errStalled, codes.ResourceExhausted, 0, "READ_TOO_SLOWLY", "", false},
		{fmt.Errorf("x: %w", errPanic), codes.Internal, 0, "INTERNAL", "", false},
		{status.Error(codes.Unimplemented, "x"), codes.Unimplemented, 0, "", "", false},
	} {
		st, damaged := asStatus(c.err)
		info := infoOf(st)
		if status.Code(st) != c.code || retryOf(st) != c.retry || info.Reason != c.reason || info.Metadata["not_proposed"] != c.not || damaged != c.damaged {
			t.Errorf("%v becomes %v, retry %v, info %v, damaged %v", c.err, st, retryOf(st), info, damaged)
		}
		if strings.Contains(st.Error(), "/dev/") {
			t.Errorf("%v tells what the disk said", st)
		}
	}
	if st, _ := asStatus(nil); st != nil {
		t.Error("no error becomes one")
	}
	long, _ := asStatus(&graph.Error{Kind: graph.Invalid, Field: strings.Repeat("f", 9000), Message: strings.Repeat("é", 9000)})
	if n := len(status.Convert(long).Message()); n > maxMessageBytes+4 {
		t.Errorf("a message of %d bytes is sent", n)
	}
}

func TestFaultsOfTheLog(t *testing.T) {
	r := start(t, func(c *Config) { c.LeaderTimeout = time.Millisecond })
	r.log.set(func() {
		r.log.fault = func() error { return &LogError{Kind: NoLeader, NotProposed: true, Err: errors.New("no leader")} }
	})
	for _, err := range []error{
		calling(r.CreateSession, &pb.CreateSessionRequest{})(r.ctx()),
		calling(r.ListSessions, &pb.ListSessionsRequest{})(r.ctx()),
		calling(r.GetMetrics, &emptypb.Empty{})(r.ctx()),
		calling(r.GetNode, &pb.GetNodeRequest{NodeId: "x"})(r.ctx()),
		calling(r.BatchGetNodes, &pb.BatchGetNodesRequest{})(r.ctx()),
		calling(r.GetEdges, &pb.GetEdgesRequest{NodeId: "x"})(r.ctx()),
		calling(r.Query, &pb.QueryRequest{})(r.ctx()),
		calling(r.GetSession, &pb.GetSessionRequest{SessionId: "00000000-0000-4000-8000-000000000000"})(r.ctx()),
		calling(r.InstantiateTemplate, &pb.InstantiateTemplateRequest{TemplateId: "x", SessionId: "00000000-0000-4000-8000-000000000000"})(r.ctx()),
	} {
		if status.Code(err) != codes.Unavailable || retryOf(err) == 0 {
			t.Errorf("got %v", err)
		}
	}
	stream := must[grpc.ServerStreamingClient[pb.Event]](t)(r.StreamEvents(r.ctx(), &pb.StreamEventsRequest{}))
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a stream ended with %v", err)
	}
	exported := must[grpc.ServerStreamingClient[pb.ExportResponse]](t)(r.transfer.Export(r.ctx(), &pb.ExportRequest{}))
	if _, err := exported.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("an export ended with %v", err)
	}
	queried := must[grpc.ServerStreamingClient[pb.Node]](t)(r.StreamQuery(r.ctx(), &pb.QueryRequest{}))
	if _, err := queried.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a query stream ended with %v", err)
	}
}

func TestAPanicIsAnAnswer(t *testing.T) {
	r := start(t)
	r.log.set(func() { r.log.fault = func() error { panic("poison /secret") } })
	for _, err := range []error{
		calling(r.CreateSession, &pb.CreateSessionRequest{})(r.ctx()),
		func() error {
			s := must[grpc.ServerStreamingClient[pb.Event]](t)(r.StreamEvents(r.ctx(), &pb.StreamEventsRequest{}))
			_, err := s.Recv()
			return err
		}(),
	} {
		if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "poison") {
			t.Errorf("got %v", err)
		}
	}
	r.log.set(func() { r.log.fault = nil })
	r.session()
}

// rawCall sends bytes as they are.
func rawCall(t *testing.T, r *rig, method string, body []byte) error {
	t.Helper()
	m := &emptypb.Empty{}
	m.ProtoReflect().SetUnknown(body)
	return r.conn.Invoke(r.ctx(), method, m, &emptypb.Empty{})
}

func TestWhatDoesNotDecodeIsInvalid(t *testing.T) {
	r := start(t)
	text := func(n protowire.Number, s string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, n, protowire.BytesType), s)
	}
	body := func(n protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
	}
	for _, c := range []struct {
		name, method string
		body         []byte
		field        string
	}{
		{"text", graphgrpc.MemoryGraphService_AddPrompt_FullMethodName, text(2, "\xff"), "content"},
		{"nested", graphgrpc.MemoryGraphService_CreateNode_FullMethodName, body(1, body(10, text(3, "\xc3"))), "node.prompt.content"},
		{"list", graphgrpc.MemoryGraphService_BatchGetNodes_FullMethodName, append(text(1, "x"), text(1, "\xff")...), "node_ids[1]"},
		{"map", graphgrpc.MemoryGraphService_CreateSession_FullMethodName, body(1, append(text(1, "k"), text(2, "\xfe")...)), "metadata"},
		{"cut off", graphgrpc.MemoryGraphService_GetNode_FullMethodName, []byte{0x0a, 0x7f, 'x'}, "node_id"},
		{"noise", graphgrpc.MemoryGraphService_GetNode_FullMethodName, []byte{0xff, 0xff}, ""},
		{"deep", graphgrpc.MemoryGraphService_GetNode_FullMethodName, []byte{0x0b}, "node_id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refusedWith(t, rawCall(t, r, c.method, c.body), codes.InvalidArgument, "", c.field)
		})
	}
	stream, err := r.conn.NewStream(r.ctx(), &graphgrpc.GraphTransferService_ServiceDesc.Streams[0], graphgrpc.GraphTransferService_Import_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	m := &emptypb.Empty{}
	m.ProtoReflect().SetUnknown(body(1, text(1, "\xff")))
	if err := stream.SendMsg(m); err != nil {
		t.Fatal(err)
	}
	refusedWith(t, stream.RecvMsg(&emptypb.Empty{}), codes.InvalidArgument, "", "nodes[0].id")
	if err := rawCall(t, r, graphgrpc.MemoryGraphService_CreateSession_FullMethodName, text(900, "of a later version")); err != nil {
		t.Errorf("an unknown field is refused: %v", err)
	}
}

func TestUnknownCallsAreUnimplemented(t *testing.T) {
	r := start(t)
	for _, method := range []string{"/llm.memory.graph.v1.MemoryGraphService/Forget", "/nobody/Nothing"} {
		if err := rawCall(t, r, method, nil); status.Code(err) != codes.Unimplemented {
			t.Errorf("%s answers %v", method, err)
		}
	}
}

func TestLargeMessages(t *testing.T) {
	r := start(t)
	s := r.session()
	big := strings.Repeat("x", graph.MaxRequestBytes)
	err := calling(r.AddPrompt, &pb.AddPromptRequest{SessionId: s.Id, Content: big})(r.ctx())
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message over 4 MiB answers %v", status.Code(err))
	}
	_, err = r.AddPrompt(r.ctx(), &pb.AddPromptRequest{SessionId: s.Id, Content: big}, grpc.UseCompressor(gzip.Name))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message that is over 4 MiB when it is unpacked answers %v", status.Code(err))
	}
	_, err = r.AddPrompt(r.ctx(), &pb.AddPromptRequest{SessionId: s.Id, Content: big[:1_000_000]}, grpc.UseCompressor(gzip.Name))
	if err != nil {
		t.Errorf("a compressed message: %v", err)
	}
	err = calling(r.AddPrompt, &pb.AddPromptRequest{SessionId: s.Id, Content: big[:1_000_001]})(r.ctx())
	refusedWith(t, err, codes.InvalidArgument, "", "content")
}

// TestRepliesFitIntoWhatClientsTake: pages are cut, and what has no pages is refused, never shortened.
func TestRepliesFitIntoWhatClientsTake(t *testing.T) {
	r := start(t)
	s := r.session()
	var ids []string
	for range 6 {
		ids = append(ids, r.prompt(s.Id, strings.Repeat("y", 900_000)).Id)
	}
	_, err := r.BatchGetNodes(r.ctx(), &pb.BatchGetNodesRequest{NodeIds: ids})
	refusedWith(t, err, codes.ResourceExhausted, "", "")
	if !strings.Contains(status.Convert(err).Message(), "page_size") {
		t.Errorf("message is %v", err)
	}
	page := must[*pb.BatchGetNodesResponse](t)(r.BatchGetNodes(r.ctx(), &pb.BatchGetNodesRequest{NodeIds: ids, PageSize: 100}))
	if len(page.Nodes) != 4 || page.NextPageToken == "" {
		t.Errorf("a page holds %d nodes", len(page.Nodes))
	}
	found := must[*pb.QueryResponse](t)(r.Query(r.ctx(), &pb.QueryRequest{SessionId: &s.Id}))
	if len(found.Nodes) != 4 || found.TotalCount != 7 || found.NextPageToken == "" {
		t.Errorf("a page of %d nodes of %d", len(found.Nodes), found.TotalCount)
	}
}

// TestABatchWhoseReplyWouldNotFitIsRefused: what is written can be read, and its writer hears of it.
func TestABatchWhoseReplyWouldNotFitIsRefused(t *testing.T) {
	r := start(t)
	s := r.session()
	batch := func(bytes int) error {
		req := &pb.BatchCreateNodesRequest{}
		for range 1000 {
			req.Nodes = append(req.Nodes, &pb.Node{NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{
				SessionId: s.Id, Content: strings.Repeat("z", bytes), Metadata: &pb.PromptMetadata{},
			}}})
		}
		reply, err := r.BatchCreateNodes(r.ctx(), req)
		if err == nil && reply.CreatedCount != 1000 {
			t.Errorf("made %d", reply.CreatedCount)
		}
		return err
	}
	refusedWith(t, batch(4100), codes.ResourceExhausted, "", "")
	if err := batch(3800); err != nil {
		t.Errorf("a batch of 3.8 MB: %v", err)
	}
}

func TestDeadlines(t *testing.T) {
	r := start(t, func(c *Config) { c.RequestTimeout = 50 * time.Millisecond })
	err := calling(r.GetNode, &pb.GetNodeRequest{NodeId: "x"})(metadata.AppendToOutgoingContext(t.Context(), keyMinRevision, "1000000"))
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a call without a deadline ended with %v", err)
	}
	stream := must[grpc.ServerStreamingClient[pb.Event]](t)(r.StreamEvents(
		metadata.AppendToOutgoingContext(t.Context(), keyMinRevision, "1000000"), &pb.StreamEventsRequest{}))
	if _, err := stream.Recv(); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a stream without a deadline ended with %v", err)
	}
	ctx, cancel := context.WithCancel(r.ctx(keyMinRevision, "1000000"))
	r.log.set(func() { r.log.fault = func() error { cancel(); return nil } })
	if err := calling(r.ListSessions, &pb.ListSessionsRequest{})(ctx); status.Code(err) != codes.Canceled {
		t.Errorf("a cancelled call ended with %v", err)
	}
}

// TestALeaderIsWaitedFor: that nobody leads for a moment is not the caller's concern, and the change takes effect once.
func TestALeaderIsWaitedFor(t *testing.T) {
	r := start(t)
	asked := 0
	r.log.set(func() {
		r.log.fault = func() error {
			if asked++; asked < 4 {
				return &LogError{Kind: NoLeader, NotProposed: asked != 2, Err: errors.New("no leader")}
			}
			return nil
		}
	})
	r.session()
	if asked != 4 {
		t.Errorf("the log was asked %d times", asked)
	}
}

func TestInsist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *Config) { c.LeaderTimeout = 30 * time.Millisecond })
		slow := func(ctx context.Context) error {
			<-ctx.Done()
			return &LogError{Kind: Interrupted, NotProposed: true, Err: ctx.Err()}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var log *LogError
		if err := r.server.insist(ctx, slow); !errors.As(err, &log) || log.Kind != Interrupted || !errors.Is(err, context.DeadlineExceeded) || !log.NotProposed {
			t.Errorf("a slow log that is led: %v", err)
		}
		r.log.set(func() { r.log.ready = errors.New("no leader") })
		tries := 0
		err := r.server.insist(t.Context(), func(ctx context.Context) error {
			if tries++; tries == 1 {
				return &LogError{Kind: NoLeader, Err: errors.New("leadership lost")}
			}
			return slow(ctx)
		})
		if !errors.As(err, &log) || log.Kind != NoLeader || log.NotProposed || tries != 2 {
			t.Errorf("a log without a leader, after %d tries: %v", tries, err)
		}
		full := &LogError{Kind: Overloaded, NotProposed: true, RetryAfter: time.Minute, Err: errors.New("full")}
		if err := r.server.insist(t.Context(), func(context.Context) error { return full }); !errors.As(err, &log) || *log != *full {
			t.Errorf("a full log: %v", err)
		}
		if err := r.server.insist(t.Context(), func(context.Context) error { return errDisk }); !errors.Is(err, errDisk) {
			t.Errorf("another error: %v", err)
		}
	})
}
