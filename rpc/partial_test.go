package rpc

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// http2Frame is a frame as bytes.
func http2Frame(kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	b := []byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

// message is a gRPC message with its prefix.
func message(n int) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(n)), make([]byte, n)...)
}

// begun is how a connection with two streams begins.
func begun() []byte {
	return slices.Concat([]byte(http2Preface), http2Frame(frameHeaders, 0, 1, nil), http2Frame(frameHeaders, 0, 3, nil))
}

// TestWhatComesForAnEndedStreamIsNotCounted: it was under way when the server ended the stream, and nobody keeps it.
func TestWhatComesForAnEndedStreamIsNotCounted(t *testing.T) {
	for name, end := range map[string][]byte{
		"trailers": http2Frame(frameHeaders, flagEndStream, 1, []byte("x")), "reset": http2Frame(frameReset, 0, 1, make([]byte, 4)),
	} {
		all := newPartials(1<<40, nil)
		late := slices.Concat(http2Frame(frameData, 0, 1, message(9)[:6]), http2Frame(frameData, 0, 3, message(9)[:7]))
		in := bytes.NewReader(append(begun(), late...))
		conn := all.wrap(pieces{in, nil})
		read := func(n int) {
			if _, err := conn.Read(make([]byte, n)); err != nil {
				t.Fatal(err)
			}
		}
		read(len(begun()))
		if _, err := conn.Write(end); err != nil {
			t.Fatal(err)
		}
		read(len(late))
		if got := all.bytes.Load(); got != partialCost+7 {
			t.Errorf("%s: %d bytes are counted, want those of the other stream", name, got)
		}
	}
}

func padded(data []byte, padding int) []byte {
	return slices.Concat([]byte{byte(padding)}, data, make([]byte, padding))
}

// TestPartialMessagesAreCounted: however the bytes are cut, what is counted in the end is what is not complete.
func TestPartialMessagesAreCounted(t *testing.T) {
	const five = partialCost + 5
	for name, c := range map[string]struct {
		in, out []byte
		want    int64
	}{
		"nothing":              {in: http2Frame(0x4, 0, 0, make([]byte, 12))},
		"complete":             {in: http2Frame(frameData, 0, 1, message(100))},
		"empty":                {in: http2Frame(frameData, 0, 1, message(0))},
		"two in a frame":       {in: http2Frame(frameData, 0, 1, append(message(10), message(20)...))},
		"begun":                {in: http2Frame(frameData, 0, 1, message(100)[:60]), want: five + 55},
		"second begun":         {in: http2Frame(frameData, 0, 1, append(message(10), message(20)[:7]...)), want: five + 2},
		"prefix alone":         {in: http2Frame(frameData, 0, 1, message(9)[:3]), want: partialCost + 3},
		"two streams":          {in: append(http2Frame(frameData, 0, 1, message(9)[:6]), http2Frame(frameData, 0, 3, message(9)[:7])...), want: 2*five + 3},
		"completed":            {in: append(http2Frame(frameData, 0, 1, message(100)[:60]), http2Frame(frameData, 0, 1, message(100)[60:])...)},
		"padded":               {in: http2Frame(frameData, flagPadded, 1, padded(message(100)[:60], 200)), want: five + 55},
		"padding too long":     {in: http2Frame(frameData, flagPadded, 1, []byte{255, 1, 2})},
		"padded without any":   {in: http2Frame(frameData, flagPadded, 1, nil)},
		"ended":                {in: http2Frame(frameData, flagEndStream, 1, message(100)[:60])},
		"ended by headers":     {in: append(http2Frame(frameData, 0, 1, message(9)[:6]), http2Frame(frameHeaders, flagEndStream, 1, []byte("x"))...)},
		"reset":                {in: append(http2Frame(frameData, 0, 1, message(9)[:6]), http2Frame(frameReset, 0, 1, make([]byte, 4))...)},
		"another reset":        {in: append(http2Frame(frameData, 0, 1, message(9)[:6]), http2Frame(frameReset, 0, 3, make([]byte, 4))...), want: five + 1},
		"answered":             {in: http2Frame(frameData, 0, 1, message(9)[:6]), out: http2Frame(frameHeaders, flagEndStream, 1, []byte("x"))},
		"reset by us":          {in: http2Frame(frameData, 0, 1, message(9)[:6]), out: http2Frame(frameReset, 0, 1, make([]byte, 4))},
		"headers only by us":   {in: http2Frame(frameData, 0, 1, message(9)[:6]), out: http2Frame(frameHeaders, 0, 1, []byte("x")), want: five + 1},
		"acknowledged, no end": {in: http2Frame(frameData, 0, 1, message(9)[:6]), out: http2Frame(0x4, flagEndStream, 0, nil), want: five + 1},
	} {
		t.Run(name, func(t *testing.T) {
			all := newPartials(1<<40, nil)
			in, out := append(begun(), c.in...), c.out
			for seed := range uint64(20) {
				random := rand.New(rand.NewPCG(seed, 1))
				conn := all.wrap(pieces{bytes.NewReader(in), random})
				for read := 0; read < len(in); {
					n, err := conn.Read(make([]byte, 1+random.IntN(len(in))))
					if err != nil {
						t.Fatal(err)
					}
					read += n
				}
				for rest := out; len(rest) > 0; {
					n := 1 + random.IntN(len(rest))
					if _, err := conn.Write(rest[:n]); err != nil {
						t.Fatal(err)
					}
					rest = rest[n:]
				}
				if got := all.bytes.Load(); got != c.want {
					t.Fatalf("seed %d: %d bytes are counted, want %d", seed, got, c.want)
				}
				if err := conn.Close(); err != nil {
					t.Fatal(err)
				}
				if left := all.bytes.Load(); left != 0 || len(all.conns) != 0 {
					t.Fatalf("seed %d: %d bytes of %d connections are left after all", seed, left, len(all.conns))
				}
			}
		})
	}
}

// pieces is a connection that reads in pieces and writes nowhere.
type pieces struct {
	from   *bytes.Reader
	random *rand.Rand
}

func (p pieces) Read(b []byte) (int, error) {
	if p.random != nil {
		b = b[:1+p.random.IntN(len(b))]
	}
	return p.from.Read(b)
}
func (p pieces) Write(b []byte) (int, error)      { return len(b), nil }
func (p pieces) Close() error                     { return nil }
func (p pieces) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (p pieces) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (p pieces) SetDeadline(time.Time) error      { return nil }
func (p pieces) SetReadDeadline(time.Time) error  { return nil }
func (p pieces) SetWriteDeadline(time.Time) error { return nil }

// FuzzFrames: no bytes make the count of what is not complete go wrong, and a connection that has gone holds nothing.
func FuzzFrames(f *testing.F) {
	f.Add(http2Frame(frameData, flagPadded, 1, padded(message(100)[:60], 20)), http2Frame(frameReset, 0, 1, make([]byte, 4)))
	f.Add(http2Frame(frameData, 0, 1, append(message(10), message(20)[:7]...)), []byte{})
	f.Fuzz(func(t *testing.T, in, out []byte) {
		all := newPartials(1<<40, nil)
		conn := all.wrap(pieces{bytes.NewReader(append(begun(), in...)), rand.New(rand.NewPCG(1, 1))}).(*partialConn)
		for {
			n, err := conn.Read(make([]byte, 7))
			if err != nil {
				break
			}
			held := all.bytes.Load()
			if held < 0 || held > int64(len(in)+len(begun()))*(partialCost+1) || held != conn.held || int(conn.some.Load()) != len(conn.open) {
				t.Fatalf("%d bytes are counted of %d, after %d", held, len(in), n)
			}
		}
		if _, err := conn.Write(out); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil || all.bytes.Load() != 0 {
			t.Fatalf("%v: %d bytes are left", err, all.bytes.Load())
		}
	})
}

// TestWhoHoldsMostForLongestIsClosed, until there is room again; those that hold nothing are left alone.
func TestWhoHoldsMostForLongestIsClosed(t *testing.T) {
	var closed []int64
	all := newPartials(10_000, func(_ net.Addr, bytes int64) { closed = append(closed, bytes) })
	for _, held := range []int{3000, 100, 0, 4000, 2000} {
		sent := append(begun(), http2Frame(frameData, 0, 1, message(held)[:max(held, 5)])...)
		conn := all.wrap(pieces{bytes.NewReader(sent), nil})
		if _, err := conn.Read(make([]byte, len(sent))); err != nil {
			t.Fatal(err)
		}
	}
	all.bytes.Add(500)
	all.enough(time.Now().Add(time.Hour))
	if diff := cmp.Diff([]int64{4000 + partialCost}, closed); diff != "" || all.bytes.Load() > 10_000 {
		t.Errorf("%d bytes are held now; closed, -want +got:\n%s", all.bytes.Load(), diff)
	}
	all.enough(time.Now().Add(time.Hour))
	if len(closed) != 1 {
		t.Errorf("closed %d", closed)
	}
}
