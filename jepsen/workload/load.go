package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/client"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

var (
	// ErrLost: something acknowledged is not there, or not as it was acknowledged.
	ErrLost = errors.New("acknowledged writes are lost or changed")
	// ErrSurplus: something is there, or happened, that nobody was told of, or that happened twice.
	ErrSurplus = errors.New("there is more than was acknowledged")
	// ErrStale: a linearizable read did not see what was true before it began.
	ErrStale = errors.New("a linearizable read went back")
	// ErrEvents: the events are not one order, the same everywhere, without gap or duplicate.
	ErrEvents = errors.New("events are not one order without gap or duplicate")
	// ErrRefused: a call that must succeed did not, or not within its deadline.
	ErrRefused = errors.New("a call failed")
)

// Caller makes calls that must succeed while one node after the other does not serve.
type Caller interface {
	// Call makes one that may be sent again, and says how it went.
	Call(ctx context.Context, call func(context.Context, graphgrpc.MemoryGraphServiceClient) error) (client.Outcome, error)
	// To is the service at one node, for what is about that node and for streams.
	To(address string) (graphgrpc.MemoryGraphServiceClient, error)
}

// Config says what to do to the cluster.
type Config struct {
	// Writing makes the calls of writers, Reading those of readers, Watching the streams of watchers and what is read of each node.
	Writing, Reading, Watching Caller
	// Addresses are those of all nodes now.
	Addresses func() []string
	// Seed decides on the load, not on its interleaving.
	Seed uint64
	// How many of each there are.
	Writers, Readers, Watchers int
	// Pace is the least time between the beginnings of two calls of a worker; 0 for none.
	Pace time.Duration
}

// Load is a workload with everything that it knows about the cluster.
type Load struct {
	config   Config
	writers  []*writer
	watchers []*watcher
	feed     *feed
	board    *board
	template string

	watching sync.WaitGroup
	unwatch  context.CancelFunc

	mu sync.Mutex
	// failures are what was wrong, the first few of them.
	failures []error
	acks     []Acknowledged
	reads    int
	retried  int
	slowest  time.Duration
}

// Acknowledged is one write that took effect.
type Acknowledged struct {
	// Sent is when the attempt that was answered was sent, Ended when the answer came.
	Sent, Ended time.Time
	// Address is the node that answered.
	Address string
}

// Counts is what a load did.
type Counts struct {
	Writes, Reads, Events int
	// Retried calls needed more than one attempt, Slowest is how long the slowest call took with all of them.
	Retried int
	Slowest time.Duration
}

// maxFailures bounds what is kept of failures.
const maxFailures = 10

// Open makes the sessions and records that the workers need, and starts the watchers, which go on until Close.
func Open(ctx context.Context, config Config) (*Load, error) {
	l := &Load{config: config, feed: newFeed(), board: newBoard()}
	if err := l.makeTemplate(ctx); err != nil {
		return nil, err
	}
	for i := range config.Writers {
		l.writers = append(l.writers, newWriter(l, config.Seed, i))
	}
	errs := make([]error, len(l.writers))
	var opening sync.WaitGroup
	for i, w := range l.writers {
		opening.Go(func() { errs[i] = w.open(ctx) })
	}
	opening.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	ctx, l.unwatch = context.WithCancel(ctx)
	for i := range config.Watchers {
		w := newWatcher(l, config.Seed, i)
		l.watchers = append(l.watchers, w)
		l.watching.Go(func() { w.watch(ctx) })
	}
	return l, nil
}

// Close ends the watchers.
func (l *Load) Close() {
	l.unwatch()
	l.watching.Wait()
}

// Start lets writers and readers work until stop is called. Stop lets the calls that are under way end, however long their retries
// take, and returns what has been wrong so far.
func (l *Load) Start(ctx context.Context) (stop func() error) {
	done := make(chan struct{})
	var working sync.WaitGroup
	for _, w := range l.writers {
		working.Go(func() { l.repeat(done, func() error { return w.write(ctx) }) })
	}
	for i := range l.config.Readers {
		r := newReader(l, l.config.Seed, i)
		working.Go(func() { l.repeat(done, func() error { return r.read(ctx) }) })
	}
	return sync.OnceValue(func() error {
		close(done)
		working.Wait()
		return l.Failed()
	})
}

// repeat works at the pace until done, or until something is wrong.
func (l *Load) repeat(done <-chan struct{}, work func() error) {
	tick := time.NewTicker(max(l.config.Pace, time.Microsecond))
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		default:
		}
		if err := work(); err != nil {
			l.fail(err)
			return
		}
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
}

// Failed is everything that has been wrong so far.
func (l *Load) Failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.failures...)
}

func (l *Load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failures) < maxFailures {
		l.failures = append(l.failures, err)
	}
}

// call makes one call with retries and notes how it went.
func (l *Load) call(
	ctx context.Context, by Caller, call func(context.Context, graphgrpc.MemoryGraphServiceClient) error,
) (client.Outcome, error) {
	o, err := by.Call(ctx, call)
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.Attempts > 1 {
		l.retried++
	}
	l.slowest = max(l.slowest, o.Ended.Sub(o.Began))
	return o, err
}

func (l *Load) acknowledged(o client.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acks = append(l.acks, Acknowledged{Sent: o.Sent, Ended: o.Ended, Address: o.Address})
}

// Gap is how long after a moment the first write was acknowledged whose deciding attempt was sent after it. It waits for one.
func (l *Load) Gap(ctx context.Context, since time.Time) (time.Duration, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if first, found := l.firstAfter(since); found {
			return first.Sub(since), nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for a write: %w: %w", ctx.Err(), errorOrNone(l.Failed()))
		}
	}
}

func (l *Load) firstAfter(since time.Time) (first time.Time, found bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range slices.Backward(l.acks) {
		if a.Ended.Before(since) {
			break // they are noted nearly in the order of their ends
		}
		if a.Sent.After(since) && (!found || a.Ended.Before(first)) {
			first, found = a.Ended, true
		}
	}
	return first, found
}

// LongestGap is the longest time between two acknowledged writes, one after the other, that touches the time between two moments. A
// time in which nobody tried to write counts as one in which nobody could.
func (l *Load) LongestGap(from, to time.Time) time.Duration {
	l.mu.Lock()
	ends := make([]time.Time, 0, len(l.acks))
	for _, a := range l.acks {
		ends = append(ends, a.Ended)
	}
	l.mu.Unlock()
	slices.SortFunc(ends, time.Time.Compare)
	var longest time.Duration
	for i := 1; i < len(ends); i++ {
		if ends[i].After(from) && ends[i-1].Before(to) {
			longest = max(longest, ends[i].Sub(ends[i-1]))
		}
	}
	return longest
}

// AcknowledgedBetween counts the writes that were sent and acknowledged in that time.
func (l *Load) AcknowledgedBetween(from, to time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, a := range l.acks {
		if a.Sent.After(from) && a.Ended.Before(to) {
			n++
		}
	}
	return n
}

// Counts is what was done so far.
func (l *Load) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Counts{Writes: len(l.acks), Reads: l.reads, Events: l.feed.length(), Retried: l.retried, Slowest: l.slowest}
}

var errNone = errors.New("nothing wrong was seen")

func errorOrNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}
