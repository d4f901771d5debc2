package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
)

// ErrNoNamespaces says why a test that cuts the network cannot run on this machine.
var ErrNoNamespaces = errors.New("network namespaces need Linux, root, and the commands ip and cat")

// Client names the place of the test itself in a network; nodes are numbered from 0.
const Client = -1

// Network decides where nodes live and how a test reaches them.
type Network interface {
	// Place finds free addresses for a node, new ones at each call.
	Place(node int) (Addresses, error)
	// Start starts a command in the place of a node, or of the client.
	Start(cmd *exec.Cmd, node int) error
	// Dial connects from the place of the client.
	Dial(ctx context.Context, address string) (net.Conn, error)
	// Close gives everything back; the nodes must have ended.
	Close() error
}

// Addresses are those that a node listens on, host:port each.
type Addresses struct {
	API, Metrics, Peer, Gossip string
}

// Ports below those that the kernel hands out, so that nobody gets one between its choice and its use.
const (
	leastPort, mostPort = 10000, 30000
	// tries bounds the search for free ports.
	tries = 100
)

// Loopback is the network of this machine: each place has an address of its own in 127.0.0.0/8 where the system has them, else
// ports of its own.
type Loopback struct{}

// Place implements Network.
func (Loopback) Place(int) (Addresses, error) {
	var last error
	for range tries {
		host := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250))
		if probe, err := net.Listen("tcp4", net.JoinHostPort(host, "0")); err != nil {
			host = "127.0.0.1"
		} else if err := probe.Close(); err != nil {
			return Addresses{}, fmt.Errorf("find an address: %w", err)
		}
		port := leastPort + rand.IntN(mostPort-leastPort)
		found := addressesAt(host, port)
		if last = found.free(); last == nil {
			return found, nil
		}
	}
	return Addresses{}, fmt.Errorf("find free ports: %w", last)
}

// Start implements Network.
func (Loopback) Start(cmd *exec.Cmd, _ int) error { return cmd.Start() }

// Dial implements Network.
func (Loopback) Dial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// Close implements Network.
func (Loopback) Close() error { return nil }

// addressesAt are four ports in a row.
func addressesAt(host string, port int) Addresses {
	at := func(n int) string { return net.JoinHostPort(host, strconv.Itoa(port+n)) }
	return Addresses{API: at(0), Metrics: at(1), Peer: at(2), Gossip: at(3)}
}

// free says whether all of them can be listened on.
func (a Addresses) free() error {
	for _, address := range []string{a.API, a.Metrics, a.Peer, a.Gossip} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	udp, err := net.ListenPacket("udp", a.Gossip)
	if err != nil {
		return err
	}
	return udp.Close()
}
