package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Run runs the whole table against a target, many cases at once. A case that declares a call which it did not make fails.
func Run(t *testing.T, target Target) {
	for _, c := range Cases() {
		if c.Durable && target.InMemory {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			calls := newCallLog()
			c.Run(t, newEnv(t, target.of(c), calls))
			if missing := calls.missing(c.Calls); len(missing) > 0 && !t.Failed() {
				t.Errorf("the case declares calls that it does not make: %v", missing)
			}
		})
	}
}

// of is the target as one case calls it.
func (target Target) of(c Case) Target {
	if c.OneNode && target.Through == Random {
		target.Through = Leader
	}
	return target
}

// Start runs a server for a whole table and stops it with the test.
func Start(t *testing.T, binary string, inMemory bool) Target {
	t.Helper()
	node := cluster.New(cluster.Options{Binary: binary, DataDir: t.TempDir() + "/data", InMemory: inMemory})
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Stop(detached(t)); err != nil {
			t.Errorf("end of the server: %v", err)
		}
		if t.Failed() {
			t.Logf("server printed:\n%s", node.Logs())
		}
	})
	return Target{
		Addresses: []string{node.Address()}, MetricsAddresses: []string{node.MetricsAddress()}, Binary: binary, InMemory: inMemory,
	}
}

// Uncovered lists the calls that a running server offers and no case covers, by asking the server itself.
func Uncovered(t *testing.T, target Target) []string {
	t.Helper()
	covered := make(map[string]bool)
	for _, c := range Cases() {
		for _, call := range c.Calls {
			covered[call] = true
		}
	}
	var missing []string
	for _, call := range offered(t, target) {
		if !covered[call] {
			missing = append(missing, call)
		}
	}
	return missing
}

// Invented lists the calls that cases cover and no server offers.
func Invented(t *testing.T, target Target) []string {
	t.Helper()
	calls := offered(t, target)
	invented := make(map[string]bool)
	for _, c := range Cases() {
		for _, call := range c.Calls {
			if !slices.Contains(calls, call) {
				invented[call] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(invented))
}

// offered are the full names of all methods of all services that server reflection lists.
func offered(t *testing.T, target Target) []string {
	t.Helper()
	e := newEnv(t, target, newCallLog())
	stream := must(grpc_reflection_v1.NewServerReflectionClient(e.Conn).ServerReflectionInfo(open(t)))(t)
	ask := func(request *grpc_reflection_v1.ServerReflectionRequest) *grpc_reflection_v1.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(request); err != nil {
			t.Fatal(err)
		}
		return must(stream.Recv())(t)
	}
	listed := ask(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	})
	var calls []string
	for _, service := range listed.GetListServicesResponse().GetService() {
		name := service.GetName()
		reply := ask(&grpc_reflection_v1.ServerReflectionRequest{
			MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name},
		})
		found := methodsOf(t, name, reply.GetFileDescriptorResponse().GetFileDescriptorProto())
		if len(found) == 0 {
			t.Errorf("reflection lists %s and shows no method of it", name)
		}
		calls = append(calls, found...)
	}
	return calls
}

func methodsOf(t *testing.T, service string, files [][]byte) []string {
	t.Helper()
	var calls []string
	for _, raw := range files {
		var file descriptorpb.FileDescriptorProto
		if err := proto.Unmarshal(raw, &file); err != nil {
			t.Fatalf("descriptor of %s: %v", service, err)
		}
		for _, s := range file.GetService() {
			if strings.Trim(file.GetPackage()+"."+s.GetName(), ".") != service {
				continue
			}
			for _, m := range s.GetMethod() {
				calls = append(calls, fmt.Sprintf("/%s/%s", service, m.GetName()))
			}
		}
	}
	return calls
}
