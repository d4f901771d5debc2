package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"time"
)

// ErrNoSkew says why a test that sets clocks cannot run on this machine.
var ErrNoSkew = errors.New("the clock of a process can be set only on Linux with amd64, where processes may be traced")

// SetClock puts the wall clock of the running node so far ahead of the machine's, or behind it when negative. The node must be
// one of a cluster with Skewed.
func (n *Node) SetClock(ahead time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.run == nil || n.clock == nil {
		return fmt.Errorf("set the clock: %w", ErrNotRunning)
	}
	return n.clock.set(ahead)
}

// CanSkew says whether the clocks of processes can be set on this machine: its error is ErrNoSkew, or nil.
func CanSkew(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "cat")
	bind(cmd)
	clock, err := startSkewed(cmd, cmd.Start)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoSkew, err)
	}
	_ = cmd.Wait() // it ended with its empty input
	return clock.close()
}

// Clock asks the node what time it is, to the second: its HTTP side dates every answer.
func (c *Cluster) Clock(ctx context.Context, node *Node) (time.Time, error) {
	res, err := c.get(ctx, node, "/health")
	if err != nil {
		return time.Time{}, err
	}
	_ = res.Body.Close() // it was not read
	return http.ParseTime(res.Header.Get("Date"))
}

// Get reads a page of the node's HTTP side.
func (c *Cluster) Get(ctx context.Context, node *Node, path string) ([]byte, error) {
	res, err := c.get(ctx, node, path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	return io.ReadAll(res.Body)
}

func (c *Cluster) get(ctx context.Context, node *Node, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+node.place().Metrics+path, nil)
	if err != nil {
		return nil, fmt.Errorf("get %s of %s: %w", path, node.Name(), err)
	}
	res, err := c.http().Do(req)
	if err != nil {
		return nil, fmt.Errorf("get %s of %s: %w", path, node.Name(), err)
	}
	return res, nil
}

// http is a client at the client's place that keeps no connections.
func (c *Cluster) http() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return c.config.Network.Dial(ctx, address)
		},
	}}
}
