package rpc

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// TestAReaderKeepsPace: what counts is how long the server waits, with one message and in all, for how much.
func TestAReaderKeepsPace(t *testing.T) {
	for name, c := range map[string]struct {
		wait, work time.Duration
		bytes      int
		most       time.Duration // after which it has been cut off, 0 for never
	}{
		"takes nothing":                     {wait: time.Hour, bytes: 300, most: 70 * time.Second},
		"takes little, just in time":        {wait: 50 * time.Second, bytes: 300, most: 130 * time.Second},
		"takes little, often":               {wait: time.Second, bytes: 300, most: 2 * time.Minute},
		"takes enough":                      {wait: 10 * time.Second, bytes: 20 * slowestReader},
		"is served slowly":                  {work: time.Second, bytes: 300},
		"is served slowly and takes enough": {work: time.Second, wait: time.Second, bytes: 2 * slowestReader},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var cut time.Duration
				start := time.Now()
				p := newPace(time.Minute, func() { cut = time.Since(start) })
				for time.Since(start) < time.Hour {
					time.Sleep(c.work)
					p.begin()
					time.Sleep(c.wait)
					p.end(c.bytes)
				}
				p.stop()
				switch {
				case c.most == 0 && cut != 0:
					t.Errorf("it was cut off after %v", cut)
				case c.most != 0 && (cut < time.Minute-time.Second || cut > c.most):
					t.Errorf("it was cut off after %v, want 1m to %v", cut, c.most)
				}
			})
		})
	}
}

// TestAReaderThatWasCutOffGoesOn with the token of the error, and misses nothing.
func TestAReaderThatWasCutOffGoesOn(t *testing.T) {
	r := start(t, func(c *Config) { c.StallTimeout = 30 * time.Millisecond })
	s := r.session()
	want := map[string]bool{s.Id: true}
	for range 12 {
		want[r.prompt(s.Id, strings.Repeat("x", 100_000)).Id] = true
	}
	conn := r.dial(grpc.WithInitialWindowSize(1<<16), grpc.WithInitialConnWindowSize(1<<16))
	cutOff := func() float64 {
		return r.metric("memory_graph_grpc_requests_total", "method", "StreamQuery", "status", "ResourceExhausted")
	}
	stream := must[grpc.ServerStreamingClient[pb.Node]](t)(graphClient(conn).StreamQuery(r.ctx(), &pb.QueryRequest{SessionId: &s.Id}))
	must[metadata.MD](t)(stream.Header())
	r.await(func() bool { return cutOff() == 1 })
	token := readOn(t, stream, want)
	if token == "" || len(want) == 0 {
		t.Fatalf("token %q, %d nodes are left", token, len(want))
	}
	for token != "" { // on a busy machine this reader is cut off, too, now and then
		rest := must[grpc.ServerStreamingClient[pb.Node]](t)(r.StreamQuery(r.ctx(), &pb.QueryRequest{SessionId: &s.Id, PageToken: token}))
		token = readOn(t, rest, want)
	}
	if len(want) != 0 {
		t.Errorf("missed %v", want)
	}
	r.await(func() bool { return r.server.snapshots.Load() == 0 })
}

// readOn takes the nodes of a stream out of those that are wanted, and returns where to go on when it was cut off.
func readOn(t *testing.T, stream grpc.ServerStreamingClient[pb.Node], want map[string]bool) (token string) {
	t.Helper()
	for {
		n, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return ""
		case err == nil:
			delete(want, n.Id)
			continue
		case status.Code(err) != codes.ResourceExhausted:
			t.Fatal(err)
		}
		for _, d := range status.Convert(err).Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok && info.Reason == "READ_TOO_SLOWLY" {
				return info.Metadata["page_token"]
			}
		}
		t.Fatalf("%v does not say where to go on", err)
	}
}

// TestSnapshotsAreLimited: one more reader is told to come back.
func TestSnapshotsAreLimited(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxSnapshots = 1 })
	s := r.session()
	for range 6 {
		r.prompt(s.Id, strings.Repeat("x", 500_000))
	}
	conn := r.dial(grpc.WithInitialWindowSize(1<<16), grpc.WithInitialConnWindowSize(1<<16))
	first := must[grpc.ServerStreamingClient[pb.Node]](t)(graphClient(conn).StreamQuery(r.ctx(), &pb.QueryRequest{SessionId: &s.Id}))
	must[metadata.MD](t)(first.Header())
	second := must[grpc.ServerStreamingClient[pb.ExportResponse]](t)(r.transfer.Export(r.ctx(), &pb.ExportRequest{}))
	_, err := second.Recv()
	refusedWith(t, err, codes.ResourceExhausted, errManySnapshots.Error(), "")
	for err = nil; err == nil; _, err = first.Recv() {
	}
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	r.await(func() bool { return r.server.snapshots.Load() == 0 })
	r.export()
}
