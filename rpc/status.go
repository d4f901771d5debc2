package rpc

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// domain is that of every ErrorInfo.
const domain = "memory-graph"

// answer is how a class of errors is told to a caller.
type answer struct {
	code codes.Code
	// reason is ErrorInfo.reason of an error that has none of its own.
	reason string
	// retry is when to try again, 0 for not at all.
	retry time.Duration
}

// kindAnswer is the row of a refusal.
func kindAnswer(k graph.Kind) answer {
	switch k {
	case graph.NotFound:
		return answer{codes.NotFound, "NOT_FOUND", 0}
	case graph.Invalid:
		return answer{codes.InvalidArgument, "INVALID_ARGUMENT", 0}
	case graph.Exists:
		return answer{codes.AlreadyExists, "ALREADY_EXISTS", 0}
	case graph.Precondition:
		return answer{codes.FailedPrecondition, "FAILED_PRECONDITION", 0}
	case graph.Stale:
		return answer{codes.Aborted, "STALE_REVISION", 0}
	case graph.Exhausted:
		return answer{codes.ResourceExhausted, "LIMIT_EXCEEDED", 0}
	case graph.OutOfRange:
		return answer{codes.OutOfRange, "OUT_OF_RANGE", 0}
	default:
		panic("rpc: no code for " + k.Error())
	}
}

// logAnswer is the row of an error of the log.
func logAnswer(k LogKind) answer {
	switch k {
	case NoLeader:
		return answer{codes.Unavailable, "NO_LEADER", time.Second}
	case Overloaded:
		return answer{codes.ResourceExhausted, "OVERLOADED", time.Second}
	case DiskReserve:
		return answer{codes.ResourceExhausted, "DISK_RESERVE", 30 * time.Second}
	case Stopping:
		return answer{codes.Unavailable, "STOPPING", time.Second}
	case Quarantined:
		return answer{codes.Unavailable, "NODE_QUARANTINED", time.Second}
	default:
		panic("rpc: no code for an error of the log")
	}
}

// memberAnswer is the row of what was not done with a member.
func memberAnswer(r MemberReason) answer {
	a := answer{reason: string(r)}
	switch r {
	case ReasonUnknownMember:
		a.code = codes.NotFound
	case ReasonUnreachable:
		a.code, a.retry = codes.Unavailable, time.Second
	case ReasonQuorum, ReasonMemberState:
		a.code = codes.FailedPrecondition
	case ReasonChanging:
		a.code, a.retry = codes.Aborted, time.Second
	default:
		panic("rpc: no code for " + string(r))
	}
	return a
}

// plainAnswers are the rows of errors that carry nothing but what they are, in the order in which they are tried.
func plainAnswers() []struct {
	is error
	answer
	message string // empty for the error's own
} {
	return []struct {
		is error
		answer
		message string
	}{
		{errOverBudget, answer{codes.ResourceExhausted, "OVERLOADED", time.Second}, ""},
		{errTooManyCalls, answer{codes.ResourceExhausted, "OVERLOADED", time.Second}, ""},
		{errManySnapshots, answer{codes.ResourceExhausted, "OVERLOADED", time.Second}, ""},
		{errStalled, answer{codes.ResourceExhausted, "READ_TOO_SLOWLY", 0}, ""},
		{context.DeadlineExceeded, answer{codes.DeadlineExceeded, "DEADLINE_EXCEEDED", 0}, ""},
		{context.Canceled, answer{codes.Canceled, "CANCELLED", 0}, "the call was cancelled"},
		{store.ErrClosed, answer{codes.Unavailable, "STOPPING", time.Second}, "this node is going down"},
		{errPanic, answer{codes.Internal, "INTERNAL", 0}, "internal error; the log of this node has it"},
	}
}

// damageMessage is all that a caller learns of what no input causes: the rest is in the log.
const damageMessage = "the store of this node is damaged or cannot be read; the log of this node has it"

var (
	errPanic   = errors.New("panic")
	errStalled = errors.New("the stream was read too slowly: it held a snapshot of the store meanwhile")
)

// asStatus turns the error of a call into what the caller gets. damaged tells that it came from the store of this node.
func asStatus(err error) (st error, damaged bool) {
	if err == nil {
		return nil, false
	}
	meta := metadataOf(err)
	var refusal *graph.Error
	if errors.As(err, &refusal) {
		return refused(refusal, meta), false
	}
	var log *LogError
	if errors.As(err, &log) && log.Kind != Interrupted {
		a := logAnswer(log.Kind)
		if log.RetryAfter > 0 {
			a.retry = log.RetryAfter
		}
		return build(a, log.Error(), a.reason, meta), false
	}
	var member *MemberError
	if errors.As(err, &member) {
		a := memberAnswer(member.Reason)
		return build(a, member.Error(), a.reason, meta, &errdetails.ResourceInfo{ResourceType: "member", ResourceName: clip(member.NodeID, maxFieldBytes)}), false
	}
	for _, p := range plainAnswers() {
		if errors.Is(err, p.is) {
			message := p.message
			if message == "" {
				message = err.Error()
			}
			return build(p.answer, message, p.reason, meta), false
		}
	}
	if given, ok := status.FromError(err); ok {
		return given.Err(), false // of gRPC itself, or of one of its services
	}
	return build(answer{code: codes.DataLoss}, damageMessage, "DATA_LOSS", meta), true
}

// metadataOf collects what an error and those that it wraps add to ErrorInfo.
func metadataOf(err error) map[string]string {
	meta := map[string]string{}
	var log *LogError
	if errors.As(err, &log) {
		meta["not_proposed"] = "false"
		if log.NotProposed {
			meta["not_proposed"] = "true"
		}
	}
	var noted *notedError
	if errors.As(err, &noted) {
		for k, v := range noted.notes {
			meta[k] = v
		}
	}
	return meta
}

// notedError adds to the ErrorInfo of an error.
type notedError struct {
	err   error
	notes map[string]string
}

func (e *notedError) Error() string { return e.err.Error() }
func (e *notedError) Unwrap() error { return e.err }

func refused(r *graph.Error, meta map[string]string) error {
	a := kindAnswer(r.Kind)
	reason := r.Reason
	if reason == "" {
		reason = a.reason
	}
	var details []protoadapt.MessageV1
	if r.Kind == graph.Invalid && r.Field != "" {
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: clip(r.Field, maxFieldBytes), Description: clip(r.Message, maxMessageBytes), Reason: reason},
		}})
	}
	if r.ResourceName != "" {
		details = append(details, &errdetails.ResourceInfo{ResourceType: r.ResourceType, ResourceName: clip(r.ResourceName, maxFieldBytes)})
	}
	return build(a, r.Message, reason, meta, details...)
}

// What an answer may take of the trailers, bytes: clients bound those too.
const (
	maxMessageBytes = 2 << 10
	maxFieldBytes   = 512
)

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// build makes a status with an ErrorInfo, a RetryInfo when a retry makes sense, and more details.
func build(a answer, message, reason string, meta map[string]string, details ...protoadapt.MessageV1) error {
	details = append([]protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: reason, Domain: domain, Metadata: meta}}, details...)
	if a.retry > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(a.retry)})
	}
	st := status.New(a.code, clip(message, maxMessageBytes))
	if with, err := st.WithDetails(details...); err == nil {
		st = with
	}
	return st.Err()
}

// codeName is the label of a call's outcome: `OK`, `NotFound`.
func codeName(err error) string { return status.Code(err).String() }

// notFound is the refusal of an id that names nothing.
func notFound(resource, label, id string) error {
	return &graph.Error{Kind: graph.NotFound, Message: label + " not found: " + id, ResourceType: resource, ResourceName: id}
}
