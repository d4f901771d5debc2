package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// errUnknown says that nobody can tell whether a write took effect.
var errUnknown = errors.New("outcome unknown")

// operation is one write under its idempotency key.
type operation struct {
	name, key string
	send      func(context.Context, graphgrpc.MemoryGraphServiceClient) (proto.Message, error)
	// acknowledged moves the model on.
	acknowledged func(proto.Message)
	// made are the ids of the records that the reply is about, known once it is acknowledged.
	made []string
}

// writer sends one write after the other.
type writer struct {
	name   string
	random *rand.Rand
	model  *model
	count  int
	// pending is the write whose outcome is unknown.
	pending *operation
	// done are acknowledged writes, for retries.
	done []*operation

	acknowledged, unknown, retried int
}

func newWriter(seed uint64, number int) *writer {
	return &writer{
		name:   fmt.Sprintf("%x-%d", seed, number),
		random: rand.New(rand.NewPCG(seed, uint64(number)+1)),
		model:  newModel(),
	}
}

// write sends new writes until the server is gone or ctx ends.
func (w *writer) write(ctx context.Context, client graphgrpc.MemoryGraphServiceClient) error {
	for ctx.Err() == nil {
		w.pending = w.next()
		err := w.try(ctx, client)
		if errors.Is(err, errUnknown) {
			w.unknown++
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// try sends the pending write.
func (w *writer) try(ctx context.Context, client graphgrpc.MemoryGraphServiceClient) error {
	op := w.pending
	reply, err := op.send(metadata.AppendToOutgoingContext(ctx, "idempotency-key", op.key), client)
	switch status.Code(err) {
	case codes.OK:
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return fmt.Errorf("%s %s: %w: %w", op.name, op.key, errUnknown, err)
	default:
		return fmt.Errorf("%s %s was refused: %w", op.name, op.key, err)
	}
	op.acknowledged(reply)
	w.acknowledged++
	w.done = append(w.done, op)
	w.pending = nil
	return nil
}

// settle finds out what became of the pending write, by sending it again under its key.
func (w *writer) settle(ctx context.Context, client graphgrpc.MemoryGraphServiceClient) error {
	if w.pending == nil {
		return nil
	}
	if err := w.try(ctx, client); err != nil {
		return fmt.Errorf("settle after a crash: %w", err)
	}
	return nil
}

// repeat sends some of the acknowledged writes again: each must answer as it did and change nothing.
func (w *writer) repeat(ctx context.Context, client graphgrpc.MemoryGraphServiceClient) error {
	for range min(10, len(w.done)) {
		op := w.done[w.random.IntN(len(w.done))]
		reply, err := op.send(metadata.AppendToOutgoingContext(ctx, "idempotency-key", op.key), client)
		w.retried++
		if err := w.sameOutcome(op, reply, err); err != nil {
			return fmt.Errorf("%s %s sent again: %w", op.name, op.key, err)
		}
	}
	return nil
}

func (w *writer) sameOutcome(op *operation, reply proto.Message, err error) error {
	lost := 0
	for _, id := range op.made {
		if w.isGone(id) {
			lost++
		}
	}
	if lost > 0 {
		if err == nil && lost < len(op.made) {
			return nil // what a batch answers of which a part is left is not promised
		}
		if status.Code(err) != codes.NotFound || !hasReason(err, "RESULT_SINCE_DELETED") {
			return fmt.Errorf("answer is %v, %w; want NOT_FOUND, RESULT_SINCE_DELETED", reply, errorOrNone(err))
		}
		return nil
	}
	if err != nil {
		return err
	}
	ids := idsOf(reply)
	for i, id := range op.made {
		if i >= len(ids) || ids[i] != id {
			return fmt.Errorf("%w: about %v, was about %v", errOtherOutcome, ids, op.made)
		}
	}
	return nil
}

var (
	errOtherOutcome = errors.New("other outcome")
	errNone         = errors.New("no error")
)

func errorOrNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

func (w *writer) isGone(id string) bool {
	_, isNode := w.model.nodes[id]
	_, isLink := w.model.links[id]
	return !isNode && !isLink && w.model.session(id) == nil
}

func hasReason(err error, reason string) bool {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetReason() == reason {
			return true
		}
	}
	return false
}
