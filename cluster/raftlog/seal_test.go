package raftlog

import (
	"bytes"
	"errors"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph/samples"
)

func TestSealedValueOpensOnlyAtItsPlace(t *testing.T) {
	at := Place{Index: 7, Term: 3, Type: 1}
	sealed, err := Seal(Header{}, at, []byte("body"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(sealed), len("body")+SealOverheadBytes; got != want {
		t.Errorf("sealed bytes: got %d, want %d", got, want)
	}
	body, err := Open(at, sealed)
	if err != nil || string(body) != "body" {
		t.Fatalf("open at its place: got %q, %v", body, err)
	}
	for _, elsewhere := range []Place{{8, 3, 1}, {7, 4, 1}, {7, 3, 2}} {
		if _, err := Open(elsewhere, sealed); !errors.Is(err, ErrDamaged) {
			t.Errorf("open at %+v: got %v, want damaged", elsewhere, err)
		}
	}
}

func TestEveryChangedByteOfASealedValueIsDamage(t *testing.T) {
	at := Place{Index: 1, Term: 1}
	sealed, err := Seal(Header{}, at, []byte("some body"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		for bit := range 8 {
			broken := bytes.Clone(sealed)
			broken[i] ^= 1 << bit
			if _, err := Open(at, broken); !errors.Is(err, ErrDamaged) {
				t.Errorf("byte %d bit %d flipped: got %v, want damaged", i, bit, err)
			}
		}
	}
	for n := range sealed {
		if _, err := Open(at, sealed[:n]); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d bytes: got %v, want damaged", n, err)
		}
	}
}

func TestKeysAndCodecsOfLaterReleasesAreRefused(t *testing.T) {
	at := Place{Index: 1}
	for _, h := range []Header{{KeyID: 1}, {Codec: 1}} {
		if _, err := Seal(h, at, nil); !errors.Is(err, ErrUnsupported) {
			t.Errorf("seal with %+v: got %v, want unsupported", h, err)
		}
		if _, err := Open(at, sealAs(h, at, []byte("x"))); !errors.Is(err, ErrUnsupported) || errors.Is(err, ErrDamaged) {
			t.Errorf("open with %+v: got %v, want unsupported", h, err)
		}
	}
}

// sealAs seals with any header, as a later release would.
func sealAs(h Header, at Place, body []byte) []byte {
	out := []byte{sealVersion, byte(h.KeyID >> 24), byte(h.KeyID >> 16), byte(h.KeyID >> 8), byte(h.KeyID), h.Codec}
	out = append(out, body...)
	s := sum(at, out)
	return append(out, byte(s>>24), byte(s>>16), byte(s>>8), byte(s))
}

func FuzzOpen(f *testing.F) {
	at := Place{Index: 5, Term: 2, Type: 4}
	sealed, err := Seal(Header{}, at, []byte("body"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte{})
	f.Add(sealAs(Header{KeyID: 9}, at, nil))
	for _, text := range samples.Texts(f, 400) {
		f.Add(sealAs(Header{}, at, text))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		body, err := Open(at, value)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		again, err := Seal(Header{}, at, body)
		if err != nil || !bytes.Equal(again, value) {
			t.Fatalf("opened a value that sealing does not make: %x, %v", value, err)
		}
	})
}
