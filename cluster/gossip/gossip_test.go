//go:build !wasip1

package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/memberlist"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/memnet"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
)

const (
	ourCluster   = "6c1f0000-0000-4000-8000-000000000001"
	otherCluster = "6c1f0000-0000-4000-8000-000000000002"
	gossipPort   = DefaultPort
	patience     = 3 * time.Minute
)

func secrets(t testing.TB, letters ...string) []secret.Secret {
	t.Helper()
	var all []secret.Secret
	for _, l := range letters {
		s, err := secret.New([]byte(strings.Repeat(l, secret.MinBytes)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// town is a network in memory with a name service.
type town struct {
	*memnet.Network
	names map[string][]string
}

// newTown makes one. What memberlist has under way when its nodes are closed gets the time to come to its end.
func newTown(t testing.TB) *town {
	t.Cleanup(func() { time.Sleep(time.Minute) })
	return &town{memnet.New(), map[string][]string{}}
}

func (n *town) lookUp(_ context.Context, host string) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, a := range n.names[host] {
		all = append(all, netip.MustParseAddr(a))
	}
	if len(all) == 0 {
		return nil, errors.New("no such host")
	}
	return all, nil
}

func host(i int) string { return fmt.Sprintf("10.0.0.%d", i) }
func id(i int) string   { return fmt.Sprintf("n%d", i) }

// config is that of node i on host i, of no cluster, with one secret and no seeds.
func (n *town) config(t testing.TB, i int) Config {
	t.Helper()
	return Config{
		NodeID: id(i), Secrets: secrets(t, "a"), LookUp: n.lookUp,
		Metadata: Metadata{PeerAddr: host(i) + ":50052", APIAddr: host(i) + ":50051", Role: Voter, Version: "1.2.3", MinFeature: 1, MaxFeature: 2, Expect: 3},
	}
}

// open starts a node on the host of a number.
func (n *town) open(t testing.TB, on int, c Config) *Gossip {
	t.Helper()
	h := n.Host(host(on))
	var err error
	if c.Packets, err = h.ListenPacket(gossipPort); err != nil {
		t.Fatal(err)
	}
	if c.Streams, err = h.Listen(gossipPort); err != nil {
		t.Fatal(err)
	}
	c.Dial = h.Dial
	g, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeGossip(t, g) })
	return g
}

func closeGossip(t testing.TB, g *Gossip) {
	t.Helper()
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

func ids(members []Member) string {
	var all []string
	for _, m := range members {
		all = append(all, m.NodeID)
	}
	return strings.Join(all, " ")
}

// until waits until something holds of a node's members, and returns how long that took.
func until(t testing.TB, g *Gossip, what string, holds func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for {
		changed := g.Changed()
		if holds() {
			return time.Since(begun)
		}
		select {
		case <-changed:
		case <-time.After(patience - time.Since(begun)):
			t.Fatalf("%s: not %s after %v; it sees %q, departed %q", g.config.NodeID, what, patience, ids(g.Members()), ids(g.Departed()))
		}
	}
}

func untilSees(t testing.TB, want string, all ...*Gossip) time.Duration {
	t.Helper()
	begun := time.Now()
	for _, g := range all {
		until(t, g, "seeing "+want, func() bool { return ids(g.Members()) == want })
	}
	return time.Since(begun)
}

// TestOneSeedIsEnough: three nodes find each other when two of them know the third, and know what each says of itself.
func TestOneSeedIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		var all []*Gossip
		for i := 1; i <= 3; i++ {
			c := n.config(t, i)
			if i > 1 {
				c.Seeds = []string{host(1)} // without a port
			}
			all = append(all, n.open(t, i, c))
		}
		t.Logf("all three see each other after %v", untilSees(t, "n1 n2 n3", all...))
		for _, g := range all {
			for k, m := range g.Members() {
				want := Member{NodeID: id(k + 1), Metadata: n.config(t, k+1).Metadata, GossipAddr: host(k+1) + ":50053", State: Alive}
				if diff := cmp.Diff(want, m, cmpopts.IgnoreFields(Member{}, "Since")); diff != "" {
					t.Errorf("%s sees another %s (-want +got):\n%s", g.config.NodeID, m.NodeID, diff)
				}
			}
		}
	})
}

// TestNamesWithSeveralAddresses: a seed that is a name, looked up again until it leads somewhere, to all that it leads to.
func TestNamesWithSeveralAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		c := n.config(t, 1)
		c.Seeds = []string{"nodes.example:50053"}
		n1 := n.open(t, 1, c)
		time.Sleep(time.Minute)
		if got := ids(n1.Members()); got != "n1" {
			t.Fatalf("it sees %s", got)
		}
		n2, n3 := n.open(t, 2, n.config(t, 2)), n.open(t, 3, n.config(t, 3))
		n.names["nodes.example"] = []string{host(1), host(2), host(3), host(9)}
		untilSees(t, "n1 n2 n3", n1, n2, n3)
	})
}

// TestWithoutTheSecretNobodyIsSeen: neither by a seed of its own, nor by being one.
func TestWithoutTheSecretNobodyIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		c1, c2, stranger := n.config(t, 1), n.config(t, 2), n.config(t, 3)
		c1.Seeds, c2.Seeds, stranger.Seeds = []string{host(2), host(3)}, []string{host(1)}, []string{host(1), host(2)}
		stranger.Secrets = secrets(t, "z")
		n1, n2, n3 := n.open(t, 1, c1), n.open(t, 2, c2), n.open(t, 3, stranger)
		untilSees(t, "n1 n2", n1, n2)
		time.Sleep(time.Minute)
		for g, want := range map[*Gossip]string{n1: "n1 n2", n2: "n1 n2", n3: "n3"} {
			if got := ids(g.Members()); got != want {
				t.Errorf("%s sees %s, want %s", g.config.NodeID, got, want)
			}
		}
	})
}

// unsealed starts a memberlist without keys on a host, which knows the label.
func (n *town) unsealed(t *testing.T, on int, wrap func(net.PacketConn) net.PacketConn) *memberlist.Memberlist {
	t.Helper()
	h := n.Host(host(on))
	packets, err := h.ListenPacket(gossipPort)
	if err != nil {
		t.Fatal(err)
	}
	streams, err := h.Listen(gossipPort)
	if err != nil {
		t.Fatal(err)
	}
	c := memberlist.DefaultLANConfig()
	said, err := announcement{Metadata: n.config(t, on).Metadata}.encode()
	if err != nil {
		t.Fatal(err)
	}
	c.Name, c.Label, c.Logger, c.EnableCompression = id(on), label, log.New(io.Discard, "", 0), false
	c.Delegate = (*delegate)(&Gossip{said: said})
	c.Transport = newTransport(&Config{Packets: wrap(packets), Streams: streams, Dial: h.Dial}, netip.MustParseAddrPort(host(on)+":50053"))
	m, err := memberlist.Create(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Shutdown() })
	return m
}

// TestNothingInClearIsTaken: neither a join nor packets that are right but for the seal.
func TestNothingInClearIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		n1 := n.open(t, 1, n.config(t, 1))
		heard := &recorder{}
		s2 := n.unsealed(t, 2, func(p net.PacketConn) net.PacketConn { heard.PacketConn = p; return heard })
		s3 := n.unsealed(t, 3, func(p net.PacketConn) net.PacketConn { return p })
		if _, err := s2.Join([]string{host(1) + ":50053"}); err == nil {
			t.Error("a node without keys has joined")
		}
		if _, err := s3.Join([]string{host(2) + ":50053"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		packets := heard.all()
		if !slices.ContainsFunc(packets, func(p []byte) bool { return bytes.Contains(p, []byte("Incarnation")) }) {
			t.Fatal("the strangers have said nothing that could be believed")
		}
		for _, p := range packets {
			if _, err := heard.WriteTo(p, net.UDPAddrFromAddrPort(n1.self)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if got := ids(n1.Members()); got != "n1" {
			t.Errorf("it sees %s", got)
		}
	})
}

// TestStrangersCannotFloodIt: packets and streams of somebody who knows the label alone.
func TestStrangersCannotFloodIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		n1 := n.open(t, 1, n.config(t, 1))
		h := n.Host(host(9))
		p, err := h.ListenPacket(0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = p.Close() }()
		forged := append([]byte{244, byte(len(label))}, label+"\x04forged"...)
		for range 1000 {
			if _, err := p.WriteTo(forged, n1.config.Packets.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for range 3 * maxStreams {
			c, err := h.Dial(t.Context(), host(1)+":50053")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			synctest.Wait()
			n1.transport.mu.Lock()
			open := len(n1.transport.open)
			n1.transport.mu.Unlock()
			if open > maxStreams {
				t.Fatalf("%d streams are open", open)
			}
		}
		time.Sleep(2 * streamTimeout)
		c := n.config(t, 2)
		c.Seeds = []string{host(1)}
		untilSees(t, "n1 n2", n1, n.open(t, 2, c))
	})
}

// recorder keeps the packets that came.
type recorder struct {
	net.PacketConn
	mu      sync.Mutex
	packets [][]byte
}

func (r *recorder) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := r.PacketConn.ReadFrom(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.packets = append(r.packets, bytes.Clone(p[:n]))
	return n, from, err
}

func (r *recorder) all() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.packets)
}

// TestWhatIsReplayedIsNotBelieved: sealed packets of the past, of a node that has said something else since and has been restarted, change
// nothing for longer than it takes that node to object.
func TestWhatIsReplayedIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		h := n.Host(host(1))
		packets, err := h.ListenPacket(gossipPort)
		if err != nil {
			t.Fatal(err)
		}
		heard := &recorder{PacketConn: packets}
		c1, c2 := n.config(t, 1), n.config(t, 2)
		c1.Packets, c1.Dial = heard, h.Dial
		if c1.Streams, err = h.Listen(gossipPort); err != nil {
			t.Fatal(err)
		}
		n1, err := Open(t.Context(), c1)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeGossip(t, n1) })
		c2.Seeds = []string{host(1)}
		n2 := n.open(t, 2, c2)
		untilSees(t, "n1 n2", n1, n2)
		says := func(r Role) func() bool {
			return func() bool { all := n1.Members(); return len(all) == 2 && all[1].Role == r }
		}
		for _, r := range []Role{Reader, Removed, Reader} {
			c2.Metadata.Role = r
			if err := n2.Update(c2.Metadata); err != nil {
				t.Fatal(err)
			}
			until(t, n1, "hearing "+r.String(), says(r))
		}
		if err := n2.Leave(); err != nil {
			t.Fatal(err)
		}
		untilSees(t, "n1", n1)
		closeGossip(t, n2)
		c2.Metadata.Role = Voter
		n.open(t, 2, c2)
		until(t, n1, "hearing of the voter", says(Voter))

		stranger, err := n.Host(host(9)).ListenPacket(0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stranger.Close() }()
		for _, p := range heard.all() {
			if _, err := stranger.WriteTo(p, packets.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		until(t, n1, "believing the voter", says(Voter))
		time.Sleep(time.Minute)
		if !says(Voter)() {
			t.Errorf("it believes %+v", n1.Members())
		}
	})
}

// TestClustersAreKeptApart: nodes of another cluster are not let in, whoever joins whom; a node of none is seen by both, and by its
// own alone from when it has one.
func TestClustersAreKeptApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		configs := map[int]Config{}
		for i, cluster := range map[int]string{1: ourCluster, 2: ourCluster, 3: otherCluster, 4: ""} {
			c := n.config(t, i)
			c.Metadata.ClusterID, c.Metadata.Founded = cluster, cluster != ""
			c.Seeds = []string{host(1), host(2), host(3)}
			configs[i] = c
		}
		n1, n2, n3 := n.open(t, 1, configs[1]), n.open(t, 2, configs[2]), n.open(t, 3, configs[3])
		time.Sleep(time.Minute)
		for g, want := range map[*Gossip]string{n1: "n1 n2", n2: "n1 n2", n3: "n3"} {
			if got := ids(g.Members()); got != want {
				t.Errorf("%s sees %s, want %s", g.config.NodeID, got, want)
			}
		}
		n4 := n.open(t, 4, configs[4])
		untilSees(t, "n1 n2 n3 n4", n4)
		untilSees(t, "n1 n2 n4", n1, n2)
		untilSees(t, "n3 n4", n3)
		m := configs[4].Metadata
		m.ClusterID = ourCluster
		if err := n4.Update(m); err != nil {
			t.Fatal(err)
		}
		untilSees(t, "n1 n2 n4", n4, n1, n2)
		untilSees(t, "n3", n3)
		time.Sleep(time.Minute)
		for g, want := range map[*Gossip]string{n1: "n1 n2 n4", n3: "n3", n4: "n1 n2 n4"} {
			if got := ids(g.Members()); got != want {
				t.Errorf("later %s sees %s, want %s", g.config.NodeID, got, want)
			}
		}
		if got := n1.list.NumMembers(); got != 3 {
			t.Errorf("n1 has let in %d members", got)
		}
		m.ClusterID = otherCluster
		if err := n4.Update(m); err == nil {
			t.Error("a node changed its cluster")
		}
	})
}

// TestNewsTravel: what a node says anew of itself is soon heard by all.
func TestNewsTravel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, all := three(t)
		m := n.config(t, 2).Metadata
		m.ClusterID, m.Founded, m.Role = ourCluster, true, Reader
		if err := all[1].Update(m); err != nil {
			t.Fatal(err)
		}
		for _, g := range all {
			until(t, g, "hearing of the role", func() bool { return g.Members()[1].Metadata == m })
		}
		m.APIAddr = strings.Repeat("x", MaxMetadataBytes)
		if err := all[1].Update(m); err == nil || !strings.Contains(err.Error(), "at most 512") {
			t.Errorf("too much was said: %v", err)
		}
	})
}

// three nodes that see each other; the first is the seed of the others.
func three(t *testing.T) (*town, []*Gossip) {
	t.Helper()
	n := newTown(t)
	var all []*Gossip
	for i := 1; i <= 3; i++ {
		c := n.config(t, i)
		c.Seeds = []string{host(1)}
		all = append(all, n.open(t, i, c))
	}
	untilSees(t, "n1 n2 n3", all...)
	return n, all
}

// TestLeavingIsNotDying: who says that it goes is known to have left, at once; who falls silent is found dead.
func TestLeavingIsNotDying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := three(t)
		if err := all[2].Leave(); err != nil {
			t.Fatal(err)
		}
		took := untilSees(t, "n1 n2", all[0], all[1])
		closeGossip(t, all[2])
		closeGossip(t, all[1])
		t.Logf("left after %v, dead after %v", took, untilSees(t, "n1", all[0]))
		got := all[0].Departed()
		if len(got) != 2 || got[0].NodeID != "n2" || got[0].State != Dead || got[1].NodeID != "n3" || got[1].State != Left {
			t.Errorf("departed: %+v", got)
		}
		if err := all[0].Leave(); err != nil {
			t.Errorf("leaving alone: %v", err)
		}
	})
}

// TestTheDepartedAreForgotten: after a day, and when they become too many, whoever went first.
func TestTheDepartedAreForgotten(t *testing.T) {
	g := &Gossip{departed: map[string]Member{"long gone": {Since: time.Now().Add(-departedMemory - time.Minute)}}}
	for i := range maxDeparted {
		g.departed[id(i)] = Member{NodeID: id(i), Since: time.Now().Add(time.Duration(i-maxDeparted) * time.Second)}
	}
	(*delegate)(g).forgetLocked()
	if _, ok := g.departed["long gone"]; ok || len(g.departed) != maxDeparted {
		t.Errorf("it remembers %d, the one of the day before yesterday: %v", len(g.departed), ok)
	}
	g.departed["one more"] = Member{NodeID: "one more", Since: time.Now()}
	(*delegate)(g).forgetLocked()
	if _, ok := g.departed[id(0)]; ok || len(g.departed) != maxDeparted {
		t.Errorf("it remembers %d, the first of them: %v", len(g.departed), ok)
	}
}

// TestANodeComesBackOnAnotherAddress: with the same id, after it was killed or has left, while the others go on.
func TestANodeComesBackOnAnotherAddress(t *testing.T) {
	for _, leaves := range []bool{true, false} {
		t.Run(fmt.Sprintf("leaves %v", leaves), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, all := three(t)
				if leaves {
					if err := all[2].Leave(); err != nil {
						t.Fatal(err)
					}
				}
				closeGossip(t, all[2])
				c := n.config(t, 3)
				c.Seeds, c.Metadata.PeerAddr = []string{host(1)}, host(7)+":50052"
				back := n.open(t, 7, c)
				moved := func(g *Gossip) func() bool {
					return func() bool {
						all := g.Members()
						return len(all) == 3 && all[2].GossipAddr == host(7)+":50053" && all[2].PeerAddr == host(7)+":50052"
					}
				}
				took := until(t, all[0], "hearing of the new address", moved(all[0])) + until(t, all[1], "hearing of the new address", moved(all[1]))
				if t.Logf("both have heard after %v", took); took > pushPullInterval {
					t.Errorf("the others heard of the new address after %v", took)
				}
				untilSees(t, "n1 n2 n3", back)
				// Word of its leaving may still be under way, until it objects.
				until(t, all[0], "forgetting that it was gone", func() bool { return moved(all[0])() && len(all[0].Departed()) == 0 })
			})
		})
	}
}

// TestAllMoveAtOnce: every node comes back on another address, and the seed is a name.
func TestAllMoveAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		start := func(i, on int) *Gossip {
			c := n.config(t, i)
			c.Metadata.ClusterID, c.Seeds = ourCluster, []string{"nodes.example"}
			return n.open(t, on, c)
		}
		n.names["nodes.example"] = []string{host(1), host(2), host(3)}
		first := []*Gossip{start(1, 1), start(2, 2), start(3, 3)}
		untilSees(t, "n1 n2 n3", first...)
		for _, g := range first {
			closeGossip(t, g)
		}
		n.names["nodes.example"] = []string{host(11), host(12), host(13)}
		untilSees(t, "n1 n2 n3", start(1, 13), start(2, 11), start(3, 12))
	})
}

// TestAPartitionHeals: both sides have found each other dead and forgotten; no seed leads from one to the other.
func TestAPartitionHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		var all []*Gossip
		for i := 1; i <= 3; i++ {
			c := n.config(t, i)
			if i > 1 {
				c.Seeds = []string{host(i - 1)}
			}
			all = append(all, n.open(t, i, c))
		}
		untilSees(t, "n1 n2 n3", all...)
		n.Cut(host(1), host(3))
		n.Cut(host(2), host(3))
		untilSees(t, "n1 n2", all[0], all[1])
		untilSees(t, "n3", all[2])
		time.Sleep(2 * time.Minute)
		n.Heal(host(1), host(3))
		t.Logf("together again after %v", untilSees(t, "n1 n2 n3", all[0], all[2]))
	})
}

// TestRotationWhileRunning: the secret is replaced on three nodes, one after the other in each step, and nobody is lost; whoever has
// the old one alone then stays out.
func TestRotationWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, all := three(t)
		for _, step := range [][]secret.Secret{secrets(t, "a", "b"), secrets(t, "b", "a"), secrets(t, "b")} {
			for _, g := range all {
				if err := g.SetSecrets(step); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Second)
				for _, g := range all {
					if got := ids(g.Members()); got != "n1 n2 n3" || len(g.Departed()) != 0 {
						t.Fatalf("%s sees %s, departed %v", g.config.NodeID, got, g.Departed())
					}
				}
			}
		}
		late := n.config(t, 4)
		late.Seeds = []string{host(1), host(2), host(3)}
		old := n.open(t, 4, late)
		time.Sleep(time.Minute)
		if got := ids(old.Members()) + ", " + ids(all[0].Members()); got != "n4, n1 n2 n3" {
			t.Errorf("with the old secret: %s", got)
		}
		if err := old.SetSecrets(secrets(t, "b")); err != nil {
			t.Fatal(err)
		}
		untilSees(t, "n1 n2 n3 n4", old, all[0])
		if err := old.SetSecrets(nil); err == nil {
			t.Error("all secrets were taken away")
		}
	})
}

// TestSomebodyIsJoinedLater: a node without seeds is told of one.
func TestSomebodyIsJoinedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTown(t)
		n1, n2 := n.open(t, 1, n.config(t, 1)), n.open(t, 2, n.config(t, 2))
		if err := n1.Join([]string{host(2) + ":50053"}); err != nil {
			t.Fatal(err)
		}
		untilSees(t, "n1 n2", n1, n2)
		if err := n1.Join(make([]string, 1)); err != nil {
			t.Error(err)
		}
		var many []string
		for i := range MaxSeeds {
			many = append(many, fmt.Sprint("10.1.0.", i))
		}
		if err := n1.Join(many); err == nil {
			t.Error("there is no bound for seeds")
		}
	})
}
