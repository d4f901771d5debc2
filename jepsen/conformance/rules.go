package conformance

import (
	"context"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// callWithin bounds a unary call that brings no deadline of its own.
const callWithin = 3 * time.Minute

const (
	revisionHeader  = "memory-graph-revision"
	lineageHeader   = "memory-graph-lineage"
	lastEventHeader = "memory-graph-last-event"
)

var (
	revisionShape = regexp.MustCompile(`^[0-9]+$`)
	lineageShape  = regexp.MustCompile(`^[0-9a-f]{8}$`)
)

// callLog remembers which methods a case called.
type callLog struct {
	mu      sync.Mutex
	methods map[string]bool
}

func newCallLog() *callLog {
	return &callLog{methods: make(map[string]bool)}
}

func (c *callLog) record(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.methods[method] = true
}

// missing lists what was declared and never called.
func (c *callLog) missing(declared []string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(declared), func(method string) bool { return c.methods[method] })
}

func (c *callLog) unary(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	c.record(method)
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	return invoke(ctx, method, req, reply, cc, opts...)
}

func (c *callLog) stream(
	ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, start grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	c.record(method)
	return start(ctx, desc, cc, method, opts...)
}

// rules hold for every reply of the services of the contract.
type rules struct {
	t     *testing.T
	calls *callLog
}

func (r *rules) unary(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	r.calls.record(method)
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	var header, trailer metadata.MD
	err := invoke(ctx, method, req, reply, cc, append(opts, grpc.Header(&header), grpc.Trailer(&trailer))...)
	r.check(method, err, header, trailer)
	return err
}

func (r *rules) stream(
	ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, start grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	r.calls.record(method)
	stream, err := start(ctx, desc, cc, method, opts...)
	if err != nil {
		r.check(method, err, nil, nil)
		return nil, err
	}
	return &ruledStream{ClientStream: stream, rules: r, method: method}, nil
}

// ruledStream checks the headers with the first message and the details with the end.
type ruledStream struct {
	grpc.ClientStream
	rules   *rules
	method  string
	checked bool
}

// RecvMsg implements grpc.ClientStream.
func (s *ruledStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil && s.checked {
		return nil
	}
	s.checked = true
	header, headerErr := s.ClientStream.Header()
	if headerErr != nil {
		header = nil
	}
	answer, trailer := err, metadata.MD(nil)
	if err != nil {
		trailer = s.ClientStream.Trailer() // there is none before the end
	}
	if errors.Is(err, io.EOF) {
		answer = nil
	}
	s.rules.check(s.method, answer, header, trailer)
	return err
}

// check reports what is wrong with a reply. Codes that the client library may have made up itself are left alone.
func (r *rules) check(method string, err error, header, trailer metadata.MD) {
	r.t.Helper()
	if !strings.HasPrefix(method, "/llm.memory.graph.v1.") {
		return
	}
	got := status.Convert(err)
	switch got.Code() {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable:
		return
	case codes.Unimplemented, codes.Internal, codes.Unknown, codes.DataLoss:
		r.t.Errorf("%s answered %v: %s", method, got.Code(), got.Message())
	case codes.InvalidArgument:
		checkViolations(r.t, method, got)
	}
	checkHeader(r.t, method, revisionHeader, revisionShape, header, trailer)
	checkHeader(r.t, method, lineageHeader, lineageShape, header, trailer)
}

func checkHeader(t *testing.T, method, key string, shape *regexp.Regexp, header, trailer metadata.MD) {
	t.Helper()
	values := append(header.Get(key), trailer.Get(key)...)
	if len(values) == 0 || !shape.MatchString(values[0]) {
		t.Errorf("%s: header %s is %q, want one that matches %v", method, key, values, shape)
	}
}

// checkViolations wants each INVALID_ARGUMENT to name a field and say what is wrong with it.
func checkViolations(t *testing.T, method string, got *status.Status) {
	t.Helper()
	found := violations(got)
	if len(found) == 0 {
		t.Errorf("%s answered INVALID_ARGUMENT %q without a BadRequest detail", method, got.Message())
	}
	for _, v := range found {
		if v.GetField() == "" || v.GetDescription() == "" {
			t.Errorf("%s answered INVALID_ARGUMENT %q with an empty violation %v", method, got.Message(), v)
		}
	}
}

func violations(got *status.Status) []*errdetails.BadRequest_FieldViolation {
	var found []*errdetails.BadRequest_FieldViolation
	for _, detail := range got.Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			found = append(found, bad.GetFieldViolations()...)
		}
	}
	return found
}
