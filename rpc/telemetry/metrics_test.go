package telemetry

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-metrics"
	"github.com/prometheus/client_golang/prometheus"
)

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// TestNamesAndBuckets holds what dashboards in the wild use.
func TestNamesAndBuckets(t *testing.T) {
	m := New(Options{
		Methods: []string{"CreateSession"},
		Counts:  func() (Counts, error) { return Counts{Nodes: 3, Edges: 2, Sessions: 1, ActiveSessions: 1}, nil },
		Cache:   func() Cache { return Cache{Hits: 5, Requests: 7, Bytes: 11} },
	})
	families, err := m.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	buckets, types := map[string][]float64{}, map[string]string{}
	for _, f := range families {
		name, ok := strings.CutPrefix(f.GetName(), "memory_graph_")
		if !ok {
			continue
		}
		types[name] = f.GetType().String()
		if h := f.Metric[0].Histogram; h != nil {
			for _, b := range h.Bucket {
				buckets[name] = append(buckets[name], b.GetUpperBound())
			}
		}
	}
	calls := []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1}
	if diff := cmp.Diff(map[string][]float64{
		"write_latency_seconds":         calls,
		"grpc_request_duration_seconds": calls,
		"read_latency_seconds":          {.0001, .0005, .001, .005, .01, .025, .05, .1},
		"query_duration_seconds":        {.01, .05, .1, .25, .5, 1, 2.5, 5, 10},
		"tool_duration_seconds":         {.1, .5, 1, 2, 5, 10, 30, 60},
		"batch_size":                    {1, 5, 10, 25, 50, 100, 250, 500, 1000},
	}, buckets); diff != "" {
		t.Errorf("buckets (-want +got):\n%s", diff)
	}
	want := map[string]string{}
	for kind, names := range map[string]string{
		"COUNTER": "nodes_created_total edges_created_total prompts_submitted_total responses_generated_total tools_invoked_total " +
			"agent_handoffs_total template_instantiations_total queries_executed_total grpc_requests_total errors_total " +
			"cache_hits_total cache_requests_total stream_nodes_total grpc_connections_closed_total",
		"GAUGE": "active_sessions total_nodes total_edges cache_size_bytes buffer_size grpc_active_streams grpc_active_connections",
		"HISTOGRAM": "write_latency_seconds read_latency_seconds query_duration_seconds tool_duration_seconds batch_size " +
			"grpc_request_duration_seconds",
	} {
		for _, name := range strings.Fields(names) {
			want[name] = kind
		}
	}
	if diff := cmp.Diff(want, types); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	text := scrape(t, m)
	for _, line := range []string{
		"memory_graph_total_nodes 3", "memory_graph_total_edges 2", "memory_graph_active_sessions 1",
		"memory_graph_cache_hits_total 5", "memory_graph_cache_requests_total 7", "memory_graph_cache_size_bytes 11",
		`memory_graph_grpc_requests_total{method="CreateSession",status="OK"} 0`,
		`memory_graph_grpc_request_duration_seconds_count{method="CreateSession"} 0`,
		`memory_graph_grpc_connections_closed_total{reason="address_share"} 0`, `memory_graph_stream_nodes_total{method="StreamQuery"} 0`, "go_goroutines ",
	} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("no line %s", line)
		}
	}
}

func TestAStateThatCannotBeReadSpoilsNothingElse(t *testing.T) {
	m := New(Options{Counts: func() (Counts, error) { return Counts{}, errors.New("damaged") }})
	text := scrape(t, m)
	if strings.Contains(text, "memory_graph_total_nodes") || !strings.Contains(text, "memory_graph_errors_total 0") {
		t.Errorf("scrape is %.200s", text)
	}
}

func TestTheLastMinute(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	m := New(Options{Now: func() time.Time { return now }})
	if got := m.LastMinute(); got != (Minute{}) {
		t.Errorf("of nothing: %+v", got)
	}
	for range 10 {
		m.Finished("X", "OK", time.Millisecond)
	}
	m.Committed(Change{Took: 2 * time.Millisecond})
	m.Committed(Change{Took: 4 * time.Millisecond})
	done := m.Read()
	now = now.Add(500 * time.Millisecond)
	done()
	want := Minute{Write: 3 * time.Millisecond, Read: 500 * time.Millisecond, RequestsPerSecond: 10}
	if got := m.LastMinute(); got != want {
		t.Errorf("in the first second: %+v, want %+v", got, want)
	}
	now = now.Add(9 * time.Second)
	want.RequestsPerSecond = 1
	if got := m.LastMinute(); got != want {
		t.Errorf("after ten seconds: %+v, want %+v", got, want)
	}
	now = now.Add(49 * time.Second)
	for range 95 {
		m.Finished("X", "NotFound", time.Millisecond)
	}
	want.RequestsPerSecond = 2
	if got := m.LastMinute(); got != want {
		t.Errorf("after 59 seconds: %+v, want %+v", got, want)
	}
	now = now.Add(2 * time.Second)
	if got := m.LastMinute(); got != (Minute{RequestsPerSecond: 2}) {
		t.Errorf("after a minute: %+v", got)
	}
	now = now.Add(time.Hour)
	if got := m.LastMinute(); got != (Minute{}) {
		t.Errorf("after an hour: %+v", got)
	}
}

func TestWhatRaftMeasures(t *testing.T) {
	registry := prometheus.NewRegistry()
	sink, err := NewRaftSink(registry)
	if err != nil {
		t.Fatal(err)
	}
	if err := MeasureRaft(sink); err != nil {
		t.Fatal(err)
	}
	metrics.IncrCounter([]string{"raft", "apply"}, 3)
	for n := range 4 {
		metrics.AddSample([]string{"raft", "log-store", "size"}, float32(n))
		metrics.AddSampleWithLabels([]string{"raft", "sent"}, 1, []metrics.Label{{Name: "peer", Value: fmt.Sprint(n / 2)}})
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := 0.0
	for _, f := range families {
		if f.GetName() == "memory_graph_raft_apply" {
			found = f.Metric[0].Counter.GetValue()
		}
	}
	if found != 3 {
		t.Errorf("memory_graph_raft_apply is %v", found)
	}
	samples := map[string]string{}
	for _, f := range families {
		for _, m := range f.Metric {
			samples[f.GetName()] += fmt.Sprint(m.GetSummary().GetSampleCount(), " ")
		}
	}
	if got, want := samples["memory_graph_raft_log_store_size"], "4 "; got != want {
		t.Errorf("samples without labels: %q, want %q", got, want)
	}
	if got, want := samples["memory_graph_raft_sent"], "2 2 "; got != want {
		t.Errorf("samples of two peers: %q, want %q", got, want)
	}
	if _, err := NewRaftSink(registry); err == nil {
		t.Error("two sinks share a registry")
	}
	if err := MeasureRaft(&metrics.BlackholeSink{}); err != nil {
		t.Error(err)
	}
}
