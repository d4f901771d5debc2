package rpc

import (
	"testing"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// TestARetryIsToldTheRecordAsItNowIs: also by a node that has not heard yet of what was acknowledged on another. Catching up is
// played by the barrier of the log.
func TestARetryIsToldTheRecordAsItNowIs(t *testing.T) {
	r := start(t)
	s := r.session()
	req := &pb.AddPromptRequest{SessionId: s.Id, Content: "first words"}
	p := must[*pb.PromptNode](t)(r.AddPrompt(r.ctx(keyIdempotency, "k"), req))
	changed := proto.CloneOf(p)
	changed.Content = "other words"
	elsewhere := must[[]byte](t)(encodeUpdate(&pb.Node{Id: p.Id, Type: pb.NodeType_NODE_TYPE_PROMPT, NodeData: &pb.Node_Prompt{Prompt: changed}}))
	r.log.set(func() {
		r.log.fault = func() error {
			r.log.fault = nil
			return r.log.applyLocked(elsewhere).Err
		}
	})
	again := must[*pb.PromptNode](t)(r.AddPrompt(r.ctx(keyIdempotency, "k"), req))
	if again.Id != p.Id || again.Content != changed.Content {
		t.Errorf("retry is told %v, want %v", again, changed)
	}
	_, err := r.AddPrompt(r.ctx(keyIdempotency, "k"), &pb.AddPromptRequest{SessionId: s.Id, Content: "another request"})
	refusedWith(t, err, codes.InvalidArgument, "", keyIdempotency)
}
