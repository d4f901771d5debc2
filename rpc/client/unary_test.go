package client_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// create makes a session, within a time.
func create(t *testing.T, c *client.Client, within time.Duration) (*pb.Session, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return c.Graph().CreateSession(ctx, &pb.CreateSessionRequest{})
}

func ready(t *testing.T, c *client.Client) {
	t.Helper()
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// TestCallsGoRound: three healthy nodes get the same share.
func TestCallsGoRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1")
		c := f.client()
		ready(t, c)
		for range 30 {
			if _, err := create(t, c, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		for name, n := range f.nodes {
			if calls, _ := n.told(); calls != 10 {
				t.Errorf("%s got %d calls, want 10", name, calls)
			}
		}
	})
}

// TestANodeDies: the calls go to the others, and to it again once it is back.
func TestANodeDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1")
		c := f.client()
		ready(t, c)
		f.nodes["10.0.0.2:1"].kill()
		for range 30 {
			if _, err := create(t, c, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		f.nodes["10.0.0.2:1"].start()
		time.Sleep(20 * time.Second)
		before, _ := f.nodes["10.0.0.2:1"].told()
		for range 30 {
			if _, err := create(t, c, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if after, _ := f.nodes["10.0.0.2:1"].told(); after-before != 10 {
			t.Errorf("the node that came back got %d calls, want 10", after-before)
		}
	})
}

// TestALostReplyIsOneEffect: the change is committed, its reply lost; the retry on another node has the same key.
func TestALostReplyIsOneEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1", "10.0.0.2:1")
		var lost atomic.Int32
		for _, n := range f.nodes {
			n.lose = func(string) error {
				if lost.Add(1) > 2 {
					return nil
				}
				return status.Error(codes.Unavailable, "the connection broke")
			}
		}
		c := f.client()
		s, err := create(t, c, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if len(f.sessions) != 1 || s.Id != f.sessions[0].Id || lost.Load() != 3 {
			t.Errorf("%d sessions after %d attempts, want 1 after 3", len(f.sessions), lost.Load())
		}
		_, md := f.nodes["10.0.0.1:1"].told()
		if life := md.Get("memory-graph-key-life"); len(life) != 1 || life[0] != "retry" {
			t.Errorf("a minted key is to be kept %q", life)
		}
	})
}

// TestALostChangeIsNotRepeatedForEver: nodes forget the key of a retry after a quarter of an hour; then the change would take effect again.
func TestALostChangeIsNotRepeatedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1")
		f.nodes["10.0.0.1:1"].lose = func(string) error { return status.Error(codes.Unavailable, "the connection broke") }
		c := f.client()
		began := time.Now()
		_, err := create(t, c, time.Hour)
		var failed *client.Error
		if took := time.Since(began); !errors.As(err, &failed) || !failed.MayHaveHappened || took < 10*time.Minute || took > 12*time.Minute || len(f.sessions) != 1 {
			t.Errorf("after %v: %v, and %d sessions", took, err, len(f.sessions))
		}
	})
}

// TestACallersKeyIsKept, given as an option or as metadata, and not taken for one of ours.
func TestACallersKeyIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1")
		c := f.client()
		for _, call := range []func() error{
			func() error {
				_, err := c.Graph().CreateSession(t.Context(), &pb.CreateSessionRequest{}, client.IdempotencyKey("mine"))
				return err
			},
			func() error {
				ctx := metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "mine")
				_, err := c.Graph().CreateSession(ctx, &pb.CreateSessionRequest{}, client.IdempotencyKey("other"))
				return err
			},
		} {
			if err := call(); err != nil {
				t.Fatal(err)
			}
			_, md := f.nodes["10.0.0.1:1"].told()
			if key, life := md.Get("idempotency-key"), md.Get("memory-graph-key-life"); len(key) != 1 || key[0] != "mine" || len(life) != 0 {
				t.Errorf("sent key %q, life %q", key, life)
			}
		}
	})
}

// TestWhatMayHaveHappenedIsNotRepeatedWithoutAKey, and the error says that it may have.
func TestWhatMayHaveHappenedIsNotRepeatedWithoutAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1", "10.0.0.2:1")
		for _, n := range f.nodes {
			n.lose = func(string) error { return status.Error(codes.Unavailable, "broke") }
		}
		c := f.client()
		_, err := c.Graph().CreateSession(t.Context(), &pb.CreateSessionRequest{}, client.Once())
		e := as(t, err)
		if len(f.sessions) != 1 || !e.MayHaveHappened || e.IdempotencyKey != "" || status.Code(err) != codes.Unavailable {
			t.Errorf("%d sessions, %+v", len(f.sessions), e)
		}
		// A call that is not known here has no key. The reply is lost: once.
		err = c.Invoke(t.Context(), "/x.Y/Unknown", &pb.CreateSessionRequest{}, &pb.Session{})
		if e := as(t, err); len(e.Tried) != 1 || e.Tried[0].Times != 1 {
			t.Errorf("an unknown call was tried %+v", e.Tried)
		}
	})
}

// TestRefusalsComeAtOnce: none of these is repeated.
func TestRefusalsComeAtOnce(t *testing.T) {
	for _, refusal := range []error{
		answer(codes.InvalidArgument, "INVALID_ARGUMENT", 0), answer(codes.NotFound, "NOT_FOUND", 0), answer(codes.Aborted, "STALE_REVISION", 0),
		answer(codes.FailedPrecondition, "SESSION_CLOSED", 0), answer(codes.ResourceExhausted, "REPLY_TOO_LARGE", 0), answer(codes.Internal, "INTERNAL", 0),
		answer(codes.DataLoss, "DATA_LOSS", 0), answer(codes.DeadlineExceeded, "DEADLINE_EXCEEDED", 0, "not_proposed", "false"),
		status.Error(codes.PermissionDenied, "no"),
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t, "10.0.0.1:1", "10.0.0.2:1")
			total := 0
			for _, n := range f.nodes {
				n.refuse = func(string) error { total++; return refusal }
			}
			start := time.Now()
			_, err := create(t, f.client(), time.Minute)
			if status.Code(err) != status.Code(refusal) || status.Convert(err).Message() != status.Convert(refusal).Message() || total != 1 {
				t.Errorf("%v after %d attempts, want %v after one", err, total, refusal)
			}
			if waited := time.Since(start); waited > client.DefaultSilence {
				t.Errorf("after %v", waited)
			}
		})
	}
}

// TestWhatIsRepeated, for changes: until it works.
func TestWhatIsRepeated(t *testing.T) {
	for _, refusal := range []error{
		answer(codes.Unavailable, "NO_LEADER", time.Second, "not_proposed", "true"), answer(codes.Unavailable, "STOPPING", time.Second),
		answer(codes.ResourceExhausted, "OVERLOADED", time.Second, "not_proposed", "true"), answer(codes.ResourceExhausted, "DISK_RESERVE", 30*time.Second),
		answer(codes.DeadlineExceeded, "DEADLINE_EXCEEDED", 0, "not_proposed", "true"), status.Error(codes.Unavailable, "503"),
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t, "10.0.0.1:1", "10.0.0.2:1")
			total := 0
			for _, n := range f.nodes {
				n.refuse = func(string) error {
					if total++; total <= 4 {
						return refusal
					}
					return nil
				}
			}
			if _, err := create(t, f.client(), 5*time.Minute); err != nil || total != 5 {
				t.Errorf("%v: %v after %d attempts", refusal, err, total)
			}
		})
	}
}

// TestAnErrorNamesWhoSaidWhat.
func TestAnErrorNamesWhoSaidWhat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1")
		f.nodes["10.0.0.1:1"].refuse = func(string) error { return answer(codes.Unavailable, "NO_LEADER", time.Second) }
		f.nodes["10.0.0.2:1"].refuse = func(string) error { return answer(codes.ResourceExhausted, "OVERLOADED", time.Second) }
		f.nodes["10.0.0.3:1"].kill()
		start := time.Now()
		_, err := create(t, f.client(), 5*time.Second)
		for _, want := range []string{"CreateSession: ", "10.0.0.1:1: Unavailable: NO_LEADER", "10.0.0.2:1: ResourceExhausted: OVERLOADED", "DeadlineExceeded"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
		if status.Code(err) != codes.DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if e := as(t, err); e.IdempotencyKey == "" {
			t.Error("the error does not tell the key")
		}
	})
}

// TestNobodyThere: calls wait for their time, or fail at once where that is asked for.
func TestNobodyThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1", "10.0.0.2:1")
		for _, n := range f.nodes {
			n.kill()
		}
		start := time.Now()
		_, err := create(t, f.client(), 3*time.Second)
		if status.Code(err) != codes.DeadlineExceeded || time.Since(start) != 3*time.Second || !strings.Contains(err.Error(), "10.0.0.2:1") || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		start = time.Now()
		_, err = create(t, f.client(func(c *client.Config) { c.FailFast = true }), 3*time.Second)
		if status.Code(err) != codes.Unavailable || time.Since(start) > time.Second || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("fail fast: %v after %v", err, time.Since(start))
		}
		c := f.client()
		result := make(chan error)
		go func() {
			_, err := create(t, c, time.Minute)
			result <- err
		}()
		time.Sleep(2 * time.Second)
		f.nodes["10.0.0.2:1"].start()
		if err := <-result; err != nil {
			t.Errorf("a node came, but: %v", err)
		}
	})
}

// TestANodeThatIsNotReadyIsLeft while another one is, and taken when there is none.
func TestANodeThatIsNotReadyIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1", "10.0.0.2:1")
		f.nodes["10.0.0.1:1"].unhealthy = true
		c := f.client()
		for range 10 {
			if _, err := create(t, c, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if calls, _ := f.nodes["10.0.0.1:1"].told(); calls != 0 {
			t.Errorf("it got %d calls", calls)
		}
		f.nodes["10.0.0.2:1"].kill()
		if _, err := create(t, c, time.Second); err != nil {
			t.Error(err)
		}
		f.nodes["10.0.0.1:1"].set(func(n *fakeNode) { n.unhealthy = false })
		synctest.Wait()
		if all := c.Nodes(); !all[0].Preferred || all[1].Connected || all[1].Err == nil {
			t.Errorf("nodes are %+v", all)
		}
	})
}

// TestANodeThatIsSilentIsLeft: a stopped process keeps its connections and says nothing.
func TestANodeThatIsSilentIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1", "10.0.0.2:1")
		c := f.client()
		ready(t, c)
		n := f.nodes["10.0.0.1:1"]
		n.freeze()
		for range 4 {
			start := time.Now()
			if _, err := create(t, c, 20*time.Second); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > client.DefaultSilence*5/4+client.DefaultProbeTimeout+time.Second {
				t.Errorf("it took %v", took)
			}
		}
		n.thaw()
		time.Sleep(20 * time.Second)
		before, _ := n.told()
		for range 4 {
			if _, err := create(t, c, 20*time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if after, _ := n.told(); after-before != 2 {
			t.Errorf("it got %d calls after it went on, want 2", after-before)
		}
		if len(f.sessions) != 8 {
			t.Errorf("%d sessions, want 8", len(f.sessions))
		}
	})
}

// TestALateAnswerIsWaitedFor, but not for longer than an attempt may take, where that is bounded.
func TestALateAnswerIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1", "10.0.0.2:1")
		f.nodes["10.0.0.1:1"].set(func(n *fakeNode) { n.behind = 1 })
		f.happen(1)
		read := func(c *client.Client) (string, time.Duration) {
			ready(t, c)
			start := time.Now()
			for range 2 {
				if _, err := c.Graph().Query(t.Context(), &pb.QueryRequest{}, client.MinRevision(1)); err != nil {
					return status.Code(err).String(), time.Since(start)
				}
			}
			return "OK", time.Since(start)
		}
		if code, took := read(f.client()); code != "DeadlineExceeded" || took != client.DefaultTimeout {
			t.Errorf("%s after %v", code, took)
		}
		if code, took := read(f.client(func(c *client.Config) { c.AttemptTimeout = time.Second })); code != "OK" || took > 2*time.Second {
			t.Errorf("with a bound: %s after %v", code, took)
		}
	})
}

// TestManyCallsSurviveANode: all that is in flight on a node that dies gets through on another one, once.
func TestManyCallsSurviveANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1")
		c := f.client()
		ready(t, c)
		const many = 300
		var all sync.WaitGroup
		for i := range many {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				if _, err := create(t, c, 10*time.Second); err != nil {
					t.Error(err)
				}
			})
		}
		for _, name := range []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"} {
			time.Sleep(50 * time.Millisecond)
			f.nodes[name].kill()
			time.Sleep(30 * time.Millisecond)
			f.nodes[name].start()
		}
		all.Wait()
		if len(f.sessions) != many {
			t.Errorf("%d sessions, want %d", len(f.sessions), many)
		}
	})
}

// TestRetriesAreNoStorm: when nothing works the nodes see the first attempts and a trickle; when it works again all calls get through.
func TestRetriesAreNoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1", "10.0.0.2:1")
		var broken atomic.Bool
		var attempts atomic.Int32
		broken.Store(true)
		for _, n := range f.nodes {
			n.refuse = func(string) error {
				attempts.Add(1)
				if broken.Load() {
					return status.Error(codes.Unavailable, "broken")
				}
				return nil
			}
		}
		c := f.client()
		ready(t, c)
		const many = 400
		var all sync.WaitGroup
		for range many {
			all.Go(func() {
				if _, err := create(t, c, 2*time.Minute); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Minute)
		// 400 first attempts, a burst of 1000, and 10 a second.
		if n := attempts.Load(); n > many+1000+60*10+100 {
			t.Errorf("%d attempts in a minute in which nothing worked", n)
		}
		broken.Store(false)
		start := time.Now()
		all.Wait()
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("it took %v until all calls got through", took)
		}
	})
}

// TestCloseEndsEverything: calls that wait or run end with ErrClosed, and later ones do.
func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:1", "10.0.0.2:1")
		f.nodes["10.0.0.2:1"].kill()
		c := f.client()
		ready(t, c)
		f.nodes["10.0.0.1:1"].freeze()
		results := make(chan error)
		go func() {
			_, err := create(t, c, time.Minute)
			results <- err
		}()
		synctest.Wait()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-results; status.Code(err) != codes.Canceled {
			t.Errorf("a call under way: %v", err)
		}
		if _, err := create(t, c, time.Minute); !errors.Is(err, client.ErrClosed) {
			t.Errorf("a call after it: %v", err)
		}
	})
}
