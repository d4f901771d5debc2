package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/client"
)

func TestParseAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"localhost": "localhost:50051", "[::1]": "[::1]:50051", "::1": "[::1]:50051", ":7": "127.0.0.1:7", "unix:/run/x": "unix:/run/x",
		"dns:///a:1": "a:1", "dns:a": "a:50051", "ipv4:10.0.0.1:1, 10.0.0.2:2": "10.0.0.1:1 10.0.0.2:2", "ipv6:[::1]:7": "[::1]:7",
		"passthrough:///a:1": "a:1", "dns://8.8.8.8/a:1": "a:1", "a:1,,b:2,": "a:1 b:2",
	} {
		got, err := client.ParseAddresses(in)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", ",", "a:0", "a:b", "a:99999", "http://a:1/x", "a b:1"} {
		if got, err := client.ParseAddresses(in); err == nil {
			t.Errorf("%q is taken as %v", in, got)
		}
	}
	if _, err := client.ParseAddresses("a:0,b:x"); err == nil || !strings.Contains(err.Error(), "a:0") || !strings.Contains(err.Error(), "b:x") {
		t.Errorf("got %v, want both", err)
	}
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	if _, err := client.Dial(); err == nil {
		t.Error("a client of no address")
	}
	_, err := client.Config{Timeout: -1, Patience: -1, APIKey: func() (string, error) { return "k", nil }}.Dial("a:1")
	for _, want := range []string{"Timeout", "Patience", "without TLS"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell of %s", err, want)
		}
	}
}

// TestNamesAreFollowed: a name has several addresses, and later others. Calls on a node whose address is gone may finish.
func TestNamesAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:7", "10.0.0.2:7", "10.0.0.3:7")
		var mu sync.Mutex
		found, fails := []string{"10.0.0.1", "10.0.0.2"}, error(nil)
		c, err := client.Config{Dialer: f.dial, Lookup: func(_ context.Context, host string) ([]string, error) {
			mu.Lock()
			defer mu.Unlock()
			if host != "graph.example" {
				t.Errorf("looked up %s", host)
			}
			return slices.Clone(found), fails
		}}.Dial("graph.example:7")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		addresses := func() []string {
			var all []string
			for _, n := range c.Nodes() {
				all = append(all, n.Address)
			}
			return all
		}
		ready(t, c)
		if diff := cmp.Diff([]string{"10.0.0.1:7", "10.0.0.2:7"}, addresses()); diff != "" {
			t.Error(diff)
		}
		slow := make(chan error)
		f.nodes["10.0.0.1:7"].set(func(n *fakeNode) { n.behind = 1 })
		f.nodes["10.0.0.2:7"].set(func(n *fakeNode) { n.behind = 1 })
		f.happen(1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			_, err := c.Graph().Query(ctx, &pb.QueryRequest{}, client.MinRevision(1), client.Once())
			slow <- err
		}()
		synctest.Wait()
		mu.Lock()
		found = []string{"10.0.0.3"}
		mu.Unlock()
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"10.0.0.3:7"}, addresses()); diff != "" {
			t.Error(diff)
		}
		if _, err := create(t, c, time.Second); err != nil {
			t.Error(err)
		}
		for _, n := range f.nodes {
			n.set(func(n *fakeNode) { n.behind = 0 })
		}
		if err := <-slow; err != nil {
			t.Errorf("a call on a node whose address is gone: %v", err)
		}
		mu.Lock()
		fails = errors.New("no such host")
		mu.Unlock()
		time.Sleep(2 * time.Minute)
		if diff := cmp.Diff([]string{"10.0.0.3:7"}, addresses()); diff != "" {
			t.Errorf("a name that is not found: %s", diff)
		}
	})
}

// TestALostNodeIsLookedUp long before it is time to.
func TestALostNodeIsLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, "10.0.0.1:7", "10.0.0.2:7")
		var now atomic.Value
		now.Store("10.0.0.1")
		c, err := client.Config{Dialer: f.dial, Resolve: time.Hour, Lookup: func(context.Context, string) ([]string, error) {
			return []string{now.Load().(string)}, nil
		}}.Dial("graph.example:7")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ready(t, c)
		now.Store("10.0.0.2")
		f.nodes["10.0.0.1:7"].kill()
		if _, err := create(t, c, 10*time.Second); err != nil {
			t.Error(err)
		}
	})
}

// TestANameThatIsNotFound is told.
func TestANameThatIsNotFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lookup := func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") }
		c, err := client.Config{Lookup: lookup, FailFast: true}.Dial("graph.example")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := create(t, c, time.Minute); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "look up graph.example: no such host") {
			t.Errorf("got %v", err)
		}
	})
}

// identity makes a certificate for a host, and the pool that trusts it.
func identity(t *testing.T, host string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, trusted
}

// TestTLSAndKeys: the server is known by the name in the address, each call brings the key of the moment, and a wrong name is told.
func TestTLSAndKeys(t *testing.T) {
	cert, trusted := identity(t, "graph.example")
	f := &fakeNode{fakeCluster: &fakeCluster{t: t, nodes: map[string]*fakeNode{}, lineage: lineage, keyed: map[string]*pb.Session{}, added: make(chan struct{})}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&cert)), grpc.UnaryInterceptor(f.unary))
	graphgrpc.RegisterMemoryGraphServiceServer(server, f)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var key atomic.Value
	key.Store("one")
	cfg := client.Config{
		TLS: &tls.Config{RootCAs: trusted}, FailFast: true,
		Lookup: func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil },
		APIKey: func() (string, error) { return key.Load().(string), nil },
	}
	c, err := cfg.Dial("graph.example:" + port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, next := range []string{"two", ""} {
		if _, err := create(t, c, time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, md := f.told(); len(md.Get("authorization")) != 1 || md.Get("authorization")[0] != "Bearer "+key.Load().(string) {
			t.Errorf("sent %v, want %s", md.Get("authorization"), key.Load())
		}
		key.Store(next)
	}
	wrong, err := cfg.Dial("other.example:" + port)
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	if _, err := create(t, wrong, time.Minute); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "other.example") {
		t.Errorf("a server of another name: %v", err)
	}
}

// TestASocket is an address, too.
func TestASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Skipf("no sockets here: %v", err)
	}
	f := &fakeNode{fakeCluster: &fakeCluster{t: t, nodes: map[string]*fakeNode{}, lineage: lineage, keyed: map[string]*pb.Session{}, added: make(chan struct{})}}
	server := grpc.NewServer(grpc.UnaryInterceptor(f.unary))
	graphgrpc.RegisterMemoryGraphServiceServer(server, f)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	c, err := client.Dial("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := create(t, c, time.Minute); err != nil {
		t.Error(err)
	}
}
