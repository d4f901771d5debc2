package client

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// TestJudge: what may have happened is never repeated without a key, and known as such.
func TestJudge(t *testing.T) {
	make := func(c codes.Code, notProposed string, retry bool) error {
		var details []protoadapt.MessageV1
		if notProposed != "" {
			details = append(details, &errdetails.ErrorInfo{Domain: domain, Metadata: map[string]string{"not_proposed": notProposed}})
		}
		if retry {
			details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
		}
		s, err := status.New(c, "x").WithDetails(details...)
		if err != nil {
			t.Fatal(err)
		}
		return s.Err()
	}
	tooLarge, err := status.New(codes.ResourceExhausted, "x").WithDetails(&errdetails.ErrorInfo{Domain: domain, Reason: "REQUEST_TOO_LARGE"})
	if err != nil {
		t.Fatal(err)
	}
	const sent, keyed = true, true
	for name, c := range map[string]struct {
		kind        kind
		keyed, sent bool
		err         error
		again, lost bool
	}{
		"a change with a key is lost":             {writes, keyed, sent, make(codes.Unavailable, "", false), true, true},
		"a change without a key is lost":          {writes, !keyed, sent, make(codes.Unavailable, "", false), false, true},
		"another call is lost":                    {other, !keyed, sent, make(codes.Unavailable, "", false), false, true},
		"another call did not leave":              {other, !keyed, !sent, make(codes.Unavailable, "", false), true, false},
		"another call was surely not proposed":    {other, !keyed, sent, make(codes.Unavailable, "true", true), true, false},
		"another call may have been proposed":     {other, !keyed, sent, make(codes.Unavailable, "false", true), false, true},
		"another call is refused for overload":    {other, !keyed, sent, make(codes.ResourceExhausted, "", true), true, false},
		"overload, and nobody knows":              {other, !keyed, sent, make(codes.ResourceExhausted, "false", true), false, true},
		"a message is too long for gRPC":          {writes, keyed, sent, make(codes.ResourceExhausted, "", false), false, true},
		"a change is too large":                   {writes, keyed, sent, tooLarge.Err(), false, false},
		"a read is lost":                          {reads, !keyed, sent, make(codes.Unavailable, "", false), true, false},
		"a change has run into the server's time": {writes, keyed, sent, make(codes.DeadlineExceeded, "false", false), false, true},
		"a change waited in vain for its turn":    {writes, !keyed, sent, make(codes.DeadlineExceeded, "true", false), true, false},
		"a change is refused":                     {writes, keyed, sent, make(codes.NotFound, "", false), false, false},
		"something else":                          {writes, keyed, sent, errors.New("x"), false, true},
	} {
		if v := judge(c.kind, c.keyed, c.sent, c.err); v.again != c.again || v.lost != c.lost {
			t.Errorf("%s: again %t, lost %t; want %t, %t", name, v.again, v.lost, c.again, c.lost)
		}
	}
}

func TestPausesGrowToABound(t *testing.T) {
	for attempts := 1; attempts < 200; attempts++ {
		if d := backoff(attempts); d < 0 || d > lastPause || attempts == 1 && d > firstPause {
			t.Errorf("attempt %d: %v", attempts, d)
		}
	}
}
