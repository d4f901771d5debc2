package rpc

import (
	"math"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	dto "github.com/prometheus/client_model/go"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

func graphClient(conn *grpc.ClientConn) graphgrpc.MemoryGraphServiceClient {
	return graphgrpc.NewMemoryGraphServiceClient(conn)
}

// metric is the value of a series: a counter, a gauge, or how often a histogram has observed. NaN when there is none.
func (r *rig) metric(name string, labels ...string) float64 {
	r.t.Helper()
	families, err := r.server.Metrics().Registry().Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			if !labelled(m, labels) {
				continue
			}
			switch {
			case m.Counter != nil:
				return m.Counter.GetValue()
			case m.Gauge != nil:
				return m.Gauge.GetValue()
			default:
				return float64(m.Histogram.GetSampleCount())
			}
		}
		return 0
	}
	return math.NaN()
}

func labelled(m *dto.Metric, pairs []string) bool {
	for i := 0; i < len(pairs); i += 2 {
		found := false
		for _, l := range m.Label {
			found = found || (l.GetName() == pairs[i] && l.GetValue() == pairs[i+1])
		}
		if !found {
			return false
		}
	}
	return true
}

// sum is what a histogram has observed.
func (r *rig) sum(name string) float64 {
	r.t.Helper()
	families, err := r.server.Metrics().Registry().Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.Metric[0].Histogram.GetSampleSum()
		}
	}
	return math.NaN()
}

// changes runs a load and checks by how much metrics change.
func (r *rig) changes(load func(), want map[string]float64) {
	r.t.Helper()
	before := map[string]float64{}
	for name := range want {
		before[name] = r.metric(name)
	}
	load()
	for name, by := range want {
		if got := r.metric(name) - before[name]; got != by {
			r.t.Errorf("%s changed by %v, want %v", name, got, by)
		}
	}
}

func TestCountersChangeExactly(t *testing.T) {
	r := start(t)
	s := r.session()
	r.changes(func() { r.session() }, map[string]float64{
		"memory_graph_nodes_created_total": 1, "memory_graph_edges_created_total": 0, "memory_graph_active_sessions": 1,
		"memory_graph_total_nodes": 1, "memory_graph_write_latency_seconds": 1, "memory_graph_prompts_submitted_total": 0,
	})
	var p *pb.PromptNode
	r.changes(func() { p = r.prompt(s.Id, "x") }, map[string]float64{
		"memory_graph_nodes_created_total": 1, "memory_graph_edges_created_total": 1, "memory_graph_prompts_submitted_total": 1,
		"memory_graph_total_edges": 1,
	})
	r.changes(func() { r.prompt(s.Id, "y") }, map[string]float64{"memory_graph_edges_created_total": 2, "memory_graph_total_edges": 2})
	var a *pb.ResponseNode
	r.changes(func() { a = r.response(p.Id, "z") }, map[string]float64{
		"memory_graph_nodes_created_total": 1, "memory_graph_edges_created_total": 2, "memory_graph_responses_generated_total": 1,
	})
	agent := r.agent("coder")
	r.changes(func() {
		must[*pb.Edge](t)(r.CreateEdge(r.ctx(), &pb.CreateEdgeRequest{Edge: &pb.Edge{
			FromNodeId: a.Id, ToNodeId: agent.Id, Type: pb.EdgeType_EDGE_TYPE_TRANSFERS_TO,
		}}))
		must[*pb.Edge](t)(r.CreateEdge(r.ctx(), &pb.CreateEdgeRequest{Edge: &pb.Edge{
			FromNodeId: a.Id, ToNodeId: agent.Id, Type: pb.EdgeType_EDGE_TYPE_HANDLED_BY,
		}}))
	}, map[string]float64{"memory_graph_agent_handoffs_total": 1, "memory_graph_edges_created_total": 2, "memory_graph_nodes_created_total": 0})
	tpl := r.template()
	r.changes(func() {
		must[*pb.PromptNode](t)(r.InstantiateTemplate(r.ctx(), &pb.InstantiateTemplateRequest{
			TemplateId: tpl.Id, SessionId: s.Id, VariableValues: map[string]string{"name": "A"},
		}))
	}, map[string]float64{
		"memory_graph_template_instantiations_total": 1, "memory_graph_prompts_submitted_total": 1,
		"memory_graph_nodes_created_total": 1, "memory_graph_edges_created_total": 3,
	})
}

func TestToolMetrics(t *testing.T) {
	r := start(t)
	a := r.response(r.prompt(r.session().Id, "x").Id, "y")
	var tool *pb.ToolInvocationNode
	add := func(status string, ms int64) {
		tool = must[*pb.ToolInvocationNode](t)(r.AddToolInvocation(r.ctx(), &pb.AddToolInvocationRequest{
			ToolInvocation: &pb.ToolInvocationNode{ResponseId: a.Id, ToolName: "t", Status: status, DurationMs: ms},
		}))
	}
	r.changes(func() { add("pending", 0) }, map[string]float64{
		"memory_graph_tools_invoked_total": 1, "memory_graph_tool_duration_seconds": 0, "memory_graph_edges_created_total": 2,
	})
	r.changes(func() {
		tool.Status, tool.DurationMs = "success", 450
		must[*pb.Node](t)(r.UpdateNode(r.ctx(), &pb.UpdateNodeRequest{Node: &pb.Node{
			Id: tool.Id, NodeData: &pb.Node_ToolInvocation{ToolInvocation: tool},
		}}))
	}, map[string]float64{"memory_graph_tools_invoked_total": 0, "memory_graph_tool_duration_seconds": 1, "memory_graph_nodes_created_total": 0})
	add("failed", 1550)
	if got := r.sum("memory_graph_tool_duration_seconds"); got != 2 {
		t.Errorf("tools took %v s", got)
	}
}

func TestReadMetrics(t *testing.T) {
	r := start(t)
	s := r.session()
	r.prompt(s.Id, "x")
	r.changes(func() {
		must[*pb.QueryResponse](t)(r.Query(r.ctx(), &pb.QueryRequest{}))
		r.streamQuery(&pb.QueryRequest{})
		_, err := r.Query(r.ctx(), &pb.QueryRequest{PageToken: "x"})
		if err == nil {
			t.Error("a bad token is good")
		}
	}, map[string]float64{
		"memory_graph_queries_executed_total": 2, "memory_graph_query_duration_seconds": 2, "memory_graph_read_latency_seconds": 2,
		"memory_graph_stream_nodes_total": 0,
	})
	if got := r.metric("memory_graph_stream_nodes_total", "method", "StreamQuery"); got != 2 {
		t.Errorf("%v nodes were streamed", got)
	}
	r.export()
	if got := r.metric("memory_graph_stream_nodes_total", "method", "Export"); got != 2 {
		t.Errorf("%v nodes were exported", got)
	}
	r.changes(func() {
		must[*pb.BatchGetNodesResponse](t)(r.BatchGetNodes(r.ctx(), &pb.BatchGetNodesRequest{NodeIds: []string{s.Id, "x", "y"}}))
		must[*pb.GetEdgesResponse](t)(r.GetEdges(r.ctx(), &pb.GetEdgesRequest{NodeId: s.Id}))
		must[*pb.Node](t)(r.GetNode(r.ctx(), &pb.GetNodeRequest{NodeId: s.Id}))
		must[*pb.Session](t)(r.GetSession(r.ctx(), &pb.GetSessionRequest{SessionId: s.Id}))
		must[*pb.ListSessionsResponse](t)(r.ListSessions(r.ctx(), &pb.ListSessionsRequest{}))
	}, map[string]float64{"memory_graph_read_latency_seconds": 5, "memory_graph_batch_size": 1})
	if got := r.sum("memory_graph_batch_size"); got != 3 {
		t.Errorf("batches have %v entries", got)
	}
}

func TestCallMetrics(t *testing.T) {
	r := start(t)
	for _, method := range methods() {
		if got := r.metric("memory_graph_grpc_requests_total", "method", method, "status", "OK"); got != 0 {
			t.Errorf("%s starts with %v", method, got)
		}
	}
	if n := len(methods()); n != 40 {
		t.Errorf("%d methods: 24, CloseSession, Import and Export, 11 of ClusterService and 2 of BackupService are 40", n)
	}
	_, _ = r.GetNode(r.ctx(), &pb.GetNodeRequest{NodeId: "x"})
	must[*pb.HealthResponse](t)(r.Health(r.ctx(), &emptypb.Empty{}))
	if got := r.metric("memory_graph_grpc_requests_total", "method", "GetNode", "status", "NotFound"); got != 1 {
		t.Errorf("not found: %v", got)
	}
	if got := r.metric("memory_graph_grpc_requests_total", "method", "Health", "status", "OK"); got != 1 {
		t.Errorf("health: %v", got)
	}
	if got := r.metric("memory_graph_grpc_request_duration_seconds", "method", "GetNode"); got != 1 {
		t.Errorf("durations: %v", got)
	}
	if got := r.metric("memory_graph_errors_total"); got != 1 {
		t.Errorf("errors: %v", got)
	}
	if got := r.metric("memory_graph_grpc_active_connections"); got != 1 {
		t.Errorf("connections: %v", got)
	}
	r.events(&pb.StreamEventsRequest{})
	if got := r.metric("memory_graph_grpc_active_streams"); got != 1 {
		t.Errorf("streams: %v", got)
	}
}

// TestWhatIsRepeatedCountsOnce: a retry that had taken effect, and a change that was refused, count for nothing.
func TestWhatIsRepeatedCountsOnce(t *testing.T) {
	r := start(t)
	s := r.session()
	req := &pb.AddPromptRequest{SessionId: s.Id, Content: "x"}
	r.changes(func() {
		for range 3 {
			must[*pb.PromptNode](t)(r.AddPrompt(r.ctx(keyIdempotency, "k"), proto.CloneOf(req)))
		}
		_, _ = r.AddResponse(r.ctx(), &pb.AddResponseRequest{PromptId: "nobody", TokenUsage: &pb.TokenUsage{}})
	}, map[string]float64{
		"memory_graph_nodes_created_total": 1, "memory_graph_prompts_submitted_total": 1, "memory_graph_edges_created_total": 1,
		"memory_graph_write_latency_seconds": 1, "memory_graph_responses_generated_total": 0,
	})
	r.changes(func() {
		must[*pb.ImportResponse](t)(r.tell(agentChunk("a", "b")))
		must[*pb.ImportResponse](t)(r.tell(agentChunk("a", "b", "c")))
	}, map[string]float64{"memory_graph_nodes_created_total": 3})
}

func TestBufferAndCache(t *testing.T) {
	r := start(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	r.log.set(func() {
		r.log.fault = func() error {
			close(entered)
			<-leave
			return nil
		}
	})
	done := make(chan error, 1)
	ctx := r.ctx()
	go func() { done <- calling(r.CreateSession, &pb.CreateSessionRequest{})(ctx) }()
	<-entered
	if got := r.metric("memory_graph_buffer_size"); got != 1 {
		t.Errorf("%v changes wait, want 1", got)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := r.metric("memory_graph_buffer_size"); got != 0 {
		t.Errorf("%v changes wait, want none", got)
	}
	for _, name := range []string{"cache_hits_total", "cache_requests_total", "cache_size_bytes"} {
		if got := r.metric("memory_graph_" + name); got != 0 {
			t.Errorf("%s of a store in memory is %v", name, got)
		}
	}
}
