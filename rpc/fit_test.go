package rpc

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// TestANodeThatIsNotFitAnswersNothingOfItsState: neither calls that ask for no fresh state nor streams that are open. It tells how it is.
func TestANodeThatIsNotFitAnswersNothingOfItsState(t *testing.T) {
	fit, end := context.WithCancelCause(context.Background())
	r := start(t, func(c *Config) { c.Fit = fit })
	session := r.session()
	events, err := r.StreamEvents(r.ctx(), &pb.StreamEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := events.Header(); err != nil {
		t.Fatal(err)
	}
	r.log.set(func() {
		r.log.ready = &LogError{Kind: Quarantined, NotProposed: true, Err: errors.New("its state is wrong")}
	})
	end(errors.New("its state is wrong"))

	refused := func(what string, err error) {
		t.Helper()
		st := status.Convert(err)
		if st.Code() != codes.Unavailable || st.Message() != "its state is wrong" {
			t.Errorf("%s: got %v", what, err)
		}
	}
	_, err = r.GetSession(r.ctx("memory-graph-consistency", "local"), &pb.GetSessionRequest{SessionId: session.Id})
	refused("a read of what is there", err)
	_, err = r.CreateSession(r.ctx(), &pb.CreateSessionRequest{})
	refused("a write", err)
	_, err = events.Recv()
	refused("a stream that is open", err)
	again, err := r.StreamEvents(r.ctx(), &pb.StreamEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = again.Recv()
	refused("another stream", err)

	if h, err := r.Health(r.ctx(), &emptypb.Empty{}); err != nil || h.Status != pb.HealthResponse_NOT_SERVING {
		t.Errorf("health: %v, %v", h, err)
	}
	h, err := grpc_health_v1.NewHealthClient(r.conn).Check(r.ctx(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil || h.Status != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("grpc health: %v, %v", h, err)
	}
}
