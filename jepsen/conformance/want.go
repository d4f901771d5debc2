package conformance

import (
	"slices"
	"strings"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
)

// must is for calls that have to succeed: must(client.Call(ctx, request))(t).
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatalf("call was refused: %v", err)
		}
		return value
	}
}

// refusal is for calls that have to fail: refusal(client.Call(ctx, request))(t, code, words of the message).
func refusal[T any](_ T, err error) func(*testing.T, codes.Code, ...string) *status.Status {
	return func(t *testing.T, want codes.Code, words ...string) *status.Status {
		t.Helper()
		return wantStatus(t, err, want, words...)
	}
}

// invalid is for calls that have to be INVALID_ARGUMENT and name a field.
func invalid[T any](_ T, err error) func(*testing.T, string, ...string) {
	return func(t *testing.T, field string, words ...string) {
		t.Helper()
		got := wantStatus(t, err, codes.InvalidArgument, words...)
		wantField(t, got, field)
	}
}

func wantStatus(t *testing.T, err error, want codes.Code, words ...string) *status.Status {
	t.Helper()
	got := status.Convert(err)
	if got.Code() != want {
		t.Fatalf("answer is %v %q, want %v", got.Code(), got.Message(), want)
	}
	for _, word := range words {
		if !strings.Contains(got.Message(), word) {
			t.Errorf("message %q does not say %q", got.Message(), word)
		}
	}
	return got
}

func wantField(t *testing.T, got *status.Status, field string) {
	t.Helper()
	found := violations(got)
	for _, v := range found {
		if strings.Contains(v.GetField(), field) {
			return
		}
	}
	t.Errorf("violations %v of %q do not name the field %s", found, got.Message(), field)
}

func wantReason(t *testing.T, got *status.Status, reason string) {
	t.Helper()
	for _, detail := range got.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetReason() == reason {
			return
		}
	}
	t.Errorf("details %v of %v %q do not give the reason %s", got.Details(), got.Code(), got.Message(), reason)
}

// wantEqual compares values that may hold messages.
func wantEqual(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// wantUnordered compares messages whose order is not promised.
func wantUnordered[T any](t *testing.T, what string, want, got []T, key func(T) string) {
	t.Helper()
	order := func(a, b T) int { return strings.Compare(key(a), key(b)) }
	want, got = slices.Clone(want), slices.Clone(got)
	slices.SortFunc(want, order)
	slices.SortFunc(got, order)
	wantEqual(t, what, want, got)
}

func nodeIDs(nodes []*graphpb.Node) []string {
	ids := make([]string, len(nodes))
	for i, node := range nodes {
		ids[i] = node.GetId()
	}
	return ids
}

func edgeIDs(edges []*graphpb.Edge) []string {
	ids := make([]string, len(edges))
	for i, edge := range edges {
		ids[i] = edge.GetId()
	}
	return ids
}

func sessionIDs(sessions []*graphpb.Session) []string {
	ids := make([]string, len(sessions))
	for i, session := range sessions {
		ids[i] = session.GetId()
	}
	return ids
}

func reversed[T any](values []T) []T {
	out := slices.Clone(values)
	slices.Reverse(out)
	return out
}
