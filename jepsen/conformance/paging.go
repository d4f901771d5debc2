package conformance

import (
	"fmt"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/codes"
)

func pagingCases() []Case {
	return []Case{
		{Name: "pages_by_offset_are_disjoint_and_complete", Section: "8", Run: offsetPages, Calls: []string{query}},
		{Name: "page_tokens_visit_each_node_once_while_others_write", Section: "8", Run: tokenPages, Calls: []string{query, addPrompt}},
		{Name: "a_page_token_survives_the_deletion_of_its_node", Section: "8", Run: tokenOfDeleted, Calls: []string{query, deleteNode}},
		{Name: "total_count_is_exact_and_can_be_skipped", Section: "D14", Run: totals, Calls: []string{query}},
		{Name: "offset_beyond_the_end_is_an_empty_page", Section: "8", Run: beyondTheEnd, Calls: []string{query, streamQuery}},
		{Name: "a_page_token_that_is_no_token_is_refused", Section: "D5", Run: badTokens,
			Calls: []string{query, streamQuery, listSessions, getEdges, batchGetNodes}},
		{Name: "a_page_token_of_another_lineage_says_so", Section: "D5", Run: foreignTokens,
			Calls: []string{query, listSessions, getEdges, batchGetNodes}},
		{Name: "page_tokens_survive_a_restart", Section: "D5", Durable: true, Run: tokensSurvive, Calls: []string{query, listSessions}},
	}
}

// pages walks all pages of a query.
func (e *Env) pages(t *testing.T, request *graphpb.QueryRequest) []*graphpb.Node {
	t.Helper()
	var all []*graphpb.Node
	for {
		page := e.query(t, request)
		if limit := int(request.GetLimit()); limit > 0 && len(page.GetNodes()) > limit {
			t.Errorf("page of %d nodes, want at most %d", len(page.GetNodes()), limit)
		}
		all = append(all, page.GetNodes()...)
		if page.GetNextPageToken() == "" {
			return all
		}
		request = clone(request)
		request.PageToken = page.GetNextPageToken()
	}
}

func offsetPages(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	var made []string
	for i := range 20 {
		made = append(made, e.prompt(t, session, fmt.Sprint("q", i)).GetId())
	}
	kind := graphpb.NodeType_NODE_TYPE_PROMPT.Enum()
	var seen []string
	for offset := int32(0); offset < 20; offset += 10 {
		page := e.query(t, &graphpb.QueryRequest{SessionId: &session, NodeType: kind, Limit: 10, Offset: offset})
		wantEqual(t, "size of a page", 10, len(page.GetNodes()))
		wantEqual(t, "total", int64(20), page.GetTotalCount())
		seen = append(seen, nodeIDs(page.GetNodes())...)
	}
	wantEqual(t, "both pages", reversed(made), seen)
	for _, size := range []int32{1, 7, 19, 20, 21} {
		walked := e.pages(t, &graphpb.QueryRequest{SessionId: &session, NodeType: kind, Limit: size})
		wantEqual(t, fmt.Sprintf("pages of %d by token", size), reversed(made), nodeIDs(walked))
	}
}

func tokenPages(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	var made []string
	for i := range 12 {
		made = append(made, e.prompt(t, session, fmt.Sprint("q", i)).GetId())
	}
	request := &graphpb.QueryRequest{SessionId: &session, NodeType: graphpb.NodeType_NODE_TYPE_PROMPT.Enum(), Limit: 5}
	var seen []string
	for {
		page := e.query(t, request)
		seen = append(seen, nodeIDs(page.GetNodes())...)
		if page.GetNextPageToken() == "" {
			break
		}
		e.prompt(t, session, "newer than the page")
		request = clone(request)
		request.PageToken, request.Offset = page.GetNextPageToken(), 3
	}
	wantEqual(t, "nodes of the walk", reversed(made), seen)
}

func tokenOfDeleted(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	var made []string
	for i := range 6 {
		made = append(made, e.prompt(t, session, fmt.Sprint("q", i)).GetId())
	}
	request := &graphpb.QueryRequest{SessionId: &session, NodeType: graphpb.NodeType_NODE_TYPE_PROMPT.Enum(), Limit: 2}
	page := e.query(t, request)
	for _, node := range page.GetNodes() {
		e.deleteNode(t, node.GetId())
	}
	request.PageToken = page.GetNextPageToken()
	wantEqual(t, "rest of the walk", reversed(made[:4]), nodeIDs(e.pages(t, request)))
}

func totals(t *testing.T, e *Env) {
	made := e.talk(t, 3)
	id := &made.session.Id
	total := func(request *graphpb.QueryRequest) int64 { return e.query(t, request).GetTotalCount() }
	wantEqual(t, "session", int64(10), total(&graphpb.QueryRequest{SessionId: id, Limit: 1}))
	for kind, want := range map[graphpb.NodeType]int64{
		graphpb.NodeType_NODE_TYPE_PROMPT: 3, graphpb.NodeType_NODE_TYPE_SESSION: 1, graphpb.NodeType_NODE_TYPE_AGENT: 0,
	} {
		wantEqual(t, kind.String(), want, total(&graphpb.QueryRequest{SessionId: id, NodeType: kind.Enum(), Limit: 1}))
	}
	wantEqual(t, "with a time", int64(9),
		total(&graphpb.QueryRequest{SessionId: id, After: made.prompts[0].GetTimestamp(), Limit: 1}))
	wantEqual(t, "with a filter", int64(3), total(&graphpb.QueryRequest{
		SessionId: id, Limit: 1, Filters: map[string]string{"content": "answer"},
	}))
	skipped := e.query(t, &graphpb.QueryRequest{SessionId: id, SkipTotal: true})
	wantEqual(t, "skipped total", int64(0), skipped.GetTotalCount())
	wantEqual(t, "nodes with a skipped total", 10, len(skipped.GetNodes()))
	e.deleteNode(t, made.prompts[1].GetId())
	wantEqual(t, "after a deletion", int64(9), total(&graphpb.QueryRequest{SessionId: id}))
	for _, kind := range []graphpb.NodeType{graphpb.NodeType_NODE_TYPE_AGENT, graphpb.NodeType_NODE_TYPE_UNSPECIFIED} {
		page := e.query(t, &graphpb.QueryRequest{NodeType: kind.Enum(), Limit: 1})
		if page.GetTotalCount() < int64(len(page.GetNodes())) {
			t.Errorf("total of %v is %d", kind, page.GetTotalCount())
		}
	}
}

func beyondTheEnd(t *testing.T, e *Env) {
	made := e.talk(t, 1)
	for _, offset := range []int32{4, 5, 1 << 30} {
		request := &graphpb.QueryRequest{SessionId: &made.session.Id, Offset: offset}
		page := e.query(t, request)
		wantEqual(t, "nodes", 0, len(page.GetNodes()))
		wantEqual(t, "total", int64(4), page.GetTotalCount())
		wantEqual(t, "token", "", page.GetNextPageToken())
		wantEqual(t, "streamed nodes", 0, len(e.streamQuery(t, request)))
	}
}

func badTokens(t *testing.T, e *Env) {
	made := e.talk(t, 3)
	id := made.session.GetId()
	token := e.query(t, &graphpb.QueryRequest{SessionId: &id, Limit: 2}).GetNextPageToken()
	flipped := []byte(token)
	flipped[len(flipped)/2] ^= 1
	ctx := t.Context()
	for _, bad := range []string{"garbage", "AAAA", string(flipped), token + "A", token[:len(token)-2], "0", "\x00"} {
		invalid(e.Graph.Query(ctx, &graphpb.QueryRequest{SessionId: &id, Limit: 2, PageToken: bad}))(t, "page_token")
		invalid(refusedStream(e.Graph.StreamQuery(open(t), &graphpb.QueryRequest{SessionId: &id, PageToken: bad})))(t, "page_token")
		invalid(e.Graph.ListSessions(ctx, &graphpb.ListSessionsRequest{PageToken: bad}))(t, "page_token")
		invalid(e.Graph.GetEdges(ctx, &graphpb.GetEdgesRequest{NodeId: id, PageSize: 1, PageToken: bad}))(t, "page_token")
		invalid(e.Graph.BatchGetNodes(ctx, &graphpb.BatchGetNodesRequest{
			NodeIds: made.nodeIDs(), PageSize: 1, PageToken: bad,
		}))(t, "page_token")
	}
}

// tokensOf are one page token of each call that has them, with the call that takes it.
func (e *Env) tokensOf(t *testing.T, made talk) map[string]string {
	t.Helper()
	ctx, id := t.Context(), made.session.GetId()
	e.session(t)
	return map[string]string{
		"Query":        e.query(t, &graphpb.QueryRequest{SessionId: &id, Limit: 2}).GetNextPageToken(),
		"ListSessions": must(e.Graph.ListSessions(ctx, &graphpb.ListSessionsRequest{Limit: 1}))(t).GetNextPageToken(),
		"GetEdges": must(e.Graph.GetEdges(ctx, &graphpb.GetEdgesRequest{
			NodeId: id, Direction: incoming.Enum(), PageSize: 1,
		}))(t).GetNextPageToken(),
		"BatchGetNodes": must(e.Graph.BatchGetNodes(ctx, &graphpb.BatchGetNodesRequest{
			NodeIds: made.nodeIDs(), PageSize: 1,
		}))(t).GetNextPageToken(),
	}
}

func foreignTokens(t *testing.T, e *Env) {
	other := e.own(t)
	tokens := other.tokensOf(t, other.talk(t, 2))
	made := e.talk(t, 2)
	ctx, id := t.Context(), made.session.GetId()
	lineage := e.lineage(t)
	got := refusal(e.Graph.Query(ctx, &graphpb.QueryRequest{SessionId: &id, Limit: 2, PageToken: tokens["Query"]}))(
		t, codes.FailedPrecondition, lineage)
	wantReason(t, got, "LINEAGE_CHANGED")
	got = refusal(e.Graph.ListSessions(ctx, &graphpb.ListSessionsRequest{Limit: 1, PageToken: tokens["ListSessions"]}))(
		t, codes.FailedPrecondition, lineage)
	wantReason(t, got, "LINEAGE_CHANGED")
	got = refusal(e.Graph.GetEdges(ctx, &graphpb.GetEdgesRequest{
		NodeId: id, Direction: incoming.Enum(), PageSize: 1, PageToken: tokens["GetEdges"],
	}))(t, codes.FailedPrecondition, lineage)
	wantReason(t, got, "LINEAGE_CHANGED")
	got = refusal(e.Graph.BatchGetNodes(ctx, &graphpb.BatchGetNodesRequest{
		NodeIds: made.nodeIDs(), PageSize: 1, PageToken: tokens["BatchGetNodes"],
	}))(t, codes.FailedPrecondition, lineage)
	wantReason(t, got, "LINEAGE_CHANGED")
}

func tokensSurvive(t *testing.T, e *Env) {
	own := e.own(t)
	made := own.talk(t, 3)
	id := made.session.GetId()
	own.session(t)
	first := own.query(t, &graphpb.QueryRequest{SessionId: &id, Limit: 4})
	sessions := must(own.Graph.ListSessions(t.Context(), &graphpb.ListSessionsRequest{Limit: 1}))(t)
	own.crash(t)
	rest := own.pages(t, &graphpb.QueryRequest{SessionId: &id, Limit: 4, PageToken: first.GetNextPageToken()})
	wantEqual(t, "both parts", reversed(made.nodeIDs()), append(nodeIDs(first.GetNodes()), nodeIDs(rest)...))
	more := must(own.Graph.ListSessions(t.Context(), &graphpb.ListSessionsRequest{PageToken: sessions.GetNextPageToken()}))(t)
	wantEqual(t, "rest of the sessions", []string{id}, sessionIDs(more.GetSessions()))
}
