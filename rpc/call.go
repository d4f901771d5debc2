package rpc

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// Metadata that callers send.
const (
	keyIdempotency  = "idempotency-key"
	keyLife         = "memory-graph-key-life"
	keyConsistency  = "memory-graph-consistency"
	keyMaxStaleness = "memory-graph-max-staleness"
	keyMinRevision  = "memory-graph-min-revision"
	keyCascade      = "memory-graph-cascade"
)

// Headers of replies.
const (
	headerRevision  = "memory-graph-revision"
	headerLineage   = "memory-graph-lineage"
	headerLastEvent = "memory-graph-last-event"
)

// DefaultStaleness bounds a bounded read whose caller named no bound.
const DefaultStaleness = 5 * time.Second

// consistency is how fresh a read must be.
type consistency int

const (
	linearizable consistency = iota
	bounded
	local
)

// A call is who asks and under which conditions, as its interceptor has read it from the request.
type call struct {
	// method is the short name, see [shortName].
	method string
	tenant graph.Tenant
	// idempotencyKey is empty when the caller gave none. shortLived says that it serves the retries of one call: it is remembered as
	// long as the keys that nodes mint, and counts to no bound.
	idempotencyKey string
	shortLived     bool
	consistency    consistency
	staleness      time.Duration
	minRevision    graph.Revision
	cascade        bool
	// progress is how far a StreamQuery has come; nil for others.
	progress *progress
	// revision is that of the reply, 0 until it is known.
	revision atomic.Uint64
}

// Services whose calls have names that other services have, too.
const (
	clusterCalls = ownServices + "ClusterService/"
	backupCalls  = ownServices + "BackupService/"
)

// shortName is the name of a call as metrics and logs have it: `AddPrompt`, `ClusterStatus`.
func shortName(fullMethod string) string {
	last := strings.LastIndexByte(fullMethod, '/') + 1
	switch fullMethod[:last] {
	case clusterCalls:
		return "Cluster" + fullMethod[last:]
	case backupCalls:
		return "Backup" + fullMethod[last:]
	default:
		return fullMethod[last:]
	}
}

// at notes the revision that the reply is of.
func (c *call) at(r graph.Revision) { c.revision.Store(uint64(r)) }

// reads tells the unary calls that change nothing.
func (c *call) reads() bool {
	return c.method == "Query" || slices.ContainsFunc([]string{"Get", "List", "BatchGet"}, func(p string) bool { return strings.HasPrefix(c.method, p) })
}

// holdsSnapshot tells the calls that keep a snapshot of the store while they send.
func (c *call) holdsSnapshot() bool {
	return c.method == "StreamQuery" || c.method == "Export" || c.method == "BackupCreate"
}

type callKey struct{}

// callOf is the call that a handler serves.
func callOf(ctx context.Context) *call {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return &call{tenant: graph.DefaultTenant}
	}
	return c
}

// tenantOf is the one place that says on whose graph a call works.
func tenantOf(ctx context.Context) graph.Tenant { return callOf(ctx).tenant }

// newCall reads the metadata of a request. The call is usable even with an error.
func newCall(ctx context.Context, fullMethod string) (*call, error) {
	c := &call{method: shortName(fullMethod), tenant: graph.DefaultTenant}
	md, _ := metadata.FromIncomingContext(ctx)
	for _, read := range []func(metadata.MD) error{c.readKey, c.readConsistency, c.readMinRevision, c.readCascade} {
		if err := read(md); err != nil {
			return c, err
		}
	}
	if c.method == "StreamQuery" {
		c.progress = &progress{}
	}
	return c, nil
}

// only is the one value of a key.
func only(md metadata.MD, key string) (value string, given bool, err error) {
	values := md[key] // keys are in lower case on both sides
	switch len(values) {
	case 0:
		return "", false, nil
	case 1:
		return values[0], true, nil
	default:
		return "", true, graph.Invalidf(key, "was given %d times", len(values))
	}
}

func (c *call) readKey(md metadata.MD) error {
	key, given, err := only(md, keyIdempotency)
	if err == nil && given && (key == "" || len(key) > graph.MaxIdempotencyKey) {
		err = graph.Invalidf(keyIdempotency, "is %d bytes, must be 1 to %d", len(key), graph.MaxIdempotencyKey)
	}
	c.idempotencyKey = key
	if err != nil {
		return err
	}
	life, given, err := only(md, keyLife)
	if err == nil && given && life != "retry" && life != "day" {
		err = graph.Invalidf(keyLife, "%q is neither retry nor day", clip(life, maxFieldBytes))
	}
	c.shortLived = life == "retry"
	return err
}

func (c *call) readConsistency(md metadata.MD) error {
	level, given, err := only(md, keyConsistency)
	if err != nil {
		return err
	}
	switch {
	case !given || level == "linearizable":
	case level == "bounded":
		c.consistency, c.staleness = bounded, DefaultStaleness
	case level == "local":
		c.consistency = local
	default:
		return graph.Invalidf(keyConsistency, "%q is unknown; use linearizable, bounded or local", clip(level, maxFieldBytes))
	}
	text, given, err := only(md, keyMaxStaleness)
	if err != nil || !given {
		return err
	}
	bound, err := time.ParseDuration(text)
	if err != nil || bound < 0 {
		return graph.Invalidf(keyMaxStaleness, "%q is no duration such as 500ms or 3s", clip(text, maxFieldBytes))
	}
	if c.consistency == bounded {
		c.staleness = bound
	}
	return nil
}

func (c *call) readMinRevision(md metadata.MD) error {
	text, given, err := only(md, keyMinRevision)
	if err != nil || !given {
		return err
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return graph.Invalidf(keyMinRevision, "%q is no revision", clip(text, maxFieldBytes))
	}
	c.minRevision = graph.Revision(n)
	return nil
}

func (c *call) readCascade(md metadata.MD) error {
	text, given, err := only(md, keyCascade)
	if err != nil || !given {
		return err
	}
	if text != "true" && text != "false" {
		return graph.Invalidf(keyCascade, "%q is neither true nor false", clip(text, maxFieldBytes))
	}
	c.cascade = text == "true"
	return nil
}
