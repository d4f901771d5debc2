package peer

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/memnet"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
)

const (
	ourCluster   = "6c1f0000-0000-4000-8000-000000000001"
	otherCluster = "6c1f0000-0000-4000-8000-000000000002"
	peerPort     = 50052
)

// newSecret makes a secret of one letter.
func newSecret(t testing.TB, letter string) secret.Secret {
	t.Helper()
	s, err := secret.New([]byte(strings.Repeat(letter, secret.MinBytes)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newCredentials(t testing.TB, nodeID string, letters ...string) *Credentials {
	t.Helper()
	var secrets []secret.Secret
	for _, l := range letters {
		secrets = append(secrets, newSecret(t, l))
	}
	c, err := FromSecrets(nodeID, secrets)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// openPort opens the port of a node on the host of its name, in memory.
func openPort(t testing.TB, n *memnet.Network, nodeID string, c *Credentials) *Port {
	t.Helper()
	return openPortAt(t, n.Host(nodeID), Config{NodeID: nodeID, Credentials: c})
}

func openPortAt(t testing.TB, h memnet.Host, config Config) *Port {
	t.Helper()
	var err error
	if config.Listener, err = h.Listen(peerPort); err != nil {
		t.Fatal(err)
	}
	config.Dial = h.Dial
	p, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closePort(t, p) })
	return p
}

func closePort(t testing.TB, p *Port) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// twoPorts are n1 and n2, members of one cluster with one secret.
func twoPorts(t *testing.T) (n1, n2 *Port) {
	t.Helper()
	n := memnet.New()
	n1 = openPort(t, n, "n1", newCredentials(t, "n1", "a"))
	n2 = openPort(t, n, "n2", newCredentials(t, "n2", "a"))
	n1.SetCluster(ourCluster)
	n2.SetCluster(ourCluster)
	return n1, n2
}

// echo sends back what comes over the streams of a port, until it is closed.
func echo(t *testing.T, p *Port) {
	t.Helper()
	go func() {
		for {
			c, err := p.Streams().Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
}

// say sends a word over a stream and returns what comes back.
func say(c net.Conn, word string) (string, error) {
	if _, err := io.WriteString(c, word); err != nil {
		return "", err
	}
	p := make([]byte, len(word))
	_, err := io.ReadFull(c, p)
	return string(p), err
}

// The service of these tests has the name and the open call of the peer service. Each call answers who makes it.
const peerService = "llm.memory.graph.peer.v1.PeerService"

func serveCalls(t *testing.T, p *Port, heard func(method string)) {
	t.Helper()
	s := grpc.NewServer(p.ServerOptions()...)
	desc := &grpc.ServiceDesc{ServiceName: peerService, HandlerType: (*any)(nil)}
	for _, name := range []string{"Status", "Propose"} {
		desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.StringValue)
			if err := decode(in); err != nil {
				return nil, err
			}
			return intercept(ctx, in, &grpc.UnaryServerInfo{FullMethod: "/" + peerService + "/" + name}, func(ctx context.Context, _ any) (any, error) {
				heard(name)
				return wrapperspb.String(Caller(ctx) + " " + in.GetValue()), nil
			})
		}})
	}
	desc.Streams = []grpc.StreamDesc{{StreamName: "Stream", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
		heard("Stream")
		for {
			in := new(wrapperspb.StringValue)
			if err := s.RecvMsg(in); err != nil {
				return nil
			}
			if err := s.SendMsg(in); err != nil {
				return err
			}
		}
	}}}
	s.RegisterService(desc, struct{}{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(p.Listener())
	}()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
}

func connect(t *testing.T, p *Port, nodeID, address string) *grpc.ClientConn {
	t.Helper()
	c, err := p.Connect(nodeID, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func call(ctx context.Context, c *grpc.ClientConn, method, text string, opts ...grpc.CallOption) (string, error) {
	out := new(wrapperspb.StringValue)
	err := c.Invoke(ctx, "/"+peerService+"/"+method, wrapperspb.String(text), out, opts...)
	return out.GetValue(), err
}
