package conformance

import (
	"fmt"
	"strings"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

func sessionCases() []Case {
	return []Case{
		{Name: "a_new_session_is_active_and_has_equal_times", Section: "3", Run: newSession,
			Calls: []string{createSession, getSession, listSessions}},
		{Name: "session_metadata_survives_byte_for_byte", Section: "3", Run: sessionMetadata,
			Calls: []string{createSession, getSession, getNode}},
		{Name: "updated_at_moves_with_every_write_in_the_session", Section: "3", Run: updatedAtMoves,
			Calls: []string{addPrompt, addResponse, addToolInvocation, instantiate, createNode, batchCreateNodes, updateNode,
				deleteNode, closeSession, getSession}},
		{Name: "sessions_are_listed_newest_first", Section: "3", Run: listOrder, Calls: []string{createSession, listSessions}},
		{Name: "limit_0_lists_100_sessions", Section: "3", Run: listLimits, Calls: []string{createSession, listSessions}},
		{Name: "session_page_tokens_visit_each_session_once", Section: "3", Run: listTokens,
			Calls: []string{createSession, listSessions}},
		{Name: "a_session_page_is_cut_at_4_MiB", Section: "D15", Run: listCut, Calls: []string{createSession, listSessions}},
		{Name: "a_closed_session_takes_no_prompts_but_the_rest", Section: "D17", Run: closedSession,
			Calls: []string{closeSession, addPrompt, createNode, batchCreateNodes, instantiate, addResponse, addToolInvocation,
				updateNode, createEdge, deleteNode, getSession}},
		{Name: "closing_a_session_again_changes_nothing", Section: "3", Run: closeTwice,
			Calls: []string{closeSession, getMetrics}},
	}
}

func newSession(t *testing.T, e *Env) {
	session := e.session(t)
	if !session.GetIsActive() {
		t.Error("a new session is not active")
	}
	wantRecent(t, "created_at", session.GetCreatedAt())
	wantEqual(t, "updated_at", session.GetCreatedAt(), session.GetUpdatedAt())
	wantEqual(t, "session as read", session, e.getSession(t, session.GetId()))
	wantEqual(t, "session by its id in upper case", session, e.getSession(t, strings.ToUpper(session.GetId())))
	listed := must(e.Graph.ListSessions(t.Context(), &graphpb.ListSessionsRequest{Limit: 10_000}))(t)
	for _, s := range listed.GetSessions() {
		if s.GetId() == session.GetId() {
			wantEqual(t, "session as listed", session, s)
			return
		}
	}
	t.Error("the new session is not listed")
}

// oddTexts are what a careless layer would change.
func oddTexts() map[string]string {
	return map[string]string{
		"nul": "a\x00b", "ansi": "\x1b[31mred\x1b[0m", "bom": "\ufefftext", "line separator": "a\u2028b\u2029c",
		"bidi": "abc \u202etxt.exe\u202c \u2066x\u2069", "crlf": "a\r\nb\n\r", "spaces": "  lead and trail \t\n",
		"emoji": "👩‍👩‍👧‍👦 \U0001F3F4", "decomposed": "e\u0301 ≠ é", "json": `{"a":"\u0000\\"}`, "html": "<b>&amp;</b>",
		"replacement": "\ufffd", "noncharacter": "\uffff\U0010ffff", "template": "{{name}} %s ${x}", "control": "\x01\x7f\u0085",
		"Chinese": "记忆图", "quote": `'"` + "`", "zero width": "a\u200bb\u200d",
	}
}

func sessionMetadata(t *testing.T, e *Env) {
	want := oddTexts()
	for key, value := range oddTexts() {
		want["key "+value] = key
	}
	made := must(e.Graph.CreateSession(t.Context(), &graphpb.CreateSessionRequest{Metadata: want}))(t)
	wantEqual(t, "metadata", want, made.GetMetadata())
	wantEqual(t, "metadata as read", want, e.getSession(t, made.GetId()).GetMetadata())
	wantEqual(t, "metadata in the node", want, e.node(t, made.GetId()).GetSession().GetMetadata())
}

func updatedAtMoves(t *testing.T, e *Env) {
	session := e.session(t)
	id := session.GetId()
	template := e.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "hi"}).GetId()
	var prompt, response, doomed string
	steps := []struct {
		name string
		do   func()
	}{
		{"AddPrompt", func() { prompt = e.prompt(t, id, "q").GetId() }},
		{"AddResponse", func() { response = e.response(t, prompt, "a").GetId() }},
		{"AddToolInvocation", func() { e.tool(t, response, "x") }},
		{"InstantiateTemplate", func() {
			must(e.Graph.InstantiateTemplate(t.Context(), &graphpb.InstantiateTemplateRequest{TemplateId: template, SessionId: id}))(t)
		}},
		{"CreateNode", func() { doomed = e.create(t, promptNode("", id, "q")).GetId() }},
		{"BatchCreateNodes", func() { e.batch(t, agentNode("", "a"), responseNode("", prompt, "a")) }},
		{"UpdateNode", func() { e.update(t, promptNode(prompt, "", "q2")) }},
		{"DeleteNode", func() { e.deleteNode(t, doomed) }},
		{"CloseSession", func() { e.closeSession(t, id) }},
	}
	for _, step := range steps {
		before := e.getSession(t, id)
		step.do()
		after := e.getSession(t, id)
		if !after.GetUpdatedAt().AsTime().After(before.GetUpdatedAt().AsTime()) {
			t.Errorf("%s moved updated_at from %v to %v", step.name, before.GetUpdatedAt(), after.GetUpdatedAt())
		}
		wantEqual(t, "created_at after "+step.name, session.GetCreatedAt(), after.GetCreatedAt())
		wantEqual(t, "node of the session after "+step.name, after, e.node(t, id).GetSession())
	}
}

func listOrder(t *testing.T, e *Env) {
	own := e.own(t)
	empty := must(own.Graph.ListSessions(t.Context(), &graphpb.ListSessionsRequest{}))(t)
	wantEqual(t, "list of an empty store", &graphpb.ListSessionsResponse{}, empty)
	var made []string
	for range 7 {
		made = append(made, own.session(t).GetId())
	}
	own.prompt(t, made[0], "a write does not move a session up")
	newest := reversed(made)
	list := func(limit, offset int32) *graphpb.ListSessionsResponse {
		return must(own.Graph.ListSessions(t.Context(), &graphpb.ListSessionsRequest{Limit: limit, Offset: offset}))(t)
	}
	wantEqual(t, "all", newest, sessionIDs(list(0, 0).GetSessions()))
	wantEqual(t, "total", int64(7), list(0, 0).GetTotalCount())
	wantEqual(t, "token of the last page", "", list(0, 0).GetNextPageToken())
	wantEqual(t, "first three", newest[:3], sessionIDs(list(3, 0).GetSessions()))
	wantEqual(t, "next three", newest[3:6], sessionIDs(list(3, 3).GetSessions()))
	wantEqual(t, "total of a page", int64(7), list(3, 3).GetTotalCount())
	wantEqual(t, "last one", newest[6:], sessionIDs(list(3, 6).GetSessions()))
	beyond := list(3, 100)
	wantEqual(t, "beyond the end", 0, len(beyond.GetSessions()))
	wantEqual(t, "total beyond the end", int64(7), beyond.GetTotalCount())
	own.closeSession(t, made[3])
	wantEqual(t, "all with a closed one", newest, sessionIDs(list(0, 0).GetSessions()))
	own.deleteSession(t, made[3])
	wantEqual(t, "total after a deletion", int64(6), list(0, 0).GetTotalCount())
}

func listLimits(t *testing.T, e *Env) {
	own := e.own(t)
	inParallel(t, 105, func(int) error {
		_, err := own.Graph.CreateSession(t.Context(), &graphpb.CreateSessionRequest{})
		return err
	})
	page := must(own.Graph.ListSessions(t.Context(), &graphpb.ListSessionsRequest{}))(t)
	wantEqual(t, "sessions with limit 0", 100, len(page.GetSessions()))
	wantEqual(t, "total", int64(105), page.GetTotalCount())
	page = must(own.Graph.ListSessions(t.Context(), &graphpb.ListSessionsRequest{Limit: 10_000}))(t)
	wantEqual(t, "sessions with limit 10,000", 105, len(page.GetSessions()))
}

func listTokens(t *testing.T, e *Env) {
	own := e.own(t)
	var made []string
	for range 11 {
		made = append(made, own.session(t).GetId())
	}
	var seen []string
	request := &graphpb.ListSessionsRequest{Limit: 4}
	for {
		page := must(own.Graph.ListSessions(t.Context(), request))(t)
		seen = append(seen, sessionIDs(page.GetSessions())...)
		if page.GetNextPageToken() == "" {
			break
		}
		request = &graphpb.ListSessionsRequest{Limit: 4, Offset: 7, PageToken: page.GetNextPageToken()}
		own.session(t) // newer than the page: must not shift the walk
	}
	wantEqual(t, "sessions of the walk", reversed(made), seen)
}

func listCut(t *testing.T, e *Env) {
	own := e.own(t)
	const sessions = 300
	large := map[string]string{"text": strings.Repeat("x", 16_000)}
	inParallel(t, sessions, func(int) error {
		_, err := own.Graph.CreateSession(t.Context(), &graphpb.CreateSessionRequest{Metadata: large})
		return err
	})
	seen := make(map[string]bool)
	request := &graphpb.ListSessionsRequest{Limit: 1000}
	pages := 0
	for {
		page := must(own.Graph.ListSessions(t.Context(), request))(t)
		pages++
		wantEqual(t, "total of each page", int64(sessions), page.GetTotalCount())
		if size := proto.Size(page); size > 4<<20 {
			t.Errorf("page of %d bytes", size)
		}
		for _, session := range page.GetSessions() {
			seen[session.GetId()] = true
		}
		if page.GetNextPageToken() == "" {
			break
		}
		request.PageToken = page.GetNextPageToken()
	}
	wantEqual(t, "sessions of all pages", sessions, len(seen))
	wantEqual(t, "pages", 2, pages)
}

func closedSession(t *testing.T, e *Env) {
	ctx := t.Context()
	made := e.talk(t, 1)
	id := made.session.GetId()
	template := e.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "hi"}).GetId()
	closed := e.closeSession(t, id)
	if closed.GetIsActive() {
		t.Error("a closed session is active")
	}
	refusal(e.Graph.AddPrompt(ctx, &graphpb.AddPromptRequest{SessionId: id, Content: "x"}))(t, codes.FailedPrecondition, id)
	refusal(e.Graph.CreateNode(ctx, &graphpb.CreateNodeRequest{Node: promptNode("", id, "x")}))(t, codes.FailedPrecondition)
	refusal(e.Graph.BatchCreateNodes(ctx, &graphpb.BatchCreateNodesRequest{Nodes: []*graphpb.Node{
		agentNode("", "a"), promptNode("", id, "x"),
	}}))(t, codes.FailedPrecondition)
	refusal(e.Graph.InstantiateTemplate(ctx, &graphpb.InstantiateTemplateRequest{
		TemplateId: template, SessionId: id,
	}))(t, codes.FailedPrecondition)
	wantEqual(t, "usage_count after the refusal", int64(0), e.node(t, template).GetTemplate().GetUsageCount())
	wantEqual(t, "session after refusals", closed, e.getSession(t, id))

	response := e.response(t, made.prompts[0].GetId(), "late answer")
	e.tool(t, response.GetId(), "late")
	e.update(t, promptNode(made.prompts[0].GetId(), "", "corrected"))
	e.edge(t, graphpb.EdgeType_EDGE_TYPE_REFERENCES, response.GetId(), made.prompts[0].GetId())
	e.deleteNode(t, made.tools[0].GetId())
	if e.getSession(t, id).GetIsActive() {
		t.Error("writes have opened the session again")
	}
}

func closeTwice(t *testing.T, e *Env) {
	own := e.own(t)
	id := own.session(t).GetId()
	first := own.closeSession(t, id)
	newest := own.lastEvent(t)
	for range 2 {
		wantEqual(t, "session closed again", first, own.closeSession(t, id))
	}
	wantEqual(t, "newest event", newest, own.lastEvent(t))
	metrics := own.metrics(t)
	wantEqual(t, "sessions", int64(1), metrics.GetTotalSessions())
	wantEqual(t, "active sessions", int64(0), metrics.GetActiveSessions())
}

// inParallel runs n calls, eight at a time.
func inParallel(t *testing.T, n int, do func(i int) error) {
	t.Helper()
	const workers = 8
	failed := make(chan error, workers)
	for worker := range workers {
		go func() {
			for i := worker; i < n; i += workers {
				if err := do(i); err != nil {
					failed <- fmt.Errorf("call %d of %d: %w", i, n, err)
					return
				}
			}
			failed <- nil
		}()
	}
	for range workers {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}
