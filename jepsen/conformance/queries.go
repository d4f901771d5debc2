package conformance

import (
	"fmt"
	"slices"
	"testing"
	"time"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func queryCases() []Case {
	return []Case{
		{Name: "a_session_query_has_its_node_and_all_that_belongs", Section: "8", Run: sessionQuery,
			Calls: []string{query, streamQuery, getNode}},
		{Name: "newest_first_and_ties_by_log_position", Section: "8", Run: queryOrder, Calls: []string{query, streamQuery, batchCreateNodes}},
		{Name: "time_bounds_are_inclusive", Section: "8", Run: timeBounds, Calls: []string{query, streamQuery, createNode}},
		{Name: "time_bounds_use_created_at_without_a_timestamp", Section: "8", Run: createdAtBounds, Calls: []string{query, createNode}},
		{Name: "node_type_selects", Section: "8", Run: typeQuery, Calls: []string{query, streamQuery}},
		{Name: "without_a_session_all_sessions_are_searched", Section: "8", Run: globalQuery, Calls: []string{query, streamQuery}},
		{Name: "limit_0_is_100_for_query_and_all_for_stream_query", Section: "8", Run: defaultLimits,
			Calls: []string{query, streamQuery, batchCreateNodes}},
		{Name: "stream_query_honours_limit_and_offset", Section: "8", Run: streamLimits, Calls: []string{streamQuery, query}},
		{Name: "two_sessions_stay_apart", Section: "15", Run: sessionsApart, Calls: []string{query, streamQuery}},
		{Name: "queries_see_updates_and_deletions_at_once", Section: "8", Run: queriesFresh,
			Calls: []string{query, updateNode, deleteNode, addPrompt}},
	}
}

func (e *Env) wantQuery(t *testing.T, what string, request *graphpb.QueryRequest, want []string) {
	t.Helper()
	page := e.query(t, request)
	wantEqual(t, what, want, nodeIDs(page.GetNodes()))
	wantEqual(t, what+": total", int64(len(want)), page.GetTotalCount())
	wantEqual(t, what+", streamed", want, nodeIDs(e.streamQuery(t, request)))
}

func sessionQuery(t *testing.T, e *Env) {
	made := e.talk(t, 3)
	id := made.session.GetId()
	agent := e.agent(t, "a").GetId()
	e.edge(t, handledBy, made.prompts[0].GetId(), agent)
	want := reversed(made.nodeIDs())
	e.wantQuery(t, "nodes of the session", &graphpb.QueryRequest{SessionId: &id}, want)
	page := e.query(t, &graphpb.QueryRequest{SessionId: &id})
	for _, node := range page.GetNodes() {
		wantEqual(t, "node", e.node(t, node.GetId()), node)
	}
	wantEqual(t, "the session's node", made.session.GetId(), page.GetNodes()[9].GetSession().GetId())
	wantEqual(t, "lower bound", false, page.GetTotalIsLowerBound())
	wantEqual(t, "token of the last page", "", page.GetNextPageToken())
	wantEqual(t, "streamed nodes", page.GetNodes(), e.streamQuery(t, &graphpb.QueryRequest{SessionId: &id}))
}

func queryOrder(t *testing.T, e *Env) {
	session, start := e.session(t).GetId(), moment()
	at := func(seconds int) *graphpb.Node {
		return promptAt(session, fmt.Sprint("at ", seconds), start.Add(time.Duration(seconds)*time.Second))
	}
	late := e.create(t, at(9)).GetId()
	ties := nodeIDs(e.batch(t, at(5), at(5), at(5)))
	early := e.create(t, at(1)).GetId()
	tie := e.create(t, at(5)).GetId()
	want := []string{session, late, tie, ties[2], ties[1], ties[0], early}
	e.wantQuery(t, "order", &graphpb.QueryRequest{SessionId: &session}, want)
	prompts := &graphpb.QueryRequest{SessionId: &session, NodeType: graphpb.NodeType_NODE_TYPE_PROMPT.Enum()}
	e.wantQuery(t, "order of the prompts", prompts, want[1:])
	prompts.Filters = map[string]string{"content": "at 5"}
	e.wantQuery(t, "order of the filtered", prompts, want[2:6])
	prompts.Filters = map[string]string{"model": "unknown"}
	e.wantQuery(t, "order by an index", prompts, want[1:])
	wantEqual(t, "order in pages", want[1:], nodeIDs(e.pages(t, &graphpb.QueryRequest{
		SessionId: &session, NodeType: graphpb.NodeType_NODE_TYPE_PROMPT.Enum(), Limit: 2,
	})))
}

func timeBounds(t *testing.T, e *Env) {
	session, start := e.session(t).GetId(), moment()
	var ids []string
	for i := range 5 {
		ids = append(ids, e.create(t, promptAt(session, "q", start.Add(time.Duration(i)*time.Minute))).GetId())
	}
	response := responseNode("", ids[0], "a")
	response.GetResponse().Timestamp = timestamppb.New(start.Add(150 * time.Second))
	ids = slices.Insert(ids, 3, e.create(t, response).GetId())
	tool := toolNode("", ids[3], "x")
	tool.GetToolInvocation().Timestamp = timestamppb.New(start.Add(-time.Nanosecond))
	before := e.create(t, tool).GetId()

	between := func(from, to time.Duration) *graphpb.QueryRequest {
		return &graphpb.QueryRequest{
			SessionId: &session, After: timestamppb.New(start.Add(from)), Before: timestamppb.New(start.Add(to)),
		}
	}
	e.wantQuery(t, "both bounds inclusive", between(time.Minute, 3*time.Minute), reversed(ids[1:5]))
	e.wantQuery(t, "one instant", between(time.Minute, time.Minute), ids[1:2])
	e.wantQuery(t, "a nanosecond later", between(time.Minute+1, 2*time.Minute), ids[2:3])
	e.wantQuery(t, "a nanosecond earlier", between(0, time.Minute-1), ids[:1])
	e.wantQuery(t, "nothing between", between(10*time.Second, 20*time.Second), []string{})
	onlyBefore := &graphpb.QueryRequest{SessionId: &session, Before: timestamppb.New(start)}
	e.wantQuery(t, "only before", onlyBefore, []string{ids[0], before})
	onlyAfter := &graphpb.QueryRequest{SessionId: &session, After: timestamppb.New(start.Add(4 * time.Minute))}
	e.wantQuery(t, "only after", onlyAfter, []string{session, ids[5]})
	typed := between(0, 4*time.Minute)
	typed.NodeType = graphpb.NodeType_NODE_TYPE_PROMPT.Enum()
	e.wantQuery(t, "prompts between", typed, []string{ids[5], ids[4], ids[2], ids[1], ids[0]})
	typed.Filters = map[string]string{"model": "nobody"}
	e.wantQuery(t, "filtered between", typed, []string{})
}

func createdAtBounds(t *testing.T, e *Env) {
	name := unique("agent")
	first := e.create(t, agentNode("", name))
	second := e.create(t, agentNode("", name))
	by := func(after, before *timestamppb.Timestamp) *graphpb.QueryRequest {
		return &graphpb.QueryRequest{After: after, Before: before, Filters: map[string]string{"name": name}}
	}
	e.wantQuery(t, "both", by(first.GetCreatedAt(), second.GetCreatedAt()), []string{second.GetId(), first.GetId()})
	e.wantQuery(t, "the second", by(second.GetCreatedAt(), nil), []string{second.GetId()})
	e.wantQuery(t, "the first", by(nil, first.GetCreatedAt()), []string{first.GetId()})
}

func typeQuery(t *testing.T, e *Env) {
	made := e.talk(t, 2)
	id := made.session.GetId()
	for kind, want := range map[graphpb.NodeType][]string{
		graphpb.NodeType_NODE_TYPE_SESSION:         {id},
		graphpb.NodeType_NODE_TYPE_PROMPT:          {made.prompts[1].GetId(), made.prompts[0].GetId()},
		graphpb.NodeType_NODE_TYPE_RESPONSE:        {made.responses[1].GetId(), made.responses[0].GetId()},
		graphpb.NodeType_NODE_TYPE_TOOL_INVOCATION: {made.tools[1].GetId(), made.tools[0].GetId()},
		graphpb.NodeType_NODE_TYPE_AGENT:           {},
		graphpb.NodeType_NODE_TYPE_TEMPLATE:        {},
		graphpb.NodeType_NODE_TYPE_UNSPECIFIED:     reversed(made.nodeIDs()),
	} {
		e.wantQuery(t, kind.String(), &graphpb.QueryRequest{SessionId: &id, NodeType: kind.Enum()}, want)
	}
}

func globalQuery(t *testing.T, e *Env) {
	model := unique("model")
	var want []string
	for range 3 {
		prompt := must(e.Graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{
			SessionId: e.session(t).GetId(), Content: "q", Metadata: &graphpb.PromptMetadata{Model: model},
		}))(t)
		want = append(want, prompt.GetId())
	}
	e.wantQuery(t, "all sessions", &graphpb.QueryRequest{Filters: map[string]string{"model": model}}, reversed(want))

	own := e.own(t)
	made, agent := own.talk(t, 1), own.agent(t, "a").GetId()
	template := own.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "t"}).GetId()
	all := append(made.nodeIDs(), agent, template)
	own.wantQuery(t, "everything", &graphpb.QueryRequest{}, reversed(all))
	own.wantQuery(t, "agents", &graphpb.QueryRequest{NodeType: graphpb.NodeType_NODE_TYPE_AGENT.Enum()}, []string{agent})
	own.wantQuery(t, "templates", &graphpb.QueryRequest{NodeType: graphpb.NodeType_NODE_TYPE_TEMPLATE.Enum()}, []string{template})
	own.wantQuery(t, "sessions", &graphpb.QueryRequest{NodeType: graphpb.NodeType_NODE_TYPE_SESSION.Enum()}, made.nodeIDs()[:1])
}

func defaultLimits(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	var nodes []*graphpb.Node
	for i := range 149 {
		nodes = append(nodes, promptNode("", session, fmt.Sprint("q", i)))
	}
	made := append([]string{session}, nodeIDs(e.batch(t, nodes...))...)
	page := e.query(t, &graphpb.QueryRequest{SessionId: &session})
	wantEqual(t, "first 100", reversed(made)[:100], nodeIDs(page.GetNodes()))
	wantEqual(t, "total", int64(150), page.GetTotalCount())
	wantEqual(t, "streamed", reversed(made), nodeIDs(e.streamQuery(t, &graphpb.QueryRequest{SessionId: &session})))
}

func streamLimits(t *testing.T, e *Env) {
	made := e.talk(t, 4)
	id, all := made.session.GetId(), reversed(made.nodeIDs())
	for _, c := range []struct{ limit, offset, from, to int }{
		{5, 0, 0, 5}, {5, 10, 10, 13}, {0, 4, 4, 13}, {0, 50, 13, 13}, {3, 12, 12, 13}, {10_000, 0, 0, 13},
	} {
		request := &graphpb.QueryRequest{SessionId: &id, Limit: int32(c.limit), Offset: int32(c.offset)}
		want := append([]string{}, all[c.from:c.to]...)
		wantEqual(t, fmt.Sprintf("streamed, limit %d offset %d", c.limit, c.offset), want, nodeIDs(e.streamQuery(t, request)))
		page := e.query(t, request)
		wantEqual(t, fmt.Sprintf("limit %d offset %d", c.limit, c.offset), want, nodeIDs(page.GetNodes()))
		wantEqual(t, "total", int64(13), page.GetTotalCount())
	}
}

func sessionsApart(t *testing.T, e *Env) {
	one, two := e.talk(t, 2), e.talk(t, 3)
	e.wantQuery(t, "first", &graphpb.QueryRequest{SessionId: &one.session.Id}, reversed(one.nodeIDs()))
	e.wantQuery(t, "second", &graphpb.QueryRequest{SessionId: &two.session.Id}, reversed(two.nodeIDs()))
}

func queriesFresh(t *testing.T, e *Env) {
	session := e.session(t).GetId()
	find := func(model string) []string {
		return nodeIDs(e.query(t, &graphpb.QueryRequest{
			SessionId: &session, Filters: map[string]string{"model": model},
		}).GetNodes())
	}
	prompt := must(e.Graph.AddPrompt(t.Context(), &graphpb.AddPromptRequest{
		SessionId: session, Content: "q", Metadata: &graphpb.PromptMetadata{Model: "old"},
	}))(t).GetId()
	wantEqual(t, "old model", []string{prompt}, find("old"))
	node := promptNode(prompt, "", "q")
	node.GetPrompt().Metadata = &graphpb.PromptMetadata{Model: "new"}
	e.update(t, node)
	wantEqual(t, "old model after the update", []string{}, find("old"))
	wantEqual(t, "new model after the update", []string{prompt}, find("new"))
	e.deleteNode(t, prompt)
	wantEqual(t, "new model after the deletion", []string{}, find("new"))
}
