package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/client"
)

// want checks that the revisions are those from first on, each once.
func wantFrom(t *testing.T, got []uint64, first uint64) {
	t.Helper()
	for i, r := range got {
		if r != first+uint64(i) {
			t.Fatalf("event %d is of revision %d, want %d: a gap or a double in %v", i, r, first+uint64(i), got)
		}
	}
}

// TestStreamsSurviveEverything: nodes die, drain, freeze, lag and come back in a random order, at most two of three at a time; every event comes once,
// in order.
func TestStreamsSurviveEverything(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { surviveEverything(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func surviveEverything(t *testing.T, random *rand.Rand) {
	names := []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"}
	f := newFake(t, names...)
	f.happen(random.IntN(3))
	var resumed atomic.Int32
	c := f.client(func(c *client.Config) { c.Watch.Resumed = func(string, string, string) { resumed.Add(1) } })
	first := uint64(1)
	req := &pb.StreamEventsRequest{FromBeginning: true}
	if random.IntN(2) == 0 {
		first = uint64(len(f.events)) + 1
		req.FromBeginning = false
	}
	stream, err := c.Graph().StreamEvents(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	var got []uint64
	done := make(chan error)
	total := uint64(0)
	go func() {
		for {
			e, err := stream.Recv()
			if err != nil {
				done <- err
				return
			}
			if got = append(got, e.GetRevision()); e.GetPayload() == "last" {
				done <- nil
				return
			}
		}
	}()
	for range 12 {
		random.Shuffle(3, func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, name := range names[:2] {
			harm(f.nodes[name], random)
			time.Sleep(time.Duration(random.IntN(2_000)) * time.Millisecond)
			f.happen(random.IntN(4))
		}
		time.Sleep(time.Duration(random.IntN(12_000)) * time.Millisecond)
		for _, name := range names[:2] {
			heal(f.nodes[name])
		}
		time.Sleep(time.Duration(random.IntN(3_000)) * time.Millisecond)
	}
	f.mu.Lock()
	f.happenLocked("last")
	total = uint64(len(f.events))
	f.mu.Unlock()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantFrom(t, got, first)
	if n := uint64(len(got)); n != total-first+1 {
		t.Errorf("%d events, want %d", n, total-first+1)
	}
}

// harm does something bad to a node.
func harm(n *fakeNode, random *rand.Rand) {
	switch random.IntN(7) {
	case 0:
		n.kill()
	case 1:
		n.freeze()
	case 2:
		n.set(func(n *fakeNode) { n.breakAfter = 1 + random.IntN(3) })
	case 3:
		n.set(func(n *fakeNode) { n.unhealthy = true })
	case 4:
		n.set(func(n *fakeNode) { n.behind = min(random.IntN(4), len(n.events)) })
	case 5:
		n.set(func(n *fakeNode) {
			n.breakAfter, n.breakWith = 1, status.Error(codes.Internal, "stream terminated by RST_STREAM")
		})
	case 6:
		n.set(func(n *fakeNode) {
			n.refuse = func(string) error { return answer(codes.Unavailable, "NO_LEADER", time.Second) }
		})
		n.kill()
	}
}

func heal(n *fakeNode) {
	n.thaw()
	n.set(func(n *fakeNode) { n.breakAfter, n.breakWith, n.unhealthy, n.behind, n.refuse = 0, nil, false, 0, nil })
	n.mu.Lock()
	down := n.server == nil
	n.mu.Unlock()
	if down {
		n.start()
	}
}

// TestAStreamGoesOnWhereItBegan: it has delivered nothing when its node dies, and misses nothing of what comes after its headers.
func TestAStreamGoesOnWhereItBegan(t *testing.T) {
	for _, before := range []int{0, 3} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t, "10.0.0.1:1", "10.0.0.2:1")
			f.happen(before)
			c := f.client()
			stream, err := c.Graph().SubscribeToSession(t.Context(), &pb.SubscribeRequest{SessionId: "s"})
			if err != nil {
				t.Fatal(err)
			}
			if header, err := stream.Header(); err != nil || len(header.Get("memory-graph-last-event")) != 1 {
				t.Fatalf("headers %v, %v", header, err)
			}
			for _, n := range f.nodes {
				n.kill()
			}
			f.happen(2)
			f.nodes["10.0.0.2:1"].start()
			for want := before + 1; want <= before+2; want++ {
				e, err := stream.Recv()
				if err != nil || e.GetEvent().GetRevision() != uint64(want) {
					t.Fatalf("%v, %v, want revision %d", e, err, want)
				}
			}
		})
	}
}

// TestWhatAStreamCannotHealIsTyped: the caller learns what is lost, and where the graph is now.
func TestWhatAStreamCannotHealIsTyped(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fakeCluster)
		check  func(error) bool
	}{
		"trimmed": {
			func(f *fakeCluster) { f.trimmed = 3 },
			func(err error) bool {
				var e *client.EventsTrimmedError
				return errors.As(err, &e) && e.OldestEventID == lineage+"-0000000000000004-00000000" && status.Code(err) == codes.OutOfRange
			},
		},
		"lineage": {
			func(f *fakeCluster) { f.lineage = "0000beef" },
			func(err error) bool {
				var e *client.LineageChangedError
				return errors.As(err, &e) && e.Current == "0000beef" && status.Code(err) == codes.FailedPrecondition
			},
		},
		"another history": {
			func(f *fakeCluster) { f.events = nil },
			func(err error) bool {
				var e *client.EventNotYetError
				return errors.As(err, &e) && status.Code(err) == codes.OutOfRange
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, "10.0.0.1:1")
				f.happen(1)
				cl := f.client()
				stream, err := cl.Graph().StreamEvents(t.Context(), &pb.StreamEventsRequest{FromBeginning: true})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := stream.Recv(); err != nil {
					t.Fatal(err)
				}
				n := f.nodes["10.0.0.1:1"]
				n.kill()
				f.happen(4)
				// A node whose state has no revision to wait for says so itself.
				n.set(func(n *fakeNode) { c.change(n.fakeCluster); n.behind = 0 })
				if name == "another history" {
					n.refuse = func(method string) error { return answer(codes.OutOfRange, "EVENT_NOT_YET", 0) }
				}
				n.start()
				_, err = stream.Recv()
				if err == nil || !c.check(err) {
					t.Errorf("got %v", err)
				}
				if e := as(t, err); e.Delivered != 1 {
					t.Errorf("delivered %d", e.Delivered)
				}
			})
		})
	}
}

// TestAStreamMovesFromANodeThatNoLongerServes, without an end of the stream there.
func TestAStreamMovesFromANodeThatNoLongerServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1", "10.0.0.2:1")
		moved := make(chan string, 10)
		c := f.client(func(c *client.Config) { c.Watch.Resumed = func(_, address, _ string) { moved <- address } })
		stream, err := c.Graph().StreamEvents(t.Context(), &pb.StreamEventsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Header(); err != nil {
			t.Fatal(err)
		}
		at := "10.0.0.1:1"
		if calls, _ := f.nodes[at].told(); calls == 0 {
			at = "10.0.0.2:1"
		}
		f.nodes[at].set(func(n *fakeNode) { n.unhealthy = true })
		result := make(chan error)
		go func() {
			_, err := stream.Recv()
			result <- err
		}()
		if to := <-moved; to == at {
			t.Errorf("it went on at %s", to)
		}
		f.happen(1)
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

// TestAStreamLeavesASilentNode long before TCP would.
func TestAStreamLeavesASilentNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1", "10.0.0.2:1")
		moved := make(chan time.Time, 10)
		c := f.client(func(c *client.Config) { c.Watch.Resumed = func(string, string, string) { moved <- time.Now() } })
		ready(t, c)
		stream, err := c.Graph().StreamEvents(t.Context(), &pb.StreamEventsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Header(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for _, n := range f.nodes {
			if calls, _ := n.told(); calls == 1 {
				n.freeze()
			}
		}
		go func() { _, _ = stream.Recv() }()
		if took := (<-moved).Sub(start); took > client.DefaultSilence*5/4+client.DefaultProbeTimeout+time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestAStreamIsPatientForAWhile, and then says what it has tried.
func TestAStreamIsPatientForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1")
		c := f.client(func(c *client.Config) { c.Patience = time.Minute; c.FailFast = true })
		stream, err := c.Graph().StreamEvents(t.Context(), &pb.StreamEventsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Header(); err != nil {
			t.Fatal(err)
		}
		f.nodes["10.0.0.1:1"].kill()
		start := time.Now()
		_, err = stream.Recv()
		if status.Code(err) != codes.Unavailable || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if _, again := stream.Recv(); again != err {
			t.Errorf("asked again: %v", again)
		}
		if e := as(t, err); len(e.Tried) != 1 || e.Tried[0].Address != "10.0.0.1:1" {
			t.Errorf("tried %+v", e.Tried)
		}
	})
}

// TestAStreamEndsWithItsCaller, whether that receives or not.
func TestAStreamEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1")
		c := f.client()
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := c.Graph().StreamEvents(ctx, &pb.StreamEventsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Header(); err != nil {
			t.Fatal(err)
		}
		if n := c.Nodes()[0].UnderWay; n != 1 {
			t.Errorf("%d calls under way, want 1", n)
		}
		cancel()
		synctest.Wait()
		if n := c.Nodes()[0].UnderWay; n != 0 {
			t.Errorf("%d calls under way, want 0", n)
		}
		if _, err := stream.Recv(); status.Code(err) != codes.Canceled || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		for _, err := range client.Events(ctx, c.Graph(), &pb.StreamEventsRequest{}) {
			if status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("got %v", err)
			}
		}
	})
}

// TestEventsRange ends when the caller has enough.
func TestEventsRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1")
		f.happen(5)
		var got []uint64
		for e, err := range client.Events(t.Context(), f.client().Graph(), &pb.StreamEventsRequest{FromBeginning: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, e.GetRevision()); len(got) == 3 {
				break
			}
		}
		wantFrom(t, got, 1)
	})
}

// TestAQueryStreamFailsClearly: begun again before the first node came, never after it.
func TestAQueryStreamFailsClearly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1", "10.0.0.2:1")
		refusals := 3
		for _, n := range f.nodes {
			n.refuse = func(string) error {
				if refusals--; refusals >= 0 {
					return answer(codes.Unavailable, "NO_LEADER", time.Second)
				}
				return nil
			}
			n.breakAfter = 2
		}
		c := f.client()
		read := func() (n int, err error) {
			stream, err := c.Graph().StreamQuery(t.Context(), &pb.QueryRequest{})
			if err != nil {
				return 0, err
			}
			for {
				if _, err = stream.Recv(); err != nil {
					return n, err
				}
				n++
			}
		}
		n, err := read()
		if e := as(t, err); n != 2 || e.Delivered != 2 || status.Code(err) != codes.Unavailable {
			t.Errorf("%d nodes, %v", n, err)
		}
		for _, n := range f.nodes {
			n.set(func(n *fakeNode) { n.breakAfter = 0 })
		}
		if n, err := read(); n != 5 || !errors.Is(err, io.EOF) {
			t.Errorf("%d nodes, %v", n, err)
		}
		pages := 0
		for _, err := range client.QueryAll(t.Context(), c.Graph(), &pb.QueryRequest{}) {
			if err != nil {
				t.Fatal(err)
			}
			if pages++; pages == 5 {
				f.nodes["10.0.0.1:1"].kill()
			}
		}
		if pages != 10 {
			t.Errorf("%d pages, want 10", pages)
		}
	})
}

// TestAnImportStaysOnItsNode and ends with it.
func TestAnImportStaysOnItsNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1")
		c := f.client()
		stream, err := c.Transfer().Import(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := stream.Send(&pb.ImportRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		if reply, err := stream.CloseAndRecv(); err != nil || reply.GetNodesCreated() != 3 {
			t.Errorf("got %v, %v", reply, err)
		}
		if n := c.Nodes()[0].UnderWay; n != 0 {
			t.Errorf("%d calls under way", n)
		}
		if stream, err = c.Transfer().Import(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.nodes["10.0.0.1:1"].kill()
		synctest.Wait()
		_, err = stream.CloseAndRecv()
		if e := as(t, err); status.Code(err) != codes.Unavailable || len(e.Tried) != 1 || !e.MayHaveHappened {
			t.Errorf("got %v", err)
		}
	})
}
