package fsm

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// An applier applies the commands of a batch.
type applier struct {
	batch    *store.Batch
	revision graph.Revision
	// outcomes is how many request ids a tenant may have, MaxOutcomes but in tests.
	outcomes int64
	// ordinal is that of the next event of the entry.
	ordinal uint32
	// derived counts the ids that the command at hand has made, edges the edges.
	derived uint32
	edges   int
	// mac is keyed by key, to be reset and used again.
	mac hash.Hash
	key [32]byte
	sum [32]byte
	// sealed and link are memory for what is hashed.
	sealed []byte
	link   [64]byte
	// every is what all changes have in common, present the one at hand, of a tenant.
	every, present graph.Change
	tenant         graph.Tenant
}

// newApplier makes one for the entries of a batch.
func newApplier(batch *store.Batch, outcomes int64) *applier {
	a := &applier{batch: batch, outcomes: outcomes}
	a.every = graph.Change{NewID: a.newID, Emit: a.happened, Forget: a.forget}
	return a
}

// enter begins an entry.
func (a *applier) enter(revision graph.Revision) { a.revision, a.ordinal = revision, 0 }

// apply applies one command. What it refuses leaves no trace but the memory of the refusal.
func (a *applier) apply(c *logpb.Command, stamp int64) Result {
	sys := a.batch.System()
	sys.Instant = max(stamp, sys.Instant+1)
	sys.Commands++
	a.derived, a.edges = 0, 0
	a.expire(sys.Instant)
	if known, ok := a.replay(c); ok {
		return known
	}
	if full, ok := a.full(c); ok {
		return full
	}
	a.batch.Mark()
	first := a.ordinal
	result, err := a.operate(c)
	var refusal *graph.Error
	switch {
	case errors.As(err, &refusal):
		a.batch.Revert()
		a.ordinal = first
		result = Result{Err: refusal}
	case err != nil:
		panic(fmt.Errorf("revision %d: %w", a.revision, err))
	default:
		result.EdgesCreated = a.edges
	}
	result.Revision = a.revision
	a.remember(c, result)
	return result
}

// operate is the switch over all commands.
func (a *applier) operate(c *logpb.Command) (Result, error) {
	if isProbe(c) {
		return Result{}, nil
	}
	if (c.Tenant == 0) != ofSystem(c) {
		return Result{}, graph.Invalidf("tenant", "%d cannot do %T", c.Tenant, c.Operation)
	}
	change := a.change(c)
	switch op := c.Operation.(type) {
	case *logpb.Command_CreateSession:
		return sessionResult(change.CreateSession(op.CreateSession.Session))
	case *logpb.Command_CloseSession:
		return sessionResult(change.CloseSession(op.CloseSession.SessionId))
	case *logpb.Command_DeleteSession:
		return Result{}, change.DeleteSession(op.DeleteSession.SessionId)
	case *logpb.Command_CreateNodes:
		nodes, err := change.CreateNodes(op.CreateNodes.Nodes)
		return Result{Nodes: nodes}, err
	case *logpb.Command_UpdateNode:
		return nodeResult(change.UpdateNode(op.UpdateNode.Node, op.UpdateNode.ExpectedRevision))
	case *logpb.Command_DeleteNode:
		return Result{}, change.DeleteNode(op.DeleteNode.NodeId, op.DeleteNode.Cascade)
	case *logpb.Command_CreateEdge:
		edge, err := change.CreateEdge(op.CreateEdge.Edge)
		return Result{Edge: edge}, err
	case *logpb.Command_DeleteEdge:
		return Result{}, change.DeleteEdge(op.DeleteEdge.EdgeId)
	case *logpb.Command_Instantiate:
		i := op.Instantiate
		return nodeResult(change.Instantiate(i.TemplateId, i.TemplateRevision, i.Prompt, i.VariableBindings))
	case *logpb.Command_Import:
		done, err := change.Import(op.Import.Nodes, op.Import.Edges)
		return Result{Imported: done}, err
	case *logpb.Command_Sweep:
		return Result{}, change.Sweep(int(op.Sweep.Limit))
	case *logpb.Command_TrimEvents:
		_, err := a.batch.TrimEvents(graph.Revision(op.TrimEvents.BelowRevision), int(op.TrimEvents.Limit))
		return Result{}, err
	case *logpb.Command_Bootstrap:
		return Result{}, a.bootstrap(op.Bootstrap)
	case *logpb.Command_RaiseFeatureLevel:
		a.raise(op.RaiseFeatureLevel.Level)
		return Result{}, nil
	default:
		return Result{}, fmt.Errorf("command %T is unknown to this program", op)
	}
}

// ofSystem reports a command that acts for no tenant.
func ofSystem(c *logpb.Command) bool {
	switch c.Operation.(type) {
	case *logpb.Command_Bootstrap, *logpb.Command_TrimEvents, *logpb.Command_RaiseFeatureLevel:
		return true
	default:
		return false
	}
}

func nodeResult(n *pb.Node, err error) (Result, error) {
	if err != nil {
		return Result{}, err
	}
	return Result{Nodes: []*pb.Node{n}}, nil
}

func sessionResult(s *pb.Session, err error) (Result, error) {
	if err != nil {
		return Result{}, err
	}
	n := &pb.Node{Id: s.Id, Type: pb.NodeType_NODE_TYPE_SESSION, CreatedAt: s.CreatedAt, SessionId: s.Id}
	n.NodeData = &pb.Node_Session{Session: s}
	return Result{Nodes: []*pb.Node{n}}, nil
}

// change is what the rules of the graph work on.
func (a *applier) change(c *logpb.Command) *graph.Change {
	a.tenant, a.present = tenantOf(c), a.every
	a.present.Tx, a.present.Instant, a.present.Revision = a.batch.Tx(a.tenant), a.batch.System().Instant, a.revision
	return &a.present
}

// happened is Emit of the command at hand.
func (a *applier) happened(e *logpb.StoredEvent, session graph.Position) uint32 {
	e.Tenant, e.Instant = uint32(a.tenant), a.batch.System().Instant
	if e.Type == pb.EventType_EVENT_TYPE_EDGE_CREATED {
		a.edges++
	}
	return a.emit(e, session)
}

// newID derives an id from the place of the command in the log of this lineage. It begins with the time, as ids of callers
// do, so that new ones lie beside each other in the store; the key keeps callers from guessing the rest.
func (a *applier) newID() string {
	sys := a.batch.System()
	b := binary.BigEndian.AppendUint32(append(a.sealed[:0], "id"...), sys.Lineage)
	b = binary.BigEndian.AppendUint64(b, sys.Commands)
	b = binary.BigEndian.AppendUint32(b, a.derived)
	a.derived++
	rest := a.keyed(b)
	id := binary.BigEndian.AppendUint64(b[:0], uint64(sys.Instant/int64(time.Millisecond))<<16)
	id = append(id[:6], rest[:10]...)
	id[6] = id[6]&0x0f | 0x80 // UUIDv8
	id[8] = id[8]&0x3f | 0x80
	return formatUUID(id)
}

// keyed is the HMAC-SHA-256 of a text under the key of the cluster, valid until the next. How a text begins keeps one use of
// the key apart from another.
func (a *applier) keyed(text []byte) []byte {
	if key := a.batch.System().Key; a.mac == nil || a.key != key {
		a.mac, a.key = hmac.New(sha256.New, key[:]), key
	}
	a.mac.Reset()
	a.mac.Write(text)
	return a.mac.Sum(a.sum[:0])
}

func formatUUID(id []byte) string {
	var text [36]byte
	hex.Encode(text[:], id[:4])
	hex.Encode(text[9:], id[4:6])
	hex.Encode(text[14:], id[6:8])
	hex.Encode(text[19:], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// emit seals an event into the chain and appends it to the feed.
func (a *applier) emit(e *logpb.StoredEvent, session graph.Position) uint32 {
	sys := a.batch.System()
	text := graph.Append(append(a.sealed[:0], eventUse...), e)
	digest := a.keyed(text)
	link := append(append(a.link[:0], sys.Chain[:]...), digest...)
	sys.Chain = sha256.Sum256(link)
	text = protowire.AppendBytes(protowire.AppendTag(text, digestField, protowire.BytesType), digest)
	text = protowire.AppendBytes(protowire.AppendTag(text, chainField, protowire.BytesType), sys.Chain[:])
	a.sealed = text[:0]
	key := store.EventKey{Revision: a.revision, Ordinal: a.ordinal}
	a.batch.PutEvent(key, graph.Tenant(e.Tenant), session, e.Type, text[len(eventUse):])
	a.ordinal++
	return key.Ordinal
}

// eventUse is what the text of an event's digest begins with.
const eventUse = "event"

// Numbers of the fields of a logpb.StoredEvent that seal it. They come after all others, so that appending them makes the
// canonical encoding of the whole.
const (
	digestField = 13
	chainField  = 14
)

// forget takes the detail from an event whose record is going. Its digest stays, so the chain still holds.
func (a *applier) forget(created graph.Revision, ordinal uint32) {
	key := store.EventKey{Revision: created, Ordinal: ordinal}
	body, ok, err := a.batch.Event(key)
	if err != nil {
		panic(fmt.Errorf("event %d/%d: %w", created, ordinal, err))
	}
	if !ok {
		return // trimmed already
	}
	e := &logpb.StoredEvent{}
	if err := proto.Unmarshal(body, e); err != nil {
		panic(fmt.Errorf("event %d/%d: %w", created, ordinal, err))
	}
	if e.Detail != nil {
		e.Detail = nil
		a.batch.SetEvent(key, graph.Encode(e))
	}
}

// bootstrap gives a new cluster its identity. A second one is refused: there is one history.
func (a *applier) bootstrap(b *logpb.Bootstrap) error {
	sys := a.batch.System()
	if sys.ClusterID != "" {
		return &graph.Error{Kind: graph.Exists, Message: "cluster " + sys.ClusterID + " is bootstrapped already"}
	}
	if b.ClusterId == "" || len(b.Key) != len(sys.Key) {
		return graph.Invalidf("bootstrap", "needs a cluster id and a key of %d bytes", len(sys.Key))
	}
	sys.ClusterID, sys.Lineage, sys.FeatureLevel = b.ClusterId, b.Lineage, b.FeatureLevel
	copy(sys.Key[:], b.Key)
	return nil
}

// raise moves the feature level up, never down. A level that this program does not know does not decode.
func (a *applier) raise(level uint32) {
	sys := a.batch.System()
	sys.FeatureLevel = max(sys.FeatureLevel, level)
}
