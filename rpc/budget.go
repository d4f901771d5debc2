package rpc

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// smallRequestBytes is what a request may have without being counted: however many large ones there are, small ones are
// let in.
const smallRequestBytes = 64 << 10

// errOverBudget refuses a request that was not decoded, or a reply that was not sent.
var errOverBudget = errors.New("the requests and replies under way take all the memory that there is for them")

// errTooMuch refuses a request of very many small parts.
var errTooMuch = &graph.Error{
	Kind: graph.Exhausted, Reason: "REQUEST_TOO_LARGE",
	Message: "the lists and maps of the request have so many entries that it would take more than 64 MiB: keep to their limits",
}

// A requestBudget bounds the bytes, as decoded, of the large requests that are decoded and not yet done with, and of the large replies that
// are not sent yet, of all connections.
type requestBudget struct {
	limit int64
	taken atomic.Int64
	// full hears of replies that do not fit; nil for nobody.
	full func()
}

// take is false when the bytes do not fit.
func (b *requestBudget) take(bytes int64) bool {
	if b.taken.Add(bytes) <= b.limit {
		return true
	}
	b.taken.Add(-bytes)
	return false
}

// charge takes bytes whether they fit or not.
func (b *requestBudget) charge(bytes int64) { b.taken.Add(bytes) }

func (b *requestBudget) release(bytes int64) { b.taken.Add(-bytes) }

// What a message carries from the codec to whoever receives it, in fields that it cannot have, as unknown fields never
// survive decoding: why it did not decode, that it was not let in, or the bytes that it has taken of the budget.
const (
	faultField   protowire.Number = 1<<29 - 1
	refusedField protowire.Number = 1<<29 - 2
	takenField   protowire.Number = 1<<29 - 3
)

// carry makes a message carry a number and nothing else of what the fields above are for.
func carry(m protobuf.Message, field protowire.Number, n int64) {
	b := protowire.AppendTag(nil, field, protowire.VarintType)
	m.ProtoReflect().SetUnknown(protowire.AppendVarint(b, uint64(n)))
}

// carried is what a message carries: the field, 0 for nothing, and its value.
func carried(v any) (field protowire.Number, value []byte) {
	m, ok := v.(protobuf.Message)
	if !ok || len(m.ProtoReflect().GetUnknown()) == 0 {
		return 0, nil
	}
	unknown := m.ProtoReflect().GetUnknown()
	number, _, n := protowire.ConsumeTag(unknown)
	if n < 0 {
		return 0, nil
	}
	return number, unknown[n:]
}

// claim takes over what a message has taken of the budget: the message does not carry it any more.
func claim(v any) int64 {
	field, value := carried(v)
	if field != takenField {
		return 0
	}
	n, _ := protowire.ConsumeVarint(value)
	v.(protobuf.Message).ProtoReflect().SetUnknown(nil)
	return int64(n)
}

// A hold is what one call holds of the budget.
type hold struct {
	budget *requestBudget

	mu    sync.Mutex
	bytes int64
	over  bool
}

// change gives back what was held and holds other bytes, which must have been taken.
func (h *hold) change(bytes int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.budget.release(h.bytes)
	h.bytes = bytes
	if h.over {
		h.budget.release(bytes)
		h.bytes = 0
	}
}

// growth is how much a reply that is being made takes at a time.
const growth = 256 << 10

// grow takes what a reply of so many bytes needs, unless it does not fit.
func (h *hold) grow(bytes int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if bytes <= smallRequestBytes || int64(bytes) <= h.bytes || h.over {
		return nil
	}
	more := (int64(bytes) - h.bytes + growth - 1) / growth * growth
	if !h.budget.take(more) {
		if h.budget.full != nil {
			h.budget.full()
		}
		return errOverBudget
	}
	h.bytes += more
	return nil
}

// handOver leaves what is held to whoever sends a reply of so many bytes, and tells how much that is.
func (h *hold) handOver(size int64) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	bytes := max(h.bytes, size)
	h.budget.charge(bytes - h.bytes)
	h.bytes = 0
	return bytes
}

// end gives back all, also what a change that comes late brings.
func (h *hold) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.budget.release(h.bytes)
	h.bytes, h.over = 0, true
}

// budgeted registers services so that a unary call holds what its request has taken of the budget, whether it came to its
// interceptor or not: gRPC gives up on a call that does not end after its request, and none is asked then.
type budgeted struct {
	*grpc.Server
	budget *requestBudget
}

// RegisterService wraps every unary call.
func (b budgeted) RegisterService(desc *grpc.ServiceDesc, impl any) {
	wrapped := *desc
	wrapped.Methods = make([]grpc.MethodDesc, len(desc.Methods))
	for i, m := range desc.Methods {
		wrapped.Methods[i] = grpc.MethodDesc{MethodName: m.MethodName, Handler: b.unary(m.Handler)}
	}
	b.Server.RegisterService(&wrapped, impl)
}

func (b budgeted) unary(handler grpc.MethodHandler) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		held := holdOf(ctx)
		reply, err := handler(srv, ctx, func(v any) error {
			err := decode(v)
			held.change(claim(v))
			return err
		}, interceptor)
		if err != nil {
			held.change(0)
		}
		return reply, err
	}
}

// admit takes the bytes of a request for the message that it is to be decoded into, unless they do not fit.
func (b *requestBudget) admit(m protobuf.Message, bytes int) (taken int64, ok bool) {
	b.release(claim(m)) // gRPC decodes a second request of a call that has but one into the same message
	if bytes <= smallRequestBytes {
		return 0, true
	}
	if !b.take(int64(bytes)) {
		protobuf.Reset(m)
		carry(m, refusedField, int64(bytes))
		return 0, false
	}
	return int64(bytes), true
}

// settle takes for a message what it will have when it is decoded, in place of what it took as it came, unless it does not fit.
func (b *requestBudget) settle(m protobuf.Message, taken int64, bytes int) (now int64, ok bool) {
	size := int64(bytes)
	if size <= smallRequestBytes {
		size = 0
	}
	if more := size - taken; bytes > maxDecodedBytes || more > 0 && !b.take(more) {
		b.release(taken)
		protobuf.Reset(m)
		carry(m, refusedField, int64(bytes))
		return 0, false
	} else if more < 0 {
		b.release(-more)
	}
	return size, true
}
