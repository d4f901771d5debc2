package proto_test

import (
	"fmt"
	"os"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

const apiPackage = "llm.memory.graph.v1"

// additions names every service, call, message and enum of the public API that the published contract does not have, and
// why we have it. Added fields and enum values need no entry: their number, 100 or more, marks them.
var additions = map[protoreflect.FullName]string{
	apiPackage + ".MemoryGraphService.CloseSession": "ends a session without deleting it",
	apiPackage + ".CloseSessionRequest":             "request of CloseSession",
	apiPackage + ".GraphTransferService":            "writes and reads records verbatim, for import, export and backup",
	apiPackage + ".ImportRequest":                   "request of GraphTransferService.Import",
	apiPackage + ".ImportResponse":                  "reply of GraphTransferService.Import",
	apiPackage + ".ExportRequest":                   "request of GraphTransferService.Export",
	apiPackage + ".ExportResponse":                  "reply of GraphTransferService.Export",
	apiPackage + ".ClusterService":                  "tells how a cluster is and changes who belongs to it",
	apiPackage + ".ClusterMember":                   "one node in replies of ClusterService",
	apiPackage + ".ClusterStatusRequest":            "request of ClusterService.Status",
	apiPackage + ".ClusterStatusResponse":           "reply of ClusterService.Status",
	apiPackage + ".ClusterMembersRequest":           "request of ClusterService.Members",
	apiPackage + ".ClusterMembersResponse":          "reply of ClusterService.Members",
	apiPackage + ".ClusterHealthRequest":            "request of ClusterService.Health",
	apiPackage + ".ClusterHealthResponse":           "reply of ClusterService.Health",
	apiPackage + ".ClusterRemoveRequest":            "request of ClusterService.Remove",
	apiPackage + ".ClusterPromoteRequest":           "request of ClusterService.Promote",
	apiPackage + ".ClusterDemoteRequest":            "request of ClusterService.Demote",
	apiPackage + ".ClusterChangeResponse":           "reply of ClusterService.Remove, Promote and Demote",
	apiPackage + ".ClusterTransferLeaderRequest":    "request of ClusterService.TransferLeader",
	apiPackage + ".ClusterTransferLeaderResponse":   "reply of ClusterService.TransferLeader",
	apiPackage + ".ClusterSnapshotRequest":          "request of ClusterService.Snapshot",
	apiPackage + ".ClusterSnapshotResponse":         "reply of ClusterService.Snapshot",
	apiPackage + ".ClusterDigestRequest":            "request of ClusterService.Digest",
	apiPackage + ".ClusterDigestResponse":           "reply of ClusterService.Digest",
	apiPackage + ".ClusterFinalizeRequest":          "request of ClusterService.Finalize",
	apiPackage + ".ClusterFinalizeResponse":         "reply of ClusterService.Finalize",
	apiPackage + ".ClusterJobsRequest":              "request of ClusterService.Jobs",
	apiPackage + ".ClusterJobsResponse":             "reply of ClusterService.Jobs",
	apiPackage + ".ClusterJob":                      "one job in the reply of ClusterService.Jobs",
	apiPackage + ".ClusterMember.Role":              "votes or does not",
	apiPackage + ".ClusterMember.State":             "how a member is",
	apiPackage + ".BackupService":                   "copies the state and the log out of a running cluster",
	apiPackage + ".CreateBackupRequest":             "request of BackupService.Create",
	apiPackage + ".CreateBackupResponse":            "reply of BackupService.Create",
	apiPackage + ".FollowBackupRequest":             "request of BackupService.Follow",
	apiPackage + ".FollowBackupResponse":            "reply of BackupService.Follow",
	apiPackage + ".BackupEntry":                     "a log entry in a reply of BackupService.Follow and in an increment",
	apiPackage + ".BackupKind":                      "what a backup file holds",
	apiPackage + ".BackupHeader":                    "begins a backup file",
	apiPackage + ".BackupTrailer":                   "ends a backup file",
}

func TestOurContractIsThePublishedOnePlusAdditions(t *testing.T) {
	for _, difference := range compareContracts(publishedContract(t), ours(), additions) {
		t.Error(difference)
	}
}

func TestEveryListedAdditionExistsAndIsNew(t *testing.T) {
	published, now := publishedContract(t), ours()
	for name, reason := range additions {
		if reason == "" {
			t.Errorf("%s: listed without a reason", name)
		}
		if now[name] == nil {
			t.Errorf("%s: listed as an addition, but there is no such thing", name)
		}
		if published[name] != nil {
			t.Errorf("%s: listed as an addition, but the published contract has it", name)
		}
	}
}

func TestPublishedContractIsComplete(t *testing.T) {
	service, ok := publishedContract(t)[apiPackage+".MemoryGraphService"].(protoreflect.ServiceDescriptor)
	if !ok {
		t.Fatal("the published contract has no MemoryGraphService")
	}
	if got, want := service.Methods().Len(), 24; got != want {
		t.Errorf("the published contract has %d calls, want %d", got, want)
	}
}

// TestComparisonReportsDifferences breaks our contract in one place at a time and wants exactly that place reported.
func TestComparisonReportsDifferences(t *testing.T) {
	for _, c := range mutations {
		t.Run(c.name, func(t *testing.T) {
			file := protodesc.ToFileDescriptorProto(graphpb.File_llm_memory_graph_v1_memory_graph_proto)
			c.mutate(file)
			broken := build(t, file)
			want := fmt.Sprintf(c.want, apiPackage)
			var found bool
			differences := compareContracts(publishedContract(t), index(broken), additions)
			for _, d := range differences {
				found = found || d == want
			}
			if !found {
				t.Errorf("got %q\nwant among them %q", differences, want)
			}
		})
	}
}

func TestComparisonAcceptsAdditions(t *testing.T) {
	file := protodesc.ToFileDescriptorProto(graphpb.File_llm_memory_graph_v1_memory_graph_proto)
	session := message(file, "Session")
	session.Field = append(session.Field, newField("colour", 117, descriptorpb.FieldDescriptorProto_TYPE_STRING))
	kinds := enum(file, "NodeType")
	kinds.Value = append(kinds.Value, &descriptorpb.EnumValueDescriptorProto{Name: proto.String("NODE_TYPE_NOTE"), Number: proto.Int32(100)})
	if got := compareContracts(publishedContract(t), index(build(t, file)), additions); len(got) != 0 {
		t.Errorf("additions numbered from 100 are reported: %q", got)
	}
}

// mutations break a copy of our contract; want is the one report, with %s for the package.
var mutations = []struct {
	name   string
	mutate func(*descriptorpb.FileDescriptorProto)
	want   string
}{
	{"number", func(f *descriptorpb.FileDescriptorProto) {
		field(f, "Session", "metadata").Number = proto.Int32(44)
	}, "%s.Session.metadata: number is 44, published as 4"},
	{"type", func(f *descriptorpb.FileDescriptorProto) {
		field(f, "Session", "is_active").Type = descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum()
	}, "%s.Session.is_active: type is string, published as bool"},
	{"same wire type", func(f *descriptorpb.FileDescriptorProto) {
		field(f, "TokenUsage", "total_tokens").Type = descriptorpb.FieldDescriptorProto_TYPE_INT32.Enum()
	}, "%s.TokenUsage.total_tokens: type is int32, published as int64"},
	{"removed field", func(f *descriptorpb.FileDescriptorProto) {
		m := message(f, "Edge")
		m.Field = m.Field[1:]
	}, "%s.Edge.id: missing"},
	{"renamed field", func(f *descriptorpb.FileDescriptorProto) {
		field(f, "Event", "payload").Name = proto.String("body")
	}, "%s.Event.payload: missing"},
	{"json name", func(f *descriptorpb.FileDescriptorProto) {
		field(f, "Event", "payload").JsonName = proto.String("body")
	}, "%s.Event.payload: json name is body, published as payload"},
	{"low new field", func(f *descriptorpb.FileDescriptorProto) {
		m := message(f, "PromptNode")
		m.Field = append(m.Field, newField("colour", 50, descriptorpb.FieldDescriptorProto_TYPE_STRING))
	}, "%s.PromptNode.colour: added with number 50, additions start at 100"},
	{"cardinality", func(f *descriptorpb.FileDescriptorProto) {
		field(f, "AgentNode", "capabilities").Label = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()
	}, "%s.AgentNode.capabilities: cardinality is optional, published as repeated"},
	{"map to list", func(f *descriptorpb.FileDescriptorProto) {
		for _, nested := range message(f, "Session").NestedType {
			nested.Options = nil
		}
	}, "%s.Session.metadata: map is false, published as true"},
	{"presence", func(f *descriptorpb.FileDescriptorProto) {
		makeImplicit(message(f, "ToolInvocationNode"), "result")
	}, "%s.ToolInvocationNode.result: proto3 optional is false, published as true"},
	{"oneof", func(f *descriptorpb.FileDescriptorProto) {
		field(f, "Node", "prompt").OneofIndex = nil
	}, "%s.Node.prompt: oneof is none, published as node_data"},
	{"message type", func(f *descriptorpb.FileDescriptorProto) {
		field(f, "Node", "agent").TypeName = proto.String("." + apiPackage + ".PromptNode")
	}, "%[1]s.Node.agent: refers to %[1]s.PromptNode, published as %[1]s.AgentNode"},
	{"packing", func(f *descriptorpb.FileDescriptorProto) {
		field(f, "StreamEventsRequest", "event_types").Options = &descriptorpb.FieldOptions{Packed: proto.Bool(false)}
	}, "%s.StreamEventsRequest.event_types: packed is false, published as true"},
	{"enum number", func(f *descriptorpb.FileDescriptorProto) {
		enum(f, "EdgeType").Value[9].Number = proto.Int32(19)
	}, "%s.EDGE_TYPE_REFERENCES: number is 19, published as 9"},
	{"low new enum value", func(f *descriptorpb.FileDescriptorProto) {
		e := enum(f, "EdgeType")
		e.Value = append(e.Value, &descriptorpb.EnumValueDescriptorProto{Name: proto.String("EDGE_TYPE_LIKES"), Number: proto.Int32(10)})
	}, "%s.EDGE_TYPE_LIKES: added with number 10, additions start at 100"},
	{"removed call", func(f *descriptorpb.FileDescriptorProto) {
		f.Service[0].Method = f.Service[0].Method[1:]
	}, "%s.MemoryGraphService.CreateSession: missing"},
	{"input", func(f *descriptorpb.FileDescriptorProto) {
		method(f, "GetNode").InputType = proto.String("." + apiPackage + ".GetSessionRequest")
	}, "%[1]s.MemoryGraphService.GetNode: input is %[1]s.GetSessionRequest, published as %[1]s.GetNodeRequest"},
	{"output", func(f *descriptorpb.FileDescriptorProto) {
		method(f, "GetNode").OutputType = proto.String("." + apiPackage + ".Edge")
	}, "%[1]s.MemoryGraphService.GetNode: output is %[1]s.Edge, published as %[1]s.Node"},
	{"streaming", func(f *descriptorpb.FileDescriptorProto) {
		method(f, "StreamQuery").ServerStreaming = proto.Bool(false)
	}, "%s.MemoryGraphService.StreamQuery: server streaming is false, published as true"},
	{"unlisted call", func(f *descriptorpb.FileDescriptorProto) {
		extra := proto.Clone(method(f, "GetNode")).(*descriptorpb.MethodDescriptorProto)
		extra.Name = proto.String("PeekNode")
		f.Service[0].Method = append(f.Service[0].Method, extra)
	}, "%s.MemoryGraphService.PeekNode: added, but not listed as an addition"},
	{"unlisted message", func(f *descriptorpb.FileDescriptorProto) {
		f.MessageType = append(f.MessageType, &descriptorpb.DescriptorProto{Name: proto.String("Note")})
	}, "%s.Note: added, but not listed as an addition"},
	{"removed enum value", func(f *descriptorpb.FileDescriptorProto) {
		e := enum(f, "EventType")
		e.Value = e.Value[:7]
	}, "%s.EVENT_TYPE_SESSION_CLOSED: missing"},
	{"message becomes enum", func(f *descriptorpb.FileDescriptorProto) {
		message(f, "SubscribeRequest").Name = proto.String("Unsubscribe")
		method(f, "SubscribeToSession").InputType = proto.String("." + apiPackage + ".Unsubscribe")
		f.EnumType = append(f.EnumType, &descriptorpb.EnumDescriptorProto{
			Name:  proto.String("SubscribeRequest"),
			Value: []*descriptorpb.EnumValueDescriptorProto{{Name: proto.String("NONE"), Number: proto.Int32(0)}},
		})
	}, "%s.SubscribeRequest: kind is enum, published as message"},
}

// ours indexes everything this program declares in the package of the public API.
func ours() map[protoreflect.FullName]protoreflect.Descriptor {
	all := map[protoreflect.FullName]protoreflect.Descriptor{}
	protoregistry.GlobalFiles.RangeFilesByPackage(apiPackage, func(f protoreflect.FileDescriptor) bool {
		for name, d := range index(f) {
			all[name] = d
		}
		return true
	})
	return all
}

// publishedContract indexes testdata/contract.proto; `make gen` writes the descriptor set beside it.
func publishedContract(t *testing.T) map[protoreflect.FullName]protoreflect.Descriptor {
	t.Helper()
	raw, err := os.ReadFile("testdata/contract.binpb")
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	if len(set.File) != 1 {
		t.Fatalf("the published contract is %d files, want 1", len(set.File))
	}
	return index(build(t, set.File[0]))
}

func build(t *testing.T, file *descriptorpb.FileDescriptorProto) protoreflect.FileDescriptor {
	t.Helper()
	built, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return built
}
