package rpc

import (
	"context"
	"encoding/base64"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph/samples"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// An inventor makes requests that are valid protobuf and little else.
type inventor struct {
	*rand.Rand
	// texts are what strings are taken from: ids that exist, and what may hurt.
	texts []string
}

func newInventor(seed uint64, known ...string) *inventor {
	return &inventor{Rand: rand.New(rand.NewPCG(seed, 1)), texts: append(known, known...)}
}

var nasty = []string{
	"", "x", " ", "\x00", "\u2028", "\ufeff", "\x1b[31m", "\u202e", "{{name}}", "{}", "null", "-1", "9223372036854775808", "NaN", "1.0.0", "01.0.0",
	"(a{0,1000}){0,1000}", "(", "success", "PENDING", "00000000-0000-4000-8000-000000000000", strings.Repeat("a", 129), strings.Repeat("é", 3000),
	"abcdef01-0000000000000002-00000000", "model", "metadata.", "latency_ms>", "parent_id", "relevance_score",
}

// message fills a message, not deeper than depth.
func (v *inventor) message(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if v.IntN(3) == 0 || (f.Message() != nil && !f.IsMap() && depth == 0) {
			continue
		}
		switch {
		case f.IsMap():
			entries := m.Mutable(f).Map()
			for range v.IntN(4) {
				entries.Set(v.scalar(f.MapKey()).MapKey(), v.scalar(f.MapValue()))
			}
		case f.IsList():
			list := m.Mutable(f).List()
			for range v.IntN(4) {
				if f.Message() == nil {
					list.Append(v.scalar(f))
				} else {
					v.message(list.AppendMutable().Message(), depth-1)
				}
			}
		case f.Message() != nil:
			v.message(m.Mutable(f).Message(), depth-1)
		default:
			m.Set(f, v.scalar(f))
		}
	}
}

func (v *inventor) scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	whole := []int64{0, 1, -1, 5, 100, 10_001, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64, 1_700_000_000}[v.IntN(11)]
	switch f.Kind() {
	case protoreflect.StringKind:
		pool := nasty
		if v.IntN(2) == 0 {
			pool = v.texts
		}
		return protoreflect.ValueOfString(pool[v.IntN(len(pool))])
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{0, 255})
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(v.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber([]int32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 99, -1}[v.IntN(12)]))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64([]float64{0, .7, -1, math.NaN(), math.Inf(1), 1e300}[v.IntN(6)])
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(whole))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(whole)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(whole))
	default:
		panic("rpc: nothing to invent for " + f.Kind().String())
	}
}

// blamed are the codes that no input may cause.
var blamed = []codes.Code{codes.Internal, codes.Unknown, codes.Unimplemented, codes.DataLoss, codes.Unavailable, codes.DeadlineExceeded}

// TestNoInputIsOurFault: whatever a call is given, the answer is about the input.
func TestNoInputIsOurFault(t *testing.T) {
	r := start(t)
	s := r.session()
	p := r.prompt(s.Id, "x")
	a := r.response(p.Id, "y")
	agent, tpl := r.agent("coder"), r.template()
	accepted := 0
	for seed := range uint64(150) {
		v := newInventor(seed, s.Id, r.session().Id, p.Id, a.Id, agent.Id, tpl.Id, "name", "what")
		for _, service := range []string{"llm.memory.graph.v1.MemoryGraphService", "llm.memory.graph.v1.GraphTransferService"} {
			d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
			if err != nil {
				t.Fatal(err)
			}
			methods := d.(protoreflect.ServiceDescriptor).Methods()
			for i := range methods.Len() {
				req, err := r.invent(v, methods.Get(i))
				if slices.Contains(blamed, status.Code(err)) {
					t.Errorf("seed %d: %s(%v): %v", seed, methods.Get(i).Name(), req, err)
				}
				if err == nil {
					accepted++
				}
			}
		}
	}
	if accepted < 500 {
		t.Errorf("only %d calls were accepted: the inventor does not come far", accepted)
	}
	must[*pb.QueryResponse](t)(r.Query(r.ctx(), &pb.QueryRequest{}))
}

// invent makes one call, of any shape.
func (r *rig) invent(v *inventor, m protoreflect.MethodDescriptor) (protobuf.Message, error) {
	r.t.Helper()
	req, reply := newMessage(r.t, m.Input()), newMessage(r.t, m.Output())
	v.message(req.ProtoReflect(), 4)
	name := "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
	ctx, cancel := context.WithTimeout(r.t.Context(), callPatience)
	defer cancel()
	if !m.IsStreamingClient() && !m.IsStreamingServer() {
		return req, r.conn.Invoke(ctx, name, req, reply)
	}
	stream, err := r.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: m.IsStreamingClient(), ServerStreams: m.IsStreamingServer()}, name)
	if err != nil {
		return req, err
	}
	if err := stream.SendMsg(req); err != nil {
		return req, err
	}
	if err := stream.CloseSend(); err != nil {
		return req, err
	}
	if strings.Contains(string(m.Name()), "Events") || m.Name() == "SubscribeToSession" {
		// What is followed may never say anything: its headers, or that it ended, are the answer.
		md, err := stream.Header()
		if err != nil || len(md.Get(headerLastEvent)) > 0 {
			return req, err
		}
	}
	if err := stream.RecvMsg(reply); err != nil && err.Error() != "EOF" {
		return req, err
	}
	return req, nil
}

func newMessage(t *testing.T, d protoreflect.MessageDescriptor) protobuf.Message {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return kind.New().Interface()
}

func FuzzCodec(f *testing.F) {
	f.Add([]byte{0x0a, 0x01, 'x'})
	f.Add([]byte{0x0a, 0x02, 0xff, 0xfe})
	f.Add([]byte{0x0a, 0x7f})
	f.Add([]byte{0x0b, 0x0b, 0x0b})
	good, err := protobuf.Marshal(&pb.Node{Id: "a", NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{Content: "\u2028"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for _, text := range samples.Texts(f, 400) {
		real, err := protobuf.Marshal(&pb.ImportRequest{Nodes: []*pb.Node{{Id: "a", NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{Content: string(text)}}}}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(real)
	}
	ours := newCodec(&requestBudget{limit: 1 << 30})
	if ours.Name() != proto.Name {
		f.Errorf("the codec is named %s", ours.Name())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, m := range []protobuf.Message{&pb.Node{}, &pb.ImportRequest{}, &pb.QueryRequest{}, &pb.Edge{}} {
			if size := decodedSize(data, m.ProtoReflect().Descriptor(), maxFaultDepth); size < messageOverhead || size > maxDecodedBytes+len(data)+1<<20 {
				t.Fatalf("%x into %T takes %d bytes", data, m, size)
			}
			want := protobuf.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, m.ProtoReflect().New().Interface())
			if err := ours.Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, m); err != nil {
				t.Fatal(err)
			}
			if fault := decodeFault(m); fault != error(errTooMuch) && (fault != nil) != (want != nil) {
				t.Fatalf("%x into %T: fault %v, protobuf says %v", data, m, fault, want)
			}
		}
	})
}

func FuzzPlaces(f *testing.F) {
	system := store.System{Lineage: testLineage}
	page := tokens{system: system, tenant: graph.DefaultTenant, field: tokenField}
	f.Add(page.seal(1, 2))
	f.Add("abcdef01-0000000000000002-00000000")
	for _, text := range samples.Texts(f, 63) {
		f.Add(base64.RawURLEncoding.EncodeToString(text))
		f.Add(eventID(testLineage, store.EventKey{Revision: graph.Revision(len(text)), Ordinal: uint32(text[0])}))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if a, b, err := page.open(text); err == nil && page.seal(a, b) != text {
			t.Errorf("token %q is read as %d, %d", text, a, b)
		}
		if k, err := parseEventID(text, testLineage); err == nil && eventID(testLineage, k) != text {
			t.Errorf("event id %q is read as %v", text, k)
		}
	})
}
