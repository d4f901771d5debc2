package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// feed is the one order of all events, as the watcher that was first to see each of them was told. Everybody else must be told the same.
type feed struct {
	mu     sync.Mutex
	events []told
	// newest is the time of the last of them, furthest how long after it was told the time of one was at most.
	newest   time.Time
	furthest time.Duration
	// grown is closed and replaced when a watcher was told something.
	grown chan struct{}
}

// told is what is kept of an event.
type told struct {
	id       string
	chain    []byte
	kind     pb.EventType
	nodeType string
	// about is the id of the record.
	about string
}

func newFeed() *feed { return &feed{grown: make(chan struct{})} }

func (f *feed) length() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.events)
}

// take holds an event against the order: number says how many came before it on that stream, counted from the first of all.
func (f *feed) take(number int, e *pb.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if number < len(f.events) {
		was := f.events[number]
		if was.id != e.GetId() || !bytes.Equal(was.chain, e.GetChain()) || was.kind != e.GetType() {
			return fmt.Errorf("%w: number %d is %s %v %x here, elsewhere %s %v %x",
				ErrEvents, number, e.GetId(), e.GetType(), e.GetChain(), was.id, was.kind, was.chain)
		}
		return nil
	}
	if n := len(f.events); n > 0 && e.GetId() <= f.events[n-1].id {
		return fmt.Errorf("%w: %s comes after %s", ErrEvents, e.GetId(), f.events[n-1].id)
	}
	seen, err := parseEvent(e)
	if err != nil {
		return err
	}
	at := e.GetTimestamp().AsTime()
	if at.Before(f.newest) {
		return fmt.Errorf("%w: %s is of %v, the one before of %v", ErrEvents, seen.id, at, f.newest)
	}
	f.newest, f.furthest = at, max(f.furthest, time.Until(at))
	f.events = append(f.events, seen)
	return nil
}

// Furthest is how far in the future the time of an event was when it was told.
func (l *Load) Furthest() time.Duration {
	l.feed.mu.Lock()
	defer l.feed.mu.Unlock()
	return l.feed.furthest
}

// announce tells whoever waits that a watcher has gone on.
func (f *feed) announce() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.grown)
	f.grown = make(chan struct{})
}

func (f *feed) growth() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.grown
}

func parseEvent(e *pb.Event) (told, error) {
	var payload struct {
		NodeID    string `json:"node_id"`
		NodeType  string `json:"node_type"`
		EdgeID    string `json:"edge_id"`
		SessionID string `json:"session_id"`
	}
	if err := json.Unmarshal([]byte(e.GetPayload()), &payload); err != nil {
		return told{}, fmt.Errorf("%w: payload of %s: %w", ErrEvents, e.GetId(), err)
	}
	seen := told{id: e.GetId(), chain: e.GetChain(), kind: e.GetType(), nodeType: payload.NodeType}
	for _, id := range []string{payload.NodeID, payload.EdgeID, payload.SessionID} {
		if seen.about == "" {
			seen.about = id
		}
	}
	if len(seen.chain) != 32 || seen.about == "" {
		return told{}, fmt.Errorf("%w: %s is about %q and has a chain of %d bytes", ErrEvents, seen.id, seen.about, len(seen.chain))
	}
	return seen, nil
}

// watcher follows the events from the first on. It changes the node often, and each time its stream breaks.
type watcher struct {
	load   *Load
	random *rand.Rand

	mu   sync.Mutex
	seen int
	last string
}

const (
	// A watcher stays at a node for a time between these.
	shortestStay, longestStay = 500 * time.Millisecond, 4 * time.Second
	// How long it waits when a node has no stream for it.
	watchAgain = 20 * time.Millisecond
)

func newWatcher(l *Load, seed uint64, number int) *watcher {
	return &watcher{load: l, random: rand.New(rand.NewPCG(seed, 2<<32+uint64(number)))}
}

// at is how many events the watcher has seen, and the id of the last.
func (w *watcher) at() (seen int, last string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen, w.last
}

// watch goes on until ctx ends or something is wrong.
func (w *watcher) watch(ctx context.Context) {
	for ctx.Err() == nil {
		addresses := w.load.config.Addresses()
		address := addresses[w.random.IntN(len(addresses))]
		stay, cancel := context.WithTimeout(ctx, shortestStay+rand.N(longestStay-shortestStay))
		err := w.follow(stay, address)
		cancel()
		switch status.Code(err) {
		case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		default:
			w.load.fail(fmt.Errorf("events of %s: %w", address, err))
			return
		}
		pause := time.NewTimer(watchAgain)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// follow reads at one node until the stream ends.
func (w *watcher) follow(ctx context.Context, address string) error {
	graph, err := w.load.config.Watching.To(address)
	if err != nil {
		return err
	}
	seen, last := w.at()
	stream, err := graph.StreamEvents(ctx, &pb.StreamEventsRequest{AfterEventId: last, FromBeginning: last == ""})
	if err != nil {
		return err
	}
	for {
		event, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := w.load.feed.take(seen, event); err != nil {
			return err
		}
		seen++
		w.mu.Lock()
		w.seen, w.last = seen, event.GetId()
		w.mu.Unlock()
		w.load.feed.announce()
	}
}

// caughtUp waits until the watcher was told the event with that id.
func (w *watcher) caughtUp(ctx context.Context, id string) error {
	for {
		grown := w.load.feed.growth()
		seen, last := w.at()
		if last >= id {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return fmt.Errorf("%w: a watcher has %d events up to %s and not %s: %w", ErrEvents, seen, last, id, errorOrNone(w.load.Failed()))
		}
	}
}
