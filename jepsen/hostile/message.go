package hostile

import (
	"math"
	"math/rand/v2"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// A maker makes the messages of one seed and number.
type maker struct {
	*rand.Rand
	// known are ids that exist.
	known []string
}

func newMaker(seed, number uint64, known []string) *maker {
	return &maker{rand.New(rand.NewPCG(seed, number)), known}
}

func (m *maker) one(in int) bool { return m.IntN(in) == 0 }

func pick[V any](m *maker, from []V) V { return from[m.IntN(len(from))] }

// maxDepth is how deep messages nest.
const maxDepth = 5

// message is a valid encoding of something that is not meant well.
func (m *maker) message(d protoreflect.MessageDescriptor) []byte {
	msg := dynamicpb.NewMessage(d)
	m.fill(msg, maxDepth)
	b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(msg)
	if err != nil {
		panic(err) // texts are UTF-8 here
	}
	return b
}

func (m *maker) fill(msg protoreflect.Message, depth int) {
	fields := msg.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if m.one(4) || f.Message() != nil && depth == 0 {
			continue // left out, the arms of a oneof all at times
		}
		switch {
		case f.IsMap():
			entries := msg.Mutable(f).Map()
			for range m.count() {
				entries.Set(m.scalar(f.MapKey()).MapKey(), m.scalar(f.MapValue()))
			}
		case f.IsList() && f.Message() != nil:
			for range min(m.count(), 1200>>(2*(maxDepth-depth))) {
				m.fill(msg.Mutable(f).List().AppendMutable().Message(), depth-1)
			}
		case f.IsList():
			for range m.count() {
				msg.Mutable(f).List().Append(m.scalar(f))
			}
		case f.Message() != nil:
			m.fill(msg.Mutable(f).Message(), depth-1)
		default:
			msg.Set(f, m.scalar(f))
		}
	}
}

// count is how many entries a list or a map gets: few, or just too many.
func (m *maker) count() int {
	if m.one(40) {
		return pick(m, []int{33, 65, 1001, 10_001})
	}
	return m.IntN(4)
}

// short texts that mean something somewhere.
var short = []string{
	"", " ", "x", "\x00", "a\x00b", "\u2028", "\ufeff", "\x1b[31m", "\u202e", "\U0010ffff", "{{name}}", "{{", "{}", "null", "[", "-1", "0", "1e999",
	"NaN", "1.0.0", "01.0.0", "99999999999999999999", "9223372036854775808", "success", "PENDING", "failed", "true", "(", `\pZ{999}`, "(a{0,1000}){0,1000}",
	"00000000-0000-4000-8000-000000000000", "00000000-0000-4000-8000-00000000000g", "abcdef01-0000000000000002-00000000",
	"ffffffff-ffffffffffffffff-ffffffff", "model", "metadata.", "custom.\x00", "latency_ms>", "latency_ms><", "parent_id", "relevance_score",
	"invocation_order", "../../etc/passwd", "${jndi:ldap://x}", "' OR 1=1 --", "<script>", "%00%n%s", "memory-graph-revision",
}

// Lengths at which something begins or ends.
var lengths = []int{127, 128, 129, 256, 257, 1024, 1025, 4097, 16 << 10, 16<<10 + 1, 64 << 10, 1_000_000, 1_000_001}

// text is UTF-8.
func (m *maker) text() string {
	switch {
	case m.one(3):
		return pick(m, m.known)
	case m.one(60):
		n := pick(m, lengths)
		unit := pick(m, []string{"a", "é", "\x00", "[", `{"a":`, "{{name}}", "\U0001f600", `(?:`, "\\"})
		return strings.Repeat(unit, n/len(unit)) + strings.Repeat("a", n%len(unit))
	case m.one(10):
		out := make([]rune, m.IntN(40))
		for i := range out {
			out[i] = rune(m.IntN(0xd800)) // below the surrogates all is text
		}
		return string(out)
	default:
		return pick(m, short)
	}
}

// Numbers at which something begins, ends or turns around.
var numbers = []int64{
	0, 1, -1, 2, 5, 9, 10, 99, 100, 1000, 1001, 10_000, 10_001, 999_999_999, 1_000_000_000, 1_700_000_000, 253_402_300_800, -62_135_596_801,
	math.MaxInt32, math.MinInt32, math.MaxInt32 + 1, math.MaxUint32, math.MaxInt64, math.MinInt64,
}

func (m *maker) scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	n := pick(m, numbers)
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(m.text())
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(m.text()))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(m.one(2))
	case protoreflect.EnumKind:
		if m.one(4) {
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber(n))
		}
		values := f.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(m.IntN(values.Len())).Number())
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(pick(m, []float64{0, .7, -1, 100.1, math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 1e300, 5e-324}))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(n)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(n))
	default:
		panic("hostile: nothing to send for " + f.Kind().String())
	}
}
