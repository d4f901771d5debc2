package gossip

import (
	"bytes"
	"strings"
	"testing"
)

func full() announcement {
	return announcement{leaving: true, Metadata: Metadata{
		ClusterID: "6c1f0000-0000-4000-8000-000000000001", PeerAddr: "n1.nodes.graph.svc.cluster.local:50052",
		APIAddr: "n1.nodes.graph.svc.cluster.local:50051", Role: Reader, Version: "1.2.3-4-gabcdef0", MinFeature: 1, MaxFeature: 7, Expect: 3, Founded: true,
	}}
}

func TestMetadataComesBackAsItWas(t *testing.T) {
	for _, want := range []announcement{{}, full(), {Metadata: Metadata{Role: 77, Expect: 1<<maxExpectBits - 1, MaxFeature: 1<<32 - 1}}} {
		data, err := want.encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decode(data); err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
		later := append(bytes.Clone(data), 0xfa, 0x01, 3, 'n', 'e', 'w', 0x98, 0x02, 5)
		if got, err := decode(later); err != nil || got != want {
			t.Errorf("with fields of a later release: got %+v, %v; want %+v", got, err, want)
		}
	}
}

// TestMetadataStaysWhatItIs: nodes of two releases read each other's.
func TestMetadataStaysWhatItIs(t *testing.T) {
	data, err := full().encode()
	if err != nil {
		t.Fatal(err)
	}
	want := "\x01\n$6c1f0000-0000-4000-8000-000000000001\x12&n1.nodes.graph.svc.cluster.local:50052" +
		"\x1a&n1.nodes.graph.svc.cluster.local:50051 \x02*\x101.2.3-4-gabcdef00\x018\a@\x03H\x01P\x01"
	if string(data) != want {
		t.Errorf("got  %q\nwant %q", data, want)
	}
}

func TestMetadataHasBounds(t *testing.T) {
	for _, bad := range []Metadata{{PeerAddr: strings.Repeat("x", MaxMetadataBytes)}, {Expect: -1}, {Expect: 1 << maxExpectBits}} {
		if _, err := (announcement{Metadata: bad}).encode(); err == nil {
			t.Errorf("%+v was encoded", bad)
		}
	}
	for name, data := range map[string]string{
		"nothing": "", "a later version": "\x02", "half a field": "\x01\x0a\x05x", "a tag cut short": "\x01\xff", "no text": "\x01\x0a\x01\xff",
		"too much": "\x01\x0a" + strings.Repeat("x", MaxMetadataBytes),
	} {
		if got, err := decode([]byte(data)); err == nil {
			t.Errorf("%s was read as %+v", name, got)
		}
	}
}

func TestNamesOfRolesAndStates(t *testing.T) {
	for got, want := range map[string]string{
		Voter.String(): "voter", Reader.String(): "reader", Removed.String(): "removed", Role(9).String(): "role 9",
		Alive.String(): "alive", Left.String(): "left", Dead.String(): "dead", State(0).String(): "unknown",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// FuzzMetadata: whatever comes is read or refused, and what is read comes back when it is sent again.
func FuzzMetadata(f *testing.F) {
	for _, a := range []announcement{{}, full()} {
		data, err := a.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("\x01\x20\xff\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := decode(data)
		if err != nil {
			return
		}
		again, err := a.encode()
		if err != nil {
			t.Fatalf("%+v was read and cannot be sent: %v", a, err)
		}
		if b, err := decode(again); err != nil || b != a {
			t.Errorf("%+v is sent as %x and read as %+v, %v", a, again, b, err)
		}
	})
}
