package graph

import (
	"math"
	"math/bits"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/timestamppb"

	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// The canonical encoding of the messages that every write makes, written out: a tenth of the time that reflection takes.
// TestWrittenOutIsReflected holds the two equal; a message with a field that is not written out here fails it.

func appendText(b []byte, n protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
}

func appendBlob(b []byte, n protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}

func appendNumber[T ~int32 | ~int64 | ~uint32 | ~uint64](b []byte, n protowire.Number, v T) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v))
}

func appendBool(b []byte, n protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), 1)
}

// nested appends the field of a message that is there. Most are shorter than 128 bytes, so one byte is left for the length
// and the body moves when it needs more.
func nested[M any](b []byte, n protowire.Number, m M, body func([]byte, M) []byte) []byte {
	b = append(protowire.AppendTag(b, n, protowire.BytesType), 0)
	start := len(b)
	b = body(b, m)
	size := len(b) - start
	if more := (bits.Len(uint(size)|1)+6)/7 - 1; more > 0 {
		b = append(b, make([]byte, more)...)
		copy(b[start+more:], b[start:start+size])
	}
	protowire.AppendVarint(b[:start-1], uint64(size))
	return b
}

func appendStrings(b []byte, n protowire.Number, list []string) []byte {
	for _, s := range list {
		b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
	}
	return b
}

func appendTexts(b []byte, n protowire.Number, m map[string]string) []byte {
	if len(m) == 0 {
		return b
	}
	keys := make([]string, 0, 8)
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		v := m[k]
		b = protowire.AppendTag(b, n, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(2+protowire.SizeBytes(len(k))+protowire.SizeBytes(len(v))))
		b = protowire.AppendString(append(b, 1<<3|byte(protowire.BytesType)), k)
		b = protowire.AppendString(append(b, 2<<3|byte(protowire.BytesType)), v)
	}
	return b
}

func appendTime(b []byte, n protowire.Number, t *timestamppb.Timestamp) []byte {
	if t == nil {
		return b
	}
	return nested(b, n, t, func(b []byte, t *timestamppb.Timestamp) []byte {
		return appendNumber(appendNumber(b, 1, t.Seconds), 2, t.Nanos)
	})
}

func appendNode(b []byte, n *pb.Node) []byte {
	b = appendText(b, 1, n.GetId())
	b = appendNumber(b, 2, n.GetType())
	b = appendTime(b, 3, n.GetCreatedAt())
	switch d := n.GetNodeData().(type) {
	case *pb.Node_Prompt:
		b = nested(b, 10, d.Prompt, appendPrompt)
	case *pb.Node_Response:
		b = nested(b, 11, d.Response, appendResponse)
	case *pb.Node_ToolInvocation:
		b = nested(b, 12, d.ToolInvocation, appendTool)
	case *pb.Node_Agent:
		b = nested(b, 13, d.Agent, appendAgent)
	case *pb.Node_Template:
		b = nested(b, 14, d.Template, appendTemplate)
	case *pb.Node_Session:
		b = nested(b, 100, d.Session, appendSession)
	}
	b = appendNumber(b, 101, n.GetRevision())
	return appendText(b, 102, n.GetSessionId())
}

func appendPrompt(b []byte, p *pb.PromptNode) []byte {
	b = appendText(b, 1, p.GetId())
	b = appendText(b, 2, p.GetSessionId())
	b = appendText(b, 3, p.GetContent())
	b = appendTime(b, 4, p.GetTimestamp())
	if m := p.GetMetadata(); m != nil {
		b = nested(b, 5, m, appendPromptMetadata)
	}
	return b
}

func appendPromptMetadata(b []byte, m *pb.PromptMetadata) []byte {
	b = appendText(b, 1, m.Model)
	if v := math.Float64bits(m.Temperature); v != 0 {
		b = protowire.AppendFixed64(protowire.AppendTag(b, 2, protowire.Fixed64Type), v)
	}
	if m.MaxTokens != nil {
		b = protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.VarintType), uint64(*m.MaxTokens))
	}
	b = appendStrings(b, 4, m.ToolsAvailable)
	return appendTexts(b, 5, m.Custom)
}

func appendResponse(b []byte, r *pb.ResponseNode) []byte {
	b = appendText(b, 1, r.GetId())
	b = appendText(b, 2, r.GetPromptId())
	b = appendText(b, 3, r.GetContent())
	b = appendTime(b, 4, r.GetTimestamp())
	b = appendUsage(b, 5, r.GetTokenUsage())
	if m := r.GetMetadata(); m != nil {
		b = nested(b, 6, m, appendResponseMetadata)
	}
	return b
}

func appendUsage(b []byte, n protowire.Number, u *pb.TokenUsage) []byte {
	if u == nil {
		return b
	}
	return nested(b, n, u, func(b []byte, u *pb.TokenUsage) []byte {
		b = appendNumber(b, 1, u.PromptTokens)
		b = appendNumber(b, 2, u.CompletionTokens)
		return appendNumber(b, 3, u.TotalTokens)
	})
}

func appendResponseMetadata(b []byte, m *pb.ResponseMetadata) []byte {
	b = appendText(b, 1, m.Model)
	b = appendText(b, 2, m.FinishReason)
	b = appendNumber(b, 3, m.LatencyMs)
	return appendTexts(b, 4, m.Custom)
}

func appendTool(b []byte, t *pb.ToolInvocationNode) []byte {
	if t == nil {
		return b
	}
	b = appendText(b, 1, t.Id)
	b = appendText(b, 2, t.ResponseId)
	b = appendText(b, 3, t.ToolName)
	b = appendText(b, 4, t.Parameters)
	b = appendText(b, 5, t.Status)
	if t.Result != nil {
		b = protowire.AppendString(protowire.AppendTag(b, 6, protowire.BytesType), *t.Result)
	}
	if t.Error != nil {
		b = protowire.AppendString(protowire.AppendTag(b, 7, protowire.BytesType), *t.Error)
	}
	b = appendNumber(b, 8, t.DurationMs)
	b = appendNumber(b, 9, t.RetryCount)
	b = appendTime(b, 10, t.Timestamp)
	return appendTexts(b, 11, t.Metadata)
}

func appendAgent(b []byte, a *pb.AgentNode) []byte {
	b = appendText(b, 1, a.GetId())
	b = appendText(b, 2, a.GetName())
	b = appendText(b, 3, a.GetRole())
	b = appendStrings(b, 4, a.GetCapabilities())
	b = appendText(b, 5, a.GetStatus())
	b = appendTime(b, 6, a.GetCreatedAt())
	return appendTexts(b, 7, a.GetMetadata())
}

// appendTemplate is by reflection: templates are few, and their variables have many fields.
func appendTemplate(b []byte, t *pb.TemplateNode) []byte { return appendMessage(b, t.ProtoReflect()) }

func appendSession(b []byte, s *pb.Session) []byte {
	b = appendText(b, 1, s.GetId())
	b = appendTime(b, 2, s.GetCreatedAt())
	b = appendTime(b, 3, s.GetUpdatedAt())
	b = appendTexts(b, 4, s.GetMetadata())
	return appendBool(b, 5, s.GetIsActive())
}

func appendEdge(b []byte, e *pb.Edge) []byte {
	b = appendText(b, 1, e.GetId())
	b = appendText(b, 2, e.GetFromNodeId())
	b = appendText(b, 3, e.GetToNodeId())
	b = appendNumber(b, 4, e.GetType())
	b = appendTime(b, 5, e.GetCreatedAt())
	b = appendTexts(b, 6, e.GetProperties())
	return appendNumber(b, 100, e.GetRevision())
}

func appendEvent(b []byte, e *logpb.StoredEvent) []byte {
	b = appendNumber(b, 1, e.GetType())
	b = appendNumber(b, 2, e.GetTenant())
	b = appendNumber(b, 3, e.GetInstant())
	b = appendText(b, 4, e.GetNodeId())
	b = appendNumber(b, 5, e.GetNodeType())
	b = appendText(b, 6, e.GetSessionId())
	b = appendText(b, 7, e.GetEdgeId())
	b = appendNumber(b, 8, e.GetEdgeType())
	b = appendText(b, 9, e.GetFromNodeId())
	b = appendText(b, 10, e.GetToNodeId())
	b = appendText(b, 11, e.GetReason())
	if d := e.GetDetail(); d != nil {
		b = nested(b, 12, d, appendDetail)
	}
	b = appendBlob(b, 13, e.GetDigest())
	return appendBlob(b, 14, e.GetChain())
}

func appendDetail(b []byte, d *logpb.EventDetail) []byte {
	b = appendNumber(b, 1, d.ContentLength)
	b = appendText(b, 2, d.Model)
	b = appendText(b, 3, d.PromptId)
	b = appendUsage(b, 4, d.TokenUsage)
	b = appendNumber(b, 5, d.LatencyMs)
	b = appendText(b, 6, d.ToolName)
	b = appendText(b, 7, d.Status)
	b = appendNumber(b, 8, d.DurationMs)
	return appendTexts(b, 9, d.Metadata)
}

func appendOutcome(b []byte, o *logpb.Outcome) []byte {
	b = appendBlob(b, 1, o.GetFingerprint())
	b = appendNumber(b, 2, o.GetKind())
	b = appendText(b, 3, o.GetMessage())
	b = appendText(b, 4, o.GetField())
	b = appendText(b, 5, o.GetReason())
	b = appendText(b, 6, o.GetResourceType())
	b = appendText(b, 7, o.GetResourceName())
	b = appendStrings(b, 8, o.GetNodeIds())
	b = appendText(b, 9, o.GetEdgeId())
	b = appendNumber(b, 10, o.GetExpires())
	if c := o.GetImportCounts(); c != nil {
		b = nested(b, 11, c, func(b []byte, c *logpb.ImportCounts) []byte {
			b = appendNumber(b, 1, c.NodesCreated)
			b = appendNumber(b, 2, c.NodesUnchanged)
			b = appendNumber(b, 3, c.EdgesCreated)
			return appendNumber(b, 4, c.EdgesUnchanged)
		})
	}
	return appendNumber(b, 12, o.GetPosition())
}

func appendPromptRequest(b []byte, r *pb.AddPromptRequest) []byte {
	b = appendText(b, 1, r.GetSessionId())
	b = appendText(b, 2, r.GetContent())
	if m := r.GetMetadata(); m != nil {
		b = nested(b, 3, m, appendPromptMetadata)
	}
	return b
}

func appendBatchRequest(b []byte, r *pb.BatchCreateNodesRequest) []byte {
	for _, n := range r.GetNodes() {
		b = nested(b, 1, n, appendNode)
	}
	return b
}

func appendImportRequest(b []byte, r *pb.ImportRequest) []byte {
	for _, n := range r.GetNodes() {
		b = nested(b, 1, n, appendNode)
	}
	for _, e := range r.GetEdges() {
		b = nested(b, 2, e, appendEdge)
	}
	return appendText(b, 3, r.GetResumeToken())
}
