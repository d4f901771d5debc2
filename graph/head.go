package graph

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// A head is what the rules need of most nodes. It is read from the stored bytes without decoding the rest.
type head struct {
	id   string
	typ  pb.NodeType
	time int64 // as Time
	// session is the id of the session that the node belongs to, empty for none.
	session string
	// parent is the id of what a response or a tool invocation hangs below, empty for other nodes.
	parent string
}

// headOf is the head of a node that is decoded.
func headOf(n *pb.Node) head {
	parent := n.GetResponse().GetPromptId() + n.GetToolInvocation().GetResponseId()
	return head{id: n.GetId(), typ: n.GetType(), time: Time(n), session: n.GetSessionId(), parent: parent}
}

// Numbers of fields of a Node and of what is in it.
const (
	idField, typeField, createdField           = 1, 2, 3
	promptField, responseField, toolField      = 10, 11, 12
	sessionIDField                             = 102
	parentField, timestampField, toolTimeField = 2, 4, 10
)

// head reads what Node decodes.
func (r NodeRecord) head() (head, error) {
	var h head
	var created int64
	var timed bool
	var inner error
	err := eachField(r.Wire, func(n protowire.Number, number uint64, body []byte) {
		var err error
		switch n {
		case idField:
			h.id = string(body)
		case typeField:
			h.typ = pb.NodeType(number)
		case sessionIDField:
			h.session = string(body)
		case createdField:
			created, err = nanosOf(body)
		case promptField, responseField, toolField:
			timed = true
			h.parent, h.time, err = dataOf(n, body)
		}
		if err != nil {
			inner = err
		}
	})
	if err == nil {
		err = inner
	}
	if err != nil {
		return head{}, fmt.Errorf("node at position %d: %w", r.Position, err)
	}
	if !timed {
		h.time = created
	}
	return h, nil
}

// dataOf reads the data of a prompt, response or tool invocation.
func dataOf(data protowire.Number, body []byte) (parent string, at int64, err error) {
	timestamp := protowire.Number(timestampField)
	if data == toolField {
		timestamp = toolTimeField
	}
	var inner error
	err = eachField(body, func(n protowire.Number, _ uint64, body []byte) {
		switch {
		case n == timestamp:
			if at, err = nanosOf(body); err != nil {
				inner = err
			}
		case n == parentField && data != promptField:
			parent = string(body)
		}
	})
	if err == nil {
		err = inner
	}
	return parent, at, err
}

// nanosOf is nanos of an encoded timestamp.
func nanosOf(body []byte) (ns int64, err error) {
	err = eachField(body, func(n protowire.Number, number uint64, _ []byte) {
		switch n {
		case 1:
			ns += int64(number) * int64(time.Second)
		case 2:
			ns += int64(int32(number))
		}
	})
	return ns, err
}

// eachField visits the fields of an encoded message: number for those that are one, body for those that have bytes.
func eachField(b []byte, visit func(n protowire.Number, number uint64, body []byte)) error {
	for len(b) > 0 {
		n, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		var number uint64
		var body []byte
		switch typ {
		case protowire.VarintType:
			number, size = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			body, size = protowire.ConsumeBytes(b)
		default:
			size = protowire.ConsumeFieldValue(n, typ, b)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		visit(n, number, body)
		b = b[size:]
	}
	return nil
}
