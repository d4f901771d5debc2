package peer

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// streams are a raft.StreamLayer on the port.
type streams struct {
	*incoming
	port *Port
}

// Dial opens a stream to the node of `<node id>@host:port`, and to no other that may be there. It takes as long as timeout and
// at most [HandshakeTimeout].
func (s *streams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	wanted, hostPort, ok := strings.Cut(string(address), "@")
	if !ok || wanted == "" || hostPort == "" {
		return nil, fmt.Errorf("peer address %q: want <node id>@host:port", address)
	}
	clusterID := s.port.clusterID()
	if clusterID == "" {
		return nil, fmt.Errorf("dial %s: this node is of no cluster yet", address)
	}
	ctx, cancel := context.WithTimeout(s.life, min(timeout, HandshakeTimeout))
	defer cancel()
	c, err := s.port.dial(ctx, hostPort, raftProtocol)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	if err := s.greet(ctx, c, greeting{clusterID: clusterID, from: s.port.config.NodeID, wanted: wanted}); err != nil {
		c.kill()
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	return c, nil
}

// greet says who dials and who is wanted, and waits until the other end agrees.
func (s *streams) greet(ctx context.Context, c *connection, g greeting) error {
	defer context.AfterFunc(ctx, c.kill)()
	frame, err := g.encode()
	if err != nil {
		return err
	}
	if _, err := c.Write(frame); err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	body, err := readFrame(c)
	if err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	a, err := decodeAnswer(body)
	if err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	if a.reason == 0 {
		a = judge(g, a.clusterID, a.nodeID)
	}
	if a.reason != 0 {
		return a.refusal(g.wanted)
	}
	return nil
}

func (a answer) refusal(wanted string) *RefusedError {
	return &RefusedError{Reason: a.reason, NodeID: a.nodeID, ClusterID: a.clusterID, Wanted: wanted}
}

// Close ends the listening and all streams.
func (s *streams) Close() error {
	s.stop()
	s.port.connections.closeRaft()
	return nil
}

// welcome reads the greeting of a stream and answers it. Whoever is turned away hears why.
func (p *Port) welcome(c *connection) error {
	clusterID, nodeID := p.clusterID(), p.config.NodeID
	body, err := readFrame(c)
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	g, err := decodeGreeting(body)
	a := judge(g, clusterID, nodeID)
	if err != nil {
		a.reason = Unreadable
	}
	frame, encodeErr := a.encode()
	if encodeErr != nil {
		return fmt.Errorf("answer: %w", encodeErr)
	}
	if _, err := c.Write(frame); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if a.reason != 0 {
		return fmt.Errorf("%s of cluster %q: %w", g.from, g.clusterID, a.refusal(g.wanted))
	}
	return nil
}
