package peer

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestGreetingsAndAnswersComeBackAsTheyWere(t *testing.T) {
	long := strings.Repeat("x", maxFieldBytes)
	for _, g := range []greeting{{}, {"c", "n1", "n2"}, {long, long, long}} {
		frame, err := g.encode()
		if err != nil {
			t.Fatal(err)
		}
		rest := bytes.NewReader(append(frame, "what follows"...))
		body, err := readFrame(rest)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeGreeting(body)
		if err != nil || got != g {
			t.Errorf("got %+v, %v; want %+v", got, err, g)
		}
		if left, _ := io.ReadAll(rest); string(left) != "what follows" {
			t.Errorf("a frame took bytes of the stream: %q is left", left)
		}
	}
	want := answer{reason: OtherNode, clusterID: "c", nodeID: "n2"}
	frame, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	body, err := readFrame(bytes.NewReader(frame))
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeAnswer(append(body, "a field of a later release"...))
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(answer{}), cmpopts.EquateErrors()); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if _, err := (greeting{wanted: long + "x"}).encode(); err == nil {
		t.Error("a field that is too long was encoded")
	}
}

func TestFramesThatAreNone(t *testing.T) {
	for name, frame := range map[string]string{
		"nothing":              "",
		"half a length":        "\x00",
		"no bytes":             "\x00\x00",
		"too many":             "\xff\xff" + strings.Repeat("x", 0xffff),
		"fewer than it says":   "\x00\x09\x01",
		"of a later version":   "\x00\x01\x02",
		"a field that is lost": "\x00\x03\x01\x00\x00",
		"a field cut short":    "\x00\x05\x01\x00\x00\x02x",
		"in clear":             "GET / HTTP/1.1\r\n\r\n",
	} {
		body, err := readFrame(strings.NewReader(frame))
		if err == nil {
			_, err = decodeGreeting(body)
		}
		if err == nil {
			t.Errorf("%s was taken for a greeting", name)
		}
	}
}

func TestEveryReasonHasAName(t *testing.T) {
	for r := OtherCluster; r <= Unreadable; r++ {
		if strings.HasPrefix(r.String(), "reason") {
			t.Errorf("reason %d has no name", r)
		}
		if text := (&RefusedError{Reason: r, NodeID: "n2", Wanted: "n3", ClusterID: "c"}).Error(); !strings.Contains(text, "n2") {
			t.Errorf("%v: %s", r, text)
		}
	}
	if Reason(99).String() != "reason 99" {
		t.Errorf("a reason of a later release is called %v", Reason(99))
	}
}

// FuzzPreface: whatever comes is read or refused, and what is read is written as it came.
func FuzzPreface(f *testing.F) {
	for _, g := range []greeting{{}, {"c", "n1", "n2"}} {
		frame, err := g.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame)
	}
	f.Add([]byte("\x00\x05\x01\x02\x00\x00"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		body, err := readFrame(bytes.NewReader(frame))
		if err != nil {
			return
		}
		if g, err := decodeGreeting(body); err == nil {
			again, err := g.encode()
			if err != nil || !bytes.HasPrefix(frame[2:], again[2:]) {
				t.Errorf("%+v was read from %x and is written as %x, %v", g, frame, again, err)
			}
		}
		if a, err := decodeAnswer(body); err == nil {
			again, err := a.encode()
			if err != nil || !bytes.HasPrefix(frame[2:], again[2:]) {
				t.Errorf("%+v was read from %x and is written as %x, %v", a, frame, again, err)
			}
		}
	})
}
