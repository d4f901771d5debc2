package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// covered reports whether a row counts in System.Digest: what replicas must agree on. Index entries follow from the rows
// and are left out; events are covered by their chain.
func covered(key []byte) bool {
	switch key[0] {
	case spaceOutcome, spaceDoomed:
		return true
	case spaceTenant:
		switch key[tenantPrefixBytes-1] {
		case kindNode, kindEdge, kindState, kindCounter, kindInvocations:
			return true
		}
	}
	return false
}

// stable is the part of a covered value that does not depend on how commands were grouped into entries: without format,
// revisions and ordinal.
func stable(key, value []byte) ([]byte, error) {
	p := parser{b: value}
	p.format(rowFormat)
	if key[0] == spaceTenant {
		switch key[tenantPrefixBytes-1] {
		case kindNode:
			p.uvarint()
			p.uvarint()
			p.uvarint()
		case kindEdge:
			p.uvarint()
			p.uvarint()
		}
	}
	return p.rest(), p.err
}

// rowHash is SHA-256 of the key and the stable part of the value. The kind in the key fixes where it ends.
func rowHash(key, value []byte) ([4]uint64, error) {
	part, err := stable(key, value)
	if err != nil {
		return [4]uint64{}, fmt.Errorf("%s: %w", Describe(key), err)
	}
	h := sha256.New()
	h.Write(key)
	h.Write(part)
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	var out [4]uint64
	for i := range out {
		out[i] = binary.BigEndian.Uint64(sum[24-8*i:])
	}
	return out, nil
}

// add and subtract work modulo 2^256, least significant word first.
func add(a, b [4]uint64) (sum [4]uint64) {
	var carry uint64
	for i := range a {
		sum[i], carry = bits.Add64(a[i], b[i], carry)
	}
	return sum
}

func subtract(a, b [4]uint64) (diff [4]uint64) {
	var borrow uint64
	for i := range a {
		diff[i], borrow = bits.Sub64(a[i], b[i], borrow)
	}
	return diff
}

// digestChange applies what one write does to the digest.
func digestChange(digest [4]uint64, w *write) ([4]uint64, error) {
	if w.before != nil {
		h, err := rowHash(w.key, w.before)
		if err != nil {
			return digest, err
		}
		digest = subtract(digest, h)
	}
	if !w.deleted {
		h, err := rowHash(w.key, w.value)
		if err != nil {
			return digest, err
		}
		digest = add(digest, h)
	}
	return digest, nil
}
