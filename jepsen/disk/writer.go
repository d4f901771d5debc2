package disk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// What a prompt has, characters.
const leastContent, mostContent = 2 << 10, 24 << 10

var (
	errRefused = errors.New("refused for want of room")
	errLost    = errors.New("acknowledged, and not there as it was written")
)

// writer adds prompts to a session of its own, one after the other.
type writer struct {
	name    string
	seed    uint64
	session string
	// kept are the ids of the acknowledged prompts by their numbers; refused those that surely are not there.
	kept    map[uint64]string
	refused map[uint64]bool
	next    uint64
	// pending: nobody knows what became of prompt next.
	pending bool
}

func newWriter(seed uint64, number int) *writer {
	return &writer{name: fmt.Sprintf("%x-%d", seed, number), seed: seed + uint64(number)<<32, kept: map[uint64]string{}, refused: map[uint64]bool{}}
}

// content of prompt number n, which does not compress.
func (w *writer) content(n uint64) string {
	r := rand.New(rand.NewPCG(w.seed, n))
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%d ", w.name, n)
	for size := leastContent + r.IntN(mostContent-leastContent); b.Len() < size; {
		fmt.Fprintf(&b, "%016x", r.Uint64())
	}
	return b.String()
}

func (w *writer) keyed(ctx context.Context, n uint64) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "idempotency-key", fmt.Sprintf("%s/%d", w.name, n))
}

func (w *writer) open(ctx context.Context, client graphgrpc.MemoryGraphServiceClient) error {
	s, err := client.CreateSession(ctx, &pb.CreateSessionRequest{})
	if err != nil {
		return err
	}
	w.session = s.GetId()
	return nil
}

// write adds one prompt. errRefused says that there was no room, and how it was said is checked; an error of a server that is
// gone leaves the write pending; any other is a failure.
func (w *writer) write(ctx context.Context, client graphgrpc.MemoryGraphServiceClient, dataDir string) error {
	n := w.next
	reply, err := client.AddPrompt(w.keyed(ctx, n), &pb.AddPromptRequest{SessionId: w.session, Content: w.content(n)})
	switch status.Code(err) {
	case codes.OK:
		w.kept[n] = reply.GetId()
		delete(w.refused, n)
		w.next, w.pending = n+1, false
		return nil
	case codes.ResourceExhausted:
		surely, err := refusedWell(err, dataDir)
		if err != nil {
			return err
		}
		w.pending = w.pending || !surely
		if !w.pending {
			w.refused[n] = true
			w.next = n + 1
		}
		return errRefused
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		w.pending = true
		return err
	}
	return fmt.Errorf("prompt %d: %w", n, err)
}

// refusedWell checks what a program and a person need: the reason, whether the write surely did not happen, when to come
// again, the folder.
func refusedWell(err error, dataDir string) (surely bool, bad error) {
	var info *errdetails.ErrorInfo
	var retry *errdetails.RetryInfo
	for _, d := range status.Convert(err).Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *errdetails.RetryInfo:
			retry = d
		}
	}
	if info.GetReason() != "DISK_RESERVE" || retry == nil || !strings.Contains(err.Error(), dataDir) {
		return false, fmt.Errorf("refused in a way that does not help: %w, %v, %v", err, info, retry)
	}
	return info.GetMetadata()["not_proposed"] == "true", nil
}

// verify reads every acknowledged prompt, and counts: what was refused must not be there.
func (w *writer) verify(ctx context.Context, client graphgrpc.MemoryGraphServiceClient) error {
	for n, id := range w.kept {
		node, err := client.GetNode(ctx, &pb.GetNodeRequest{NodeId: id})
		if err != nil {
			return fmt.Errorf("prompt %d, %s: %w: %w", n, id, errLost, err)
		}
		if node.GetPrompt().GetContent() != w.content(n) || node.GetPrompt().GetSessionId() != w.session {
			return fmt.Errorf("prompt %d, %s: %w: other content", n, id, errLost)
		}
	}
	page, err := client.Query(ctx, &pb.QueryRequest{SessionId: &w.session, NodeType: pb.NodeType_NODE_TYPE_PROMPT.Enum(), Limit: 1})
	if err != nil {
		return err
	}
	got, want := page.GetTotalCount(), int64(len(w.kept))
	if got != want && !(w.pending && got == want+1) {
		return fmt.Errorf("session %s has %d prompts, %d were acknowledged: %w", w.session, got, len(w.kept), errLost)
	}
	return nil
}
