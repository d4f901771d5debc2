package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A stream of Raft opens with one frame in each direction: `length u16 | version u8 | fields`. A field is `length u8 | bytes`. What
// follows the fields that are known is passed over: a later version may add some.
const (
	prefaceVersion  = 1
	maxPrefaceBytes = 1024
	maxFieldBytes   = 255
)

// Reason is why a node turns another one away. The numbers go over the wire.
type Reason uint8

// The reasons.
const (
	// OtherCluster: it is of another cluster.
	OtherCluster Reason = iota + 1
	// OtherNode: it is another node than the one that is wanted; its disk may have been replaced, or its address given away.
	OtherNode
	// NoCluster: it is of no cluster yet, so it takes no stream of Raft.
	NoCluster
	// Unreadable: the opening frame is none, or of a version that is not known here.
	Unreadable
)

func (r Reason) String() string {
	switch r {
	case OtherCluster:
		return "other cluster"
	case OtherNode:
		return "other node"
	case NoCluster:
		return "no cluster"
	case Unreadable:
		return "unreadable"
	default:
		return fmt.Sprintf("reason %d", uint8(r))
	}
}

// RefusedError says that the node at the other end has been reached, and does not talk.
type RefusedError struct {
	Reason Reason
	// NodeID and ClusterID are the other end's own; the cluster is empty when it has none.
	NodeID, ClusterID string
	// Wanted is the node that was dialled.
	Wanted string
}

func (e *RefusedError) Error() string {
	switch e.Reason {
	case OtherCluster:
		return fmt.Sprintf("refused: %s is of cluster %s", e.NodeID, e.ClusterID)
	case OtherNode:
		return fmt.Sprintf("refused: there is %s and not %s, whose disk was replaced or whose address has changed", e.NodeID, e.Wanted)
	case NoCluster:
		return fmt.Sprintf("refused: %s is of no cluster yet", e.NodeID)
	default:
		return fmt.Sprintf("refused by %s: %v", e.NodeID, e.Reason)
	}
}

// greeting is what whoever dials says first.
type greeting struct{ clusterID, from, wanted string }

// answer is what the other end says to it; a reason of 0 is a welcome.
type answer struct {
	reason            Reason
	clusterID, nodeID string
}

// judge decides about a greeting at a node.
func judge(g greeting, clusterID, nodeID string) answer {
	a := answer{clusterID: clusterID, nodeID: nodeID}
	switch {
	case clusterID == "":
		a.reason = NoCluster
	case g.clusterID != clusterID:
		a.reason = OtherCluster
	case g.wanted != nodeID:
		a.reason = OtherNode
	}
	return a
}

func (g greeting) encode() ([]byte, error) { return encodeFrame(nil, g.clusterID, g.from, g.wanted) }

func decodeGreeting(body []byte) (greeting, error) {
	var g greeting
	_, err := decodeFields(body, &g.clusterID, &g.from, &g.wanted)
	return g, err
}

func (a answer) encode() ([]byte, error) {
	return encodeFrame([]byte{byte(a.reason)}, a.clusterID, a.nodeID)
}

func decodeAnswer(body []byte) (answer, error) {
	if len(body) == 0 {
		return answer{}, errShort
	}
	a := answer{reason: Reason(body[0])}
	_, err := decodeFields(body[1:], &a.clusterID, &a.nodeID)
	return a, err
}

var errShort = errors.New("the frame ends too early")

func encodeFrame(head []byte, fields ...string) ([]byte, error) {
	frame := append([]byte{0, 0, prefaceVersion}, head...)
	for _, f := range fields {
		if len(f) > maxFieldBytes {
			return nil, fmt.Errorf("an id has %d bytes, at most %d", len(f), maxFieldBytes)
		}
		frame = append(append(frame, byte(len(f))), f...)
	}
	binary.BigEndian.PutUint16(frame, uint16(len(frame)-2))
	return frame, nil
}

func decodeFields(body []byte, fields ...*string) (rest []byte, err error) {
	for _, f := range fields {
		if len(body) == 0 || len(body) < 1+int(body[0]) {
			return nil, errShort
		}
		end := 1 + int(body[0])
		*f, body = string(body[1:end]), body[end:]
	}
	return body, nil
}

// readFrame reads one frame and not a byte more, and returns what follows the version.
func readFrame(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n == 0 || n > maxPrefaceBytes {
		return nil, fmt.Errorf("the frame has %d bytes, want 1 to %d", n, maxPrefaceBytes)
	}
	frame := make([]byte, n)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, err
	}
	if frame[0] != prefaceVersion {
		return nil, fmt.Errorf("the frame is of version %d, this node knows %d", frame[0], prefaceVersion)
	}
	return frame[1:], nil
}
