package hostile

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"
)

// keys are the metadata that the server reads, with values that suit it, and more that do not.
var keys = map[string][]string{
	"idempotency-key":            {"", "k1", "k2", "k3", "k1", strings.Repeat("k", 128), strings.Repeat("k", 129), strings.Repeat("k", 3000), " ", "~"},
	"memory-graph-consistency":   {"", "linearizable", "bounded", "local", "LOCAL", "eventual", strings.Repeat("l", 3000)},
	"memory-graph-max-staleness": {"", "1ms", "0", "-1s", "1", "9999999h", "99999999999999999999h", "NaN", "1e9s"},
	"memory-graph-min-revision":  {"", "0", "1", "-1", "18446744073709551616", "1.5", "0x1"},
	"memory-graph-cascade":       {"", "true", "false", "TRUE", "1"},
	"memory-graph-revision":      {"99999999", ""},
	"memory-graph-tenant":        {"2", "default", ""},
	"x-unknown":                  {"", strings.Repeat("x", 3000)},
	"x-unknown-bin":              {"\xff\xfe\x00", ""},
	"authorization":              {"Bearer x", ""},
}

// names are the keys in one order, so that a seed means one thing.
var names = []string{
	"idempotency-key", "memory-graph-consistency", "memory-graph-max-staleness", "memory-graph-min-revision", "memory-graph-cascade",
	"memory-graph-revision", "memory-graph-tenant", "x-unknown", "x-unknown-bin", "authorization",
}

// hurry are deadlines that no answer meets, or hardly any.
var hurry = []time.Duration{time.Nanosecond, 100 * time.Microsecond, time.Millisecond}

// headers gives a call metadata, one in three, and little time, one in thirty. hurried says that it may run out.
func (m *maker) headers(ctx context.Context) (with context.Context, hurried bool, cancel context.CancelFunc) {
	cancel = func() {}
	if m.one(3) {
		var pairs []string
		for range 1 + m.IntN(3) {
			key := pick(m, names)
			pairs = append(pairs, key, pick(m, keys[key]))
		}
		ctx = metadata.AppendToOutgoingContext(ctx, pairs...)
	}
	if m.one(30) {
		ctx, cancel = context.WithTimeout(ctx, pick(m, hurry))
		hurried = true
	}
	return ctx, hurried, cancel
}
