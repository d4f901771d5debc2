package rpc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// A write is one change on its way into the log: who asks, and the id under which a retry takes effect once (D4).
type write struct {
	server *Server
	tenant graph.Tenant
	id     []byte
	// request is the call as it came in; fingerprint its keyed digest, once identify has made it.
	request     []byte
	fingerprint []byte
	keyed       bool
	// lasting keys are remembered for a day, others for the retries of one call.
	lasting bool
}

// begin starts a write. Call it before anything changes req: the fingerprint is of the request as it came in. part tells
// the parts of one call apart that are changes of their own.
func (s *Server) begin(ctx context.Context, req proto.Message, part uint64) *write {
	return s.beginEncoded(ctx, graph.Encode(req), part)
}

// beginEncoded is begin for a request whose canonical encoding is there.
func (s *Server) beginEncoded(ctx context.Context, req []byte, part uint64) *write {
	c := callOf(ctx)
	w := &write{server: s, tenant: c.tenant, keyed: c.idempotencyKey != "", lasting: !c.shortLived}
	if w.keyed {
		w.id = keyedID(c, part)
	} else {
		w.id = mintedID(time.Now())
	}
	w.request = append([]byte("request "+c.method+"\x00"), req...)
	return w
}

// identify makes the fingerprint. Its key is in the log: a node that has just started waits until it has replayed that.
func (w *write) identify(ctx context.Context) error {
	if w.fingerprint != nil {
		return nil
	}
	if err := w.server.bootstrapped(ctx); err != nil {
		return err
	}
	key := w.server.machine.Store().System().Key
	mac := hmac.New(sha256.New, key[:])
	mac.Write(w.request)
	w.fingerprint, w.request = mac.Sum(nil)[:fsm.RequestIDBytes], nil
	return nil
}

// bootstrapped waits until this node knows who its cluster is, and the key of it: from the first applied command on.
func (s *Server) bootstrapped(ctx context.Context) error {
	for {
		changed := s.machine.Changed()
		if s.machine.Store().System().ClusterID != "" {
			return nil
		}
		select {
		case <-changed:
		case <-s.stop.Done():
			return errStopping
		case <-ctx.Done():
			return fmt.Errorf("this node has not replayed its log yet: %w", ctx.Err())
		}
	}
}

// keyedID is the request id that a caller's key stands for.
func keyedID(c *call, part uint64) []byte {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(c.tenant)))
	h.Write(binary.BigEndian.AppendUint64(nil, part))
	h.Write([]byte(c.method + "\x00" + c.idempotencyKey))
	id := h.Sum(nil)[:fsm.RequestIDBytes]
	id[0] |= 0x80
	return id
}

// mintedID is a request id that no other request has. It begins with 0 and the time: the store looks for no earlier outcome
// of one that lies behind all others (see fsm/store, warm).
func mintedID(now time.Time) []byte {
	id := binary.BigEndian.AppendUint64(make([]byte, 0, fsm.RequestIDBytes), uint64(now.UnixMilli())<<8)
	id = id[:fsm.RequestIDBytes]
	_, _ = rand.Read(id[7:]) // never fails
	return id
}

// recall answers a keyed request that has taken effect before; ok is false when it has not, as far as this node knows.
func (w *write) recall(ctx context.Context) (result fsm.Result, ok bool, err error) {
	if !w.keyed {
		return result, false, nil
	}
	if err := w.identify(ctx); err != nil {
		return result, false, err
	}
	if err := w.server.caughtUp(ctx); err != nil {
		return result, false, err
	}
	if _, ok, err = w.server.machine.Recall(w.tenant, w.id, w.fingerprint); err != nil || !ok {
		return result, false, err
	}
	// The answer has the record as it now is, which this node may not know yet: it is a read, and as fresh as one.
	if err := w.server.insist(ctx, func(ctx context.Context) error { return w.server.log.Barrier(ctx, 0) }); err != nil {
		return result, false, err
	}
	result, ok, err = w.server.machine.Recall(w.tenant, w.id, w.fingerprint)
	if err != nil || !ok {
		return result, false, err
	}
	callOf(ctx).at(result.Revision)
	return result, true, result.Err
}

// propose makes the change, unless it was made before, and returns what became of it. A refusal is an error.
func (w *write) propose(ctx context.Context, c *logpb.Command) (fsm.Result, error) {
	if known, ok, err := w.recall(ctx); err != nil || ok {
		return known, err
	}
	if err := w.server.caughtUp(ctx); err != nil {
		return fsm.Result{}, err
	}
	encoded, err := w.encode(ctx, c)
	if err != nil {
		return fsm.Result{}, err
	}
	return w.send(ctx, c, encoded)
}

// proposeEncoded is propose for a change that encode has encoded.
func (w *write) proposeEncoded(ctx context.Context, c *logpb.Command, encoded []byte) (fsm.Result, error) {
	if known, ok, err := w.recall(ctx); err != nil || ok {
		return known, err
	}
	if err := w.server.caughtUp(ctx); err != nil {
		return fsm.Result{}, err
	}
	return w.send(ctx, c, encoded)
}

// encode makes the change the command of this write, as the log takes it.
func (w *write) encode(ctx context.Context, c *logpb.Command) ([]byte, error) {
	if err := fits(c); err != nil {
		return nil, err
	}
	if err := w.identify(ctx); err != nil {
		return nil, err
	}
	c.Tenant, c.RequestId, c.Fingerprint, c.Keyed = uint32(w.tenant), w.id, w.fingerprint, w.keyed && w.lasting
	encoded, err := fsm.EncodeCommand(c)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", c.Operation, err)
	}
	return encoded, nil
}

// send puts the command into the log.
func (w *write) send(ctx context.Context, c *logpb.Command, encoded []byte) (result fsm.Result, err error) {
	start := time.Now()
	w.server.metrics.Buffered(1)
	defer w.server.metrics.Buffered(-1)
	err = w.server.insist(ctx, func(ctx context.Context) error {
		result, err = w.server.log.Propose(ctx, encoded)
		return err
	})
	if err != nil {
		return result, err
	}
	callOf(ctx).at(result.Revision)
	if result.Err == nil {
		w.server.committed(c, result, time.Since(start))
	}
	return result, result.Err
}

// What a record of a reply takes beyond what its command does, bytes: times, revision, session, longer lengths; and what
// a reply takes around them.
const (
	recordOverhead = 128
	replyOverhead  = 1 << 10
)

// fits refuses a change whose records could not be read back: a reply over graph.MaxReplyBytes is of no use to a caller.
func fits(c *logpb.Command) error {
	size, records := proto.Size(c), 1
	if create := c.GetCreateNodes(); create != nil {
		records = len(create.Nodes)
	}
	if size += records*recordOverhead + replyOverhead; size <= graph.MaxReplyBytes {
		return nil
	}
	return &graph.Error{Kind: graph.Exhausted, Reason: "REQUEST_TOO_LARGE", Message: fmt.Sprintf(
		"the request makes records of %d bytes with their ids and times, at most %d fit into a reply: split it", size, graph.MaxReplyBytes)}
}

// newID makes an id for a record whose caller left it to the server.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// mint gives a node an id if it has none.
func mint(n *pb.Node) {
	if n.Id == "" {
		graph.SetID(n, newID())
	}
}

// createNodes makes nodes as they are.
func createNodes(nodes ...*pb.Node) *logpb.Command {
	return &logpb.Command{Operation: &logpb.Command_CreateNodes{CreateNodes: &logpb.CreateNodes{Nodes: nodes}}}
}

// first is the one node of a result.
func first(r fsm.Result) *pb.Node {
	if len(r.Nodes) == 0 {
		return nil
	}
	return r.Nodes[0]
}
