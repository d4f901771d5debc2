package conformance

import (
	"fmt"
	"iter"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// mutant is a request with one thing wrong with it, or at least odd.
type mutant struct {
	name    string
	request proto.Message
}

// mutants takes a good request and spoils one field after the other, however deep.
func mutants(base proto.Message) iter.Seq[mutant] {
	return func(yield func(mutant) bool) {
		w := walker{base: base, yield: yield}
		w.message("", func(m protoreflect.Message) protoreflect.Message { return m }, base.ProtoReflect().Descriptor())
	}
}

// place finds the same message in a copy of the request.
type place func(root protoreflect.Message) protoreflect.Message

type walker struct {
	base    proto.Message
	yield   func(mutant) bool
	stopped bool
}

func (w *walker) spoil(name string, at place, change func(protoreflect.Message)) {
	if w.stopped {
		return
	}
	request := proto.CloneOf(w.base)
	change(at(request.ProtoReflect()))
	w.stopped = !w.yield(mutant{name: name, request: request})
}

func (w *walker) message(path string, at place, desc protoreflect.MessageDescriptor) {
	if desc.FullName() == "google.protobuf.Timestamp" {
		w.timestamp(path, at, desc)
		return
	}
	for i := range desc.Fields().Len() {
		fd := desc.Fields().Get(i)
		name := path + string(fd.Name())
		switch {
		case fd.IsMap():
			w.entries(name, at, fd)
		case fd.IsList():
			w.list(name, at, fd)
		case fd.Message() != nil:
			w.nested(name, at, fd)
		default:
			w.values(name, at, fd, func(m protoreflect.Message, v protoreflect.Value) { m.Set(fd, v) })
		}
	}
}

func (w *walker) nested(name string, at place, fd protoreflect.FieldDescriptor) {
	present := at(w.base.ProtoReflect()).Has(fd)
	w.spoil(name+" empty", at, func(m protoreflect.Message) { m.Set(fd, m.NewField(fd)) })
	if present {
		w.spoil(name+" missing", at, func(m protoreflect.Message) { m.Clear(fd) })
	}
	if present || fd.ContainingOneof() == nil || fd.ContainingOneof().IsSynthetic() {
		w.message(name+".", func(root protoreflect.Message) protoreflect.Message {
			return at(root).Mutable(fd).Message()
		}, fd.Message())
	}
}

func (w *walker) list(name string, at place, fd protoreflect.FieldDescriptor) {
	add := func(m protoreflect.Message, times int) {
		list := m.Mutable(fd).List()
		for range times {
			list.Append(list.NewElement())
		}
	}
	w.spoil(name+" missing", at, func(m protoreflect.Message) { m.Clear(fd) })
	w.spoil(name+" of 10,001", at, func(m protoreflect.Message) { add(m, 10_001) })
	if fd.Message() == nil {
		w.values(name, at, fd, func(m protoreflect.Message, v protoreflect.Value) { m.Mutable(fd).List().Append(v) })
		return
	}
	w.spoil(name+" with an empty one", at, func(m protoreflect.Message) { add(m, 1) })
	w.message(name+"[0].", func(root protoreflect.Message) protoreflect.Message {
		m := at(root)
		if m.Get(fd).List().Len() == 0 {
			add(m, 1)
		}
		return m.Mutable(fd).List().Get(0).Message()
	}, fd.Message())
}

func (w *walker) entries(name string, at place, fd protoreflect.FieldDescriptor) {
	put := func(m protoreflect.Message, key, value string) {
		m.Mutable(fd).Map().Set(protoreflect.ValueOfString(key).MapKey(), protoreflect.ValueOfString(value))
	}
	w.spoil(name+" of 65 entries", at, func(m protoreflect.Message) {
		for i := range 65 {
			put(m, fmt.Sprint("key", i), "value")
		}
	})
	for what, text := range hostileTexts() {
		w.spoil(name+" with key "+what, at, func(m protoreflect.Message) { put(m, text, "value") })
		w.spoil(name+" with value "+what, at, func(m protoreflect.Message) { put(m, "key", text) })
	}
}

func hostileTexts() map[string]string {
	return map[string]string{
		"empty": "", "space": " ", "NUL": "a\x00b", "129 bytes": strings.Repeat("i", 129), "bidi": "\u202eabc\u2066",
		"BOM": "\ufeffabc", "ANSI": "\x1b[31mabc\x1b[0m", "newline": "a\nb", "path": "../../etc/passwd", "U+FFFF": "\uffff",
	}
}

func (w *walker) values(
	name string, at place, fd protoreflect.FieldDescriptor, set func(protoreflect.Message, protoreflect.Value),
) {
	for what, value := range hostileValues(fd) {
		w.spoil(name+" "+what, at, func(m protoreflect.Message) { set(m, value) })
	}
	if fd.Kind() == protoreflect.StringKind {
		w.spoil(name+" of 2 MB", at, func(m protoreflect.Message) {
			set(m, protoreflect.ValueOfString(strings.Repeat("long", 500_000)))
		})
	}
}

func hostileValues(fd protoreflect.FieldDescriptor) map[string]protoreflect.Value {
	values := make(map[string]protoreflect.Value)
	switch fd.Kind() {
	case protoreflect.StringKind:
		for what, text := range hostileTexts() {
			values[what] = protoreflect.ValueOfString(text)
		}
	case protoreflect.BytesKind:
		values["odd"] = protoreflect.ValueOfBytes([]byte{0xff, 0})
	case protoreflect.BoolKind:
		values["true"], values["false"] = protoreflect.ValueOfBool(true), protoreflect.ValueOfBool(false)
	case protoreflect.EnumKind:
		for _, n := range []protoreflect.EnumNumber{99, -1, math.MaxInt32, 0} {
			values[fmt.Sprint(n)] = protoreflect.ValueOfEnum(n)
		}
	case protoreflect.Int32Kind:
		for _, n := range []int32{-1, math.MinInt32, math.MaxInt32} {
			values[fmt.Sprint(n)] = protoreflect.ValueOfInt32(n)
		}
	case protoreflect.Int64Kind:
		for _, n := range []int64{-1, math.MinInt64, math.MaxInt64} {
			values[fmt.Sprint(n)] = protoreflect.ValueOfInt64(n)
		}
	case protoreflect.Uint64Kind:
		for _, n := range []uint64{1, 1 << 63, math.MaxUint64} {
			values[fmt.Sprint(n)] = protoreflect.ValueOfUint64(n)
		}
	case protoreflect.DoubleKind:
		for _, n := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), math.MaxFloat64, math.SmallestNonzeroFloat64} {
			values[fmt.Sprint(n)] = protoreflect.ValueOfFloat64(n)
		}
	default:
		panic("no hostile values for a field of kind " + fd.Kind().String())
	}
	return values
}

func (w *walker) timestamp(path string, at place, desc protoreflect.MessageDescriptor) {
	seconds, nanos := desc.Fields().ByName("seconds"), desc.Fields().ByName("nanos")
	for _, c := range []struct {
		s int64
		n int32
	}{
		{9e18, 0}, {-9e18, 0}, {1, -1}, {1, 2e9}, {math.MaxInt64, math.MaxInt32}, {math.MinInt64, math.MinInt32},
		{253402300799, 999999999}, {253402300800, 0}, {-62135596800, 0}, {-62135596801, 0}, {9223372036, 854775807},
		{9223372036, 854775808}, {-9223372037, 145224192}, {-9223372037, 145224191}, {0, 1}, {-1, 0},
	} {
		w.spoil(fmt.Sprintf("%s%d s %d ns", path, c.s, c.n), at, func(m protoreflect.Message) {
			m.Set(seconds, protoreflect.ValueOfInt64(c.s))
			m.Set(nanos, protoreflect.ValueOfInt32(c.n))
		})
	}
}

// wire is what is sent in place of a request.
type wire struct {
	name  string
	bytes []byte
}

// badTexts are requests with one string that is no UTF-8, in every place that has a string.
func badTexts(desc protoreflect.MessageDescriptor) []wire {
	const bad = "a\xff\xfeb"
	var all []wire
	for i := range desc.Fields().Len() {
		fd := desc.Fields().Get(i)
		wrap := func(name string, inside []byte) {
			b := protowire.AppendTag(nil, fd.Number(), protowire.BytesType)
			all = append(all, wire{name: string(fd.Name()) + name, bytes: protowire.AppendBytes(b, inside)})
		}
		switch {
		case fd.Kind() == protoreflect.StringKind:
			wrap("", []byte(bad))
		case fd.Message() != nil:
			for _, inner := range badTexts(fd.Message()) {
				wrap("."+inner.name, inner.bytes)
			}
		}
	}
	return all
}

// garbage is what no message decodes from.
func garbage() []wire {
	return []wire{
		{"a tag without an end", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		{"a length beyond the end", []byte{0x0a, 0x64, 'x'}},
		{"a huge length", []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f}},
		{"an open group", []byte{0x0b}},
		{"the end of no group", []byte{0x0c}},
		{"field number 0", []byte{0x02, 0x00}},
		{"a reserved wire type", []byte{0x0f, 0x00}},
		{"a value without an end", []byte{0x08, 0x80}},
		{"very deep groups", []byte(strings.Repeat("\xa3\x1f", 100_000))},
	}
}
