package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/memnet"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
	peergrpc "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1/graphgrpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStreamsGoToTheNodeThatIsWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n1, n2 := twoPorts(t)
		echo(t, n2)
		c, err := n1.Streams().Dial("n2@n2:50052", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := say(c, "hello"); got != "hello" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if got := n1.Streams().Addr().String(); got != n1.Address() || got != "n1:50052" {
			t.Errorf("the streams are at %s, the port at %s", got, n1.Address())
		}
		if err := n1.Streams().Close(); err != nil {
			t.Error(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a stream outlives the closing of all streams")
		}
		if _, err := n1.Streams().Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after close: %v", err)
		}
	})
}

// TestWhoIsNotWantedHearsWhy: a node answers for itself alone.
func TestWhoIsNotWantedHearsWhy(t *testing.T) {
	for _, c := range []struct {
		name             string
		dialler, at      string // their clusters
		wanted           string
		reason           Reason
		dialled, refused string // texts of the errors at both ends
	}{
		{"another cluster", ourCluster, otherCluster, "n2", OtherCluster, "n2 is of cluster " + otherCluster, "n1 of cluster \"" + ourCluster},
		{"an empty disk on the same address", ourCluster, ourCluster, "n2-old", OtherNode, "there is n2 and not n2-old", "n2-old"},
		{"no cluster yet", ourCluster, "", "n2", NoCluster, "n2 is of no cluster yet", "no cluster"},
		{"another cluster and node", ourCluster, otherCluster, "n9", OtherCluster, otherCluster, otherCluster},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New()
				n1 := openPort(t, n, "n1", newCredentials(t, "n1", "a"))
				n1.SetCluster(c.dialler)
				heard := make(chan error, 1)
				n2 := openPortAt(t, n.Host("n2"), Config{
					NodeID: "n2", Credentials: newCredentials(t, "n2", "a"), Events: Events{Refused: func(err error) { heard <- err }},
				})
				if c.at != "" {
					n2.SetCluster(c.at)
				}
				_, err := n1.Streams().Dial(raft.ServerAddress(c.wanted+"@n2:50052"), time.Second)
				var refused *RefusedError
				if !errors.As(err, &refused) || refused.Reason != c.reason || refused.NodeID != "n2" || refused.Wanted != c.wanted {
					t.Fatalf("dialled: %v", err)
				}
				if !strings.Contains(err.Error(), c.dialled) {
					t.Errorf("dialled: %v, want something about %q", err, c.dialled)
				}
				if err := <-heard; !errors.As(err, &refused) || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("heard: %v, want something about %q", err, c.refused)
				}
			})
		})
	}
}

func TestANodeOfNoClusterDialsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n1 := openPort(t, memnet.New(), "n1", newCredentials(t, "n1", "a"))
		if _, err := n1.Streams().Dial("n2@n2:50052", time.Second); err == nil || !strings.Contains(err.Error(), "of no cluster") {
			t.Errorf("dial: %v", err)
		}
		n1.SetCluster(ourCluster)
		for _, bad := range []string{"n2:50052", "@n2:50052", "n2@"} {
			if _, err := n1.Streams().Dial(raft.ServerAddress(bad), time.Second); err == nil || !strings.Contains(err.Error(), "<node id>@host:port") {
				t.Errorf("dial %s: %v", bad, err)
			}
		}
	})
}

// TestCallsSayWhomTheyWant: what holds of streams holds of calls, but for those by which a node comes to be a member.
func TestCallsSayWhomTheyWant(t *testing.T) {
	for _, c := range []struct {
		name       string
		caller, at string // their clusters
		wanted     string
		method     string
		reason     Reason // 0: it is answered
	}{
		{"a member calls a member", ourCluster, ourCluster, "n2", "Propose", 0},
		{"another cluster", ourCluster, otherCluster, "n2", "Propose", OtherCluster},
		{"another node", ourCluster, ourCluster, "n3", "Propose", OtherNode},
		{"whoever is there", ourCluster, ourCluster, "", "Propose", OtherNode},
		{"from no cluster", "", ourCluster, "n2", "Propose", OtherCluster},
		{"to no cluster", ourCluster, "", "n2", "Propose", NoCluster},
		{"between none", "", "", "n2", "Propose", NoCluster},
		{"status of whoever is there", ourCluster, ourCluster, "", "Status", 0},
		{"status from no cluster", "", ourCluster, "", "Status", 0},
		{"status of one of no cluster", ourCluster, "", "n2", "Status", 0},
		{"status between none", "", "", "", "Status", 0},
		{"status of another node", ourCluster, "", "n3", "Status", OtherNode},
		{"status of another cluster", ourCluster, otherCluster, "", "Status", OtherCluster},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New()
				n1, n2 := openPort(t, n, "n1", newCredentials(t, "n1", "a")), openPort(t, n, "n2", newCredentials(t, "n2", "a"))
				n1.SetCluster(c.caller)
				n2.SetCluster(c.at)
				called := 0
				serveCalls(t, n2, func(string) { called++ })
				conn := connect(t, n1, c.wanted, "n2:50052")
				got, err := call(t.Context(), conn, c.method, "hello")
				if c.reason == 0 {
					if got != "n1 hello" || err != nil {
						t.Errorf("got %q, %v", got, err)
					}
					return
				}
				var refused *RefusedError
				if !errors.As(err, &refused) || refused.Reason != c.reason || refused.NodeID != "n2" || refused.ClusterID != c.at || called != 0 {
					t.Errorf("got %v, want %v; %d calls came through", err, c.reason, called)
				}
				if status.Code(err) != codes.FailedPrecondition {
					t.Errorf("the code is %v", status.Code(err))
				}
			})
		})
	}
}

func TestStreamsOfCallsAreCheckedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n1, n2 := twoPorts(t)
		serveCalls(t, n2, func(string) {})
		desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
		for wanted, reason := range map[string]Reason{"n2": 0, "n3": OtherNode} {
			s, err := connect(t, n1, wanted, "n2:50052").NewStream(t.Context(), desc, "/"+peerService+"/Stream")
			if err != nil {
				t.Fatal(err)
			}
			_ = s.SendMsg(wrapperspb.String("hello"))
			out := new(wrapperspb.StringValue)
			err = s.RecvMsg(out)
			var refused *RefusedError
			if reason == 0 && (err != nil || out.GetValue() != "hello") {
				t.Errorf("got %v, %v", out, err)
			}
			if reason != 0 && (!errors.As(err, &refused) || refused.Reason != reason) {
				t.Errorf("got %v, want %v", err, reason)
			}
			_ = s.CloseSend()
		}
	})
}

// TestOpenCallsAreFew: those that make a node a member, and no other one that is added.
func TestOpenCallsAreFew(t *testing.T) {
	var got []string
	for _, service := range []grpc.ServiceDesc{peergrpc.PeerService_ServiceDesc, peergrpc.MembershipService_ServiceDesc} {
		for _, m := range service.Methods {
			if isOpen("/" + service.ServiceName + "/" + m.MethodName) {
				got = append(got, m.MethodName)
			}
		}
		for _, s := range service.Streams {
			if isOpen("/" + service.ServiceName + "/" + s.StreamName) {
				got = append(got, s.StreamName)
			}
		}
	}
	if diff := cmp.Diff([]string{"Status", "Report", "Pledge", "TakeIn"}, got); diff != "" {
		t.Errorf("open to nodes of no cluster (-want +got):\n%s", diff)
	}
}

// TestRaftRunsOverThePort: its own transport, with a vote and an entry.
func TestRaftRunsOverThePort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n1, n2 := twoPorts(t)
		from, to := transport(n1), transport(n2)
		defer func() { _, _ = from.Close(), to.Close() }()
		go func() {
			for {
				select {
				case rpc := <-to.Consumer():
					switch r := rpc.Command.(type) {
					case *raft.AppendEntriesRequest:
						rpc.Respond(&raft.AppendEntriesResponse{Term: r.Term, Success: true, LastLog: uint64(len(r.Entries))}, nil)
					case *raft.RequestVoteRequest:
						rpc.Respond(&raft.RequestVoteResponse{Term: r.Term, Granted: true}, nil)
					}
				case <-t.Context().Done():
					return
				}
			}
		}()
		var vote raft.RequestVoteResponse
		if err := from.RequestVote("n2", "n2@n2:50052", &raft.RequestVoteRequest{Term: 3}, &vote); err != nil || !vote.Granted || vote.Term != 3 {
			t.Errorf("vote: %+v, %v", vote, err)
		}
		var appended raft.AppendEntriesResponse
		entries := []*raft.Log{{Index: 1, Data: make([]byte, 1<<20)}, {Index: 2}}
		if err := from.AppendEntries("n2", "n2@n2:50052", &raft.AppendEntriesRequest{Term: 4, Entries: entries}, &appended); err != nil || appended.LastLog != 2 {
			t.Errorf("append: %+v, %v", appended, err)
		}
	})
}

func transport(p *Port) *raft.NetworkTransport {
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: p.Streams(), MaxPool: 2, Timeout: time.Second, MaxRPCsInFlight: 1, Logger: hclog.NewNullLogger(),
	})
}

// TestNamesAreResolvedAtEachDial: a node that has moved is found under its name.
func TestNamesAreResolvedAtEachDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		n1 := openPort(t, n, "n1", newCredentials(t, "n1", "a"))
		n1.SetCluster(ourCluster)
		for _, host := range []string{"first-machine", "second-machine"} {
			n2 := openPortAt(t, n.Host(host), Config{NodeID: "n2", Credentials: newCredentials(t, "n2", "a"), Advertise: "n2.nodes:50052"})
			n2.SetCluster(ourCluster)
			echo(t, n2)
			n.SetName("n2.nodes", host)
			if got := n2.Streams().Addr().String(); got != "n2.nodes:50052" {
				t.Errorf("n2 is at %s", got)
			}
			c, err := n1.Streams().Dial("n2@n2.nodes:50052", time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := say(c, "hello"); err != nil {
				t.Error(err)
			}
			_ = c.Close()
			closePort(t, n2)
		}
	})
}

// TestStrangersThatSayNothing: many of them are open at the same time, and a node still gets in; they are gone after their time.
func TestStrangersThatSayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		n1, n2 := openPort(t, n, "n1", newCredentials(t, "n1", "a")), openPort(t, n, "n2", newCredentials(t, "n2", "a"))
		n1.SetCluster(ourCluster)
		n2.SetCluster(ourCluster)
		echo(t, n2)
		var silent []net.Conn
		for range 10 * MaxHandshakes {
			c, err := n.Host("stranger").Dial(t.Context(), "n2:50052")
			if err != nil {
				t.Fatal(err)
			}
			silent = append(silent, c)
			synctest.Wait()
			n2.pending.mu.Lock()
			if open := len(n2.pending.open); open > MaxHandshakes {
				t.Fatalf("%d handshakes at once", open)
			}
			n2.pending.mu.Unlock()
		}
		c, err := n1.Streams().Dial("n2@n2:50052", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		begun := time.Now()
		for _, s := range silent {
			if _, err := s.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("a silent connection hears %v", err)
			}
			_ = s.Close()
		}
		if waited := time.Since(begun); waited > HandshakeTimeout {
			t.Errorf("silent connections are open for %v", waited)
		}
		if got, err := say(c, "still here"); err != nil || got != "still here" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// TestCloseEndsEverything: what is open, what is being opened, and who waits. That nothing is left is for the bubble to see.
func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		n1, n2 := openPort(t, n, "n1", newCredentials(t, "n1", "a")), openPort(t, n, "n2", newCredentials(t, "n2", "a"))
		n1.SetCluster(ourCluster)
		n2.SetCluster(ourCluster)
		echo(t, n2)
		c, err := n1.Streams().Dial("n2@n2:50052", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		n.Cut("n1", "n3")
		dialled := make(chan error, 1)
		go func() {
			_, err := n1.Streams().Dial("n3@n3:50052", time.Hour)
			dialled <- err
		}()
		silent, err := n.Host("stranger").Dial(t.Context(), "n1:50052")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		closePort(t, n1)
		closePort(t, n1)
		if err := <-dialled; !errors.Is(err, context.Canceled) {
			t.Errorf("the dial under way: %v", err)
		}
		for _, open := range []net.Conn{c, silent} {
			if _, err := open.Read(make([]byte, 1)); err == nil {
				t.Error("a connection outlives the port")
			}
		}
		if _, err := n1.Streams().Dial("n2@n2:50052", time.Second); err == nil {
			t.Error("a closed port dials")
		}
	})
}

// TestOverTCP: the same as in memory, on loopback.
func TestOverTCP(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		t.Run(host, func(t *testing.T) {
			open := func(nodeID string) *Port {
				l, err := Listen(t.Context(), host+":0")
				if err != nil && host != "127.0.0.1" {
					t.Skip("this machine has no IPv6: ", err)
				}
				if err != nil {
					t.Fatal(err)
				}
				p, err := Open(Config{NodeID: nodeID, Credentials: newCredentials(t, nodeID, "a"), Listener: l})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { closePort(t, p) })
				p.SetCluster(ourCluster)
				return p
			}
			n1, n2 := open("n1"), open("n2")
			echo(t, n2)
			serveCalls(t, n2, func(string) {})
			c, err := n1.Streams().Dial(raft.ServerAddress("n2@"+n2.Address()), 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := say(c, "hello"); got != "hello" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
			if got, err := call(t.Context(), connect(t, n1, "n2", n2.Address()), "Propose", "hello", grpc.WaitForReady(true)); got != "n1 hello" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestAPortIsToldWhatItNeeds(t *testing.T) {
	c := newCredentials(t, "n1", "a")
	for _, bad := range []Config{{}, {NodeID: "n1"}, {NodeID: "n1", Credentials: c}, {NodeID: strings.Repeat("n", 256), Credentials: c}} {
		if p, err := Open(bad); err == nil {
			t.Errorf("a port was opened with %+v", bad)
			closePort(t, p)
		}
	}
	if _, err := FromSecrets("", []secret.Secret{newSecret(t, "a")}); err == nil {
		t.Error("credentials for no node")
	}
	if _, err := FromSecrets("n1", nil); !errors.Is(err, secret.ErrSecret) {
		t.Errorf("credentials of no secret: %v", err)
	}
}
