package history

import (
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// notProposed is where the server says whether the change may still come: "true" when it surely will not. docs/ERRORS.md tells.
const notProposed = "not_proposed"

// sinceDeleted is the reason of a retry whose request took effect, but whose record is gone.
const sinceDeleted = "RESULT_SINCE_DELETED"

// Classify says how a write ended. A wrong answer here either hides a bug or invents one: what is not known to be decided is Info.
func Classify(err error) Type {
	if err == nil {
		return OK
	}
	s := status.Convert(err)
	info := errorInfo(s)
	if told, ok := info.GetMetadata()[notProposed]; ok {
		if told == "true" {
			return Fail
		}
		return Info
	}
	switch s.Code() {
	case codes.NotFound:
		if info.GetReason() == sinceDeleted {
			return OK
		}
		return Fail
	case codes.InvalidArgument, codes.AlreadyExists, codes.PermissionDenied, codes.Unauthenticated, codes.FailedPrecondition,
		codes.Aborted, codes.OutOfRange, codes.Unimplemented:
		return Fail
	case codes.ResourceExhausted:
		// One without details is gRPC's, about a message that is too long: that may be the reply.
		if info != nil {
			return Fail
		}
		return Info
	}
	return Info
}

// Decided says whether an answer came from the rules of the graph: the log or the checks before it refused the request as such, and would
// again. Other failures are about the moment.
func (o Op) Decided() bool {
	switch o.Code() {
	case "NOT_FOUND", "INVALID_ARGUMENT", "ALREADY_EXISTS", "PERMISSION_DENIED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE":
		return o.Type == Fail
	}
	return false
}

// Describe writes an error as `CODE: message`, with `REASON` after the code when there is one and `not_proposed` when the server said so.
func Describe(err error) string {
	if err == nil {
		return ""
	}
	s := status.Convert(err)
	info := errorInfo(s)
	words := []string{codeName(s.Code())}
	if reason := info.GetReason(); reason != "" && reason != words[0] {
		words = append(words, reason)
	}
	if info.GetMetadata()[notProposed] == "true" {
		words = append(words, notProposed)
	}
	return fmt.Sprintf("%s: %s", strings.Join(words, " "), s.Message())
}

func errorInfo(s *status.Status) *errdetails.ErrorInfo {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	return nil
}

// codeName is the name of a code as documents write it: NOT_FOUND for NotFound.
func codeName(code codes.Code) string {
	if code == codes.Canceled {
		return "CANCELLED"
	}
	var b strings.Builder
	name := code.String()
	for i, letter := range name {
		if i > 0 && letter >= 'A' && letter <= 'Z' && name[i-1] >= 'a' {
			b.WriteByte('_')
		}
		b.WriteRune(letter)
	}
	return strings.ToUpper(b.String())
}
