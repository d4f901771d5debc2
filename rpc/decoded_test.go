package rpc

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// manyOf is a message with many empty elements of a field.
func manyOf(field protowire.Number, n int) []byte {
	return bytes.Repeat(protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), nil), n)
}

// TestDecodedSizesAreNearTheTruth: what is estimated is what decoding allocates, within a factor of three.
func TestDecodedSizesAreNearTheTruth(t *testing.T) {
	custom := map[string]string{}
	for i := range 2000 {
		custom[fmt.Sprint(i)] = "v"
	}
	encode := func(m protobuf.Message) []byte { return must[[]byte](t)(protobuf.Marshal(m)) }
	var nodes []*pb.Node
	for i := range 500 {
		nodes = append(nodes, &pb.Node{Id: fmt.Sprint(i), NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{Content: strings.Repeat("x", 200)}}})
	}
	for name, c := range map[string]struct {
		into  protobuf.Message
		bytes []byte
	}{
		"empty nodes":   {&pb.BatchCreateNodesRequest{}, manyOf(1, 100_000)},
		"empty texts":   {&pb.BatchGetNodesRequest{}, manyOf(1, 100_000)},
		"empty edges":   {&pb.ImportRequest{}, manyOf(2, 100_000)},
		"a map":         {&pb.PromptMetadata{}, encode(&pb.PromptMetadata{Custom: custom})},
		"types":         {&pb.StreamEventsRequest{}, encode(&pb.StreamEventsRequest{EventTypes: make([]pb.EventType, 50_000)})},
		"nodes":         {&pb.BatchCreateNodesRequest{}, encode(&pb.BatchCreateNodesRequest{Nodes: nodes})},
		"one long text": {&pb.AddPromptRequest{}, encode(&pb.AddPromptRequest{Content: strings.Repeat("x", 1_000_000)})},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := protobuf.Unmarshal(c.bytes, c.into); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		got, truth := decodedSize(c.bytes, c.into.ProtoReflect().Descriptor(), maxFaultDepth), int(after.TotalAlloc-before.TotalAlloc)
		t.Logf("%s: %d bytes become %d, estimated %d", name, len(c.bytes), truth, got)
		if got < truth/3 || got > truth*3 {
			t.Errorf("%s: estimated %d, it was %d", name, got, truth)
		}
	}
}

// TestRequestsOfManySmallPartsAreRefused before they are decoded; what was taken for them is given back.
func TestRequestsOfManySmallPartsAreRefused(t *testing.T) {
	r := start(t)
	tooMany := &pb.BatchCreateNodesRequest{}
	if err := newCodec(r.server.budget).Unmarshal(mem.BufferSlice{mem.SliceBuffer(manyOf(1, 2_000_000))}, tooMany); err != nil {
		t.Fatal(err)
	}
	if len(tooMany.Nodes) != 0 || decodeFault(tooMany) != error(errTooMuch) {
		t.Errorf("%d nodes are decoded: %v", len(tooMany.Nodes), decodeFault(tooMany))
	}
	r.wantNothingTaken()
	err := calling(r.BatchCreateNodes, &pb.BatchCreateNodesRequest{Nodes: make([]*pb.Node, 300_000)})(r.ctx())
	refusedWith(t, err, codes.ResourceExhausted, errTooMuch.Message, "")
	err = calling(r.BatchCreateNodes, &pb.BatchCreateNodesRequest{Nodes: make([]*pb.Node, 20_000)})(r.ctx())
	refusedWith(t, err, codes.InvalidArgument, "", "nodes")
	r.wantNothingTaken()
}

func BenchmarkDecodedSize(b *testing.B) {
	var nodes []*pb.Node
	for i := range 100 {
		nodes = append(nodes, &pb.Node{Id: fmt.Sprint(i), NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{
			SessionId: "00000000-0000-4000-8000-000000000001", Content: strings.Repeat("x", 256),
		}}})
	}
	data, err := protobuf.Marshal(&pb.BatchCreateNodesRequest{Nodes: nodes})
	if err != nil {
		b.Fatal(err)
	}
	d := (&pb.BatchCreateNodesRequest{}).ProtoReflect().Descriptor()
	for b.Loop() {
		decodedSize(data, d, maxFaultDepth)
	}
}
