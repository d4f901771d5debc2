package conformance

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/grpc/codes"
)

func meterCases() []Case {
	return []Case{
		{Name: "all_metric_names_exist_from_the_first_scrape", Section: "12", OneNode: true, Run: meterNames},
		{Name: "all_calls_have_a_series_from_the_first_scrape", Section: "12", OneNode: true, Run: meterLabels},
		{Name: "load_changes_the_metrics_by_the_right_amount", Section: "12", OneNode: true, Run: meterLoad,
			Calls: []string{createSession, addPrompt, addResponse, addToolInvocation, instantiate, createEdge, batchCreateNodes,
				query, getNode, streamQuery}},
		{Name: "gauges_follow_the_state", Section: "12", OneNode: true, Run: meterGauges,
			Calls: []string{createSession, addPrompt, closeSession, deleteSession, streamEvents, getMetrics}},
	}
}

// meters are the metric families of one scrape.
type meters map[string]*dto.MetricFamily

func (e *Env) scrape(t *testing.T) meters {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return must(parser.TextToMetricFamilies(strings.NewReader(e.get(t, "/metrics").text)))(t)
}

// series is the one series of a family with these labels, nil when there is none.
func (m meters) series(name string, labels ...string) *dto.Metric {
	for _, metric := range m["memory_graph_"+name].GetMetric() {
		got := make(map[string]string)
		for _, label := range metric.GetLabel() {
			got[label.GetName()] = label.GetValue()
		}
		same := true
		for i := 0; i < len(labels); i += 2 {
			same = same && got[labels[i]] == labels[i+1]
		}
		if same {
			return metric
		}
	}
	return nil
}

// value is that of a counter or gauge, or the number of observations of a histogram or summary; NaN when there is no such series.
func (m meters) value(name string, labels ...string) float64 {
	metric := m.series(name, labels...)
	switch {
	case metric.GetCounter() != nil:
		return metric.GetCounter().GetValue()
	case metric.GetGauge() != nil:
		return metric.GetGauge().GetValue()
	case metric.GetHistogram() != nil:
		return float64(metric.GetHistogram().GetSampleCount())
	case metric.GetSummary() != nil:
		return float64(metric.GetSummary().GetSampleCount())
	}
	return math.NaN()
}

const (
	counters = "nodes_created_total edges_created_total prompts_submitted_total responses_generated_total " +
		"tools_invoked_total agent_handoffs_total template_instantiations_total queries_executed_total " +
		"grpc_requests_total errors_total stream_nodes_total"
	gauges = "active_sessions total_nodes total_edges grpc_active_streams grpc_active_connections"
	// These come with their parts: the vault, the cache, plugins and the registry. Once there, they are well formed.
	later = "vault_archives_total vault_retrievals_total vault_errors_total cache_hits_total cache_requests_total " +
		"cache_size_bytes buffer_size plugin_executions_total plugin_errors_total registry_calls_total plugin_duration_seconds"
)

func histograms() map[string][]float64 {
	return map[string][]float64{
		"write_latency_seconds":         {.001, .005, .01, .025, .05, .1, .25, .5, 1},
		"grpc_request_duration_seconds": {.001, .005, .01, .025, .05, .1, .25, .5, 1},
		"read_latency_seconds":          {.0001, .0005, .001, .005, .01, .025, .05, .1},
		"query_duration_seconds":        {.01, .05, .1, .25, .5, 1, 2.5, 5, 10},
		"tool_duration_seconds":         {.1, .5, 1, 2, 5, 10, 30, 60},
		"batch_size":                    {1, 5, 10, 25, 50, 100, 250, 500, 1000},
	}
}

func meterNames(t *testing.T, e *Env) {
	found := e.own(t).scrape(t)
	types := make(map[string]dto.MetricType)
	for name := range strings.FieldsSeq(counters) {
		types[name] = dto.MetricType_COUNTER
	}
	for name := range strings.FieldsSeq(gauges) {
		types[name] = dto.MetricType_GAUGE
	}
	for name := range histograms() {
		types[name] = dto.MetricType_HISTOGRAM
	}
	for name, want := range types {
		family := found["memory_graph_"+name]
		if family == nil {
			t.Errorf("metric %s is not there", name)
			continue
		}
		wantEqual(t, "type of "+name, want, family.GetType())
		if family.GetHelp() == "" {
			t.Errorf("metric %s has no help", name)
		}
	}
	for name, bounds := range histograms() {
		var got []float64
		for _, bucket := range found.series(name).GetHistogram().GetBucket() {
			if !math.IsInf(bucket.GetUpperBound(), 1) {
				got = append(got, bucket.GetUpperBound())
			}
		}
		wantEqual(t, "buckets of "+name, bounds, got)
	}
	for name := range strings.FieldsSeq(later) {
		if family := found["memory_graph_"+name]; family != nil && family.GetHelp() == "" {
			t.Errorf("metric %s has no help", name)
		}
	}
}

func meterLabels(t *testing.T, e *Env) {
	found := e.own(t).scrape(t)
	service := graphgrpc.MemoryGraphService_ServiceDesc
	var methods []string
	for _, method := range service.Methods {
		methods = append(methods, method.MethodName)
	}
	for _, stream := range service.Streams {
		methods = append(methods, stream.StreamName)
	}
	for _, method := range methods {
		wantEqual(t, "OK answers of "+method, 0.0, found.value("grpc_requests_total", "method", method, "status", "OK"))
		wantEqual(t, "duration of "+method, 0.0, found.value("grpc_request_duration_seconds", "method", method))
	}
	for _, name := range []string{"nodes_created_total", "total_nodes", "active_sessions", "write_latency_seconds"} {
		wantEqual(t, name+" at first", 0.0, found.value(name))
	}
}

func meterLoad(t *testing.T, e *Env) {
	own := e.own(t)
	session := own.session(t).GetId()
	template := own.template(t, &graphpb.TemplateNode{Name: "n", TemplateText: "t"}).GetId()
	agent := own.agent(t, "a").GetId()
	before := own.scrape(t)

	var prompts, responses []string
	for i := range 3 {
		prompts = append(prompts, own.prompt(t, session, fmt.Sprint("q", i)).GetId())
	}
	for _, prompt := range prompts[:2] {
		responses = append(responses, own.response(t, prompt, "a").GetId())
	}
	own.tool(t, responses[0], "x")
	own.edge(t, transfersTo, responses[0], agent)
	own.edge(t, handledBy, responses[0], agent)
	afterWrites := own.scrape(t)
	for name, want := range map[string]float64{
		"nodes_created_total": 6, "edges_created_total": 3 + 2 + 2*2 + 2 + 2, "prompts_submitted_total": 3,
		"responses_generated_total": 2, "tools_invoked_total": 1, "agent_handoffs_total": 1,
		"template_instantiations_total": 0, "queries_executed_total": 0, "errors_total": 0, "write_latency_seconds": 8,
		"total_nodes": 6, "total_edges": 13, "active_sessions": 0,
	} {
		wantEqual(t, name+" after writes", want, afterWrites.value(name)-before.value(name))
	}
	wantEqual(t, "AddPrompt OK", 3.0, afterWrites.change(before, "grpc_requests_total", "method", "AddPrompt", "status", "OK"))
	wantEqual(t, "AddPrompt durations", 3.0, afterWrites.change(before, "grpc_request_duration_seconds", "method", "AddPrompt"))

	must(own.Graph.InstantiateTemplate(t.Context(), &graphpb.InstantiateTemplateRequest{TemplateId: template, SessionId: session}))(t)
	var nodes []*graphpb.Node
	for range 7 {
		nodes = append(nodes, agentNode("", "b"))
	}
	own.batch(t, nodes...)
	for range 4 {
		own.query(t, &graphpb.QueryRequest{SessionId: &session})
	}
	streamed := len(own.streamQuery(t, &graphpb.QueryRequest{SessionId: &session}))
	for range 5 {
		own.node(t, agent)
	}
	refusal(own.Graph.GetNode(t.Context(), &graphpb.GetNodeRequest{NodeId: "nobody"}))(t, codes.NotFound)
	after := own.scrape(t)
	wantEqual(t, "template_instantiations_total", 1.0, after.change(afterWrites, "template_instantiations_total"))
	wantEqual(t, "nodes_created_total", 8.0, after.change(afterWrites, "nodes_created_total"))
	wantEqual(t, "GetNode OK", 5.0, after.change(afterWrites, "grpc_requests_total", "method", "GetNode", "status", "OK"))
	wantEqual(t, "GetNode NotFound", 1.0, after.value("grpc_requests_total", "method", "GetNode", "status", "NotFound"))
	wantEqual(t, "errors_total", 1.0, after.change(afterWrites, "errors_total"))
	wantEqual(t, "queries_executed_total", 5.0, after.change(afterWrites, "queries_executed_total"))
	wantEqual(t, "query_duration_seconds", 5.0, after.change(afterWrites, "query_duration_seconds"))
	wantEqual(t, "stream_nodes_total", float64(streamed), after.change(afterWrites, "stream_nodes_total", "method", "StreamQuery"))
	if reads := after.change(afterWrites, "read_latency_seconds"); reads < 5 {
		t.Errorf("read_latency_seconds rose by %v, want at least the 5 reads", reads)
	}
	batches := after.series("batch_size").GetHistogram()
	if batches.GetSampleCount() == 0 || batches.GetSampleSum() < 7 {
		t.Errorf("batch_size saw %d batches of %v nodes", batches.GetSampleCount(), batches.GetSampleSum())
	}
}

// change is how much a series rose since another scrape; a series that was not there counts from 0.
func (m meters) change(before meters, name string, labels ...string) float64 {
	was := before.value(name, labels...)
	if math.IsNaN(was) {
		was = 0
	}
	return m.value(name, labels...) - was
}

func meterGauges(t *testing.T, e *Env) {
	own := e.own(t)
	one, two := own.talk(t, 1), own.session(t).GetId()
	compare := func(what string) {
		t.Helper()
		state, found := own.metrics(t), own.scrape(t)
		wantEqual(t, what+": nodes, edges, active sessions",
			[]float64{float64(state.GetTotalNodes()), float64(state.GetTotalEdges()), float64(state.GetActiveSessions())},
			[]float64{found.value("total_nodes"), found.value("total_edges"), found.value("active_sessions")})
	}
	compare("filled")
	wantEqual(t, "active sessions", 2.0, own.scrape(t).value("active_sessions"))
	own.closeSession(t, two)
	compare("one closed")
	own.deleteSession(t, one.session.GetId())
	compare("one deleted")
	if n := own.scrape(t).value("grpc_active_connections"); n < 1 {
		t.Errorf("grpc_active_connections is %v", n)
	}
	eventually(t, "no stream is active", func() bool { return own.scrape(t).value("grpc_active_streams") == 0 })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream := must(own.Graph.StreamEvents(ctx, &graphpb.StreamEventsRequest{}))(t)
	must(stream.Header())(t)
	wantEqual(t, "streams while one is open", 1.0, own.scrape(t).value("grpc_active_streams"))
	cancel()
	eventually(t, "the stream is gone", func() bool { return own.scrape(t).value("grpc_active_streams") == 0 })
}
