package rpc

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/telemetry"
)

// TestLimitIsToldByANodeThatServes: on a full disk reads go on, so the node stays in the balancer, and says what it refuses.
func TestLimitIsToldByANodeThatServes(t *testing.T) {
	full := errors.New("disk of data folder d is full: 3 bytes are free, 9 are needed")
	r := start(t, func(c *Config) {
		c.Limit = func() error { return full }
		c.Disk = func() telemetry.Disk {
			return telemetry.Disk{Free: 3, Reserve: 6, Ballast: 1, Refusing: true, DamagedStores: 2}
		}
	})
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		r.server.MetricsServer().Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	for path, status := range map[string]string{"/health": `"healthy"`, "/ready": `"ready"`} {
		if code, body := get(path); code != http.StatusOK || !strings.Contains(body, status) || !strings.Contains(body, full.Error()) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	_, text := get("/metrics")
	for _, line := range []string{"disk_free_bytes 3", "disk_reserve_bytes 6", "disk_ballast_bytes 1", "disk_refusing 1", "damaged_stores 2"} {
		if !strings.Contains(text, "\nmemory_graph_"+line+"\n") {
			t.Errorf("metrics lack %q", line)
		}
	}
	r.log.set(func() {
		r.log.fault = func() error { return &LogError{Kind: DiskReserve, NotProposed: true, Err: full} }
	})
	_, err := r.CreateSession(t.Context(), &pb.CreateSessionRequest{})
	if st := status.Convert(err); st.Code() != codes.ResourceExhausted || st.Message() != full.Error() {
		t.Errorf("write: %v", st)
	}
	r.log.set(func() { r.log.fault = nil })
	if h, err := r.Health(t.Context(), &emptypb.Empty{}); err != nil || h.GetStatus() != pb.HealthResponse_SERVING {
		t.Errorf("health: %v, %v", h, err)
	}
}
