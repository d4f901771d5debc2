package identity

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/google/uuid"
)

// namePattern is what the name of a node may be: a label of a host name.
var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// New is what makes an identity.
type New struct {
	// Name is the first part of the node id: 1 to 63 of a-z, 0-9 and hyphens inside.
	Name string
	// Random is where the ids come from; crypto/rand.Reader, but for tests.
	Random io.Reader
	// Created is the moment to write down.
	Created time.Time
	// CreatedBy is the release to write down.
	CreatedBy string
}

// Make makes the identity of the first node of a new cluster. It writes nothing: [Save] does.
func (n New) Make() (Meta, error) {
	if !namePattern.MatchString(n.Name) {
		return Meta{}, fmt.Errorf("node name %q: want 1 to 63 of a-z, 0-9 and hyphens inside", n.Name)
	}
	id, err := uuid.NewRandomFromReader(n.Random)
	if err != nil {
		return Meta{}, fmt.Errorf("make a cluster id: %w", err)
	}
	var b [4]byte
	if _, err := io.ReadFull(n.Random, b[:]); err != nil {
		return Meta{}, fmt.Errorf("make a node id: %w", err)
	}
	nodeID := n.Name + "-" + hex.EncodeToString(b[:])
	lineage, err := NewLineage(n.Random)
	if err != nil {
		return Meta{}, err
	}
	return Meta{
		Format: Format, ClusterID: id.String(), NodeID: nodeID, Lineage: lineage,
		Created: n.Created.UTC().Truncate(time.Millisecond), CreatedBy: n.CreatedBy,
	}, nil
}

// NewLineage makes a lineage: 32 random bits, but not 0, which stands for none.
func NewLineage(random io.Reader) (uint32, error) {
	for range 8 {
		var b [4]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return 0, fmt.Errorf("make a lineage: %w", err)
		}
		if l := binary.BigEndian.Uint32(b[:]); l != 0 {
			return l, nil
		}
	}
	return 0, fmt.Errorf("make a lineage: the source of randomness gives only zeros")
}
