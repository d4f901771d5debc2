package client

import (
	"context"
	"crypto/rand"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// option is a grpc.CallOption of ours: generated stubs pass it on, and gRPC itself ignores it.
type option struct {
	grpc.EmptyCallOption
	set func(*settings)
}

// settings are the conditions of one call.
type settings struct {
	key          string
	reads        Level
	maxStaleness time.Duration
	minRevision  uint64
	cascade      bool
	once         bool
	// tell hears of the revision of the reply without asking for one.
	tell *Causal
}

// IdempotencyKey gives a change its key, 1 to 128 bytes, instead of a minted one: the same request with the same key takes effect
// once, for 24 h, also from another process.
func IdempotencyKey(key string) grpc.CallOption {
	return option{set: func(s *settings) { s.key = key }}
}

// Reads says how fresh one read, or the start of one stream, must be.
func Reads(level Level) grpc.CallOption { return option{set: func(s *settings) { s.reads = level }} }

// MaxStaleness makes a read Bounded: it sees every write older than d.
func MaxStaleness(d time.Duration) grpc.CallOption {
	return option{set: func(s *settings) { s.reads, s.maxStaleness = Bounded, d }}
}

// MinRevision makes a call wait until the node has reached a revision. [Client.Causal] does it by itself.
func MinRevision(revision uint64) grpc.CallOption {
	return option{set: func(s *settings) { s.minRevision = max(s.minRevision, revision) }}
}

// Cascade makes DeleteNode take along what hangs below the node.
func Cascade() grpc.CallOption { return option{set: func(s *settings) { s.cascade = true }} }

// Once makes a call be tried once, whatever comes back, and without a minted key.
func Once() grpc.CallOption { return option{set: func(s *settings) { s.once = true }} }

// split takes our options out of those of a call.
func (c Config) split(options []grpc.CallOption) (settings, []grpc.CallOption) {
	s := settings{reads: c.Reads, maxStaleness: c.MaxStaleness}
	var rest []grpc.CallOption
	for _, o := range options {
		if ours, ok := o.(option); ok {
			ours.set(&s)
		} else {
			rest = append(rest, o)
		}
	}
	return s, rest
}

// outgoing adds the metadata of a call to those that the caller has put into ctx, which win. It returns the idempotency key
// that the call is sent with, "" for none, and whether that is one of ours, which nodes forget soon.
func (s settings) outgoing(ctx context.Context, k kind) (_ context.Context, key string, minted bool) {
	given, _ := metadata.FromOutgoingContext(ctx)
	var pairs []string
	add := func(name, value string) {
		if len(given.Get(name)) == 0 {
			pairs = append(pairs, name, value)
		}
	}
	key, has := only(given, keyIdempotency)
	switch {
	case has:
	case s.key != "":
		key = s.key
		add(keyIdempotency, key)
	case k == writes && !s.once:
		key, minted = mint(), true
		add(keyIdempotency, key)
		add(keyLife, lifeRetry)
	}
	if k != writes && k != other {
		if s.reads != "" {
			add(keyConsistency, string(s.reads))
		}
		if s.maxStaleness > 0 && s.reads == Bounded {
			add(keyMaxStaleness, s.maxStaleness.String())
		}
	}
	if s.minRevision > 0 {
		add(keyMinRevision, strconv.FormatUint(s.minRevision, 10))
	}
	if s.cascade {
		add(keyCascade, "true")
	}
	if len(pairs) > 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, pairs...)
	}
	return ctx, key, minted
}

// mint makes a key that no other call has: 128 random bits.
func mint() string { return rand.Text() }
