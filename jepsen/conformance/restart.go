package conformance

import (
	"fmt"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/protobuf/proto"
)

func restartCases() []Case {
	return []Case{
		{Name: "a_restart_keeps_everything", Section: "15", Durable: true, Run: restartKeepsAll,
			Calls: []string{getNode, getSession, getEdges, query, streamQuery, listSessions, batchGetNodes, getMetrics, streamEvents,
				exportRecords}},
		{Name: "writing_goes_on_after_a_crash_where_it_was", Section: "15", Durable: true, Run: writingGoesOn,
			Calls: []string{addPrompt, addToolInvocation, instantiate, getEdges, streamEvents}},
		{Name: "a_server_in_memory_forgets", Section: "15", Run: memoryForgets, Calls: []string{getSession}},
		{Name: "the_revision_never_goes_back", Section: "D5", Durable: true, Run: revisionKeeps, Calls: []string{addPrompt, getSession}},
	}
}

// compacting makes a server take a snapshot every few entries and keep as little log as it may.
var compacting = cluster.Compacting()

// compact writes until a compacting server has taken snapshots and cut everything from before out of its log, and crashes it.
func (s *Server) compact(t *testing.T) {
	t.Helper()
	session := s.session(t, "purpose", "compaction").GetId()
	prompt := s.prompt(t, session, "filler").GetId()
	from := s.readRevision(t, session)
	for i := 0; s.readRevision(t, session) < from+cluster.TrailingLogs+200; i++ {
		for range 50 {
			s.update(t, promptNode(prompt, "", fmt.Sprint("filler ", i)))
		}
	}
	eventually(t, "the log was cut", func() bool { return s.scrape(t).value("raft_compactLogs") > 2 })
	s.deleteSession(t, session)
	s.crash(t)
}

// memory is everything that can be read, by the call that reads it.
type memory map[string][]proto.Message

// remember reads everything in every way that there is.
func (s *Server) remember(t *testing.T) memory {
	t.Helper()
	ctx := t.Context()
	m := make(memory)
	add := func(call string, reply proto.Message) { m[call] = append(m[call], reply) }
	all := s.streamQuery(t, &graphpb.QueryRequest{})
	for _, node := range all {
		add("StreamQuery", node)
		add("GetNode "+node.GetId(), s.node(t, node.GetId()))
		for _, direction := range []graphpb.EdgeDirection{outgoing, incoming, both} {
			add("GetEdges "+node.GetId(), must(s.Graph.GetEdges(ctx, &graphpb.GetEdgesRequest{
				NodeId: node.GetId(), Direction: direction.Enum(),
			}))(t))
		}
		if node.GetSession() == nil {
			continue
		}
		id := node.GetId()
		add("GetSession "+id, s.getSession(t, id))
		add("Query "+id, s.query(t, &graphpb.QueryRequest{SessionId: &id}))
	}
	for kind, name := range graphpb.NodeType_name {
		add("Query "+name, s.query(t, &graphpb.QueryRequest{NodeType: graphpb.NodeType(kind).Enum()}))
	}
	for _, filter := range [][2]string{{"model", "unknown"}, {"tool_name", "tool-1"}, {"status", "pending"}, {"content", "question"}} {
		add("Query by filter", s.query(t, &graphpb.QueryRequest{Filters: map[string]string{filter[0]: filter[1]}}))
	}
	add("BatchGetNodes", must(s.Graph.BatchGetNodes(ctx, &graphpb.BatchGetNodesRequest{NodeIds: nodeIDs(all)}))(t))
	add("ListSessions", must(s.Graph.ListSessions(ctx, &graphpb.ListSessionsRequest{}))(t))
	metrics := s.metrics(t)
	metrics.AvgReadLatencyMs, metrics.AvgWriteLatencyMs, metrics.RequestsPerSecond = 0, 0, 0
	add("GetMetrics", metrics)
	for _, event := range s.history(t) {
		add("StreamEvents", event)
	}
	export := s.exportAll(t)
	for _, node := range export.nodes {
		add("Export", node)
	}
	for _, edge := range export.edges {
		add("Export", edge)
	}
	return m
}

func (m memory) wantSame(t *testing.T, when string, got memory) {
	t.Helper()
	wantEqual(t, when+": number of answers", len(m), len(got))
	for call, replies := range m {
		wantEqual(t, when+": "+call, replies, got[call])
	}
}

func restartKeepsAll(t *testing.T, e *Env) {
	own := e.own(t, compacting...)
	own.fill(t)
	doomed := own.talk(t, 2).session.GetId()
	own.deleteSession(t, doomed)
	before := own.remember(t)
	before.wantSame(t, "at once", own.remember(t))
	own.restart(t)
	before.wantSame(t, "after a restart", own.remember(t))
	own.crash(t)
	before.wantSame(t, "after a crash", own.remember(t))
	own.compact(t)
	compacted := own.remember(t)
	// The filler of the compaction has come and gone: only its events are new.
	compacted["StreamEvents"] = compacted["StreamEvents"][:len(before["StreamEvents"])]
	before.wantSame(t, "after compaction and a crash", compacted)
	compacted = own.remember(t)
	own.restart(t)
	compacted.wantSame(t, "after compaction and a restart", own.remember(t))
	own.crash(t)
	compacted.wantSame(t, "after compaction and another crash", own.remember(t))
}

func writingGoesOn(t *testing.T, e *Env) {
	own := e.own(t, compacting...)
	made := own.talk(t, 2)
	session := made.session.GetId()
	template := own.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "t"}).GetId()
	last := made.prompts[1].GetId()
	for round, again := range []func(*testing.T){own.restart, own.crash, own.compact, own.restart} {
		newest := own.lastEvent(t)
		again(t)
		if now := own.lastEvent(t); now < newest {
			t.Errorf("newest event went from %s to %s", newest, now)
		}
		next := own.prompt(t, session, fmt.Sprint("after ", round)).GetId()
		wantEqual(t, "prompt before", last, own.onlyEdge(t, next, outgoing, follows).GetToNodeId())
		tool := own.tool(t, made.responses[0].GetId(), "again").GetId()
		wantEqual(t, "invocation_order", fmt.Sprint(round+1),
			own.onlyEdge(t, tool, incoming, invokes).GetProperties()["invocation_order"])
		last = must(own.Graph.InstantiateTemplate(t.Context(), &graphpb.InstantiateTemplateRequest{
			TemplateId: template, SessionId: session,
		}))(t).GetId()
		wantEqual(t, "usage_count", int64(round+1), own.node(t, template).GetTemplate().GetUsageCount())
	}
}

func memoryForgets(t *testing.T, e *Env) {
	own := e.own(t)
	if !own.target.InMemory {
		own.getSession(t, own.session(t).GetId())
		return
	}
	lineage, session := own.lineage(t), own.session(t).GetId()
	own.getSession(t, session)
	own.restart(t)
	wantEqual(t, "nodes after a restart", int64(0), own.metrics(t).GetTotalNodes())
	if own.lineage(t) == lineage {
		t.Error("a new history has the old lineage")
	}
}

func revisionKeeps(t *testing.T, e *Env) {
	own := e.own(t, compacting...)
	session := own.session(t).GetId()
	lineage := own.lineage(t)
	var last uint64
	for _, again := range []func(*testing.T){own.restart, own.crash, own.compact, own.crash} {
		own.prompt(t, session, "q")
		now := own.readRevision(t, session)
		if now <= last {
			t.Errorf("revision is %d after %d", now, last)
		}
		again(t)
		if last = own.readRevision(t, session); last < now {
			t.Errorf("revision is %d after a restart, before it %d", last, now)
		}
		wantEqual(t, "lineage", lineage, own.lineage(t))
	}
}
