package client_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/client"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// answers is a client of three nodes that are never reached: what each call ends with is said by the test.
func answers(config client.Config) *client.Client {
	config.Addresses = func() []string { return []string{"a", "b", "c"} }
	config.Dial = func(address string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
		return grpc.NewClient("passthrough:///"+address, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	}
	return client.New(config)
}

func overloaded(t *testing.T) error {
	t.Helper()
	s, err := status.New(codes.ResourceExhausted, "later").WithDetails(&errdetails.RetryInfo{})
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

func TestWhatDecidesNothingIsSentAgain(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		again bool
	}{
		"unavailable":                {status.Error(codes.Unavailable, ""), true},
		"no answer in time":          {status.Error(codes.DeadlineExceeded, ""), true},
		"cancelled":                  {status.Error(codes.Canceled, ""), true},
		"come again later":           {overloaded(t), true},
		"too much, now and for ever": {status.Error(codes.ResourceExhausted, ""), false},
		"not found":                  {status.Error(codes.NotFound, ""), false},
		"internal":                   {status.Error(codes.Internal, ""), false},
		"aborted":                    {status.Error(codes.Aborted, ""), false},
		"done":                       {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			cl := answers(client.Config{Attempt: time.Second, Deadline: time.Minute})
			defer closed(t, cl)
			calls := 0
			o, err := cl.Call(t.Context(), func(context.Context, graphgrpc.MemoryGraphServiceClient) error {
				if calls++; calls == 1 {
					return c.err
				}
				return nil
			})
			if want := map[bool]int{true: 2, false: 1}[c.again]; o.Attempts != want || calls != want {
				t.Errorf("%d attempts, want %d", o.Attempts, want)
			}
			if !c.again && !errors.Is(err, c.err) || c.again && err != nil {
				t.Errorf("call ends with %v", err)
			}
		})
	}
}

func closed(t *testing.T, c *client.Client) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestEveryNodeIsTriedUntilTheDeadline: and the error says what they answered.
func TestEveryNodeIsTriedUntilTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := answers(client.Config{Attempt: time.Second, Deadline: 10 * time.Second})
		defer closed(t, cl)
		down := status.Error(codes.Unavailable, "down")
		o, err := cl.Call(t.Context(), func(context.Context, graphgrpc.MemoryGraphServiceClient) error { return down })
		if !errors.Is(err, client.ErrGaveUp) || !errors.Is(err, down) {
			t.Errorf("call ends with %v, want %v and %v", err, client.ErrGaveUp, down)
		}
		if took := time.Since(o.Began); took < 9*time.Second || took > 11*time.Second || o.Attempts < 9 {
			t.Errorf("gave up after %d attempts in %v", o.Attempts, took)
		}
	})
}

// TestANodeThatDoesNotAnswerIsShunned: for a while, by those who want that, and not when there is no other.
func TestANodeThatDoesNotAnswerIsShunned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := answers(client.Config{Attempt: time.Second, Deadline: time.Minute, Shun: 5 * time.Second})
		defer closed(t, cl)
		used := func(silent int) {
			calls := 0
			_, err := cl.Call(t.Context(), func(ctx context.Context, _ graphgrpc.MemoryGraphServiceClient) error {
				if calls++; calls <= silent {
					<-ctx.Done()
					return status.FromContextError(ctx.Err()).Err()
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		used(1)
		seen := make(map[string]bool)
		for range 50 {
			o, err := cl.Call(t.Context(), func(context.Context, graphgrpc.MemoryGraphServiceClient) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			seen[o.Address] = true
		}
		if len(seen) != 2 {
			t.Errorf("after one did not answer, calls went to %v", seen)
		}
		used(2) // the others, now none is left that answered
		used(0)
	})
}
