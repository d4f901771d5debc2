package graph

import (
	"math"
	"sort"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Encode is the canonical encoding of a message: valid proto wire form, known fields in the order of their declaration
// (which is the order of their numbers; a test in proto holds that), map entries by key, scalars at their default left
// out, unknown fields dropped. Replicas compare these bytes, so they must not depend on the version of a library (D2).
func Encode(m protoreflect.ProtoMessage) []byte { return Append(nil, m) }

// Append is Encode into a slice.
func Append(b []byte, m protoreflect.ProtoMessage) []byte {
	switch m := m.(type) {
	case *pb.Node:
		return appendNode(b, m)
	case *pb.Edge:
		return appendEdge(b, m)
	case *logpb.StoredEvent:
		return appendEvent(b, m)
	case *logpb.Outcome:
		return appendOutcome(b, m)
	case *pb.AddPromptRequest:
		return appendPromptRequest(b, m)
	case *pb.BatchCreateNodesRequest:
		return appendBatchRequest(b, m)
	case *pb.ImportRequest:
		return appendImportRequest(b, m)
	default:
		return appendMessage(b, m.ProtoReflect())
	}
}

func appendMessage(b []byte, m protoreflect.Message) []byte {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) {
			continue
		}
		v := m.Get(f)
		switch {
		case f.IsMap():
			b = appendMap(b, f, v.Map())
		case f.IsList():
			b = appendList(b, f, v.List())
		default:
			b = appendField(b, f, v)
		}
	}
	return b
}

func appendList(b []byte, f protoreflect.FieldDescriptor, l protoreflect.List) []byte {
	if !f.IsPacked() {
		for i := range l.Len() {
			b = appendField(b, f, l.Get(i))
		}
		return b
	}
	var body []byte
	for i := range l.Len() {
		body = appendValue(body, f, l.Get(i))
	}
	b = protowire.AppendTag(b, f.Number(), protowire.BytesType)
	return protowire.AppendBytes(b, body)
}

func appendMap(b []byte, f protoreflect.FieldDescriptor, m protoreflect.Map) []byte {
	keys := make([]protoreflect.MapKey, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
	for _, k := range keys {
		entry := appendField(nil, f.MapKey(), k.Value())
		entry = appendField(entry, f.MapValue(), m.Get(k))
		b = protowire.AppendTag(b, f.Number(), protowire.BytesType)
		b = protowire.AppendBytes(b, entry)
	}
	return b
}

func appendField(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	b = protowire.AppendTag(b, f.Number(), wireType(f.Kind()))
	return appendValue(b, f, v)
}

func wireType(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.DoubleKind:
		return protowire.Fixed64Type
	default:
		return protowire.VarintType
	}
}

func appendValue(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protowire.AppendString(b, v.String())
	case protoreflect.BytesKind:
		return protowire.AppendBytes(b, v.Bytes())
	case protoreflect.MessageKind:
		return protowire.AppendBytes(b, appendMessage(nil, v.Message()))
	case protoreflect.DoubleKind:
		return protowire.AppendFixed64(b, math.Float64bits(v.Float()))
	case protoreflect.BoolKind:
		return protowire.AppendVarint(b, protowire.EncodeBool(v.Bool()))
	case protoreflect.EnumKind:
		return protowire.AppendVarint(b, uint64(int64(v.Enum())))
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return protowire.AppendVarint(b, uint64(v.Int()))
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return protowire.AppendVarint(b, v.Uint())
	default:
		panic("graph: no canonical encoding for kind " + f.Kind().String() + " of " + string(f.FullName()))
	}
}
