package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// Config says what cluster to run.
type Config struct {
	// Binary is the path of the server.
	Binary string
	// Dir has a folder for each node.
	Dir string
	// Size is how many voters there are; they found the cluster together.
	Size int
	// Network is where they live; loopback when nil.
	Network Network
	// Args are added to those of every node.
	Args []string
	// Skewed gives each node a wall clock that can be set (see ErrNoSkew).
	Skewed bool
}

// Cluster is a number of nodes that found a cluster when they are started for the first time.
type Cluster struct {
	// Nodes are named n1, n2 and so on; their order never changes.
	Nodes []*Node

	config Config
	secret string
}

// NewCluster prepares the nodes; nothing runs yet.
func NewCluster(config Config) (*Cluster, error) {
	if config.Network == nil {
		config.Network = Loopback{}
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	c := &Cluster{config: config, secret: hex.EncodeToString(secret)}
	for i := range config.Size {
		at, err := config.Network.Place(i)
		if err != nil {
			return nil, err
		}
		m := &member{network: config.Network, number: i, at: at, skewed: config.Skewed, env: []string{"CLUSTER_SECRET=" + c.secret}}
		m.args = func() []string { return c.arguments(m) }
		node := New(Options{
			Binary: config.Binary, DataDir: filepath.Join(config.Dir, name(i), "data"), Args: config.Args, member: m,
		})
		if err := os.MkdirAll(node.DataDir(), 0o700); err != nil {
			return nil, fmt.Errorf("folder of a node: %w", err)
		}
		c.Nodes = append(c.Nodes, node)
	}
	return c, nil
}

func name(i int) string { return fmt.Sprintf("n%d", i+1) }

// arguments are those of one node, which is told the gossip addresses of all.
func (c *Cluster) arguments(m *member) []string {
	var join []string
	for _, node := range c.Nodes {
		join = append(join, node.place().Gossip)
	}
	at := m.place()
	apiHost, apiPort, _ := strings.Cut(at.API, ":")
	_, metricsPort, _ := strings.Cut(at.Metrics, ":")
	return []string{
		"--node-id", name(m.number), "--grpc-host", apiHost, "--grpc-port", apiPort,
		"--metrics-host", apiHost, "--metrics-port", metricsPort, "--peer-addr", at.Peer, "--gossip-addr", at.Gossip,
		"--join", strings.Join(join, ","), "--bootstrap-expect", strconv.Itoa(c.config.Size),
	}
}

func (m *member) place() Addresses {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at
}

func (n *Node) place() Addresses { return n.options.member.place() }

// Name is how the node is called on its command line; its id begins with that.
func (n *Node) Name() string { return name(n.options.member.number) }

// Number is its place in Nodes, from 0.
func (n *Node) Number() int { return n.options.member.number }

// Addresses are where the node listens, or will when it is started.
func (n *Node) Addresses() Addresses { return n.place() }

// Running says whether the node has a process.
func (n *Node) Running() bool { return n.current() != nil }

// PID is the id of the running process, 0 when none runs.
func (n *Node) PID() int {
	if run := n.current(); run != nil {
		return run.cmd.Process.Pid
	}
	return 0
}

// Move gives a node that does not run other addresses.
func (n *Node) Move() error {
	m := n.options.member
	if n.Running() {
		return fmt.Errorf("move: %w", ErrRunning)
	}
	at, err := m.network.Place(m.number)
	if err != nil {
		return fmt.Errorf("move: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = at
	return nil
}

// Start starts all nodes that do not run, at once, and returns when all of them are ready.
func (c *Cluster) Start(ctx context.Context) error {
	var launched []*Node
	for _, node := range c.Nodes {
		if node.Running() {
			continue
		}
		if err := node.Launch(); err != nil {
			return fmt.Errorf("node %s: %w", node.Name(), err)
		}
		launched = append(launched, node)
	}
	for _, node := range launched {
		if err := node.AwaitReady(ctx); err != nil {
			return fmt.Errorf("node %s: %w", node.Name(), err)
		}
	}
	return nil
}

// Found starts all nodes for the first time and returns when they are one cluster.
func (c *Cluster) Found(ctx context.Context) error {
	if err := c.startSomewhere(ctx, c.wipe); err != nil {
		return err
	}
	return c.AwaitWhole(ctx)
}

// StartElsewhere starts all nodes, of which none runs, at other addresses, and returns when all of them are ready.
func (c *Cluster) StartElsewhere(ctx context.Context) error {
	if err := c.move(); err != nil {
		return err
	}
	return c.startSomewhere(ctx, func() error { return nil })
}

// places is how many addresses are tried.
const places = 4

// startSomewhere starts all nodes. A port that was free when it was chosen may be taken by now, by whoever else is on the machine; then
// others are chosen.
func (c *Cluster) startSomewhere(ctx context.Context, prepare func() error) error {
	var last error
	for range places {
		if last = c.Start(ctx); last == nil || !strings.Contains(last.Error(), "address already in use") {
			return last
		}
		if err := errors.Join(c.Kill(), c.move(), prepare()); err != nil {
			return errors.Join(last, err)
		}
	}
	return last
}

func (c *Cluster) move() error {
	var errs []error
	for _, node := range c.Nodes {
		errs = append(errs, node.Move())
	}
	return errors.Join(errs...)
}

func (c *Cluster) wipe() error {
	var errs []error
	for _, node := range c.Nodes {
		errs = append(errs, node.Wipe())
	}
	return errors.Join(errs...)
}

// Kill ends all nodes at once.
func (c *Cluster) Kill() error {
	var errs []error
	for _, node := range c.Nodes {
		errs = append(errs, node.signalKill())
	}
	for _, node := range c.Nodes {
		errs = append(errs, node.Kill())
	}
	return errors.Join(errs...)
}

// Stop ends all nodes gracefully, at once.
func (c *Cluster) Stop(ctx context.Context) error {
	errs := make([]error, len(c.Nodes))
	var stopping sync.WaitGroup
	for i, node := range c.Nodes {
		stopping.Go(func() {
			if err := node.Stop(ctx); err != nil {
				errs[i] = fmt.Errorf("node %s: %w", node.Name(), err)
			}
		})
	}
	stopping.Wait()
	return errors.Join(errs...)
}

// Addresses are those of the API of all nodes, running or not.
func (c *Cluster) Addresses() []string {
	var all []string
	for _, node := range c.Nodes {
		all = append(all, node.place().API)
	}
	return all
}

// Dial connects to an address of the API from the client's place, without any retry of the client library's own.
func (c *Cluster) Dial(address string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	return Dial(address, append([]grpc.DialOption{grpc.WithContextDialer(c.config.Network.Dial)}, options...)...)
}

// Logs are what the nodes printed, one after the other.
func (c *Cluster) Logs() string {
	var b strings.Builder
	for _, node := range c.Nodes {
		fmt.Fprintf(&b, "=== %s\n%s\n", node.Name(), node.Logs())
	}
	return b.String()
}

// LastLogs are the last lines that each node printed.
func (c *Cluster) LastLogs(lines int) string {
	var b strings.Builder
	for _, node := range c.Nodes {
		all := strings.SplitAfter(node.Logs(), "\n")
		fmt.Fprintf(&b, "=== %s\n%s\n", node.Name(), strings.Join(all[max(0, len(all)-lines):], ""))
	}
	return b.String()
}

// KeepLogs writes what the nodes printed beside their folders, for whoever looks at them later.
func (c *Cluster) KeepLogs() error {
	var errs []error
	for _, node := range c.Nodes {
		errs = append(errs, os.WriteFile(filepath.Join(c.config.Dir, node.Name(), "log"), []byte(node.Logs()), 0o600))
	}
	return errors.Join(errs...)
}

// askAgain is how often what has no event is asked for.
const askAgain = 50 * time.Millisecond

// await asks until the claim holds. The error says what it was about, and what it saw last.
func await(ctx context.Context, claim string, holds func(context.Context) (bool, error)) error {
	tick := time.NewTicker(askAgain)
	defer tick.Stop()
	for {
		yes, err := holds(ctx)
		if yes {
			return nil
		}
		if stop := new(final); errors.As(err, &stop) {
			return stop.error
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w: %w", claim, ctx.Err(), errorOrNone(err))
		}
	}
}

// final is an error that no waiting mends.
type final struct{ error }

var errNone = errors.New("nothing wrong was seen")

func errorOrNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}
