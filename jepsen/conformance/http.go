package conformance

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/emptypb"
)

func httpCases() []Case {
	return []Case{
		{Name: "http_health_is_healthy_json", Section: "11", Run: httpHealth, Calls: []string{health}},
		{Name: "http_ready_is_ok", Section: "11", Run: httpReady},
		{Name: "http_metrics_are_prometheus_text", Section: "11", Run: httpMetrics},
		{Name: "http_front_page_links_to_the_others", Section: "11", Run: httpFront},
		{Name: "http_knows_no_other_pages", Section: "11", Run: httpUnknown},
	}
}

// page is an HTTP answer of the metrics port.
type page struct {
	code int
	kind string
	text string
}

func (e *Env) get(t *testing.T, path string) page {
	t.Helper()
	request := must(http.NewRequestWithContext(open(t), http.MethodGet, "http://"+e.MetricsAddress+path, nil))(t)
	reply := must(http.DefaultClient.Do(request))(t)
	defer func() { _ = reply.Body.Close() }()
	text := must(io.ReadAll(reply.Body))(t)
	return page{code: reply.StatusCode, kind: reply.Header.Get("Content-Type"), text: string(text)}
}

func httpHealth(t *testing.T, e *Env) {
	got := e.get(t, "/health")
	var members map[string]any
	if err := json.Unmarshal([]byte(got.text), &members); err != nil {
		t.Fatalf("body %q: %v", got.text, err)
	}
	version := must(e.Graph.Health(t.Context(), &emptypb.Empty{}))(t).GetVersion()
	wantEqual(t, "body", map[string]any{"status": "healthy", "service": "llm-memory-graph", "version": version}, members)
	wantEqual(t, "code", http.StatusOK, got.code)
	wantPrefix(t, "content type", got.kind, "application/json")
}

func wantPrefix(t *testing.T, what, got, prefix string) {
	t.Helper()
	if !strings.HasPrefix(got, prefix) {
		t.Errorf("%s is %q, want %s", what, got, prefix)
	}
}

func httpReady(t *testing.T, e *Env) {
	wantEqual(t, "code", http.StatusOK, e.get(t, "/ready").code)
}

func httpMetrics(t *testing.T, e *Env) {
	got := e.get(t, "/metrics")
	wantEqual(t, "code", http.StatusOK, got.code)
	wantPrefix(t, "content type", got.kind, "text/plain")
	for _, word := range []string{"# HELP memory_graph_", "# TYPE memory_graph_nodes_created_total counter"} {
		if !strings.Contains(got.text, word) {
			t.Errorf("metrics do not say %q", word)
		}
	}
}

func httpFront(t *testing.T, e *Env) {
	got := e.get(t, "/")
	wantEqual(t, "code", http.StatusOK, got.code)
	wantPrefix(t, "content type", got.kind, "text/html")
	for _, path := range []string{"/metrics", "/health", "/ready"} {
		if !strings.Contains(got.text, `"`+path+`"`) {
			t.Errorf("the front page does not link to %s: %s", path, got.text)
		}
	}
}

func httpUnknown(t *testing.T, e *Env) {
	for _, path := range []string{"/nothing", "/metrics/x", "/debug/pprof/", "/debug/vars"} {
		wantEqual(t, "code of "+path, http.StatusNotFound, e.get(t, path).code)
	}
}
