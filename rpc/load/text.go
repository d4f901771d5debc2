package load

import (
	"encoding/binary"
	"encoding/hex"
)

// alphabet is what contents are made of: 6 bits a byte, so that they compress about as little as they may.
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ."

// appendText appends the content that belongs to a seed: always the same for the same seed and size.
func appendText(b []byte, seed uint64, size int) []byte {
	state := seed
	for size > 0 {
		state += golden
		z := mix(state)
		for range min(size, 10) {
			b = append(b, alphabet[z&63])
			z >>= 6
		}
		size -= min(size, 10)
	}
	return b
}

// golden and mix are splitmix64.
const golden = 0x9e3779b97f4a7c15

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// appendHash appends 8 bytes that are another's for every number.
func appendHash(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, mix(n+golden)) }

// An id is a UUID as 16 bytes.
type id [16]byte

const idTextBytes = 36

// parseID reads a UUID as the server writes it.
func parseID(s []byte) (u id, ok bool) {
	if len(s) != idTextBytes || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, false
	}
	var digits [32]byte
	n := copy(digits[:], s[:8])
	for _, part := range [][]byte{s[9:13], s[14:18], s[19:23], s[24:]} {
		n += copy(digits[n:], part)
	}
	_, err := hex.Decode(u[:], digits[:])
	return u, err == nil
}

func (u id) append(b []byte) []byte {
	for i, part := range [][]byte{u[:4], u[4:6], u[6:8], u[8:10], u[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return b
}

func (u id) String() string { return string(u.append(nil)) }
