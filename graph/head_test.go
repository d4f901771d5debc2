package graph_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// TestHeadIsThatOfTheNode: what is read without decoding is what decoding gives, and bytes that are no node are an error
// to both.
func TestHeadIsThatOfTheNode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := &pb.Node{}
		fill(t, n.ProtoReflect(), 3)
		read, decoded, err := graph.Heads(n)
		if err != nil || read != decoded {
			t.Fatalf("read %s, decoded %s, %v", read, decoded, err)
		}
		wire := graph.Encode(n)
		cut := wire[:rapid.IntRange(0, len(wire)).Draw(t, "cut")]
		if err := graph.HeadOfBytes(cut); (err == nil) != (proto.Unmarshal(cut, &pb.Node{}) == nil) {
			t.Fatalf("%x of %x: %v", cut, wire, err)
		}
	})
	if err := graph.HeadOfBytes([]byte{0xff}); err == nil || !strings.Contains(err.Error(), "node at position 7") {
		t.Errorf("damaged bytes: %v", err)
	}
}
