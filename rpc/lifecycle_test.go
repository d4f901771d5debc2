package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func TestHealth(t *testing.T) {
	r := start(t)
	got := must[*pb.HealthResponse](t)(r.Health(r.ctx(), &emptypb.Empty{}))
	if got.Status != pb.HealthResponse_SERVING || got.Version != "1.2.3" || got.UptimeSeconds < 0 {
		t.Errorf("health is %v", got)
	}
	r.log.set(func() { r.log.ready = errors.New("no leader") })
	got = must[*pb.HealthResponse](t)(r.Health(r.ctx(), &emptypb.Empty{}))
	if got.Status != pb.HealthResponse_NOT_SERVING {
		t.Errorf("health without a leader is %v", got)
	}
}

func TestStandardHealth(t *testing.T) {
	r := start(t)
	client := grpc_health_v1.NewHealthClient(r.conn)
	for _, service := range healthServices() {
		got := must[*grpc_health_v1.HealthCheckResponse](t)(client.Check(r.ctx(), &grpc_health_v1.HealthCheckRequest{Service: service}))
		if got.Status != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("%q is %v", service, got.Status)
		}
	}
	_, err := client.Check(r.ctx(), &grpc_health_v1.HealthCheckRequest{Service: "nobody"})
	refusedWith(t, err, codes.NotFound, "unknown service", "")
	list := must[*grpc_health_v1.HealthListResponse](t)(client.List(r.ctx(), &grpc_health_v1.HealthListRequest{}))
	if len(list.Statuses) != 3 {
		t.Errorf("list is %v", list)
	}
	watch := must[grpc.ServerStreamingClient[grpc_health_v1.HealthCheckResponse]](t)(client.Watch(r.ctx(), &grpc_health_v1.HealthCheckRequest{Service: "nobody"}))
	if got := must[*grpc_health_v1.HealthCheckResponse](t)(watch.Recv()); got.Status != grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN {
		t.Errorf("a watch of nobody says %v", got)
	}
	watch = must[grpc.ServerStreamingClient[grpc_health_v1.HealthCheckResponse]](t)(client.Watch(r.ctx(), &grpc_health_v1.HealthCheckRequest{}))
	var said []grpc_health_v1.HealthCheckResponse_ServingStatus
	say := func() {
		said = append(said, must[*grpc_health_v1.HealthCheckResponse](t)(watch.Recv()).Status)
	}
	say()
	r.log.set(func() { r.log.ready = errors.New("no leader") })
	say()
	r.log.set(func() { r.log.ready = nil })
	say()
	stopped := make(chan error, 1)
	go func() { stopped <- r.server.Shutdown(r.ctx()) }()
	say()
	if _, err := watch.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the watch ended with %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	const serving, not = grpc_health_v1.HealthCheckResponse_SERVING, grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if diff := cmp.Diff([]grpc_health_v1.HealthCheckResponse_ServingStatus{serving, not, serving, not}, said); diff != "" {
		t.Errorf("the watch said (-want +got):\n%s", diff)
	}
}

func TestOptionalServices(t *testing.T) {
	r := start(t, func(c *Config) { c.Health, c.Reflection = false, false })
	_, err := grpc_health_v1.NewHealthClient(r.conn).Check(r.ctx(), &grpc_health_v1.HealthCheckRequest{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("health that is off answers %v", err)
	}
}

func TestReflection(t *testing.T) {
	r := start(t)
	v1 := must[grpc.BidiStreamingClient[reflectv1.ServerReflectionRequest, reflectv1.ServerReflectionResponse]](t)(
		reflectv1.NewServerReflectionClient(r.conn).ServerReflectionInfo(r.ctx()))
	if err := v1.Send(&reflectv1.ServerReflectionRequest{MessageRequest: &reflectv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range must[*reflectv1.ServerReflectionResponse](t)(v1.Recv()).GetListServicesResponse().GetService() {
		names = append(names, s.Name)
	}
	want := []string{
		"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
		"llm.memory.graph.v1.BackupService", "llm.memory.graph.v1.GraphTransferService", "llm.memory.graph.v1.MemoryGraphService",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	// The older version is the same on the wire.
	raw := must[grpc.ClientStream](t)(r.conn.NewStream(r.ctx(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true},
		"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"))
	alpha := &grpc.GenericClientStream[reflectv1.ServerReflectionRequest, reflectv1.ServerReflectionResponse]{ClientStream: raw}
	for _, symbol := range []string{"llm.memory.graph.v1.MemoryGraphService", "llm.memory.graph.v1.MemoryGraphService.AddPrompt", "llm.memory.graph.v1.Node"} {
		if err := alpha.Send(&reflectv1.ServerReflectionRequest{
			MessageRequest: &reflectv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: symbol},
		}); err != nil {
			t.Fatal(err)
		}
		if got := must[*reflectv1.ServerReflectionResponse](t)(alpha.Recv()); got.GetFileDescriptorResponse() == nil {
			t.Errorf("%s: %v", symbol, got)
		}
	}
}

func TestGetMetrics(t *testing.T) {
	r := start(t)
	empty := must[*pb.MetricsResponse](t)(r.GetMetrics(r.ctx(), &emptypb.Empty{}))
	if empty.TotalNodes != 0 || empty.TotalEdges != 0 || empty.TotalSessions != 0 || empty.AvgWriteLatencyMs != 0 {
		t.Errorf("of an empty store: %v", empty)
	}
	s := r.session()
	r.response(r.prompt(s.Id, "x").Id, "y")
	must[*pb.Session](t)(r.CloseSession(r.ctx(), &pb.CloseSessionRequest{SessionId: r.session().Id}))
	must[*pb.Session](t)(r.GetSession(r.ctx(), &pb.GetSessionRequest{SessionId: s.Id}))
	got := must[*pb.MetricsResponse](t)(r.GetMetrics(r.ctx(), &emptypb.Empty{}))
	if got.TotalNodes != 4 || got.TotalEdges != 3 || got.TotalSessions != 2 || got.ActiveSessions != 1 {
		t.Errorf("counts are %v", got)
	}
	if got.AvgWriteLatencyMs <= 0 || got.AvgReadLatencyMs <= 0 || got.RequestsPerSecond <= 0 {
		t.Errorf("latencies are %v", got)
	}
}

// TestShutdownDrains: what has begun is finished, streams end, nothing new is taken.
func TestShutdownDrains(t *testing.T) {
	r := start(t)
	stream, _ := r.events(&pb.StreamEventsRequest{})
	importing := must[grpc.ClientStreamingClient[pb.ImportRequest, pb.ImportResponse]](t)(r.transfer.Import(r.ctx()))
	seen := make(chan *pb.Event, 1)
	go func() {
		e, _ := stream.Recv()
		seen <- e
	}()
	if err := importing.Send(agentChunk("a")); err != nil {
		t.Fatal(err)
	}
	if e := <-seen; e == nil {
		t.Fatal("no event of the import")
	}
	entered, leave := make(chan struct{}), make(chan struct{})
	r.log.set(func() {
		r.log.fault = func() error {
			close(entered)
			<-leave
			return nil
		}
	})
	wrote := make(chan error, 1)
	ctx := r.ctx()
	go func() { wrote <- calling(r.CreateSession, &pb.CreateSessionRequest{})(ctx) }()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- r.server.Shutdown(ctx) }()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || retryOf(err) == 0 {
		t.Errorf("the stream ended with %v", err)
	}
	err := importing.RecvMsg(&pb.ImportResponse{})
	if status.Code(err) != codes.Unavailable || infoOf(err).Metadata["resume_token"] == "" {
		t.Errorf("the import ended with %v, %v", err, infoOf(err))
	}
	close(leave)
	if err := <-wrote; err != nil {
		t.Errorf("the write that had begun: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err := r.server.serving(); err == nil {
		t.Error("a server that is down is healthy")
	}
}

func TestShutdownCutsOffWhatDoesNotEnd(t *testing.T) {
	r := start(t)
	entered := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	r.log.set(func() {
		r.log.fault = func() error {
			close(entered)
			<-ctx.Done()
			return ctx.Err()
		}
	})
	wrote := make(chan error, 1)
	callCtx := r.ctx()
	go func() { wrote <- calling(r.CreateSession, &pb.CreateSessionRequest{})(callCtx) }()
	<-entered
	expired, stop := context.WithCancel(t.Context())
	stop()
	go cancel()
	if err := r.server.Shutdown(expired); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown returned %v", err)
	}
	if err := <-wrote; status.Code(err) == codes.OK {
		t.Error("the call that was cut off succeeded")
	}
}

// TestAReaderThatHoldsASnapshotIsCutOff: one that leaves messages unread for too long.
func TestAReaderThatHoldsASnapshotIsCutOff(t *testing.T) {
	r := start(t, func(c *Config) { c.StallTimeout = 20 * time.Millisecond })
	s := r.session()
	for range 6 {
		r.prompt(s.Id, strings.Repeat("x", 500_000))
	}
	conn := r.dial(grpc.WithInitialWindowSize(1<<16), grpc.WithInitialConnWindowSize(1<<16))
	stream := must[grpc.ServerStreamingClient[pb.Node]](t)(graphClient(conn).StreamQuery(r.ctx(), &pb.QueryRequest{SessionId: &s.Id}))
	must[metadata.MD](t)(stream.Header())
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for ctx := r.ctx(); r.metric("memory_graph_grpc_requests_total", "method", "StreamQuery", "status", "ResourceExhausted") == 0; <-look.C {
		if ctx.Err() != nil {
			t.Fatal("it is not cut off")
		}
	}
	var err error
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("it ended with %v", err)
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	open := 0
	lis := newLimitListener(inner, 1, 0, func(delta int) { open += delta }, nil)
	dial := func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, b := dial(), dial()
	defer a.Close()
	defer b.Close()
	first, err := lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan net.Conn)
	go func() {
		c, _ := lis.Accept()
		second <- c
	}()
	select {
	case <-second:
		t.Fatal("two connections are open")
	default:
	}
	_ = first.Close()
	_ = first.Close()
	c := <-second
	ended := make(chan error, 1)
	go func() {
		_, err := lis.Accept()
		ended <- err
	}()
	_ = lis.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: %v", err)
	}
	_ = c.Close()
	if open != 0 {
		t.Errorf("%d connections are counted open", open)
	}
	if _, err := lis.Accept(); err == nil {
		t.Error("a closed listener accepts")
	}
}

// TestOneAddressHasItsShare: what is over it is closed, and takes no slot from others.
func TestOneAddressHasItsShare(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open, refused atomic.Int32
	lis := newLimitListener(inner, 10, 2, func(delta int) { open.Add(int32(delta)) }, func() { refused.Add(1) })
	accepted := make(chan net.Conn, 10)
	go func() {
		for c, err := lis.Accept(); err == nil; c, err = lis.Accept() {
			accepted <- c
		}
		close(accepted)
	}()
	dial := func() net.Conn {
		c := must[net.Conn](t)(net.Dial("tcp", inner.Addr().String()))
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	dial()
	dial()
	first := <-accepted
	<-accepted
	over := dial()
	if _, err := over.Read(make([]byte, 1)); err == nil {
		t.Error("a third connection stays open")
	}
	_ = first.Close()
	dial()
	(<-accepted).Close()
	_ = lis.Close()
	if c, more := <-accepted; more {
		t.Errorf("%v was let in, too", c.RemoteAddr())
	}
	if open.Load() != 1 || refused.Load() != 1 {
		t.Errorf("%d connections are counted open and %d refused, want 1 of each", open.Load(), refused.Load())
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{}.Validate()
	for _, word := range []string{"version", "connections", "request budget", "request timeout", "leader timeout", "stall timeout"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not tell of %s", err, word)
		}
	}
	if _, err := New(Config{}, nil, nil); err == nil {
		t.Error("a server without a configuration is made")
	}
}

func TestMetricsPort(t *testing.T) {
	r := start(t)
	web := httptest.NewServer(r.server.MetricsServer().Handler)
	defer web.Close()
	get := func(method, path string) (int, string, http.Header) {
		t.Helper()
		req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), method, web.URL+path, nil))
		res := must[*http.Response](t)(web.Client().Do(req))
		defer res.Body.Close()
		return res.StatusCode, string(must[[]byte](t)(io.ReadAll(res.Body))), res.Header
	}
	code, body, header := get("GET", "/health")
	if code != 200 || body != `{"status":"healthy","service":"llm-memory-graph","version":"1.2.3"}` || header.Get("Content-Type") != "application/json" {
		t.Errorf("/health is %d %s", code, body)
	}
	if code, body, _ := get("GET", "/ready"); code != 200 || !json.Valid([]byte(body)) {
		t.Errorf("/ready is %d %s", code, body)
	}
	if code, body, _ := get("GET", "/metrics"); code != 200 || !strings.Contains(body, "memory_graph_total_nodes 0") {
		t.Errorf("/metrics is %d %.100s", code, body)
	}
	if code, body, _ := get("GET", "/"); code != 200 || !strings.Contains(body, `href="/metrics"`) || strings.Contains(body, "http:") {
		t.Errorf("/ is %d %s", code, body)
	}
	for _, path := range []string{"/debug/pprof/", "/debug/vars", "/x", "/metrics/x"} {
		if code, _, _ := get("GET", path); code != 404 {
			t.Errorf("%s is %d", path, code)
		}
	}
	if code, _, header := get("POST", "/health"); code != 405 || header.Get("Allow") == "" {
		t.Errorf("POST is %d", code)
	}
	if code, body, _ := get("HEAD", "/health"); code != 200 || body != "" {
		t.Errorf("HEAD is %d %s", code, body)
	}
	r.log.set(func() { r.log.ready = errors.New("no leader") })
	for _, path := range []string{"/health", "/ready"} {
		if code, body, _ := get("GET", path); code != 503 || !strings.Contains(body, "no leader") {
			t.Errorf("%s without a leader is %d %s", path, code, body)
		}
	}
}

func TestServeMetricsEndsWithItsServer(t *testing.T) {
	r := start(t)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := r.server.MetricsServer()
	done := make(chan error, 1)
	go func() { done <- ServeMetrics(server, lis) }()
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := ServeMetrics(&http.Server{ReadHeaderTimeout: time.Second}, lis); err == nil {
		t.Error("a closed listener is served")
	}
}

// TestAStreamThatEndsTellsWhatBecameOfItsProposal: that this node goes down does not mean that nothing was written.
func TestAStreamThatEndsTellsWhatBecameOfItsProposal(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cut := &LogError{Kind: Interrupted, Err: context.Canceled}
	if got := ended(ctx, cut); !errors.Is(got, cut) {
		t.Errorf("of a stream that goes on: %v", got)
	}
	cancel(errStopping)
	var log *LogError
	if err := ended(ctx, cut); !errors.As(err, &log) || log.Kind != Stopping || log.NotProposed {
		t.Errorf("of a proposal: %v", err)
	}
	if err := ended(ctx, ctx.Err()); !errors.As(err, &log) || log.Kind != Stopping || !log.NotProposed {
		t.Errorf("of a read: %v", err)
	}
	if err := ended(ctx, errDisk); !errors.Is(err, errDisk) {
		t.Errorf("of another error: %v", err)
	}
}

// TestAClosedStoreIsNoDamage: calls that come when the node is nearly gone are told to go elsewhere.
func TestAClosedStoreIsNoDamage(t *testing.T) {
	r := start(t)
	s := r.session()
	stream, _ := r.events(&pb.StreamEventsRequest{})
	r.prompt(s.Id, "x")
	take(t, stream, 1)
	if err := r.log.machine.Store().Close(); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		calling(r.GetSession, &pb.GetSessionRequest{SessionId: s.Id})(r.ctx()),
		calling(r.Query, &pb.QueryRequest{})(r.ctx()),
		calling(r.GetMetrics, &emptypb.Empty{})(r.ctx()),
		calling(r.CreateSession, &pb.CreateSessionRequest{})(r.ctx(keyIdempotency, "k")),
	} {
		if status.Code(err) != codes.Unavailable {
			t.Errorf("got %v", err)
		}
	}
}

// TestStreamsOfAConnectionAreLimited: one more waits for its turn.
func TestStreamsOfAConnectionAreLimited(t *testing.T) {
	r := start(t)
	ctx, cancel := context.WithCancel(r.ctx())
	defer cancel()
	for range maxConcurrentStreams {
		must[metadata.MD](t)(must[grpc.ServerStreamingClient[pb.Event]](t)(r.StreamEvents(ctx, &pb.StreamEventsRequest{})).Header())
	}
	if got := r.metric("memory_graph_grpc_active_streams"); got != maxConcurrentStreams {
		t.Errorf("%v streams are open", got)
	}
	short, end := context.WithTimeout(ctx, 50*time.Millisecond)
	defer end()
	err := calling(r.ListSessions, &pb.ListSessionsRequest{})(short)
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("one call more: %v", err)
	}
	if got := r.metric("memory_graph_grpc_requests_total", "method", "ListSessions", "status", "OK"); got != 0 {
		t.Errorf("it was served %v times", got)
	}
}
