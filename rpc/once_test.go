package rpc

import (
	"encoding/base64"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func TestAKeyTakesEffectOnce(t *testing.T) {
	r := start(t)
	req := &pb.CreateSessionRequest{Metadata: map[string]string{"a": "1", "b": "2"}}
	first := must[*pb.Session](t)(r.CreateSession(r.ctx(keyIdempotency, "k"), req))
	again := must[*pb.Session](t)(r.CreateSession(r.ctx(keyIdempotency, "k"), req))
	if diff := cmp.Diff(first, again, protocmp.Transform()); diff != "" {
		t.Errorf("the retry made another session:\n%s", diff)
	}
	_, err := r.CreateSession(r.ctx(keyIdempotency, "k"), &pb.CreateSessionRequest{})
	refusedWith(t, err, codes.InvalidArgument, "", keyIdempotency)
	if got := infoOf(err).Reason; got != graph.ReasonKeyReused {
		t.Errorf("reason is %q", got)
	}
	other := must[*pb.Session](t)(r.CreateSession(r.ctx(keyIdempotency, "l"), req))
	if other.Id == first.Id {
		t.Error("another key gives the same session")
	}
	if _, err := r.DeleteSession(r.ctx(), &pb.DeleteSessionRequest{SessionId: first.Id}); err != nil {
		t.Fatal(err)
	}
	_, err = r.CreateSession(r.ctx(keyIdempotency, "k"), req)
	refusedWith(t, err, codes.NotFound, "", "")
	if got := infoOf(err).Reason; got != graph.ReasonResultDeleted {
		t.Errorf("reason is %q", got)
	}
}

// TestAKeyForRetriesIsForgottenSoon: clients that mint a key for each call leave no day of them behind.
func TestAKeyForRetriesIsForgottenSoon(t *testing.T) {
	r := start(t)
	req := &pb.CreateSessionRequest{}
	create := func(life string) string {
		t.Helper()
		return must[*pb.Session](t)(r.CreateSession(r.ctx(keyIdempotency, "k-"+life, keyLife, life), req)).Id
	}
	short, long := create("retry"), create("day")
	if create("retry") != short || create("day") != long {
		t.Error("a retry made another session")
	}
	r.log.set(func() { r.log.stamp += int64(16 * time.Minute) })
	r.session()
	if create("retry") == short {
		t.Error("a key for retries is remembered for more than 15 minutes")
	}
	if create("day") != long {
		t.Error("a key is forgotten after 16 minutes")
	}
	_, err := r.CreateSession(r.ctx(keyIdempotency, "k", keyLife, "week"), req)
	refusedWith(t, err, codes.InvalidArgument, "", keyLife)
}

func TestRefusalsAreRemembered(t *testing.T) {
	r := start(t)
	req := &pb.AddResponseRequest{PromptId: "p", TokenUsage: &pb.TokenUsage{}}
	_, err := r.AddResponse(r.ctx(keyIdempotency, "k"), req)
	refusedWith(t, err, codes.NotFound, "Prompt not found: p", "")
	s := r.session()
	must[*pb.Node](t)(r.CreateNode(r.ctx(), &pb.CreateNodeRequest{Node: &pb.Node{
		Id: "p", NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{SessionId: s.Id, Content: "x"}},
	}}))
	_, err = r.AddResponse(r.ctx(keyIdempotency, "k"), req)
	refusedWith(t, err, codes.NotFound, "Prompt not found: p", "")
}

// TestAKeyedInstantiationDoesNotRenderAgain: the retry is looked up before the template, which has changed.
func TestAKeyedInstantiationDoesNotRenderAgain(t *testing.T) {
	r := start(t)
	s, tpl := r.session(), r.template()
	req := &pb.InstantiateTemplateRequest{TemplateId: tpl.Id, SessionId: s.Id, VariableValues: map[string]string{"name": "A"}}
	first := must[*pb.PromptNode](t)(r.InstantiateTemplate(r.ctx(keyIdempotency, "k"), req))
	if _, err := r.DeleteNode(r.ctx(), &pb.DeleteNodeRequest{NodeId: tpl.Id}); err != nil {
		t.Fatal(err)
	}
	again := must[*pb.PromptNode](t)(r.InstantiateTemplate(r.ctx(keyIdempotency, "k"), req))
	if again.Id != first.Id {
		t.Errorf("rendered again as %v", again)
	}
}

func TestCascadeBelongsToTheRequest(t *testing.T) {
	r := start(t)
	p := r.prompt(r.session().Id, "x")
	if _, err := r.DeleteNode(r.ctx(keyIdempotency, "k"), &pb.DeleteNodeRequest{NodeId: p.Id}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.DeleteNode(r.ctx(keyIdempotency, "k"), &pb.DeleteNodeRequest{NodeId: p.Id}); err != nil {
		t.Errorf("the retry: %v", err)
	}
	_, err := r.DeleteNode(r.ctx(keyIdempotency, "k", keyCascade, "true"), &pb.DeleteNodeRequest{NodeId: p.Id})
	refusedWith(t, err, codes.InvalidArgument, "", keyIdempotency)
}

func TestEveryReplyTellsRevisionAndLineage(t *testing.T) {
	r := start(t)
	var header metadata.MD
	s := must[*pb.Session](t)(r.CreateSession(r.ctx(), &pb.CreateSessionRequest{}, grpc.Header(&header)))
	check := func(what, revision string) {
		t.Helper()
		if diff := cmp.Diff([]string{revision}, header.Get(headerRevision)); diff != "" {
			t.Errorf("%s: revision (-want +got):\n%s", what, diff)
		}
		if diff := cmp.Diff([]string{"abcdef01"}, header.Get(headerLineage)); diff != "" {
			t.Errorf("%s: lineage (-want +got):\n%s", what, diff)
		}
	}
	check("write", "2")
	_, err := r.GetSession(r.ctx(keyConsistency, "local"), &pb.GetSessionRequest{SessionId: s.Id}, grpc.Header(&header))
	check("read", "2")
	if err != nil {
		t.Error(err)
	}
	_, err = r.AddPrompt(r.ctx(), &pb.AddPromptRequest{SessionId: "00000000-0000-4000-8000-000000000000", Content: "x"}, grpc.Header(&header))
	check("refusal", "3")
	refusedWith(t, err, codes.NotFound, "", "")
	_, err = r.GetNode(r.ctx(), &pb.GetNodeRequest{}, grpc.Header(&header))
	check("bad input", "3")
	refusedWith(t, err, codes.InvalidArgument, "", "node_id")
	_, err = r.CreateSession(r.ctx(keyConsistency, "x"), &pb.CreateSessionRequest{}, grpc.Header(&header))
	check("bad metadata", "3")
	refusedWith(t, err, codes.InvalidArgument, "", keyConsistency)
	stream := must[grpc.ServerStreamingClient[pb.Node]](t)(r.StreamQuery(r.ctx(), &pb.QueryRequest{Limit: -1}))
	_, err = stream.Recv()
	refusedWith(t, err, codes.InvalidArgument, "", "limit")
	header = must[metadata.MD](t)(stream.Header())
	check("bad stream", "3")
	stream = must[grpc.ServerStreamingClient[pb.Node]](t)(r.StreamQuery(r.ctx(), &pb.QueryRequest{}))
	header = must[metadata.MD](t)(stream.Header())
	check("stream", "3")
}

func TestReadsAskForWhatTheCallerWants(t *testing.T) {
	r := start(t)
	list := func(pairs ...string) {
		must[*pb.ListSessionsResponse](t)(r.ListSessions(r.ctx(pairs...), &pb.ListSessionsRequest{}))
	}
	list()
	list(keyConsistency, "linearizable", keyMaxStaleness, "3s")
	list(keyConsistency, "bounded")
	list(keyConsistency, "bounded", keyMaxStaleness, "250ms")
	list(keyConsistency, "local")
	want := []time.Duration{0, 0, DefaultStaleness, 250 * time.Millisecond}
	if diff := cmp.Diff(want, r.log.stale); diff != "" {
		t.Errorf("barriers (-want +got):\n%s", diff)
	}
}

func TestMinRevisionWaits(t *testing.T) {
	r := start(t)
	done := make(chan error, 1)
	ctx := r.ctx(keyMinRevision, "3")
	go func() {
		_, err := r.ListSessions(ctx, &pb.ListSessionsRequest{})
		done <- err
	}()
	r.session()
	r.session()
	if err := <-done; err != nil {
		t.Error(err)
	}
	must[*pb.Session](t)(r.CreateSession(r.ctx(keyMinRevision, strconv.Itoa(3)), &pb.CreateSessionRequest{}))
}

func TestTokensNameNothingThatTheServerDidNot(t *testing.T) {
	r := start(t)
	s := r.session()
	for range 3 {
		r.prompt(s.Id, "x")
	}
	page := must[*pb.QueryResponse](t)(r.Query(r.ctx(), &pb.QueryRequest{Limit: 1}))
	token := page.NextPageToken
	raw := must[[]byte](t)(base64.RawURLEncoding.DecodeString(token))
	for i := range raw {
		edited := append([]byte(nil), raw...)
		edited[i] ^= 1
		_, err := r.Query(r.ctx(), &pb.QueryRequest{Limit: 1, PageToken: base64.RawURLEncoding.EncodeToString(edited)})
		if i >= 1 && i < 5 { // the lineage
			refusedWith(t, err, codes.FailedPrecondition, "", "")
			if info := infoOf(err); info.Reason != graph.ReasonLineage || info.Metadata["lineage"] != "abcdef01" {
				t.Errorf("another lineage: %v", info)
			}
			continue
		}
		refusedWith(t, err, codes.InvalidArgument, "", "page_token")
	}
	for _, other := range []*pb.QueryRequest{
		{SessionId: &s.Id}, {Filters: map[string]string{"model": "x"}}, {NodeType: pb.NodeType_NODE_TYPE_PROMPT.Enum()},
		{After: graph.Timestamp(1)}, {Before: graph.Timestamp(1)},
	} {
		other.PageToken = token
		_, err := r.Query(r.ctx(), other)
		refusedWith(t, err, codes.InvalidArgument, "page_token: belongs to another request", "page_token")
	}
	_, err := r.ListSessions(r.ctx(), &pb.ListSessionsRequest{PageToken: token})
	refusedWith(t, err, codes.InvalidArgument, "", "page_token")
	tenant := tokens{system: r.log.machine.Store().System(), tenant: 2, field: tokenField}
	mine := tenant
	mine.tenant = graph.DefaultTenant
	if _, _, err := mine.open(tenant.seal(1, 2)); err == nil {
		t.Error("the token of another tenant is good")
	}
	if _, err := mine.index(mine.seal(9, 0), 5); err == nil {
		t.Error("a token beyond the list is good")
	}
}

func TestABatchPageThatHoldsNothingEnds(t *testing.T) {
	r := start(t)
	page := must[*pb.BatchGetNodesResponse](t)(r.BatchGetNodes(r.ctx(), &pb.BatchGetNodesRequest{NodeIds: []string{"x", "y"}, PageSize: 1}))
	if len(page.Nodes) != 0 || page.NextPageToken != "" {
		t.Errorf("page is %v", page)
	}
	if !proto.Equal(page, &pb.BatchGetNodesResponse{}) {
		t.Errorf("page is %v", page)
	}
}
