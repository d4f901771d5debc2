package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// ErrDamaged is wrapped by every error that means that stored bytes are not what was written.
var ErrDamaged = errors.New("store is damaged")

// ErrVersion is wrapped by errors about bytes that a newer version wrote.
var ErrVersion = errors.New("written by a newer version")

// ErrClosed is wrapped by what is refused because the store was closed.
var ErrClosed = errors.New("store is closed")

// EventKey is the place of an event in the feed.
type EventKey struct {
	Revision graph.Revision
	Ordinal  uint32 // within the revision
}

// Less reports whether k comes before other.
func (k EventKey) Less(other EventKey) bool {
	return k.Revision < other.Revision || k.Revision == other.Revision && k.Ordinal < other.Ordinal
}

// System is what a replica knows besides the graph. It is stored with every batch.
type System struct {
	// Applied and Term are of the last log entry whose effects are in the rows.
	Applied, Term uint64
	// ConfigIndex and Config are the last committed configuration of Raft, as its bytes.
	ConfigIndex uint64
	Config      []byte
	// Lineage, Base: D5. A revision is a log index plus Base.
	Lineage uint32
	Base    uint64
	// ClusterID is UUID text. Key keys the digests of events, fingerprints and page tokens.
	ClusterID    string
	Key          [32]byte
	FeatureLevel uint32
	// Instant is the last one given to a command, Unix nanoseconds.
	Instant int64
	// Position is the last one handed out.
	Position uint64
	// Commands is how many were applied, refused ones included.
	Commands uint64
	// Digest is the sum modulo 2^256 of the hashes of the covered rows, least significant word first. The store keeps it
	// at Commit.
	Digest [4]uint64
	// Chain is the hash of the last event and all before it.
	Chain [32]byte
	// Events is how many were ever appended, EventRows how many are retained. The store keeps both.
	Events, EventRows uint64
	// LastEvent is the newest event, Trimmed the newest one that was trimmed; zero for none. The store keeps both.
	LastEvent, Trimmed EventKey
}

const systemFormat = 1

func (s *System) encode() []byte {
	b := make([]byte, 0, 256+len(s.Config)+len(s.ClusterID))
	b = append(b, systemFormat)
	for _, v := range []uint64{s.Applied, s.Term, s.ConfigIndex} {
		b = binary.AppendUvarint(b, v)
	}
	b = appendBytes(b, s.Config)
	b = binary.AppendUvarint(b, uint64(s.Lineage))
	b = binary.AppendUvarint(b, s.Base)
	b = appendBytes(b, []byte(s.ClusterID))
	b = append(b, s.Key[:]...)
	b = binary.AppendUvarint(b, uint64(s.FeatureLevel))
	b = binary.AppendVarint(b, s.Instant)
	b = binary.AppendUvarint(b, s.Position)
	b = binary.AppendUvarint(b, s.Commands)
	for _, limb := range s.Digest {
		b = be64(b, limb)
	}
	b = append(b, s.Chain[:]...)
	b = binary.AppendUvarint(b, s.Events)
	b = binary.AppendUvarint(b, s.EventRows)
	b = appendEventKey(b, s.LastEvent)
	return appendEventKey(b, s.Trimmed)
}

func decodeSystem(b []byte) (System, error) {
	p := parser{b: b}
	var s System
	p.format(systemFormat)
	s.Applied, s.Term, s.ConfigIndex = p.uvarint(), p.uvarint(), p.uvarint()
	s.Config = append([]byte(nil), p.bytes()...)
	s.Lineage = p.uint32()
	s.Base = p.uvarint()
	s.ClusterID = string(p.bytes())
	copy(s.Key[:], p.take(len(s.Key)))
	s.FeatureLevel = p.uint32()
	s.Instant = p.varint()
	s.Position, s.Commands = p.uvarint(), p.uvarint()
	for i := range s.Digest {
		s.Digest[i] = p.be64()
	}
	copy(s.Chain[:], p.take(len(s.Chain)))
	s.Events, s.EventRows = p.uvarint(), p.uvarint()
	s.LastEvent, s.Trimmed = p.eventKey(), p.eventKey()
	p.end()
	if p.err != nil {
		return System{}, fmt.Errorf("%s: %w", Describe(systemKey), p.err)
	}
	return s, nil
}

// readSystem reads the row of the system; none is the zero System.
func readSystem(r reader) (System, error) {
	b, ok, err := r.get(systemKey)
	if err != nil {
		return System{}, fmt.Errorf("%s: %w", Describe(systemKey), err)
	}
	if !ok {
		return System{}, nil
	}
	return decodeSystem(b)
}

// systemOf reads the row of the system as an engine has it now.
func systemOf(e engine) (sys System, err error) {
	rows := e.live()
	defer func() { err = errors.Join(err, rows.close()) }()
	return readSystem(rows)
}
