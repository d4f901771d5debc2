package rpc

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// codec is gRPC's own for protobuf, but for what a caller sent that does not decode: gRPC would answer INTERNAL, so the fault
// is kept beside the message, for the first interceptor to answer INVALID_ARGUMENT (D23). Unknown fields are dropped. A large
// request that the budget has no room for is not decoded at all.
type codec struct {
	encoding.CodecV2
	budget *requestBudget
}

func newCodec(b *requestBudget) codec { return codec{encoding.GetCodecV2(proto.Name), b} }

// encoded is a message that is encoded already. Nobody may change it after it was sent.
type encoded []byte

// Marshal encodes a reply, unless that has been done.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case encoded:
		return mem.BufferSlice{mem.SliceBuffer(v)}, nil
	case *outgoing:
		return c.send(v)
	default:
		return c.CodecV2.Marshal(v)
	}
}

// Unmarshal never fails for a protobuf message. Whoever receives the message has to claim what it has taken of the budget.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(protobuf.Message)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	taken, ok := c.budget.admit(m, data.Len())
	if !ok {
		return nil
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	size := data.Len()
	if size > tinyRequestBytes {
		size = decodedSize(buf.ReadOnlyData(), m.ProtoReflect().Descriptor(), maxFaultDepth)
	}
	if taken, ok = c.budget.settle(m, taken, size); !ok {
		return nil
	}
	err := protobuf.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(buf.ReadOnlyData(), m)
	if err == nil {
		if taken > 0 {
			carry(m, takenField, taken)
		}
		return nil
	}
	c.budget.release(taken)
	field, what := findFault(buf.ReadOnlyData(), m.ProtoReflect().Descriptor(), "")
	if what == "" {
		what = "is malformed"
	}
	protobuf.Reset(m)
	b := protowire.AppendTag(nil, faultField, protowire.BytesType)
	m.ProtoReflect().SetUnknown(protowire.AppendString(b, field+"\x00"+what))
	return nil
}

// decodeFault is the refusal of a message that was not or could not be decoded, nil for one that was.
func decodeFault(v any) error {
	number, value := carried(v)
	switch number {
	case refusedField:
		if size, _ := protowire.ConsumeVarint(value); size > maxDecodedBytes {
			return errTooMuch
		}
		return errOverBudget
	case faultField:
	default:
		return nil
	}
	text, _ := protowire.ConsumeString(value)
	field, what, _ := strings.Cut(text, "\x00")
	if field == "" {
		return &graph.Error{Kind: graph.Invalid, Message: "the request is not a valid protobuf message: it " + what}
	}
	return graph.Invalidf(field, "%s", what)
}

// maxFaultDepth bounds the search for a fault; deeper than this no message of ours nests.
const maxFaultDepth = 16

// findFault names the first field of a message that does not decode and what is wrong with it; both are empty when it
// finds none.
func findFault(b []byte, d protoreflect.MessageDescriptor, path string) (field, what string) {
	const malformed = "is malformed"
	if strings.Count(path, ".") > maxFaultDepth {
		return path, malformed
	}
	seen := map[protowire.Number]int{}
	for len(b) > 0 {
		number, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return path, malformed
		}
		b = b[n:]
		f := d.Fields().ByNumber(number)
		place := path
		if f != nil {
			place = join(path, f, d, seen[number])
			seen[number]++
		}
		n = protowire.ConsumeFieldValue(number, wire, b)
		if n < 0 {
			return place, "is cut off or malformed"
		}
		value := b[:n]
		b = b[n:]
		if f == nil || wire != protowire.BytesType {
			continue
		}
		body, _ := protowire.ConsumeBytes(value)
		switch {
		case f.Kind() == protoreflect.StringKind && !utf8.Valid(body):
			return place, "is not valid UTF-8"
		case f.Message() != nil:
			if field, what := findFault(body, f.Message(), place); what != "" {
				return field, what
			}
		}
	}
	return "", ""
}

// join appends a field to a path, the nth of a list with its index. The key and value of a map entry are named by their
// map alone.
func join(path string, f protoreflect.FieldDescriptor, d protoreflect.MessageDescriptor, nth int) string {
	name := string(f.Name())
	if f.IsList() {
		name = at(name, nth)
	}
	switch {
	case d.IsMapEntry():
		return path
	case path == "":
		return name
	default:
		return path + "." + name
	}
}
