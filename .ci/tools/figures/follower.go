package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// slice is how long writes are measured at a time while a follower comes.
const slice = "4s"

// newFollower fills a cluster, measures its writes, and goes on measuring them while a node without data joins.
func newFollower(s *session, t *trio, count int64) (string, verdict, error) {
	filled, err := s.on(t, toLeader, "fill", "--preload", strconv.FormatInt(count, 10))
	if err != nil {
		return "", no, err
	}
	write := func() (result, error) {
		return s.on(t, toLeader, "write", "--clients", "64", "--rate", joinRate, "--warm-up", "0s", "--duration", slice)
	}
	const looks = 4
	var quiet, busy []float64
	for i := range looks + 1 {
		r, err := write()
		if err != nil {
			return "", no, err
		}
		if i > 0 { // the first one warms up
			quiet = append(quiet, r.Latency.P99)
		}
	}
	joined, err := t.joinLate(s.ctx)
	if err != nil {
		return "", no, err
	}
	var took time.Duration
	for took == 0 {
		r, err := write()
		if err != nil {
			return "", no, err
		}
		busy = append(busy, r.Latency.P99)
		select {
		case j := <-joined:
			if j.err != nil {
				return "", no, j.err
			}
			took = j.took
		default:
		}
	}
	times := median(busy) / median(quiet)
	return fmt.Sprintf("a voter after %.1f s; p99 of the leader's writes meanwhile %.2f × (median of %d × %s: %s ms, worst %s; quiet %s, worst %s); filled at %s nodes/s",
		took.Seconds(), times, len(busy), slice, short(median(busy)), short(slices.Max(busy)), short(median(quiet)), short(slices.Max(quiet)),
		whole(filled.PerSecond)), judge(took < joinedWithin && times < joinedP99), nil
}

// A joining is how long a node took to become a voter, or why it did not.
type joining struct {
	took time.Duration
	err  error
}

// joinLate starts a fourth node and tells when it is a voter that has what the others have.
func (t *trio) joinLate(ctx context.Context) (<-chan joining, error) {
	gossip, err := ports(1)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	n := &node{name: "n" + strconv.Itoa(nodes+1)}
	ready, err := t.join(n, gossip[0])
	if err != nil {
		return nil, err
	}
	done := make(chan joining, 1)
	go func() {
		var j joining
		if n.address, j.err = awaitLong(ctx, ready); j.err == nil {
			j.err = t.promoted(ctx, n.name)
		}
		j.took = time.Since(start)
		done <- j
	}()
	return done, nil
}

// promoted waits until a node votes.
func (t *trio) promoted(ctx context.Context, name string) error {
	const most = 30 * time.Minute
	for end := time.Now().Add(most); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, lookAgain) {
		s, err := t.status(ctx, t.leader)
		if err != nil {
			continue
		}
		if m, known := s.member(name); known && m.Role == "voter" {
			return nil
		}
	}
	return errors.Join(ctx.Err(), fmt.Errorf("%s is no voter after %v", name, most))
}

// awaitLong waits for a node that may have much to fetch before it serves.
func awaitLong(ctx context.Context, ready <-chan string) (string, error) {
	select {
	case address, ok := <-ready:
		if ok {
			return address, nil
		}
		return "", errors.New("the new node ended before it was ready")
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
