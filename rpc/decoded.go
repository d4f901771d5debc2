package rpc

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// What decoded fields take in memory beside their bytes, roughly: a message of a list may have none of its own and be a hundred
// times as large as on the wire.
const (
	messageOverhead = 64
	fieldOverhead   = 16
	entryCost       = 128 // of a map
	listOverhead    = 48  // for each element: a list is copied as it grows
	// maxDecodedBytes is what no request that keeps to the limits of its lists and maps comes near.
	maxDecodedBytes = 64 << 20
	// Requests up to this size are not looked through.
	tinyRequestBytes = 2 << 10
)

// decodedSize estimates what the bytes of a message take when they are decoded: known fields only, as others are dropped. It stops
// where bytes are malformed, which decoding notices, and when there is no need to know more exactly.
func decodedSize(b []byte, d protoreflect.MessageDescriptor, depth int) int {
	size := messageOverhead + fieldOverhead*d.Fields().Len()
	for len(b) > 0 && size <= maxDecodedBytes {
		number, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return size
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(number, wire, b)
		if n < 0 {
			return size
		}
		if f := d.Fields().ByNumber(number); f != nil {
			size += decodedField(b[:n], f, wire, depth)
		}
		b = b[n:]
	}
	return size
}

func decodedField(value []byte, f protoreflect.FieldDescriptor, wire protowire.Type, depth int) int {
	if wire != protowire.BytesType {
		return fieldOverhead
	}
	body, _ := protowire.ConsumeBytes(value)
	switch {
	case f.IsMap():
		return entryCost + len(body)
	case f.Message() == nil && f.IsList() && f.IsPacked():
		return fieldOverhead + 8*len(body)
	case f.IsList() && f.Message() == nil:
		return listOverhead + len(body)
	case f.Message() == nil || depth == 0:
		return fieldOverhead + len(body)
	default:
		return fieldOverhead + decodedSize(body, f.Message(), depth-1)
	}
}
