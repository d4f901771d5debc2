//go:build !wasip1

package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

// TestMain sees that nothing is left behind. What memberlist has under way when it is closed, a probe say, ends within seconds.
func TestMain(m *testing.M) {
	code := m.Run()
	for range 30 {
		if err := goleak.Find(); err == nil {
			os.Exit(code)
		}
	}
	fmt.Fprintln(os.Stderr, goleak.Find())
	os.Exit(1)
}

// openLoopback starts a node on free ports of loopback.
func openLoopback(t *testing.T, nodeID string, change func(*Config)) *Gossip {
	t.Helper()
	packets, streams, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := Config{NodeID: nodeID, Secrets: secrets(t, "a"), Packets: packets, Streams: streams, Metadata: Metadata{Role: Voter, PeerAddr: "127.0.0.1:1"}}
	change(&c)
	g, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeGossip(t, g) })
	return g
}

// TestOnLoopback: the same as in memory, over UDP and TCP.
func TestOnLoopback(t *testing.T) {
	n1 := openLoopback(t, "n1", func(*Config) {})
	joins := func(c *Config) { c.Seeds = []string{n1.Address()} }
	n2, n3 := openLoopback(t, "n2", joins), openLoopback(t, "n3", joins)
	openLoopback(t, "n4", func(c *Config) {
		joins(c)
		c.Secrets = secrets(t, "z")
	})
	untilSees(t, "n1 n2 n3", n1, n2, n3)
	if err := n3.Leave(); err != nil {
		t.Error(err)
	}
	untilSees(t, "n1 n2", n1, n2)
}

func TestAPortIsTakenOnce(t *testing.T) {
	packets, streams, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = packets.Close(), streams.Close() }()
	if packets.LocalAddr().String() != streams.Addr().String() {
		t.Errorf("packets at %s, streams at %s", packets.LocalAddr(), streams.Addr())
	}
	if _, _, err := Listen(t.Context(), streams.Addr().String()); err == nil {
		t.Error("a port was taken twice")
	}
}

// at is a listener that says it is somewhere.
type at struct {
	net.Listener
	addr net.TCPAddr
}

func (a at) Addr() net.Addr { return &a.addr }

func TestWhatIsAdvertised(t *testing.T) {
	names := func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != "n1.example" {
			return nil, errors.New("no such host")
		}
		return []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.0.0.1")}, nil
	}
	for _, c := range []struct{ listening, advertise, want string }{
		{"10.0.0.7", "", "10.0.0.7:5"},
		{"10.0.0.7", "10.0.0.9:6", "10.0.0.9:6"},
		{"10.0.0.7", "10.0.0.9:0", "10.0.0.9:5"},
		{"10.0.0.7", "10.0.0.9", "10.0.0.9:5"},
		{"10.0.0.7", "n1.example:6", "10.0.0.1:6"},
		{"192.0.2.1", "n1.example:6", "192.0.2.1:6"},
		{"2001:db8::1", "n1.example", "[2001:db8::1]:5"},
		{"10.0.0.7", "unknown:6", "error no such host"},
		{"10.0.0.7", "n1:nonsense", "error nonsense"},
		{"0.0.0.0", "n1.example:6", "10.0.0.1:6"},
		{"0.0.0.0", "unknown:6", "here"},
		{"0.0.0.0", "", "here"},
	} {
		config := &Config{Advertise: c.advertise, LookUp: names, Logger: hclog.NewNullLogger(), Streams: at{addr: net.TCPAddr{IP: net.ParseIP(c.listening), Port: 5}}}
		got, err := advertised(t.Context(), config)
		wrong, wantError := strings.CutPrefix(c.want, "error ")
		switch {
		case wantError && (err == nil || !strings.Contains(err.Error(), wrong)):
			t.Errorf("%s listening at %s: got %v, %v", c.advertise, c.listening, got, err)
		case c.want == "here" && err == nil && (got.Addr().IsUnspecified() || got.Addr().IsLoopback() || got.Port() != 5):
			t.Errorf("%s listening everywhere: got %v", c.advertise, got)
		case c.want == "here" && err != nil && !errors.Is(err, errNoAddress):
			t.Errorf("%s listening everywhere: %v", c.advertise, err)
		case !wantError && c.want != "here" && (err != nil || got.String() != c.want):
			t.Errorf("%s listening at %s: got %v, %v; want %s", c.advertise, c.listening, got, err, c.want)
		}
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"node id":             func(c *Config) { c.NodeID = "" },
		"there is none":       func(c *Config) { c.Secrets = nil },
		"seeds, at most":      func(c *Config) { c.Seeds = make([]string, MaxSeeds+1) },
		"at most 512":         func(c *Config) { c.Metadata.PeerAddr = strings.Repeat("x", 600) },
		"no such host":        func(c *Config) { c.Advertise = "nowhere.example:1" },
		"listeners are missi": func(c *Config) { c.Packets = nil },
	} {
		packets, streams, err := Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c := Config{NodeID: "n1", Secrets: secrets(t, "a"), Packets: packets, Streams: streams, LookUp: func(context.Context, string) ([]netip.Addr, error) {
			return nil, errors.New("no such host")
		}}
		change(&c)
		if g, err := Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, %v; want something about %q", g, err, want)
		}
		if _, err := streams.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the listener was left open: %v", err)
		}
		_ = packets.Close()
	}
}

// TestStrangersDoNotFillTheLog: a few lines a second, each with its level.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a second stays one
		var out strings.Builder
		l := newLogger(hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Info}))
		l.Print("[DEBUG] memberlist: nobody wants this")
		for range 100 {
			l.Print("[ERR] memberlist: Decrypt packet failed")
		}
		if n := strings.Count(out.String(), "[ERROR] Decrypt packet failed"); n == 0 || n > 2*maxLines || strings.Contains(out.String(), "nobody") {
			t.Errorf("%d lines: %s", n, out.String())
		}
	})
}

// TestKeysAreReplacedInOrder: the ring has what is given, in its order, whatever it had.
func TestKeysAreReplacedInOrder(t *testing.T) {
	key := func(name byte) []byte { return []byte(strings.Repeat(string(name), 32)) }
	for _, steps := range [][]string{{"a", "ab", "ba", "b"}, {"abcd", "bd"}, {"abc", "cab"}, {"abc", "d"}, {"abcd", "ad"}, {"a", "a"}} {
		var r ring
		for i, want := range steps {
			var keys [][]byte
			for _, name := range []byte(want) {
				keys = append(keys, key(name))
			}
			var err error
			if i == 0 {
				r, err = newRing(keys)
			} else {
				err = r.set(keys)
			}
			if err != nil {
				t.Fatal(err)
			}
			have := r.GetKeys()
			if len(have) != len(keys) || string(have[0]) != string(keys[0]) || !allIn(keys, have) {
				t.Errorf("%v: after %s the ring has %q", steps, want, have)
			}
		}
	}
}

// TestRotationIsNoRace: keys change while messages are opened with them.
func TestRotationIsNoRace(t *testing.T) {
	n1 := openLoopback(t, "n1", func(*Config) {})
	n2 := openLoopback(t, "n2", func(c *Config) { c.Seeds = []string{n1.Address()} })
	untilSees(t, "n1 n2", n1, n2)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 200 {
			m := Metadata{Role: Voter, PeerAddr: fmt.Sprintf("127.0.0.1:%d", 1+i)}
			if err := n2.Update(m); err != nil {
				t.Error(err)
			}
		}
	}()
	for range 50 {
		for _, step := range [][]string{{"a", "b", "c"}, {"a", "c"}, {"c", "a"}, {"a"}} {
			if err := n1.SetSecrets(secrets(t, step...)); err != nil {
				t.Error(err)
			}
		}
	}
	<-done
	begun := time.Now()
	until(t, n1, "hearing the last word", func() bool {
		all := n1.Members()
		return len(all) == 2 && all[1].PeerAddr == "127.0.0.1:200" || time.Since(begun) > patience
	})
}

// TestWhatAnOperatorReads: that a seed does not answer, and why, in one line.
func TestWhatAnOperatorReads(t *testing.T) {
	n1 := openLoopback(t, "n1", func(*Config) {})
	for want, change := range map[string]func(*Config){
		"have both nodes the same secret?": func(c *Config) { c.Secrets, c.Seeds = secrets(t, "z"), []string{n1.Address()} },
		"resolve nowhere.example: no such": func(c *Config) {
			c.Seeds, c.LookUp = []string{"nowhere.example"}, func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
		},
	} {
		g := openLoopback(t, "n2", change)
		if err := g.joinAll(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want something about %q", err, want)
		}
	}
}
