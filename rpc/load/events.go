package load

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// nodeCreated is how the payload of a NODE_CREATED event begins, up to the id.
const nodeCreated = `{"node_id":"`

// createdNode is the id of the prompt that an event tells of, nil when it tells of something else.
func createdNode(event []byte) ([]byte, error) {
	payload, err := bytesField(event, 4)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(payload, []byte(nodeCreated)) || !bytes.Contains(payload, []byte("NODE_TYPE_PROMPT")) {
		return nil, nil
	}
	rest := payload[len(nodeCreated):]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return nil, fmt.Errorf("payload %q: %w", payload, errMalformed)
	}
	return rest[:end], nil
}

// A subscriber hears all events from now on, and compares when it hears of a prompt with when its write was acknowledged.
type subscriber struct {
	loop   *loop
	active chan string // the id of the newest event before
	ended  chan error
	seen   atomic.Int64

	mu sync.Mutex // guards what follows
	// waiting are prompts of which one of the two is known: when the write was acknowledged, or when the event was seen.
	waiting map[id]time.Time
	above   *tally
	matched int64
	// complete is closed when as many have been matched as there are to be.
	expected int64
	complete chan struct{}
}

func newSubscriber() *subscriber {
	return &subscriber{
		active: make(chan string, 1), ended: make(chan error, 1), waiting: map[id]time.Time{}, above: newTally(),
		expected: -1, complete: make(chan struct{}),
	}
}

func (s *subscriber) begun(h header) { s.active <- h.lastEvent }

func (s *subscriber) end(err error) { s.ended <- err }

func (s *subscriber) message(event []byte) error {
	s.seen.Add(1)
	name, err := createdNode(event)
	if err != nil || name == nil {
		return err
	}
	u, ok := parseID(name)
	if !ok {
		return fmt.Errorf("id %q is no UUID: %w", name, errMalformed)
	}
	s.meet(u, func(acknowledged, seen time.Time) time.Duration { return seen.Sub(acknowledged) })
	return nil
}

// acknowledged hears of a write.
func (s *subscriber) acknowledged(u id) {
	s.meet(u, func(seen, acknowledged time.Time) time.Duration { return seen.Sub(acknowledged) })
}

// meet notes the moment of one of the two, or, when the other has been noted, how much later than the write the event was.
func (s *subscriber) meet(u id, above func(first, now time.Time) time.Duration) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	first, met := s.waiting[u]
	if !met {
		s.waiting[u] = now
		return
	}
	delete(s.waiting, u)
	if l := s.loop; l != nil && !now.Before(l.from) && now.Before(l.to) {
		s.above.tookLocked(max(0, above(first, now)))
	}
	s.matched++
	s.finishLocked()
}

// expect says how many prompts there are.
func (s *subscriber) expect(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expected = n
	s.finishLocked()
}

func (s *subscriber) finishLocked() {
	if s.matched == s.expected {
		close(s.complete)
		s.expected = -1
	}
}

// subscribe subscribes on a connection of its own. It returns when the server has begun to answer, with the id of the newest
// event before, empty when there is none.
func (b *bench) subscribe(ctx context.Context, address string, s *subscriber) (_ *conn, last string, err error) {
	line, err := connect(ctx, address, readBuffer)
	if err != nil {
		return nil, "", err
	}
	if err = line.call(methodStreamEvents, frameMessage(nil, nil), s); err == nil {
		err = line.flush()
	}
	if err == nil {
		select {
		case last = <-s.active:
			return line, last, nil
		case err = <-s.ended:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	line.close()
	return nil, "", fmt.Errorf("subscribe: %w", err)
}

// events has one subscriber on each node, with a connection of its own, hear what the others write.
func (b *bench) events(ctx context.Context) error {
	if err := b.found(ctx); err != nil {
		return err
	}
	var all []*subscriber
	for _, address := range b.addresses() {
		s := newSubscriber()
		line, _, err := b.subscribe(ctx, address, s)
		if err != nil {
			return err
		}
		defer line.close()
		all = append(all, s)
	}
	heard := func(u id) {
		for _, s := range all {
			s.acknowledged(u)
		}
	}
	scripts := b.each(func() script {
		w := b.newWriter()
		w.heard = heard
		if b.Batch == 0 {
			return w
		}
		return &batcher{writer: *w, each: b.Batch, left: -1}
	})
	seen := func() (sum int64) {
		for _, s := range all {
			sum += s.seen.Load()
		}
		return sum
	}
	begin := func(l *loop) {
		for _, s := range all {
			s.loop = l
		}
	}
	if err := b.measureWith(ctx, scripts, seen, begin); err != nil {
		return err
	}
	return b.allSeen(ctx, all)
}

// allSeen waits until every subscriber has heard of all acknowledged writes. How late they were is of all of them together.
func (b *bench) allSeen(ctx context.Context, all []*subscriber) error {
	expected := acknowledgedBy(b.ledgers)
	late := time.NewTimer(patience)
	defer late.Stop()
	above := newTally()
	for i, s := range all {
		s.expect(expected)
		select {
		case <-s.complete:
		case err := <-s.ended:
			return fmt.Errorf("subscription %d of %d ended: %w", i+1, len(all), err)
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			s.mu.Lock()
			defer s.mu.Unlock()
			return fmt.Errorf("of %d acknowledged prompts, the events of %d came within %v of the last to subscriber %d of %d",
				expected, s.matched, patience, i+1, len(all))
		}
		above.add(s.above)
	}
	l := above.percentiles()
	b.result.Above = &l
	return nil
}
