package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
)

// ErrClosed is why calls fail after Close.
var ErrClosed = errors.New("the client is closed")

// errSilent cuts off the calls of a node that gives no sign of life.
var errSilent = errors.New("the node gives no sign of life")

// errAside moves streams of events away from a node that no longer serves.
var errAside = errors.New("the node no longer serves")

// domain is that of the ErrorInfo of every error of a server of ours.
const domain = "memory-graph"

// Attempts are what one address has said to a call.
type Attempts struct {
	// Address is that of the node, as it was dialled.
	Address string
	// Times is how often it was asked in this call; 0 when it could not be reached.
	Times int
	// Err is the last that it said, or why it could not be reached.
	Err error
}

// An Error is why a call has failed, of all that a [Client] returns. status.FromError and status.Code see the last answer of a
// server, details included, with the code DEADLINE_EXCEEDED or CANCELLED when the caller's time was up. errors.As finds
// *[EventsTrimmedError], *[EventNotYetError] and *[LineageChangedError] in it, errors.Is the error of the context.
type Error struct {
	// Method is the short name of the call, `AddPrompt`.
	Method string
	// Tried are the addresses, in the order in which they were tried first.
	Tried []Attempts
	// MayHaveHappened says that the change may have taken effect, or may yet: some attempt was lost. It is false for calls that change nothing.
	MayHaveHappened bool
	// IdempotencyKey is what the call was sent with, "" for none. The same request with it again takes effect once.
	IdempotencyKey string
	// Delivered is how many messages of a stream the caller has received.
	Delivered int

	status *status.Status
	// cause is the error of the context, or one of ours; nil when the last answer says it all.
	cause error
	// last is the last answer, typed what it stands for.
	last, typed error
}

// GRPCStatus is what status.FromError finds.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// Unwrap lets errors.Is and errors.As see what is behind it.
func (e *Error) Unwrap() []error {
	var all []error
	for _, err := range []error{e.cause, e.typed, e.last} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s (%s)", e.Method, e.status.Message(), e.status.Code())
	if !e.toldByStatus() {
		b.WriteString(e.tried())
	}
	if e.MayHaveHappened {
		b.WriteString("; it may have taken effect")
	}
	return b.String()
}

// toldByStatus reports that the message of the status names the addresses itself.
func (e *Error) toldByStatus() bool { return e.cause != nil }

// tried lists the addresses: ` [10.0.0.1:50051: Unavailable: going down, 2 times; …]`.
func (e *Error) tried() string {
	if len(e.Tried) == 0 {
		return ""
	}
	var all []string
	for _, a := range e.Tried {
		text := a.Address + ": " + told(a.Err)
		if a.Times > 1 {
			text += fmt.Sprintf(", %d times", a.Times)
		}
		all = append(all, text)
	}
	return " [" + strings.Join(all, "; ") + "]"
}

func told(err error) string {
	if err == nil {
		return "no answer"
	}
	if s, ok := status.FromError(err); ok {
		return s.Code().String() + ": " + s.Message()
	}
	return err.Error()
}

// conclude fills in status, cause and typed of an error: last is the last answer, nil for none; cause why there are no more.
func (e *Error) conclude(last error, cause error) *Error {
	e.cause, e.last = cause, last
	var s *status.Status
	if last != nil {
		s = status.Convert(last)
		e.typed = typedOf(s)
	}
	if cause == nil {
		e.status = s
		return e
	}
	code := codes.Unavailable
	switch {
	case errors.Is(cause, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	case errors.Is(cause, context.Canceled), errors.Is(cause, ErrClosed):
		code = codes.Canceled
	case s != nil && s.Code() != codes.OK:
		code = s.Code()
	}
	end := status.New(code, cause.Error()+e.tried())
	if s != nil {
		end = withDetails(end, s)
	}
	e.status = end
	return e
}

// withDetails takes over the details of an answer: its reason, and when to try again.
func withDetails(s, from *status.Status) *status.Status {
	var details []protoadapt.MessageV1
	for _, d := range from.Details() {
		if m, ok := d.(protoadapt.MessageV1); ok {
			details = append(details, m)
		}
	}
	if with, err := s.WithDetails(details...); err == nil {
		return with
	}
	return s
}

// EventsTrimmedError ends a stream of events that cannot go on without a gap: what comes next is no longer kept.
type EventsTrimmedError struct {
	// OldestEventID is the oldest event that is still kept; "" when there is none.
	OldestEventID string
}

func (e *EventsTrimmedError) Error() string {
	if e.OldestEventID == "" {
		return "the next events are no longer kept"
	}
	return "the next events are no longer kept; the oldest is " + e.OldestEventID
}

// EventNotYetError refuses to go on after an event of this history that has not happened.
type EventNotYetError struct{}

func (*EventNotYetError) Error() string { return "the event has not happened yet" }

// LineageChangedError refuses a place, an event id or a page token, of a history that ended when the graph was restored or
// recovered. Whoever keeps a copy starts over.
type LineageChangedError struct {
	// Current is the lineage of the graph now, 8 hexadecimal digits.
	Current string
}

func (e *LineageChangedError) Error() string {
	return "the graph was restored or recovered and is of lineage " + e.Current + " now; start over"
}

// typedOf is the typed error that a status stands for; nil for none.
func typedOf(s *status.Status) error {
	info := infoOf(s)
	switch info.GetReason() {
	case "EVENTS_TRIMMED":
		return &EventsTrimmedError{OldestEventID: info.GetMetadata()["oldest_event_id"]}
	case "EVENT_NOT_YET":
		return &EventNotYetError{}
	case "LINEAGE_CHANGED":
		return &LineageChangedError{Current: info.GetMetadata()["lineage"]}
	default:
		return nil
	}
}

// infoOf is the ErrorInfo of a server of ours; nil when it has none, or is not ours.
func infoOf(s *status.Status) *errdetails.ErrorInfo {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == domain {
			return info
		}
	}
	return nil
}

// retryAfter is when a server says that a retry makes sense; ok is false when it does not.
func retryAfter(s *status.Status) (after time.Duration, ok bool) {
	for _, d := range s.Details() {
		if info, is := d.(*errdetails.RetryInfo); is {
			return max(info.GetRetryDelay().AsDuration(), 0), true
		}
	}
	return 0, false
}
