package secret

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
)

// Bounds of a secret and of a list of them.
const (
	// MinBytes is the shortest secret that is taken, MaxBytes the longest.
	MinBytes = 32
	MaxBytes = 4096
	// MaxSecrets is how many are accepted at the same time: the one that signs, and those of a rotation.
	MaxSecrets = 8
	// KeyBytes is how long a derived key is.
	KeyBytes = 32
)

// Purpose is the label of what a key is for. Every use has its own; one is never given another meaning, and a new version of
// a use is a new purpose.
type Purpose string

// The purposes.
const (
	// PeerAuthority is the seed of the Ed25519 key that signs the certificates of nodes.
	PeerAuthority Purpose = "peer certificate authority v1"
	// Gossip is the AES-256 key of gossip.
	Gossip Purpose = "gossip encryption v1"
)

const salt = "memory-graph cluster secret"

// ErrSecret is what the errors about an unfit secret are.
var ErrSecret = errors.New("unfit cluster secret")

// Secret is what the nodes of a cluster share. The zero value is none.
type Secret struct{ bytes []byte }

// New takes a secret of MinBytes to MaxBytes bytes as it is, and copies it.
func New(text []byte) (Secret, error) {
	switch n := len(text); {
	case n < MinBytes:
		return Secret{}, fmt.Errorf("%w: it has %d bytes, at least %d: take the output of `openssl rand -hex 32`", ErrSecret, n, MinBytes)
	case n > MaxBytes:
		return Secret{}, fmt.Errorf("%w: it has %d bytes, at most %d", ErrSecret, n, MaxBytes)
	}
	return Secret{bytes.Clone(text)}, nil
}

// Parse reads one secret a line, spaces around it and empty lines left out. The first signs, all are accepted: the file or variable that an
// operator rotates. It names the line of what is unfit, never what is in it.
func Parse(text []byte) ([]Secret, error) {
	var all []Secret
	for i, line := range bytes.Split(text, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		s, err := New(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		all = append(all, s)
	}
	return all, Check(all)
}

// Check tells whether a list can be used: one to MaxSecrets of them, none empty, none twice.
func Check(all []Secret) error {
	if len(all) == 0 {
		return fmt.Errorf("%w: there is none", ErrSecret)
	}
	if len(all) > MaxSecrets {
		return fmt.Errorf("%w: there are %d, at most %d", ErrSecret, len(all), MaxSecrets)
	}
	for i, s := range all {
		if len(s.bytes) < MinBytes {
			return fmt.Errorf("%w: number %d is empty", ErrSecret, i+1)
		}
		for j := range i {
			if s.Equal(all[j]) {
				return fmt.Errorf("%w: number %d is number %d again", ErrSecret, i+1, j+1)
			}
		}
	}
	return nil
}

// Key derives the key of a purpose, KeyBytes long (HKDF with SHA-256, RFC 5869).
func (s Secret) Key(p Purpose) []byte {
	key, err := hkdf.Key(sha256.New, s.bytes, []byte(salt), string(p), KeyBytes)
	if err != nil {
		panic(fmt.Sprintf("derive %s: %v", p, err)) // KeyBytes is within what HKDF can give
	}
	return key
}

// Equal compares in time that does not depend on the content.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare(s.bytes, other.bytes) == 1
}

// Format prints [redacted] for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText keeps the secret out of JSON and configuration dumps.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

const redacted = "[redacted]"
