package jsonl

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func anyTime(t *rapid.T, name string) *timestamppb.Timestamp {
	if rapid.Bool().Draw(t, name+" unset") {
		return nil
	}
	return timestamppb.New(time.Unix(0, rapid.Int64().Draw(t, name)))
}

func anyMap(t *rapid.T, name string) map[string]string {
	m := rapid.MapOfN(rapid.StringN(1, 5, -1), rapid.String(), 0, 3).Draw(t, name)
	if len(m) == 0 {
		return nil
	}
	return m
}

func anyOptional(t *rapid.T, name string) *string {
	if rapid.Bool().Draw(t, name+" absent") {
		return nil
	}
	return proto.String(anyText(t, name))
}

// anyText has the characters that need escapes and those that others wrongly escape.
func anyText(t *rapid.T, name string) string {
	special := rapid.SampledFrom([]string{"", "\x00", "\"", "\\", "\n\r\t\b\f", "\u2028\ufeff\u202e", "\U0001f600", "<>&", "\x1b[31m", "\x7f", "é"})
	return rapid.String().Draw(t, name) + special.Draw(t, name+" special") + rapid.String().Draw(t, name+" end")
}

func anyTexts(t *rapid.T, name string) []string {
	list := rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, name)
	if len(list) == 0 {
		return nil
	}
	return list
}

func anyNode(t *rapid.T) *pb.Node {
	n := &pb.Node{Id: rapid.StringN(1, 10, -1).Draw(t, "id"), CreatedAt: anyTime(t, "created_at")}
	session := rapid.StringN(1, 10, -1).Draw(t, "session")
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		s := &pb.Session{CreatedAt: n.CreatedAt, UpdatedAt: anyTime(t, "updated"), Metadata: anyMap(t, "metadata"), IsActive: rapid.Bool().Draw(t, "active")}
		n.NodeData = &pb.Node_Session{Session: s}
	case 1:
		p := &pb.PromptNode{SessionId: session, Content: anyText(t, "content"), Timestamp: anyTime(t, "timestamp"), Metadata: &pb.PromptMetadata{
			Model: anyText(t, "model"), Temperature: rapid.Float64().Draw(t, "temperature"), ToolsAvailable: anyTexts(t, "tools"), Custom: anyMap(t, "custom"),
		}}
		if rapid.Bool().Draw(t, "max") {
			p.Metadata.MaxTokens = proto.Int32(rapid.Int32().Draw(t, "max_tokens"))
		}
		n.NodeData = &pb.Node_Prompt{Prompt: p}
	case 2:
		n.SessionId = session
		whole := rapid.Int64()
		n.NodeData = &pb.Node_Response{Response: &pb.ResponseNode{PromptId: anyText(t, "prompt"), Content: anyText(t, "content"), Timestamp: anyTime(t, "timestamp"),
			TokenUsage: &pb.TokenUsage{PromptTokens: whole.Draw(t, "p"), CompletionTokens: whole.Draw(t, "c"), TotalTokens: whole.Draw(t, "t")},
			Metadata:   &pb.ResponseMetadata{Model: anyText(t, "model"), FinishReason: anyText(t, "finish"), LatencyMs: whole.Draw(t, "latency"), Custom: anyMap(t, "custom")}}}
	case 3:
		n.SessionId = session
		n.NodeData = &pb.Node_ToolInvocation{ToolInvocation: &pb.ToolInvocationNode{ResponseId: anyText(t, "response"), ToolName: anyText(t, "tool"),
			Parameters: anyText(t, "parameters"), Status: anyText(t, "status"), Result: anyOptional(t, "result"), Error: anyOptional(t, "error"),
			DurationMs: rapid.Int64().Draw(t, "duration"), RetryCount: rapid.Int32().Draw(t, "retry"), Timestamp: anyTime(t, "timestamp"), Metadata: anyMap(t, "metadata")}}
	case 4:
		n.NodeData = &pb.Node_Agent{Agent: &pb.AgentNode{Name: anyText(t, "name"), Role: anyText(t, "role"), Capabilities: anyTexts(t, "capabilities"),
			Status: anyText(t, "status"), CreatedAt: anyTime(t, "made"), Metadata: anyMap(t, "metadata")}}
	default:
		n.NodeData = &pb.Node_Template{Template: &pb.TemplateNode{Name: anyText(t, "name"), TemplateText: anyText(t, "text"), Version: anyText(t, "version"),
			UsageCount: rapid.Int64().Draw(t, "used"), CreatedAt: anyTime(t, "made"), Metadata: anyMap(t, "metadata"),
			Variables: []*pb.VariableSpec{{Name: anyText(t, "v"), TypeHint: anyText(t, "hint"), Required: rapid.Bool().Draw(t, "required"),
				DefaultValue: anyOptional(t, "default"), ValidationPattern: anyOptional(t, "pattern"), Description: anyText(t, "description")}, {Name: "w"}}}}
	}
	complete(n)
	return n
}

func anyEdge(t *rapid.T) *pb.Edge {
	return &pb.Edge{Id: anyText(t, "id"), FromNodeId: anyText(t, "from"), ToNodeId: anyText(t, "to"), Type: pb.EdgeType(rapid.IntRange(1, 9).Draw(t, "type")),
		CreatedAt: anyTime(t, "created_at"), Properties: anyMap(t, "properties")}
}

// TestRecordsComeBackAsTheyWere encodes and decodes any record, and reads the line with protobuf's own JSON as well.
func TestRecordsComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, e := anyNode(t), anyEdge(t)
		for _, line := range [][]byte{AppendNode(nil, n), AppendEdge(nil, e)} {
			if !json.Valid(line) || bytes.IndexByte(line, '\n') != len(line)-1 {
				t.Fatalf("%q is not one line of JSON", line)
			}
			quick, err := Decode(line)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			slow, err := decodeSlowly(line)
			if err != nil {
				t.Fatalf("%s: protobuf's JSON: %v", line, err)
			}
			if diff := cmp.Diff(quick, slow, protocmp.Transform()); diff != "" {
				t.Fatalf("%s: (-quick +protobuf):\n%s", line, diff)
			}
			want := Line{Node: n}
			if quick.Edge != nil {
				want = Line{Edge: e}
			}
			if diff := cmp.Diff(want, quick, protocmp.Transform()); diff != "" {
				t.Fatalf("%s: (-want +got):\n%s", line, diff)
			}
		}
	})
}

// TestQuickAndSlowAgree: a line that this package writes is never read by the slow way.
func TestQuickAndSlowAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := AppendNode(nil, anyNode(t))
		var l Line
		p := parser{in: line}
		err := p.object(func([]byte) error {
			l.Node = &pb.Node{}
			return p.node(l.Node)
		})
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	})
}

func TestHeaderAndTrailer(t *testing.T) {
	h := Header{Version: Version, Lineage: "5d0a41c2", Revision: math.MaxUint64}
	line := AppendHeader(nil, h)
	if !strings.HasPrefix(string(line), Prefix) {
		t.Errorf("%s does not begin with %s", line, Prefix)
	}
	if got, err := Decode(line); err != nil || *got.Header != h {
		t.Errorf("got %v, %v", got.Header, err)
	}
	if got, err := Decode([]byte(`{"memory_graph_export": {"version": 2, "codec": {"of": [1, "later"]}, "revision": 7}}`)); err != nil || *got.Header != (Header{Version: 2, Revision: 7}) {
		t.Errorf("a later header: got %v, %v", got.Header, err)
	}
	if got, err := Decode(AppendTrailer(nil, Trailer{3, 4})); err != nil || *got.Trailer != (Trailer{3, 4}) {
		t.Errorf("got %v, %v", got.Trailer, err)
	}
}

func TestOtherSpellingsAreRead(t *testing.T) {
	want := &pb.Node{Id: "a/é", Type: pb.NodeType_NODE_TYPE_AGENT, CreatedAt: &timestamppb.Timestamp{Seconds: 1},
		NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{Id: "a/é", Name: "😀", Capabilities: []string{"x"}}}}
	for _, line := range []string{
		` { "node" : { "agent" : { "capabilities" : [ "x" ] , "name" : "\ud83d\ude00" }, "id" : "a\/\u00e9", "created_at" : "1970-01-01T02:00:01+02:00" } } `,
		`{"node":{"id":"a/é","type":"NODE_TYPE_AGENT","createdAt":"1970-01-01T00:00:01Z","agent":{"id":"a/é","name":"😀","role":null,"capabilities":["x"]}}}`,
	} {
		got, err := Decode([]byte(line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
		} else if diff := cmp.Diff(want, got.Node, protocmp.Transform()); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", line, diff)
		}
	}
}

func TestBadLines(t *testing.T) {
	for _, line := range []string{
		"", "{}", "[]", `"node"`, `{"node":{"id":"x"}`, `{"node":{"id":"x"}} x`, `{"node":{"id":"x","wizard":{}}}`, `{"node":{"id":3}}`, `{"edge":{"type":"EDGE_TYPE_SIDEWAYS"}}`,
		`{"node":{"prompt":{"metadata":{"max_tokens":1e99}}}}`, `{"node":{},"edge":{}}`, `{"other":{}}`, `{"node":{"id":"\ud800"}}`, `{"edge":{"created_at":"yesterday"}}`,
		`{"node":{"prompt":{},"response":{}}}`, `{"end":{"nodes":"many"}}`, `{"node":{"id":"` + "\x01" + `"}}`,
	} {
		if got, err := Decode([]byte(line)); err == nil {
			t.Errorf("%s: accepted as %v", line, got)
		}
	}
}

// FuzzDecode: no line panics, and what is read is written and read again as the same.
func FuzzDecode(f *testing.F) {
	f.Add(AppendHeader(nil, Header{Version: 1, Lineage: "5d0a41c2", Revision: 9}))
	f.Add(AppendTrailer(nil, Trailer{1, 2}))
	for seed := range 8 {
		f.Add(AppendNode(nil, rapid.Custom(anyNode).Example(seed)))
		f.Add(AppendEdge(nil, rapid.Custom(anyEdge).Example(seed)))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		first, err := Decode(bytes.ToValidUTF8(line, nil))
		if err != nil || first.Node == nil || first.Node.Id == "" || first.Node.NodeData == nil {
			return
		}
		first.Node.Revision = 0
		text := AppendNode(nil, first.Node)
		again, err := Decode(text)
		if err != nil {
			t.Fatalf("%q as %q: %v", line, text, err)
		}
		if second := AppendNode(nil, again.Node); !bytes.Equal(text, second) {
			t.Errorf("%q\nthen %q", text, second)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	n := &pb.Node{Id: "4c0a5f3e-8d53-4f0e-9d7e-0a1b2c3d4e5f", CreatedAt: timestamppb.New(time.Unix(1772355600, 123456789)), NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{
		SessionId: "4c0a5f3e-8d53-4f0e-9d7e-0a1b2c3d4e50", Content: strings.Repeat("What is it? ", 21), Timestamp: timestamppb.New(time.Unix(1772355600, 123456789)),
		Metadata: &pb.PromptMetadata{Model: "gpt-4", Temperature: 0.7}}}}
	line := AppendNode(nil, n)
	b.Run("quick", func(b *testing.B) {
		for b.Loop() {
			if _, err := Decode(line); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("protojson", func(b *testing.B) {
		body := line[len(`{"node":`) : len(line)-2]
		for b.Loop() {
			if err := protojson.Unmarshal(body, &pb.Node{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode", func(b *testing.B) {
		var buf []byte
		for b.Loop() {
			buf = AppendNode(buf[:0], n)
		}
	})
}
