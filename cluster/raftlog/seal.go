package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Layout of a sealed value, all integers big-endian:
//
//	version u8 | key id u32 | codec u8 | body | crc32c u32
//
// The sum covers index u64, term u64 and type u8 of the [Place], then the header and the body.
const (
	sealVersion = 1
	headerBytes = 1 + 4 + 1
	sumBytes    = 4

	// SealOverheadBytes is what sealing adds to a value.
	SealOverheadBytes = headerBytes + sumBytes
)

// Key ids and codecs of a [Header].
const (
	// PlainKey is the key id of a body that is not encrypted. No other one is understood yet.
	PlainKey uint32 = 0
	// NoCodec marks a body that is stored as it is. 1 is reserved for zstd.
	NoCodec uint8 = 0
)

// ErrDamaged is the kind of every error that says that stored bytes are not what was written.
var ErrDamaged = errors.New("damaged")

// ErrUnsupported is the kind of an intact value that this release cannot read: a later version, a key or a codec that
// it does not have.
var ErrUnsupported = errors.New("not supported by this release")

// Header says how the body of a sealed value is stored. The zero Header is plain.
type Header struct {
	KeyID uint32
	Codec uint8
}

// Place is where a value belongs. A value that is opened at another place than it was sealed for is damaged.
type Place struct {
	Index uint64
	Term  uint64
	Type  uint8
}

// Seal returns body in its stored form for the place. The error is [ErrUnsupported] for a header that is not plain.
func Seal(h Header, at Place, body []byte) ([]byte, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(body)+SealOverheadBytes)
	out = append(out, sealVersion)
	out = binary.BigEndian.AppendUint32(out, h.KeyID)
	out = append(out, h.Codec)
	out = append(out, body...)
	return binary.BigEndian.AppendUint32(out, sum(at, out)), nil
}

// Open returns the body of a sealed value; it shares the memory of sealed. The error is [ErrDamaged] when the value is
// not what was sealed for the place, [ErrUnsupported] when it is but this release cannot read it.
func Open(at Place, sealed []byte) ([]byte, error) {
	if len(sealed) < SealOverheadBytes {
		return nil, fmt.Errorf("%d bytes are too few for a sealed value: %w", len(sealed), ErrDamaged)
	}
	end := len(sealed) - sumBytes
	// The version decides what the sum covers, so an unknown one cannot be told from damage.
	if v := sealed[0]; v != sealVersion {
		return nil, fmt.Errorf("seal version %d, want %d: %w", v, sealVersion, ErrDamaged)
	}
	if got, want := sum(at, sealed[:end]), binary.BigEndian.Uint32(sealed[end:]); got != want {
		return nil, fmt.Errorf("checksum is %08x, the value says %08x: %w", got, want, ErrDamaged)
	}
	h := Header{KeyID: binary.BigEndian.Uint32(sealed[1:5]), Codec: sealed[5]}
	if err := h.check(); err != nil {
		return nil, err
	}
	return sealed[headerBytes:end:end], nil
}

func (h Header) check() error {
	if h.KeyID != PlainKey {
		return fmt.Errorf("value is encrypted with key %d: encryption at rest is %w", h.KeyID, ErrUnsupported)
	}
	if h.Codec != NoCodec {
		return fmt.Errorf("value has codec %d: %w", h.Codec, ErrUnsupported)
	}
	return nil
}

func sum(at Place, headerAndBody []byte) uint32 {
	var place [17]byte
	binary.BigEndian.PutUint64(place[0:], at.Index)
	binary.BigEndian.PutUint64(place[8:], at.Term)
	place[16] = at.Type
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(place[:], table), table, headerAndBody)
}
