// Package jsonl is the text form of a graph: one JSON value a line.
//
// It holds the encoding and the decoding of a line, each in one pass and without reflection, since files have many
// millions of them. It promises that a decoded record equals the encoded one in every field but the revision, which
// belongs to the store that it came from; that the same record gives the same bytes; and that a line is also the
// protobuf JSON of its message, so that any tool may read and write it. It refuses to know files, streams and the order
// of lines.
//
// A file begins with a header, has one record a line, nodes before the edges that join them, and ends with a trailer that
// counts the records: a file without one was cut off.
//
//	{"memory_graph_export":{"version":1,"lineage":"5d0a41c2","revision":812}}
//	{"node":{"id":"…","created_at":"…","session":{…}}}
//	{"edge":{"id":"…","from_node_id":"…","to_node_id":"…","type":"EDGE_TYPE_FOLLOWS","created_at":"…"}}
//	{"end":{"nodes":1,"edges":1}}
package jsonl

import (
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Version is the version of the format. A reader refuses a higher one.
const Version = 1

// Prefix is how every export begins, up to the number of its version.
const Prefix = `{"memory_graph_export":{"version":`

// A Header is the first line of a file.
type Header struct {
	// Version is the version of the format.
	Version int64
	// Lineage and Revision name the state of the store that was exported.
	Lineage  string
	Revision uint64
}

// A Trailer is the last line of a file: how many records stand before it.
type Trailer struct{ Nodes, Edges int64 }

// A Line is what one line says; one of its members is set.
type Line struct {
	Header  *Header
	Node    *pb.Node
	Edge    *pb.Edge
	Trailer *Trailer
}

// AppendHeader appends a header line.
func AppendHeader(b []byte, h Header) []byte {
	e := encoder{b: append(b, `{"memory_graph_export":{`...)}
	e.whole("version", h.Version)
	e.text("lineage", h.Lineage)
	e.unsigned("revision", h.Revision)
	return append(e.b, "}}\n"...)
}

// AppendTrailer appends a trailer line.
func AppendTrailer(b []byte, t Trailer) []byte {
	return fmt.Appendf(b, "{\"end\":{\"nodes\":%d,\"edges\":%d}}\n", t.Nodes, t.Edges)
}

// AppendNode appends the line of a node. Its revision is left out.
func AppendNode(b []byte, n *pb.Node) []byte {
	e := encoder{b: append(b, `{"node":{`...)}
	e.node(n)
	return append(e.b, "}}\n"...)
}

// AppendEdge appends the line of an edge. Its revision is left out.
func AppendEdge(b []byte, edge *pb.Edge) []byte {
	e := encoder{b: append(b, `{"edge":{`...)}
	e.edge(edge)
	return append(e.b, "}}\n"...)
}

var (
	errShape = errors.New("is not spelled as this package spells it")
	errLine  = errors.New("is no line of an export: it has none of memory_graph_export, node, edge, end")
)

// Decode reads a line, which must be valid UTF-8. What it returns shares no memory with it.
func Decode(line []byte) (Line, error) {
	var l Line
	p := parser{in: line}
	err := p.object(func(key []byte) error {
		if l != (Line{}) {
			return errShape
		}
		switch string(key) {
		case "node":
			l.Node = &pb.Node{}
			return p.node(l.Node)
		case "edge":
			l.Edge = &pb.Edge{}
			return p.edge(l.Edge)
		case "memory_graph_export":
			l.Header = &Header{}
			return p.header(l.Header)
		case "end":
			l.Trailer = &Trailer{}
			return p.trailer(l.Trailer)
		}
		return errShape
	})
	if err == nil && !p.atEnd() {
		err = errShape
	}
	if err != nil {
		return decodeSlowly(line)
	}
	if l == (Line{}) {
		return l, errLine
	}
	complete(l.Node)
	return l, nil
}

// complete says what a line leaves out because it follows from the rest.
func complete(n *pb.Node) {
	switch d := n.GetNodeData().(type) {
	case *pb.Node_Session:
		n.Type, n.SessionId, d.Session.Id = pb.NodeType_NODE_TYPE_SESSION, n.Id, n.Id
		if d.Session.CreatedAt == nil {
			d.Session.CreatedAt = n.CreatedAt
		}
	case *pb.Node_Prompt:
		n.Type, d.Prompt.Id = pb.NodeType_NODE_TYPE_PROMPT, n.Id
		if d.Prompt.SessionId == "" {
			d.Prompt.SessionId = n.SessionId
		}
	case *pb.Node_Response:
		n.Type, d.Response.Id = pb.NodeType_NODE_TYPE_RESPONSE, n.Id
	case *pb.Node_ToolInvocation:
		n.Type, d.ToolInvocation.Id = pb.NodeType_NODE_TYPE_TOOL_INVOCATION, n.Id
	case *pb.Node_Agent:
		n.Type, d.Agent.Id = pb.NodeType_NODE_TYPE_AGENT, n.Id
	case *pb.Node_Template:
		n.Type, d.Template.Id = pb.NodeType_NODE_TYPE_TEMPLATE, n.Id
	}
}

// decodeSlowly reads protobuf JSON in any of its spellings, and says what is wrong with what is none.
func decodeSlowly(line []byte) (Line, error) {
	var l Line
	if !json.Valid(line) {
		return l, errors.New("is not JSON, or was cut off")
	}
	p := parser{in: line}
	err := p.object(func(key []byte) error {
		body, err := p.value()
		switch {
		case err != nil:
			return err
		case l != (Line{}):
			return errLine
		case string(key) == "node":
			l.Node = &pb.Node{}
			return protojson.Unmarshal(body, l.Node)
		case string(key) == "edge":
			l.Edge = &pb.Edge{}
			return protojson.Unmarshal(body, l.Edge)
		}
		return errLine
	})
	switch {
	case err != nil:
		return Line{}, err
	case l.Node == nil && l.Edge == nil || !p.atEnd():
		return Line{}, errLine
	}
	if l.Node != nil {
		complete(l.Node)
	}
	return l, nil
}
