package gossip

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// MaxMetadataBytes bounds what a node says of itself, in its encoded form.
const MaxMetadataBytes = 512

// Role is what a node may become.
type Role uint8

// The roles. Those of a later release keep their number.
const (
	// Voter votes as soon as it has caught up.
	Voter Role = iota + 1
	// Reader is a read replica: it follows and never votes.
	Reader
	// Removed was told to stay away, and is not taken in again.
	Removed
)

func (r Role) String() string {
	switch r {
	case Voter:
		return "voter"
	case Reader:
		return "reader"
	case Removed:
		return "removed"
	default:
		return fmt.Sprintf("role %d", uint8(r))
	}
}

// Metadata is what a node says of itself.
type Metadata struct {
	// ClusterID is empty while the node is of no cluster.
	ClusterID string
	// PeerAddr is where other nodes reach it, APIAddr where clients do: host:port. APIAddr may be empty.
	PeerAddr, APIAddr string
	Role              Role
	// Version of its program.
	Version string
	// MinFeature and MaxFeature are the feature levels that it can work at.
	MinFeature, MaxFeature uint32
	// Expect is how many nodes it waits for to make a cluster with; 0 when it makes none.
	Expect int
	// Founded: it has a configuration, or data.
	Founded bool
}

// State is what is known of the life of a node.
type State uint8

// The states.
const (
	// Alive: it answers, or did a moment ago.
	Alive State = iota + 1
	// Left: it has said that it goes.
	Left
	// Dead: it ceased to answer.
	Dead
)

func (s State) String() string {
	return [...]string{"unknown", "alive", "left", "dead"}[min(s, Dead)]
}

// Member is a node that this one has heard of.
type Member struct {
	NodeID string
	Metadata
	// GossipAddr is where its gossip comes from, host:port with an IP address.
	GossipAddr string
	State      State
	// Since is when it came into this state, by the clock of this node.
	Since time.Time
}

// The encoded form is a byte for its version, and fields in protobuf's wire form. A field that is not known is passed over, one
// that holds nothing is left out; numbers are never used again.
const (
	metadataVersion = 1

	clusterField  protowire.Number = 1
	peerField     protowire.Number = 2
	apiField      protowire.Number = 3
	roleField     protowire.Number = 4
	versionField  protowire.Number = 5
	minField      protowire.Number = 6
	maxField      protowire.Number = 7
	expectField   protowire.Number = 8
	foundedField  protowire.Number = 9
	leavingField  protowire.Number = 10
	maxExpectBits                  = 16
)

// announcement is metadata as it is sent.
type announcement struct {
	Metadata
	// leaving: the next thing that is heard of the node is its end, and it means it.
	leaving bool
}

var errMetadata = errors.New("metadata of a node")

func (a announcement) encode() ([]byte, error) {
	out := []byte{metadataVersion}
	text := func(n protowire.Number, s string) {
		if s != "" {
			out = protowire.AppendString(protowire.AppendTag(out, n, protowire.BytesType), s)
		}
	}
	number := func(n protowire.Number, v uint64) {
		if v != 0 {
			out = protowire.AppendVarint(protowire.AppendTag(out, n, protowire.VarintType), v)
		}
	}
	if a.Expect < 0 || a.Expect >= 1<<maxExpectBits {
		return nil, fmt.Errorf("%w: it expects %d nodes", errMetadata, a.Expect)
	}
	text(clusterField, a.ClusterID)
	text(peerField, a.PeerAddr)
	text(apiField, a.APIAddr)
	number(roleField, uint64(a.Role))
	text(versionField, a.Version)
	number(minField, uint64(a.MinFeature))
	number(maxField, uint64(a.MaxFeature))
	number(expectField, uint64(a.Expect))
	number(foundedField, protowire.EncodeBool(a.Founded))
	number(leavingField, protowire.EncodeBool(a.leaving))
	if len(out) > MaxMetadataBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d: give the node shorter addresses", errMetadata, len(out), MaxMetadataBytes)
	}
	return out, nil
}

func decode(data []byte) (announcement, error) {
	var a announcement
	if len(data) == 0 || len(data) > MaxMetadataBytes {
		return a, fmt.Errorf("%w: it has %d bytes, want 1 to %d", errMetadata, len(data), MaxMetadataBytes)
	}
	if data[0] != metadataVersion {
		return a, fmt.Errorf("%w: it is of version %d, this node knows %d", errMetadata, data[0], metadataVersion)
	}
	for data = data[1:]; len(data) > 0; {
		field, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return a, fmt.Errorf("%w: %w", errMetadata, protowire.ParseError(n))
		}
		data = data[n:]
		if n = a.consume(field, kind, data); n < 0 {
			return a, fmt.Errorf("%w: field %d: %w", errMetadata, field, protowire.ParseError(n))
		}
		data = data[n:]
	}
	for _, s := range []string{a.ClusterID, a.PeerAddr, a.APIAddr, a.Version} {
		if !utf8.ValidString(s) {
			return a, fmt.Errorf("%w: %q is no text", errMetadata, s)
		}
	}
	return a, nil
}

// consume takes one field in, and returns its length, or less than 0 when it is none.
func (a *announcement) consume(field protowire.Number, kind protowire.Type, data []byte) int {
	texts := map[protowire.Number]*string{clusterField: &a.ClusterID, peerField: &a.PeerAddr, apiField: &a.APIAddr, versionField: &a.Version}
	if to, ok := texts[field]; ok && kind == protowire.BytesType {
		s, n := protowire.ConsumeString(data)
		*to = s
		return n
	}
	if kind != protowire.VarintType {
		return protowire.ConsumeFieldValue(field, kind, data)
	}
	v, n := protowire.ConsumeVarint(data)
	switch field {
	case roleField:
		a.Role = Role(min(v, 0xff))
	case minField:
		a.MinFeature = uint32(min(v, 0xffffffff))
	case maxField:
		a.MaxFeature = uint32(min(v, 0xffffffff))
	case expectField:
		a.Expect = int(min(v, 1<<maxExpectBits-1))
	case foundedField:
		a.Founded = protowire.DecodeBool(v)
	case leavingField:
		a.leaving = protowire.DecodeBool(v)
	}
	return n
}
