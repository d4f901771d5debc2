package graph

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Seams for the tests outside of the package.

// EncodeByReflection encodes without what is written out for single messages.
func EncodeByReflection(m proto.Message) []byte { return appendMessage(nil, m.ProtoReflect()) }

// Heads tells the head of a node as it is read from its bytes, and as the decoded node has it.
func Heads(n *pb.Node) (read, decoded string, err error) {
	h, err := NodeRecord{Position: 7, Wire: Encode(n)}.head()
	return fmt.Sprintf("%+v", h), fmt.Sprintf("%+v", headOf(n)), err
}

// HeadOfBytes reads the head of what may be no node.
func HeadOfBytes(wire []byte) error {
	_, err := NodeRecord{Position: 7, Wire: wire}.head()
	return err
}
