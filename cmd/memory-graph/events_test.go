package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// history makes four events, in two sessions.
func history(f *fakeServer) []string {
	return []string{
		f.happen(pb.EventType_EVENT_TYPE_SESSION_CREATED, `{"session_id":"s1","metadata":{}}`),
		f.happen(pb.EventType_EVENT_TYPE_NODE_CREATED, `{"node_id":"p1","node_type":"PROMPT","session_id":"s1"}`),
		f.happen(pb.EventType_EVENT_TYPE_EDGE_CREATED, `{"edge_id":"e1","edge_type":"BELONGS_TO","from":"p1","to":"s1","session_id":"s1"}`),
		f.happen(pb.EventType_EVENT_TYPE_SESSION_CLOSED, `{"session_id":"s2","reason":"deleted"}`),
	}
}

func TestPastEventsEnd(t *testing.T) {
	f := startFake(t)
	if got := f.must(t, "events"); got != "" {
		t.Errorf("an empty store has events:\n%s", got)
	}
	ids := history(f)
	f.happen(pb.EventType_EVENT_TYPE_NODE_DELETED, `no JSON`)
	golden(t, "events.txt", f.must(t, "events")+f.must(t, "events", "-o", "json"))
	tests := []struct {
		args []string
		want int
	}{
		{[]string{"--session", "s1"}, 3}, {[]string{"--session", "s2"}, 1}, {[]string{"--session", "s3"}, 0},
		{[]string{"--type", "node-created", "--type", "EVENT_TYPE_EDGE_CREATED"}, 2},
		{[]string{"--after", ids[2]}, 2}, {[]string{"--after", "0000abcd-ffffffffffffffff-00000000"}, 0},
	}
	for _, tt := range tests {
		if got := strings.Count(f.must(t, append([]string{"events"}, tt.args...)...), "\n"); got != tt.want {
			t.Errorf("%v: %d events, want %d", tt.args, got, tt.want)
		}
	}
}

func TestPastEventsNeedTheirEnd(t *testing.T) {
	f := startFake(t)
	f.silent, f.drop = true, 1
	history(f)
	r := execute(t, "", "events", "--address", f.address)
	if r.code != exitFailed || !strings.Contains(r.err, "does not say where its events end") {
		t.Errorf("got %+v", r)
	}
	f.silent = false
	r = execute(t, "", "events", "--address", f.address)
	if r.code != exitOK || strings.Count(r.out, "\n") != 4 {
		t.Errorf("a stream that breaks off and goes on: %+v", r)
	}
}

// A tap is a writer that tells what it has taken.
type tap struct {
	mu   sync.Mutex
	text bytes.Buffer
	grew chan struct{}
}

func newTap() *tap { return &tap{grew: make(chan struct{}, 1)} }

func (w *tap) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.text.Write(p)
	select {
	case w.grew <- struct{}{}:
	default:
	}
	return n, err
}

func (w *tap) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// wait returns once the text holds what is asked for.
func (w *tap) wait(t *testing.T, want string) {
	t.Helper()
	for !strings.Contains(w.String(), want) {
		select {
		case <-w.grew:
		case <-t.Context().Done():
			t.Fatalf("never saw %q in\n%s", want, w.String())
		}
	}
}

// following starts events --follow and returns what it prints, what it complains, and what interrupts it.
func following(t *testing.T, address string, args ...string) (out, errs *tap, interrupt func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, errs = newTap(), newTap()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, append([]string{"events", "--follow", "--address", address}, args...), nil, out, errs)
	}()
	return out, errs, func() int {
		cancel()
		return <-done
	}
}

func TestFollow(t *testing.T) {
	f := startFake(t)
	history(f)
	out, errs, interrupt := following(t, f.address, "-v")
	errs.wait(t, "revision 9")
	id := f.happen(pb.EventType_EVENT_TYPE_NODE_CREATED, `{"node_id":"new"}`)
	out.wait(t, id)
	if code := interrupt(); code != exitOK || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("exit code %d, printed\n%s", code, out.String())
	}
}

// TestFollowSurvivesServers ends each stream after two events: nothing may be lost or doubled.
func TestFollowSurvivesServers(t *testing.T) {
	f := startFake(t)
	history(f)
	f.drop = 2
	out, errs, interrupt := following(t, f.address, "--from-beginning", "-o", "json")
	var want []string
	for i := range 7 {
		want = append(want, f.happen(pb.EventType_EVENT_TYPE_NODE_CREATED, fmt.Sprintf(`{"node_id":"n%d"}`, i)))
	}
	out.wait(t, want[len(want)-1])
	if code := interrupt(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if got := strings.Count(out.String(), "\n"); got != 11 {
		t.Errorf("%d events, want 11:\n%s", got, out.String())
	}
	if !strings.Contains(errs.String(), "waiting for it") {
		t.Errorf("does not say that it waits: %q", errs.String())
	}
}

// TestFollowResumesWhereItBegan: the server restarts before the first event came. What happens meanwhile must come.
func TestFollowResumesWhereItBegan(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeServer{address: listener.Addr().String(), refuse: make(map[string]error), added: make(chan struct{})}
	stop := f.serve(t, listener)
	out, errs, interrupt := following(t, f.address, "-v")
	errs.wait(t, "revision 9")
	stop()
	id := f.happen(pb.EventType_EVENT_TYPE_NODE_CREATED, `{"node_id":"meanwhile"}`)
	again, err := net.Listen("tcp", f.address)
	if err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	f.serve(t, again)
	out.wait(t, id)
	if code := interrupt(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestFollowGivesUp(t *testing.T) {
	if r := execute(t, "", "events", "--follow", "--address", "127.0.0.1:1"); r.code != exitFailed || !strings.Contains(r.err, "is the server running") {
		t.Errorf("no server: %+v", r)
	}
	f := startFake(t)
	f.refusing("StreamEvents", status.Error(codes.OutOfRange, "too old"))
	if r := execute(t, "", "events", "--follow", "--address", f.address, "--after", "x"); r.code != exitFailed || !strings.Contains(r.err, "too old") {
		t.Errorf("refused: %+v", r)
	}
	f.refusing("", nil)
	var r result
	endsInTime(func(within string) bool {
		r = execute(t, "", "events", "--follow", "--address", f.address, "--timeout", within)
		return r.code == exitOK
	})
	if r.code != exitOK {
		t.Errorf("time is up: %+v", r)
	}
}

// endsInTime gives a command that ends when its time is up so much of it that it has begun by then: little where that is enough.
func endsInTime(enough func(within string) bool) {
	for within := 50 * time.Millisecond; !enough(within.String()) && within < time.Minute; within *= 4 {
	}
}
