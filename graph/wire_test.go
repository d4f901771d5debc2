package graph_test

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// everything that is stored or hashed in its canonical encoding.
func stored() []proto.Message {
	return []proto.Message{&pb.Node{}, &pb.Edge{}, &logpb.StoredEvent{}, &logpb.Outcome{}, &pb.PromptMetadata{}, &logpb.Command{}}
}

func TestEncodeIsProto(t *testing.T) {
	for _, m := range stored() {
		t.Run(string(m.ProtoReflect().Descriptor().Name()), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				in := m.ProtoReflect().New()
				fill(t, in, 4)
				wire := graph.Encode(in.Interface())
				out := m.ProtoReflect().New().Interface()
				if err := proto.Unmarshal(wire, out); err != nil {
					t.Fatalf("%v: %v", in, err)
				}
				if diff := cmp.Diff(in.Interface(), out, protocmp.Transform()); diff != "" {
					t.Fatal(diff)
				}
				if again := graph.Encode(out); string(again) != string(wire) {
					t.Fatalf("not canonical: %x and %x", wire, again)
				}
				if want, err := (proto.MarshalOptions{Deterministic: true}).Marshal(in.Interface()); err != nil || len(want) != len(wire) {
					t.Fatalf("%d bytes, proto takes %d, %v", len(wire), len(want), err)
				}
			})
		})
	}
}

// TestWrittenOutIsReflected: what is written out for single messages is what reflection makes of them. Reflection knows
// every field, so one that is forgotten fails here.
func TestWrittenOutIsReflected(t *testing.T) {
	for _, m := range []proto.Message{
		&pb.Node{}, &pb.Edge{}, &logpb.StoredEvent{}, &logpb.Outcome{}, &pb.AddPromptRequest{}, &pb.BatchCreateNodesRequest{}, &pb.ImportRequest{},
	} {
		t.Run(string(m.ProtoReflect().Descriptor().Name()), func(t *testing.T) {
			if got := graph.Encode(m.ProtoReflect().Type().Zero().Interface()); len(got) != 0 {
				t.Errorf("a message that is not there: %x", got)
			}
			rapid.Check(t, func(t *rapid.T) {
				in := m.ProtoReflect().New()
				fill(t, in, 5)
				lengthen(in)
				got, want := graph.Append([]byte("before"), in.Interface()), graph.EncodeByReflection(in.Interface())
				if string(got) != "before"+string(want) {
					t.Fatalf("%v:\n got %x\nwant %x", in, got, want)
				}
			})
		})
	}
	hollow := &pb.BatchCreateNodesRequest{Nodes: []*pb.Node{
		nil, {}, {NodeData: &pb.Node_Prompt{}}, {NodeData: &pb.Node_Response{}}, {NodeData: &pb.Node_ToolInvocation{}},
		{NodeData: &pb.Node_Agent{}}, {NodeData: &pb.Node_Template{}}, {NodeData: &pb.Node_Session{}},
	}}
	if got, want := graph.Encode(hollow), graph.EncodeByReflection(hollow); string(got) != string(want) {
		t.Errorf("\n got %x\nwant %x", got, want)
	}
}

// lengthen makes texts of some lengths around those where the length of a length changes.
func lengthen(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
		case f.IsList() && f.Kind() == protoreflect.MessageKind:
			for i := range v.List().Len() {
				lengthen(v.List().Get(i).Message())
			}
		case f.IsList():
		case f.Kind() == protoreflect.MessageKind:
			lengthen(v.Message())
		case f.Kind() == protoreflect.StringKind && len(v.String()) > 5:
			m.Set(f, protoreflect.ValueOfString(v.String()+strings.Repeat("x", []int{100, 124, 16_300, 16_380}[len(v.String())%4])))
		}
		return true
	})
}

// fill sets random fields of a message.
func fill(t *rapid.T, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !rapid.Bool().Draw(t, "set "+string(f.Name())) || depth == 0 && f.Kind() == protoreflect.MessageKind {
			continue
		}
		switch {
		case f.IsMap():
			for range rapid.IntRange(0, 5).Draw(t, "entries") {
				m.Mutable(f).Map().Set(value(t, m, f.MapKey(), depth).MapKey(), value(t, m, f.MapValue(), depth))
			}
		case f.IsList():
			l := m.Mutable(f).List()
			for range rapid.IntRange(0, 3).Draw(t, "items") {
				if f.Kind() == protoreflect.MessageKind {
					item := l.NewElement()
					fill(t, item.Message(), depth-1)
					l.Append(item)
				} else {
					l.Append(value(t, m, f, depth))
				}
			}
		case f.Kind() == protoreflect.MessageKind:
			v := m.NewField(f)
			fill(t, v.Message(), depth-1)
			m.Set(f, v)
		default:
			m.Set(f, value(t, m, f, depth))
		}
	}
}

func value(t *rapid.T, _ protoreflect.Message, f protoreflect.FieldDescriptor, _ int) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(rapid.String().Draw(t, "string"))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 0.7, -1e300, math.Inf(1)}).Draw(t, "double"))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(t, "bool"))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(rapid.Int32Range(-2, 300).Draw(t, "enum")))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(rapid.Int32().Draw(t, "int32"))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(rapid.Int64().Draw(t, "int64"))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(rapid.Uint32().Draw(t, "uint32"))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(rapid.Uint64().Draw(t, "uint64"))
	default:
		t.Fatalf("kind %v", f.Kind())
		return protoreflect.Value{}
	}
}

// TestEncodeNeverChanges: replicas of different versions compare these bytes. They must not change, ever.
func TestEncodeNeverChanges(t *testing.T) {
	for _, c := range []struct {
		name string
		m    proto.Message
		want string
	}{
		{"empty", &pb.Node{}, ""},
		{"prompt", &pb.Node{
			Id: "p1", Type: 2, CreatedAt: at(5, 6), SessionId: "s", Revision: 9,
			NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{
				Id: "p1", Content: "ü", Timestamp: at(-1, 999_999_999),
				Metadata: &pb.PromptMetadata{
					Model: "m", Temperature: 0.7, MaxTokens: proto.Int32(0), ToolsAvailable: []string{"b", "", "a"},
					Custom: map[string]string{"b": "2", "a": "", "": "0", "ab": "3"},
				},
			}},
		}, "0a0270311002" + "1a0408051006" + "52520a0270311a02c3bc" + "221108ffffffffffffffffff0110ff93ebdc03" +
			"2a350a016d" + "11666666666666e63f" + "1800" + "220162" + "2200" + "220161" +
			"2a050a00120130" + "2a050a01611200" + "2a070a026162120133" + "2a060a0162120132" +
			"a80609" + "b2060173"},
		{"edge", &pb.Edge{Id: "e", FromNodeId: "a", ToNodeId: "b", Type: 3, CreatedAt: at(1, 0), Properties: map[string]string{"x": "y"}, Revision: 300},
			"0a0165120161" + "1a0162" + "2003" + "2a020801" + "32060a0178120179" + "a006ac02"},
		{"negative numbers", &pb.ToolInvocationNode{RetryCount: -1, DurationMs: -2}, "40feffffffffffffffff0148ffffffffffffffffff01"},
		{"event", &logpb.StoredEvent{Type: 1, Tenant: 1, Instant: -1, Detail: &logpb.EventDetail{}, Digest: []byte{1, 2}},
			"0801100118ffffffffffffffffff0162006a020102"},
		{"packed", &pb.StreamEventsRequest{EventTypes: []pb.EventType{1, 7}, FromBeginning: true}, "12020107" + "a80601"},
	} {
		if got := hex.EncodeToString(graph.Encode(c.m)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestUnknownFieldsAreDropped(t *testing.T) {
	n := &pb.Node{}
	wire := append(graph.Encode(&pb.Node{Id: "a"}), 0x98, 0x7d, 1) // field 2003
	if err := proto.Unmarshal(wire, n); err != nil || len(n.ProtoReflect().GetUnknown()) == 0 {
		t.Fatalf("the test is wrong: %v", err)
	}
	if got := graph.Encode(n); string(got) != "\x0a\x01a" {
		t.Errorf("got %x", got)
	}
}

// TestKindsWithoutEncodingPanic: a field of a new kind must not be left out silently.
func TestKindsWithoutEncodingPanic(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a float was encoded")
		}
	}()
	graph.Encode(wrapperspb.Float(1))
}

func TestOtherMessagesEncodeToo(t *testing.T) {
	for _, m := range []proto.Message{durationpb.New(1), wrapperspb.UInt32(7), &descriptorpb.FileOptions{GoPackage: proto.String("x")}} {
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if got := graph.Encode(m); err != nil || string(got) != string(want) {
			t.Errorf("%v: got %x, want %x", m, got, want)
		}
	}
}
