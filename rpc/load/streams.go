package load

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync/atomic"
)

// A digest of prompts does not depend on their order: the sum of the hashes of id and content of each.
type digest struct {
	seed  maphash.Seed
	sum   uint64
	count int64
}

func (d *digest) add(id, content []byte) {
	var h maphash.Hash
	h.SetSeed(d.seed)
	_, _ = h.Write(id) // never fail
	_, _ = h.Write(content)
	d.sum += h.Sum64()
	d.count++
}

// digestsOf are what readers of the sessions of a ledger must come to.
func digestsOf(l *ledger) []digest {
	all := make([]digest, len(l.sessions))
	seed := maphash.MakeSeed()
	for i := range all {
		all[i].seed = seed
	}
	var text, name []byte
	for _, w := range l.written {
		text, name = appendText(text[:0], w.seed, l.size), w.id.append(name[:0])
		all[w.session].add(name, text)
	}
	return all
}

// A streamer reads all prompts of a session, one session after the other, and sees that they are those that were written.
type streamer struct {
	sessions []id
	wants    []digest
	turn     int
	want     digest
	got      digest
	seen     atomic.Int64
}

func (s *streamer) next(b []byte) (method, []byte) {
	s.turn++
	at := s.turn % len(s.sessions)
	s.want, s.got = s.wants[at], digest{seed: s.wants[at].seed}
	b = appendIDField(b, 1, s.sessions[at])
	return methodStreamQuery, appendVarintField(b, 2, 2) // prompts
}

func (s *streamer) took(node []byte) error {
	name, err := bytesField(node, 1)
	if err != nil {
		return err
	}
	content, err := promptOf(node)
	if err != nil {
		return err
	}
	s.got.add(name, content)
	s.seen.Add(1)
	switch {
	case s.got.count < s.want.count, s.got == s.want:
		return nil
	default:
		return fmt.Errorf("%d streamed prompts are not the %d that were written", s.got.count, s.want.count)
	}
}

func (s *streamer) operations() int64 { return 0 }

func (s *streamer) count() int64 { return s.seen.Load() }

func (b *bench) stream(ctx context.Context) error {
	if err := b.load(ctx, max(1, b.Preload)); err != nil {
		return err
	}
	wants := digestsOf(b.preloaded)
	return b.measure(ctx, b.each(func() script { return &streamer{sessions: b.sessions, wants: wants} }))
}

// A follower reads the feed from before the prompts that were written until it has seen the events of all of them, again
// and again.
type follower struct {
	// after is the event before, empty for the beginning of the feed.
	after     string
	want, got digest
	seen      atomic.Int64
}

func (f *follower) next(b []byte) (method, []byte) {
	f.got = digest{seed: f.want.seed}
	if f.after != "" {
		return methodStreamEvents, appendBytesField(b, 100, []byte(f.after))
	}
	return methodStreamEvents, appendVarintField(b, 101, 1) // from the beginning
}

func (f *follower) took(event []byte) error {
	f.seen.Add(1)
	name, err := createdNode(event)
	if err != nil || name == nil {
		return err
	}
	f.got.add(name, nil)
	switch {
	case f.got.count < f.want.count:
		return nil
	case f.got == f.want:
		return errEnough
	default:
		return fmt.Errorf("the feed has %d prompts, which are not the %d that were written", f.got.count, f.want.count)
	}
}

func (f *follower) operations() int64 { return 0 }

func (f *follower) count() int64 { return f.seen.Load() }

// feed needs a server to which nobody else writes meanwhile.
func (b *bench) feed(ctx context.Context) error {
	line, after, err := b.subscribe(ctx, b.addresses()[0], newSubscriber())
	if err != nil {
		return err
	}
	line.close()
	if err := b.load(ctx, max(1, b.Preload)); err != nil {
		return err
	}
	want := digest{seed: maphash.MakeSeed()}
	var name []byte
	for _, w := range b.preloaded.written {
		name = w.id.append(name[:0])
		want.add(name, nil)
	}
	return b.measure(ctx, b.each(func() script { return &follower{after: after, want: want} }))
}
