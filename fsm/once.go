package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// How long a request id is remembered, by the instants of the log (D4).
const (
	keyedLife  = 24 * time.Hour
	mintedLife = 15 * time.Minute
)

// MaxOutcomes bounds the request ids that are remembered for one tenant; at the bound new keys are refused, and none that
// lives is dropped.
const MaxOutcomes = 20_000_000

// expiredPerCommand is how many rows past their life one command sweeps. A row is absent from the end of its life on,
// swept or not; two are enough to keep up with one new row a command.
const expiredPerCommand = 2

func (a *applier) expire(now int64) {
	if _, err := a.batch.ExpireOutcomes(now, expiredPerCommand); err != nil {
		panic(fmt.Errorf("expire outcomes: %w", err))
	}
}

// full refuses a new key of a tenant that has as many as it may.
func (a *applier) full(c *logpb.Command) (Result, bool) {
	if !c.Keyed {
		return Result{}, false
	}
	n, err := a.batch.CountOutcomes(tenantOf(c))
	if err != nil {
		panic(fmt.Errorf("count outcomes: %w", err))
	}
	return Result{Revision: a.revision, Err: &graph.Error{
		Kind: graph.Exhausted, Field: "idempotency-key", Reason: "IDEMPOTENCY_KEYS",
		Message: "idempotency-key: too many keys of the last 24 hours are remembered; wait or send the request without one",
	}}, n >= a.outcomes
}

// replay answers a command that has taken effect before.
func (a *applier) replay(c *logpb.Command) (Result, bool) {
	if len(c.RequestId) == 0 {
		return Result{}, false
	}
	row, ok, err := a.batch.Outcome(tenantOf(c), [RequestIDBytes]byte(c.RequestId))
	if err != nil {
		panic(fmt.Errorf("outcome: %w", err))
	}
	if !ok {
		return Result{}, false
	}
	result, ok, err := recall(a.batch.Tx(tenantOf(c)), row, c.Fingerprint, a.batch.System().Instant)
	if err != nil {
		panic(fmt.Errorf("outcome: %w", err))
	}
	result.Revision = a.revision
	return result, ok
}

// Recall answers a keyed request that has taken effect before, without going through the log; ok is false when it has not.
func (m *Machine) Recall(t graph.Tenant, requestID, fingerprint []byte) (result Result, ok bool, err error) {
	if len(requestID) != RequestIDBytes {
		return Result{}, false, fmt.Errorf("recall: request id of %d bytes, want %d", len(requestID), RequestIDBytes)
	}
	snap := m.store.Snapshot()
	defer snap.Close()
	row, ok, err := snap.Outcome(t, [RequestIDBytes]byte(requestID))
	if err != nil || !ok {
		return Result{}, false, err
	}
	result, ok, err = recall(snap.View(t), row, fingerprint, snap.System().Instant)
	result.Revision = Revision(snap.System())
	return result, ok, err
}

// recall reads an outcome row: the same refusal again, or the records as they now are.
func recall(v graph.View, row, fingerprint []byte, now int64) (Result, bool, error) {
	var o logpb.Outcome
	if err := proto.Unmarshal(row, &o); err != nil {
		return Result{}, false, err
	}
	if o.Expires <= now {
		return Result{}, false, nil
	}
	if !bytes.Equal(o.Fingerprint, fingerprint) {
		return Result{Err: &graph.Error{
			Kind: graph.Invalid, Field: "idempotency-key", Reason: graph.ReasonKeyReused,
			Message: "idempotency-key: was used for another request; use a new key for a new request",
		}}, true, nil
	}
	if o.Kind != 0 {
		return Result{Replayed: true, Err: &graph.Error{
			Kind: graph.Kind(o.Kind), Message: o.Message, Field: o.Field, Reason: o.Reason,
			ResourceType: o.ResourceType, ResourceName: o.ResourceName,
		}}, true, nil
	}
	result := Result{Replayed: true}
	if o.ImportCounts != nil {
		i := o.ImportCounts
		result.Imported = graph.Imported{
			NodesCreated: i.NodesCreated, NodesUnchanged: i.NodesUnchanged,
			EdgesCreated: i.EdgesCreated, EdgesUnchanged: i.EdgesUnchanged,
		}
	}
	var err error
	last := graph.Position(o.Position)
	if result.Nodes, err = recallNodes(v, o.NodeIds, last); err == nil && o.EdgeId != "" {
		result.Edge, err = recallEdge(v, o.EdgeId, last)
	}
	var gone *graph.Error
	if errors.As(err, &gone) {
		return Result{Replayed: true, Err: gone}, true, nil
	}
	return result, true, err
}

// recallNodes reads what a command made. A record with its id but a position after last is another one.
func recallNodes(v graph.View, ids []string, last graph.Position) ([]*pb.Node, error) {
	var nodes []*pb.Node
	for _, id := range ids {
		rec, ok, err := v.NodeByID(id)
		if err != nil {
			return nil, err
		}
		if !ok || rec.Position > last {
			return nil, sinceDeleted("node", id)
		}
		n, err := graph.Present(v, rec)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

func recallEdge(v graph.View, id string, last graph.Position) (*pb.Edge, error) {
	rec, ok, err := v.EdgeByID(id)
	if err != nil {
		return nil, err
	}
	if !ok || rec.Position > last {
		return nil, sinceDeleted("edge", id)
	}
	return rec.Edge()
}

func sinceDeleted(resource, id string) error {
	return &graph.Error{
		Kind: graph.NotFound, Reason: graph.ReasonResultDeleted, ResourceType: resource, ResourceName: id,
		Message: "the request took effect, but its " + resource + " " + id + " has been deleted since",
	}
}

// remember keeps the outcome of a command under its request id.
func (a *applier) remember(c *logpb.Command, r Result) {
	var refusal *graph.Error
	stale := errors.As(r.Err, &refusal) && refusal.Reason == graph.ReasonTemplateStale
	if len(c.RequestId) == 0 || stale {
		return // the node that rendered a stale template renders again under the same id
	}
	life := mintedLife
	if c.Keyed {
		life = keyedLife
	}
	sys := a.batch.System()
	o := &logpb.Outcome{Fingerprint: c.Fingerprint, Expires: sys.Instant + int64(life), Position: sys.Position}
	if refusal != nil {
		o.Kind, o.Message, o.Field, o.Reason = uint32(refusal.Kind), refusal.Message, refusal.Field, refusal.Reason
		o.ResourceType, o.ResourceName = refusal.ResourceType, refusal.ResourceName
	}
	for _, n := range r.Nodes {
		o.NodeIds = append(o.NodeIds, n.Id)
	}
	o.EdgeId = r.Edge.GetId()
	if r.Imported != (graph.Imported{}) {
		o.ImportCounts = &logpb.ImportCounts{
			NodesCreated: r.Imported.NodesCreated, NodesUnchanged: r.Imported.NodesUnchanged,
			EdgesCreated: r.Imported.EdgesCreated, EdgesUnchanged: r.Imported.EdgesUnchanged,
		}
	}
	a.batch.PutOutcome(tenantOf(c), [RequestIDBytes]byte(c.RequestId), o.Expires, graph.Encode(o))
}
