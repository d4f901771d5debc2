package rpc

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// A server listens before its node has replayed the log. The key of fingerprints is in there: what came in before it was
// known would get one that no retry has.
func TestCallsWaitForTheKeyOfTheCluster(t *testing.T) {
	blank := newBlankLog(t)
	r := startOn(t, blank)
	create := func(ctx context.Context) (*pb.Session, error) {
		return r.CreateSession(ctx, &pb.CreateSessionRequest{Metadata: map[string]string{"user": "ada"}})
	}
	early := make(chan *pb.Session, 1)
	go func() {
		s, err := create(r.ctx("idempotency-key", "k"))
		if err != nil {
			t.Error(err)
		}
		early <- s
	}()
	for _, consistency := range []string{"linearizable", "local"} {
		ctx, cancel := context.WithTimeout(r.ctx("memory-graph-consistency", consistency), 50*time.Millisecond)
		_, err := r.ListSessions(ctx, &pb.ListSessionsRequest{})
		cancel()
		if got := status.Code(err); got != codes.DeadlineExceeded {
			t.Errorf("a %s read before the first entry: %v, want DEADLINE_EXCEEDED", consistency, err)
		}
	}
	blank.boot(t)
	first := <-early
	again, err := create(r.ctx("idempotency-key", "k"))
	if err != nil {
		t.Fatal(err)
	}
	if first.GetId() == "" || first.GetId() != again.GetId() {
		t.Errorf("a retry made session %s, the first made %s", again.GetId(), first.GetId())
	}
}
