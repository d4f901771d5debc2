package conformance

import (
	"slices"
	"testing"
	"time"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

const graphService = "llm.memory.graph.v1.MemoryGraphService"

func serviceCases() []Case {
	return []Case{
		{Name: "health_is_serving_with_version_and_uptime", Section: "11", OneNode: true, Run: healthServing, Calls: []string{health}},
		{Name: "grpc_health_answers_overall_and_by_service", Section: "11", Run: grpcHealth, Calls: []string{healthCheck, healthList}},
		{Name: "grpc_health_watch_tells_the_end", Section: "11", Run: grpcHealthWatch, Calls: []string{healthWatch}},
		{Name: "reflection_v1_lists_all_services", Section: "11", Run: reflectionV1, Calls: []string{reflection}},
		{Name: "reflection_v1alpha_lists_all_services", Section: "11", Run: reflectionV1Alpha, Calls: []string{reflectionAlpha}},
		{Name: "metrics_of_an_empty_store_are_0_0_0", Section: "15", Run: emptyMetrics, Calls: []string{getMetrics}},
		{Name: "metrics_count_nodes_edges_and_sessions", Section: "11", Run: metricsCount,
			Calls: []string{getMetrics, deleteNode, closeSession, deleteSession}},
		{Name: "metrics_measure_latency_and_rate", Section: "11", OneNode: true, Run: metricsMeasure, Calls: []string{getMetrics, addPrompt, getNode}},
		{Name: "unknown_calls_do_not_disturb_the_server", Section: "2", Run: unknownCalls, Calls: []string{health}},
	}
}

func healthServing(t *testing.T, e *Env) {
	first := must(e.Graph.Health(t.Context(), &emptypb.Empty{}))(t)
	wantEqual(t, "status", graphpb.HealthResponse_SERVING, first.GetStatus())
	if first.GetVersion() == "" {
		t.Error("version is empty")
	}
	if first.GetUptimeSeconds() < 0 || first.GetUptimeSeconds() > int64(24*time.Hour/time.Second) {
		t.Errorf("uptime is %d s", first.GetUptimeSeconds())
	}
	again := must(e.Graph.Health(t.Context(), &emptypb.Empty{}))(t)
	if again.GetUptimeSeconds() < first.GetUptimeSeconds() {
		t.Errorf("uptime went from %d to %d s", first.GetUptimeSeconds(), again.GetUptimeSeconds())
	}
}

func grpcHealth(t *testing.T, e *Env) {
	client := grpc_health_v1.NewHealthClient(e.Conn)
	for _, service := range []string{"", graphService} {
		reply := must(client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service}))(t)
		wantEqual(t, "status of "+service, grpc_health_v1.HealthCheckResponse_SERVING, reply.GetStatus())
	}
	refusal(client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "nobody"}))(t, codes.NotFound)
	list := must(client.List(t.Context(), &grpc_health_v1.HealthListRequest{}))(t)
	wantEqual(t, "status in the list", grpc_health_v1.HealthCheckResponse_SERVING, list.GetStatuses()[graphService].GetStatus())
}

func grpcHealthWatch(t *testing.T, e *Env) {
	own := e.own(t)
	client := grpc_health_v1.NewHealthClient(own.Conn)
	stream := must(client.Watch(open(t), &grpc_health_v1.HealthCheckRequest{Service: graphService}))(t)
	wantEqual(t, "first status", grpc_health_v1.HealthCheckResponse_SERVING, must(stream.Recv())(t).GetStatus())
	unknown := must(client.Watch(open(t), &grpc_health_v1.HealthCheckRequest{Service: "nobody"}))(t)
	wantEqual(t, "status of an unknown service", grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN,
		must(unknown.Recv())(t).GetStatus())
	if err := own.process.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for {
		reply, err := stream.Recv()
		if err != nil {
			if code := status.Code(err); code != codes.Unavailable && code != codes.Canceled {
				t.Errorf("watch ended with %v", err)
			}
			return
		}
		wantEqual(t, "status while it stops", grpc_health_v1.HealthCheckResponse_NOT_SERVING, reply.GetStatus())
	}
}

// wantServices are those that a client may look for.
func wantServices(t *testing.T, got []string) {
	t.Helper()
	for _, want := range []string{graphService, "llm.memory.graph.v1.GraphTransferService", "grpc.health.v1.Health"} {
		if !slices.Contains(got, want) {
			t.Errorf("reflection lists %v, want %s among them", got, want)
		}
	}
}

func reflectionV1(t *testing.T, e *Env) {
	stream := must(grpc_reflection_v1.NewServerReflectionClient(e.Conn).ServerReflectionInfo(open(t)))(t)
	ask := func(request *grpc_reflection_v1.ServerReflectionRequest) *grpc_reflection_v1.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(request); err != nil {
			t.Fatal(err)
		}
		return must(stream.Recv())(t)
	}
	var got []string
	listed := ask(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	})
	for _, service := range listed.GetListServicesResponse().GetService() {
		got = append(got, service.GetName())
	}
	wantServices(t, got)
	file := ask(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: graphService},
	})
	if len(file.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Errorf("the file of %s is %v", graphService, file)
	}
	wrong := ask(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "no.such.Symbol"},
	})
	wantEqual(t, "code of an unknown symbol", int32(codes.NotFound), wrong.GetErrorResponse().GetErrorCode())
}

// reflectionV1Alpha sends the messages of v1, which are the same on the wire: the package of v1alpha is deprecated, its
// clients are not.
func reflectionV1Alpha(t *testing.T, e *Env) {
	desc := &grpc.StreamDesc{StreamName: "ServerReflectionInfo", ServerStreams: true, ClientStreams: true}
	stream := must(e.Conn.NewStream(open(t), desc, reflectionAlpha))(t)
	if err := stream.SendMsg(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	}); err != nil {
		t.Fatal(err)
	}
	var reply grpc_reflection_v1.ServerReflectionResponse
	if err := stream.RecvMsg(&reply); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, service := range reply.GetListServicesResponse().GetService() {
		got = append(got, service.GetName())
	}
	wantServices(t, got)
}

func emptyMetrics(t *testing.T, e *Env) {
	own := e.own(t)
	got := own.metrics(t)
	wantEqual(t, "nodes, edges, sessions, active", []int64{0, 0, 0, 0},
		[]int64{got.GetTotalNodes(), got.GetTotalEdges(), got.GetTotalSessions(), got.GetActiveSessions()})
}

func metricsCount(t *testing.T, e *Env) {
	own := e.own(t)
	want := func(what string, nodes, edges, sessions, active int64) {
		t.Helper()
		got := own.metrics(t)
		wantEqual(t, what+": nodes, edges, sessions, active", []int64{nodes, edges, sessions, active},
			[]int64{got.GetTotalNodes(), got.GetTotalEdges(), got.GetTotalSessions(), got.GetActiveSessions()})
	}
	first := own.talk(t, 2)
	// A session and twice prompt, response, tool; 6 BELONGS_TO, 1 FOLLOWS, 2 RESPONDS_TO, 2 INVOKES.
	want("one conversation", 7, 11, 1, 1)
	second := own.talk(t, 1)
	want("two", 11, 16, 2, 2)
	own.agent(t, "a")
	own.edge(t, references, first.prompts[0].GetId(), second.prompts[0].GetId())
	want("with an agent and an edge across", 12, 17, 2, 2)
	own.closeSession(t, first.session.GetId())
	want("one closed", 12, 17, 2, 1)
	own.deleteNode(t, first.tools[0].GetId())
	want("a tool call less", 11, 15, 2, 1)
	own.deleteNode(t, first.prompts[0].GetId())
	// BELONGS_TO, RESPONDS_TO, FOLLOWS of the second, the edge across.
	want("a prompt less", 10, 11, 2, 1)
	own.deleteSession(t, second.session.GetId())
	want("one deleted", 6, 6, 1, 0)
	own.deleteSession(t, first.session.GetId())
	want("both deleted", 1, 0, 0, 0)
}

func metricsMeasure(t *testing.T, e *Env) {
	own := e.own(t)
	made := own.talk(t, 10)
	for _, id := range made.nodeIDs() {
		for range 3 {
			own.node(t, id)
		}
	}
	got := own.metrics(t)
	if got.GetAvgWriteLatencyMs() <= 0 || got.GetAvgWriteLatencyMs() > 10_000 {
		t.Errorf("avg_write_latency_ms is %v", got.GetAvgWriteLatencyMs())
	}
	if got.GetAvgReadLatencyMs() <= 0 || got.GetAvgReadLatencyMs() > 10_000 {
		t.Errorf("avg_read_latency_ms is %v", got.GetAvgReadLatencyMs())
	}
	if got.GetRequestsPerSecond() < 0 || got.GetRequestsPerSecond() > 1_000_000 {
		t.Errorf("requests_per_second is %v", got.GetRequestsPerSecond())
	}
}

func unknownCalls(t *testing.T, e *Env) {
	for _, method := range []string{"/nobody.Service/Call", "/" + graphService + "/Nothing", "/" + graphService + "/", "/x", "//"} {
		err := e.Raw.Invoke(t.Context(), method, &emptypb.Empty{}, &emptypb.Empty{})
		wantStatus(t, err, codes.Unimplemented)
	}
	must(e.Graph.Health(t.Context(), &emptypb.Empty{}))(t)
}
