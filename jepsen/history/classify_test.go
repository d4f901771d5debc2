package history

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// answer is an error as the server makes it; proposed is what it says of the log, if anything.
func answer(t *testing.T, code codes.Code, reason, proposed string) error {
	t.Helper()
	info := &errdetails.ErrorInfo{Domain: "memory-graph", Reason: reason}
	if proposed != "" {
		info.Metadata = map[string]string{notProposed: proposed}
	}
	s, err := status.New(code, "m").WithDetails(&errdetails.RetryInfo{}, info)
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

func TestErrorsAreClassified(t *testing.T) {
	for _, c := range []struct {
		err      error
		want     Type
		describe string
		decided  bool
	}{
		{nil, OK, "", false},
		{answer(t, codes.InvalidArgument, "IDEMPOTENCY_KEY_REUSED", ""), Fail, "INVALID_ARGUMENT IDEMPOTENCY_KEY_REUSED: m", true},
		{answer(t, codes.NotFound, "NOT_FOUND", ""), Fail, "NOT_FOUND: m", true},
		{answer(t, codes.NotFound, "RESULT_SINCE_DELETED", ""), OK, "NOT_FOUND RESULT_SINCE_DELETED: m", false},
		{answer(t, codes.AlreadyExists, "ALREADY_EXISTS", ""), Fail, "ALREADY_EXISTS: m", true},
		{answer(t, codes.FailedPrecondition, "SESSION_CLOSED", ""), Fail, "FAILED_PRECONDITION SESSION_CLOSED: m", true},
		{answer(t, codes.PermissionDenied, "P", ""), Fail, "PERMISSION_DENIED P: m", true},
		{answer(t, codes.Unauthenticated, "U", ""), Fail, "UNAUTHENTICATED U: m", false},
		{answer(t, codes.Aborted, "STALE_REVISION", ""), Fail, "ABORTED STALE_REVISION: m", true},
		{answer(t, codes.OutOfRange, "EVENTS_TRIMMED", ""), Fail, "OUT_OF_RANGE EVENTS_TRIMMED: m", true},
		{status.Error(codes.Unimplemented, "m"), Fail, "UNIMPLEMENTED: m", false},
		{answer(t, codes.ResourceExhausted, "OVERLOADED", "true"), Fail, "RESOURCE_EXHAUSTED OVERLOADED not_proposed: m", false},
		{answer(t, codes.ResourceExhausted, "REQUEST_TOO_LARGE", ""), Fail, "RESOURCE_EXHAUSTED REQUEST_TOO_LARGE: m", false},
		{answer(t, codes.ResourceExhausted, "DISK_RESERVE", "false"), Info, "RESOURCE_EXHAUSTED DISK_RESERVE: m", false},
		{status.Error(codes.ResourceExhausted, "m"), Info, "RESOURCE_EXHAUSTED: m", false},
		{answer(t, codes.Unavailable, "NO_LEADER", "true"), Fail, "UNAVAILABLE NO_LEADER not_proposed: m", false},
		{answer(t, codes.Unavailable, "NO_LEADER", "false"), Info, "UNAVAILABLE NO_LEADER: m", false},
		{status.Error(codes.Unavailable, "m"), Info, "UNAVAILABLE: m", false},
		{answer(t, codes.DeadlineExceeded, "DEADLINE_EXCEEDED", "true"), Fail, "DEADLINE_EXCEEDED not_proposed: m", false},
		{status.Error(codes.DeadlineExceeded, "m"), Info, "DEADLINE_EXCEEDED: m", false},
		{status.Error(codes.Canceled, "m"), Info, "CANCELLED: m", false},
		{status.Error(codes.Internal, "m"), Info, "INTERNAL: m", false},
		{status.Error(codes.DataLoss, "m"), Info, "DATA_LOSS: m", false},
		{context.DeadlineExceeded, Info, "UNKNOWN: context deadline exceeded", false},
		{errors.New("m"), Info, "UNKNOWN: m", false},
	} {
		got, said := Classify(c.err), Describe(c.err)
		if got != c.want || said != c.describe {
			t.Errorf("%v is %s and %q, want %s and %q", c.err, got, said, c.want, c.describe)
		}
		o := Op{Type: got, Error: said}
		if o.Decided() != c.decided {
			t.Errorf("%q: decided is %v, want %v", said, o.Decided(), c.decided)
		}
		if want := status.Code(c.err); c.err != nil && o.Code() != codeName(want) {
			t.Errorf("%q: the code is %q, want %q", said, o.Code(), codeName(want))
		}
	}
}
