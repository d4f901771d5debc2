package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// explain says what went wrong and, where there is something to do about it, what to do next.
func explain(err error) string {
	s, attempt, ok := remote(err)
	if errors.Is(err, context.Canceled) || ok && s.Code() == codes.Canceled {
		return "interrupted"
	}
	if !ok {
		return printable(strings.ReplaceAll(err.Error(), "\n", "; ")) // one line for errors that were joined
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s (%s)", printable(attempt), printable(s.Message()), s.Code())
	for _, d := range s.Details() {
		b.WriteString(detail(d))
	}
	if next := advice(s); next != "" {
		b.WriteString("\n" + next)
	}
	return b.String()
}

// remote finds the status that a server, or gRPC on its behalf, answered with, and what was attempted.
func remote(err error) (s *status.Status, attempt string, ok bool) {
	var answered interface {
		error
		GRPCStatus() *status.Status
	}
	if !errors.As(err, &answered) {
		return nil, "", false
	}
	if before, whole := strings.CutSuffix(err.Error(), answered.Error()); whole {
		attempt = before
	}
	return answered.GRPCStatus(), attempt, true
}

func detail(d any) string {
	var b strings.Builder
	switch d := d.(type) {
	case *errdetails.BadRequest:
		for _, v := range d.GetFieldViolations() {
			fmt.Fprintf(&b, "\n  %s: %s", printable(v.GetField()), printable(v.GetDescription()))
		}
	case *errdetails.ErrorInfo:
		fmt.Fprintf(&b, "\n  reason: %s", printable(d.GetReason()))
	case *errdetails.RetryInfo:
		fmt.Fprintf(&b, "\n  retry after: %s", d.GetRetryDelay().AsDuration())
	case *errdetails.ResourceInfo:
		fmt.Fprintf(&b, "\n  resource: %s %s", printable(d.GetResourceType()), printable(d.GetResourceName()))
	}
	return b.String()
}

// reasonOf is why the server says that it refused, in the words of docs/ERRORS.md; empty where it does not say.
func reasonOf(s *status.Status) string {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// exhausted is what to do when something is used up: what it is, the reason says.
func exhausted(reason string) string {
	switch reason {
	case "READ_TOO_SLOWLY":
		return "what reads it is slower than the server waits; write to a file (of export: -o FILE), or ask for parts: --session, --since, --limit"
	case "DISK_RESERVE":
		return "make room on the server's disk; until then it only reads"
	case "OVERLOADED":
		return "the server has too much to do; try again a little later"
	case "REQUEST_TOO_LARGE":
		return "send less at a time"
	default:
		return "ask for less (--limit), or try again a little later"
	}
}

// memberAdvice is what to do when something was not done with a member.
func memberAdvice(reason string) string {
	switch reason {
	case "QUORUM_AT_RISK", "MEMBER_UNREACHABLE":
		return "see what is wrong with: memory-graph cluster health"
	case "UNKNOWN_MEMBER", "MEMBER_STATE":
		return "see who belongs to the cluster, and how, with: memory-graph cluster members"
	case "CHANGE_UNDER_WAY":
		return "one change at a time: try again a little later"
	case "NODE_QUARANTINED":
		return "this node must be made anew (docs/CHECK.md); name another one with --address"
	case "NO_LEADER":
		return "see who can lead with: memory-graph cluster health"
	}
	return ""
}

// advice is what to do about an error of that kind.
func advice(s *status.Status) string {
	if next := memberAdvice(reasonOf(s)); next != "" {
		return next
	}
	switch s.Code() {
	case codes.Unavailable:
		return "is the server running? start one with: memory-graph dev, or name another with --address"
	case codes.DeadlineExceeded:
		return "the answer took too long; allow more with --timeout, or see how the server is with: memory-graph health"
	case codes.NotFound:
		return "see what there is with: memory-graph session list, or: memory-graph query"
	case codes.AlreadyExists:
		return "the stored record differs, and nothing is ever overwritten; look at it with: memory-graph node get ID"
	case codes.Aborted:
		return "it has changed meanwhile; read it again with: memory-graph node get ID, and repeat the change"
	case codes.ResourceExhausted:
		return exhausted(reasonOf(s))
	case codes.FailedPrecondition:
		return "the state does not allow it; see: memory-graph session get ID, or: memory-graph node get ID"
	case codes.Unauthenticated, codes.PermissionDenied:
		return "the server wants other credentials for this"
	case codes.OutOfRange:
		return "these events are gone; start with what is there: memory-graph events"
	case codes.Unimplemented:
		return "the server does not know this call; compare versions with: memory-graph version, and: memory-graph health"
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return "this should not happen; the server's log says more"
	default:
		return ""
	}
}
