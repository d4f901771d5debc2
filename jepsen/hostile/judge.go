package hostile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// precise are the codes that say what is wrong with a message, or that nothing is.
var precise = []codes.Code{
	codes.OK, codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.ResourceExhausted,
	codes.OutOfRange, codes.Aborted,
}

const (
	// maxBody is what a message may have; above it gRPC answers, without details.
	maxBody = 4 << 20
	// maxTold is how long the message of an error may be: it travels in a header.
	maxTold = 4 << 10
	// malformed begins the answer to bytes in which no field can be blamed.
	malformed = "the request is not a valid protobuf message"
)

// judge says what is wrong with an answer, nil when nothing is. hurried calls may run out of time.
func judge(m method, bodies [][]byte, hurried bool, a answer) error {
	code := a.code()
	if hurried && code == codes.DeadlineExceeded {
		return nil // perhaps told by the client itself
	}
	if !slices.Contains(precise, code) {
		return fmt.Errorf("%v does not say what is wrong", code)
	}
	large := slices.ContainsFunc(bodies, func(b []byte) bool { return len(b) > maxBody })
	if large && code == codes.ResourceExhausted {
		return nil
	}
	for _, key := range []string{"memory-graph-revision", "memory-graph-lineage"} {
		if len(a.told.Get(key)) == 0 {
			return fmt.Errorf("the reply has no header %s", key)
		}
	}
	if code == codes.OK {
		return nil
	}
	return judgeDetails(m, status.Convert(a.err))
}

func judgeDetails(m method, s *status.Status) error {
	var info *errdetails.ErrorInfo
	var fields []string
	retry := false
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				fields = append(fields, v.GetField())
			}
		case *errdetails.RetryInfo:
			retry = true
		}
	}
	switch {
	case info.GetDomain() != "memory-graph" || info.GetReason() == "":
		return fmt.Errorf("%v has no reason: %v", s.Code(), s.Details())
	case len(s.Message()) == 0 || len(s.Message()) > maxTold:
		return fmt.Errorf("its message has %d bytes", len(s.Message()))
	case info.GetReason() == "OVERLOADED" && !retry:
		return errors.New("OVERLOADED does not say when to retry")
	case s.Code() != codes.InvalidArgument, strings.HasPrefix(s.Message(), malformed):
		return nil
	case len(fields) == 0:
		return errors.New("INVALID_ARGUMENT names no field")
	}
	for _, field := range fields {
		if !slices.Contains(names, field) && !inMessage(m.input, field) {
			return fmt.Errorf("field %q is none of %s", field, m.input.FullName())
		}
	}
	return nil
}

// inMessage reports whether a path names a field of a message, an element of a list or an entry of a map.
func inMessage(d protoreflect.MessageDescriptor, path string) bool {
	end := strings.IndexAny(path, ".[")
	if end < 0 {
		end = len(path)
	}
	if d.Oneofs().ByName(protoreflect.Name(path)) != nil {
		return true
	}
	f := d.Fields().ByName(protoreflect.Name(path[:end]))
	rest := path[end:]
	switch {
	case f == nil:
		return false
	case rest == "" || f.IsMap(): // the key of a map may have dots and brackets
		return true
	case f.IsList() && rest[0] == '[':
		closing := strings.IndexByte(rest, ']')
		if closing < 0 {
			return false
		}
		rest = rest[closing+1:]
	}
	switch {
	case rest == "":
		return true
	case rest[0] != '.' || f.Message() == nil:
		return false
	}
	return inMessage(f.Message(), rest[1:])
}
