package client

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// TestEveryCallHasAKind: a call that is added to the contract and forgotten here would neither be repeated nor get a key.
func TestEveryCallHasAKind(t *testing.T) {
	for _, file := range []protoreflect.FileDescriptor{pb.File_llm_memory_graph_v1_memory_graph_proto, pb.File_llm_memory_graph_v1_transfer_proto} {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				k := kindOf("/" + string(service.FullName()) + "/" + string(m.Name()))
				switch streams := m.IsStreamingServer(); {
				case m.IsStreamingClient() && k != other,
					!m.IsStreamingClient() && k == other,
					streams != (k == feeds || k == readStreams) && k != other:
					t.Errorf("%s is of kind %d", m.FullName(), k)
				}
			}
		}
	}
	for name, want := range map[string]kind{
		"/llm.memory.graph.v1.ClusterService/Status": reads, "/llm.memory.graph.v1.ClusterService/Remove": other,
		"/llm.memory.graph.v1.BackupService/Create": readStreams, "/grpc.health.v1.Health/Check": reads, "/grpc.health.v1.Health/Watch": other,
		"nonsense": other, "/x.Y/GetNode": other,
	} {
		if got := kindOf(name); got != want {
			t.Errorf("%s is of kind %d, want %d", name, got, want)
		}
	}
}
