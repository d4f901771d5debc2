package peer

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/memnet"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
)

// dialOnly is a stream layer of somebody who has no port.
type dialOnly func(ctx context.Context) (net.Conn, error)

func (d dialOnly) Dial(_ raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d(ctx)
}
func (dialOnly) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (dialOnly) Close() error              { return nil }
func (dialOnly) Addr() net.Addr            { return advertised("stranger:1") }

// overTLS makes connections with a stranger's idea of TLS.
func overTLS(dial dialOnly, config *tls.Config) dialOnly {
	return func(ctx context.Context) (net.Conn, error) {
		raw, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		c := tls.Client(raw, config)
		if err := c.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
		return c, nil
	}
}

// TestStrangersCanDoNothing: without the secret of the cluster, or a certificate with the role of a node, nobody reads, writes, votes,
// deposes a leader, sends a snapshot or calls anything. With an open port of Raft two calls forge an entry (JEPSEN.md F4).
func TestStrangersCanDoNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		// dial is how the stranger comes in, given the way to the victim.
		dial func(t *testing.T, raw dialOnly) dialOnly
	}{
		{"in clear", func(_ *testing.T, raw dialOnly) dialOnly { return raw }},
		{"without a certificate", func(_ *testing.T, raw dialOnly) dialOnly {
			return overTLS(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{raftProtocol, grpcProtocol}})
		}},
		{"with a certificate of its own making", func(t *testing.T, raw dialOnly) dialOnly {
			return overTLS(raw, newPKI(t).node("n1").config(raftProtocol, grpcProtocol))
		}},
		{"with another secret", func(t *testing.T, raw dialOnly) dialOnly {
			return overTLS(raw, newCredentials(t, "n1", "z").get().config(raftProtocol, grpcProtocol))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New()
				n2 := openPort(t, n, "n2", newCredentials(t, "n2", "a"))
				n2.SetCluster(ourCluster)
				forge(t, n2, c.dial(t, func(ctx context.Context) (net.Conn, error) { return n.Host("stranger").Dial(ctx, "n2:50052") }))
			})
		})
	}
}

// TestOnlyTheNewestTLS: neither TLS 1.2 nor a connection that names no protocol, of whoever has the secret.
func TestOnlyTheNewestTLS(t *testing.T) {
	for want, change := range map[string]func(*tls.Config){
		"unsupported versions":      func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 },
		`protocol "" is not spoken`: func(c *tls.Config) { c.NextProtos = nil },
		"unsupported application":   func(c *tls.Config) { c.NextProtos = []string{"mg-raft/2"} },
	} {
		synctest.Test(t, func(t *testing.T) {
			n := memnet.New()
			heard := make(chan error, 1)
			openPortAt(t, n.Host("n2"), Config{NodeID: "n2", Credentials: newCredentials(t, "n2", "a"), Events: Events{Refused: func(err error) { heard <- err }}})
			config := newCredentials(t, "n1", "a").get().config(raftProtocol)
			change(config)
			c, err := overTLS(func(ctx context.Context) (net.Conn, error) { return n.Host("n1").Dial(ctx, "n2:50052") }, config)(t.Context())
			if err == nil {
				// With TLS 1.3 a dialler is done before the other end has looked at it.
				_, err = c.Read(make([]byte, 1))
				_ = c.Close()
			}
			if err == nil {
				t.Error("it lets in")
			}
			if err := <-heard; !strings.Contains(err.Error(), want) {
				t.Errorf("it heard %v, want something about %q", err, want)
			}
		})
	}
}

// TestClientCertificatesOpenNoPeerPort: one of the same authority, which was made for a client of the API, is none of a node.
func TestClientCertificatesOpenNoPeerPort(t *testing.T) {
	for _, uri := range []string{"", "spiffe://memory-graph/client/n1", "spiffe://memory-graph/node/", "spiffe://memory-graph/node/n1/x", "spiffe://other/node/n1"} {
		synctest.Test(t, func(t *testing.T) {
			pki, n := newPKI(t), memnet.New()
			heard := make(chan error, 100)
			n2 := openPortAt(t, n.Host("n2"), Config{
				NodeID: "n2", Credentials: pki.files(t, pki.node("n2")), Events: Events{Refused: func(err error) { heard <- err }},
			})
			n2.SetCluster(ourCluster)
			raw := func(ctx context.Context) (net.Conn, error) { return n.Host("stranger").Dial(ctx, "n2:50052") }
			forge(t, n2, overTLS(raw, pki.certificate(uri).config(raftProtocol, grpcProtocol)))
			if err := <-heard; !strings.Contains(err.Error(), ErrNotANode.Error()) {
				t.Errorf("with the URI %q: %v", uri, err)
			}
		})
	}
}

// TestDiallersTrustNoStranger: a node sends its entries to nobody who is not one of its cluster.
func TestDiallersTrustNoStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		n1 := openPort(t, n, "n1", newCredentials(t, "n1", "a"))
		n1.SetCluster(ourCluster)
		stranger := openPort(t, n, "n2", newCredentials(t, "n2", "z"))
		stranger.SetCluster(ourCluster)
		_, err := n1.Streams().Dial("n2@n2:50052", time.Second)
		if err == nil || !strings.Contains(err.Error(), "have both nodes the same secret") {
			t.Errorf("dial: %v", err)
		}
		if _, err := call(t.Context(), connect(t, n1, "", "n2:50052"), "Status", "hello"); err == nil || !strings.Contains(err.Error(), "same secret") {
			t.Errorf("call: %v", err)
		}
	})
}

// forge tries all that Raft's protocol and the peer service have to offer. Nothing may reach them.
func forge(t *testing.T, victim *Port, dial dialOnly) {
	t.Helper()
	var reached atomic.Int32
	to := transport(victim)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		for {
			select {
			case rpc := <-to.Consumer():
				reached.Add(1)
				rpc.Respond(nil, net.ErrClosed)
			case <-ctx.Done():
				return
			}
		}
	}()
	s := grpc.NewServer(victim.ServerOptions()...)
	s.RegisterService(&grpc.ServiceDesc{ServiceName: peerService, Methods: []grpc.MethodDesc{{MethodName: "Status", Handler: func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
		reached.Add(1)
		return nil, net.ErrClosed
	}}}}, nil)
	go func() { _ = s.Serve(victim.Listener()) }()
	defer s.Stop()

	from := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: dial, MaxPool: 1, Timeout: time.Second, MaxRPCsInFlight: 1, Logger: hclog.NewNullLogger(),
	})
	defer func() { _, _ = from.Close(), to.Close() }()
	const id, at = "n2", "n2@n2:50052"
	entries := []*raft.Log{{Index: 1, Term: 9000, Data: []byte("forged")}}
	for name, err := range map[string]error{
		"append":   from.AppendEntries(id, at, &raft.AppendEntriesRequest{Term: 9000, Entries: entries}, &raft.AppendEntriesResponse{}),
		"vote":     from.RequestVote(id, at, &raft.RequestVoteRequest{Term: 9000}, &raft.RequestVoteResponse{}),
		"pre-vote": from.RequestPreVote(id, at, &raft.RequestPreVoteRequest{Term: 9000}, &raft.RequestPreVoteResponse{}),
		"depose":   from.TimeoutNow(id, at, &raft.TimeoutNowRequest{}, &raft.TimeoutNowResponse{}),
		"snapshot": from.InstallSnapshot(id, at, &raft.InstallSnapshotRequest{Term: 9000, Size: 6}, &raft.InstallSnapshotResponse{}, strings.NewReader("forged")),
		"call":     callOver(t, dial),
	} {
		if err == nil {
			t.Errorf("a stranger could %s", name)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d messages of a stranger came through", n)
	}
}

func callOver(t *testing.T, dial dialOnly) error {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///n2", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = call(ctx, c, "Status", "hello")
	return err
}

// TestRotationUnderTraffic: the secret is replaced on three nodes, one after the other in each step, while calls and streams go on.
// None fails until the old secret is withdrawn; then what it authenticated is closed, and whoever knows nothing else stays out.
func TestRotationUnderTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		var ports []*Port
		for _, id := range []string{"n1", "n2", "n3"} {
			p := openPort(t, n, id, newCredentials(t, id, "a"))
			p.SetCluster(ourCluster)
			echo(t, p)
			serveCalls(t, p, func(string) {})
			ports = append(ports, p)
		}
		old, next := newSecret(t, "a"), newSecret(t, "b")
		stream, err := ports[0].Streams().Dial("n2@n2:50052", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stream.Close() }()
		conn := connect(t, ports[0], "n2", "n2:50052")
		traffic := func(when string) {
			t.Helper()
			if got, err := call(t.Context(), conn, "Propose", "hello"); got != "n1 hello" || err != nil {
				t.Errorf("%s a call answers %q, %v", when, got, err)
			}
			if _, err := say(stream, "hello"); err != nil {
				t.Errorf("%s a stream breaks: %v", when, err)
			}
			for _, from := range ports {
				for _, to := range ports {
					if from == to {
						continue
					}
					c, err := from.Streams().Dial(raft.ServerAddress(to.config.NodeID+"@"+to.Address()), time.Second)
					if err != nil {
						t.Errorf("%s: %v", when, err)
						continue
					}
					_ = c.Close()
				}
			}
		}
		for _, step := range []struct {
			when    string
			secrets []secret.Secret
		}{{"while the new one is added", []secret.Secret{old, next}}, {"while the new one is put first", []secret.Secret{next, old}}} {
			for _, p := range ports {
				if err := p.SetSecrets(step.secrets); err != nil {
					t.Fatal(err)
				}
				traffic(step.when)
			}
		}
		for _, p := range ports {
			if err := p.SetSecrets([]secret.Secret{next}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := say(stream, "hello"); err == nil {
			t.Error("a stream outlives the secret that authenticated it")
		}
		if stream, err = ports[0].Streams().Dial("n2@n2:50052", time.Second); err != nil {
			t.Fatal(err)
		}
		if _, err := call(t.Context(), conn, "Propose", "hello", grpc.WaitForReady(true)); err != nil {
			t.Errorf("a call over a connection that was made again: %v", err)
		}
		traffic("afterwards")
		late := openPort(t, n, "n4", newCredentials(t, "n4", "a"))
		late.SetCluster(ourCluster)
		if _, err := late.Streams().Dial("n2@n2:50052", time.Second); err == nil {
			t.Error("a node with the old secret comes in")
		}
		if err := ports[0].SetSecrets(nil); err == nil {
			t.Error("all secrets were taken away")
		}
		traffic("after that was refused")
	})
}
