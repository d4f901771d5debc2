package hostile

import (
	"bytes"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// spoil changes the bytes of a message so that they may be none any more.
func (m *maker) spoil(d protoreflect.MessageDescriptor, b []byte) []byte {
	b = slices.Clone(b)
	for range 1 + m.IntN(3) {
		b = m.spoilOnce(d, b)
	}
	return b
}

func (m *maker) spoilOnce(d protoreflect.MessageDescriptor, b []byte) []byte {
	at := 0
	if len(b) > 0 {
		at = m.IntN(len(b))
	}
	switch m.IntN(11) {
	case 0: // cut off
		return b[:at]
	case 1: // one bit
		if len(b) > 0 {
			b[at] ^= 1 << m.IntN(8)
		}
		return b
	case 2: // no UTF-8 where a text may be
		if i := bytes.IndexFunc(b[at:], func(r rune) bool { return r >= 'a' && r <= 'z' }); i >= 0 {
			b[at+i] = pick(m, []byte{0xff, 0xc0, 0xed, 0x80})
		}
		return b
	case 3: // all fields twice: the later wins, messages merge, lists grow
		return append(b, b...)
	case 4: // a field with another wire type
		return m.field(b, number(m, d), protowire.Type(m.IntN(8)))
	case 5: // a length beyond the end, or beyond all ends
		b = protowire.AppendTag(b, number(m, d), protowire.BytesType)
		return protowire.AppendVarint(b, pick(m, []uint64{1, 1 << 20, math.MaxInt32, math.MaxInt64, math.MaxUint64}))
	case 6: // a number of eleven bytes
		b = protowire.AppendTag(b, number(m, d), protowire.VarintType)
		return append(append(b, bytes.Repeat([]byte{0xff}, 10)...), 0x01)
	case 7: // fields that are unknown, at times very many
		for range 1 + m.count()*m.count() {
			b = m.field(b, protowire.Number(200+m.IntN(1000)), protowire.VarintType)
		}
		return b
	case 8: // groups that open and do not end, deep
		return append(b, bytes.Repeat(protowire.AppendTag(nil, number(m, d), protowire.StartGroupType), 1+m.IntN(20_000))...)
	case 9: // a message inside itself, deep
		inner := []byte{}
		for range 1 + m.IntN(200) {
			inner = protowire.AppendBytes(protowire.AppendTag(nil, number(m, d), protowire.BytesType), inner)
		}
		return append(b, inner...)
	default: // a tag that cannot be
		return append(b, pick(m, [][]byte{{0x00}, {0x07}, {0x06}, {0x80, 0x80, 0x80, 0x80, 0x80, 0x80}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}})...)
	}
}

// number is that of a field, known more often than not.
func number(m *maker, d protoreflect.MessageDescriptor) protowire.Number {
	if d.Fields().Len() > 0 && !m.one(4) {
		return d.Fields().Get(m.IntN(d.Fields().Len())).Number()
	}
	return pick(m, []protowire.Number{1, 15, 16, 100, 19_000, protowire.MaxValidNumber, protowire.MaxValidNumber - 1, protowire.MaxValidNumber - 2})
}

// field appends a field of a wire type with some value.
func (m *maker) field(b []byte, n protowire.Number, t protowire.Type) []byte {
	b = protowire.AppendTag(b, n, t)
	switch t {
	case protowire.VarintType:
		return protowire.AppendVarint(b, m.Uint64()>>m.IntN(64))
	case protowire.Fixed64Type:
		return protowire.AppendFixed64(b, m.Uint64())
	case protowire.Fixed32Type:
		return protowire.AppendFixed32(b, m.Uint32())
	case protowire.BytesType:
		return protowire.AppendString(b, m.text())
	default:
		return b
	}
}

// garbage is bytes that nobody has encoded, with tags of small numbers more often than chance has them.
func (m *maker) garbage() []byte {
	b := make([]byte, m.IntN(200))
	for i := range b {
		b[i] = byte(m.Uint32())
		if m.one(3) {
			b[i] = byte(1+m.IntN(12))<<3 | byte(m.IntN(6))
		}
	}
	return b
}
