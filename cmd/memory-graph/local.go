package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

// Bounds of a cluster on this machine.
const (
	maxLocalNodes     = 9
	defaultLocalNodes = 3
	// localReadyTimeout is how long the nodes may take to become a cluster.
	localReadyTimeout = 2 * time.Minute
	defaultRestart    = 5 * time.Second
)

// localFlags are what the command's flags are read into.
type localFlags struct {
	dir          string
	nodes        int
	anyPort      bool
	restartAfter time.Duration
}

func (p *program) newClusterLocalCommand() *cobra.Command {
	var f localFlags
	cmd := &cobra.Command{
		Use: "local", Args: cobra.NoArgs,
		Short: "Run a cluster on this machine, to try it out",
		Long: `local starts three nodes, each in a process of its own, on 127.0.0.1, 127.0.0.2 and 127.0.0.3, and says what to try with
them. A node that ends, because you have killed it, is started again after a while. An interrupt stops all of them; their data
stays, and the next start goes on with it.

Each node has a folder with its settings, its data, its log and the id of its process. macOS has only 127.0.0.1 unless told
otherwise: sudo ifconfig lo0 alias 127.0.0.2, and so on.`,
		Example: `  memory-graph cluster local --dir bin/cluster
  memory-graph cluster local --dir /tmp/five --nodes 5 --any-port`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.nodes < 1 || f.nodes > maxLocalNodes {
				return usagef("--nodes is %d, use 1 to %d", f.nodes, maxLocalNodes)
			}
			if f.dir == "" {
				return usagef("--dir is empty")
			}
			p.started = true
			return p.runLocal(cmd.Context(), f)
		},
	}
	cmd.Flags().StringVar(&f.dir, "dir", "./cluster", "folder that holds everything")
	cmd.Flags().IntVar(&f.nodes, "nodes", defaultLocalNodes, "how many nodes")
	cmd.Flags().BoolVar(&f.anyPort, "any-port", false, "take ports that are free instead of 50051 to 50053 and 9090")
	cmd.Flags().DurationVar(&f.restartAfter, "restart-after", defaultRestart, "how long a node that has ended stays away")
	_ = cmd.MarkFlagDirname("dir")
	return cmd
}

// A localNode is one node of a cluster on this machine.
type localNode struct {
	name, folder                string
	grpc, metrics, peer, gossip string
}

// runLocal runs the nodes until ctx is done.
func (p *program) runLocal(ctx context.Context, f localFlags) error {
	nodes, err := prepareLocal(f)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l := &local{program: p, flags: f, ready: make(chan string, len(nodes))}
	var running sync.WaitGroup
	failed := make(chan error, len(nodes))
	for _, n := range nodes {
		running.Go(func() {
			if err := l.keep(ctx, n); err != nil {
				failed <- fmt.Errorf("%s: %w; its log is %s", n.name, err, n.log())
				stop()
			}
		})
	}
	err = l.awaitAll(ctx, nodes)
	if err == nil {
		l.say(p.localSteps(f, nodes))
		<-ctx.Done()
		l.say("stopping\n")
	}
	stop()
	running.Wait()
	select {
	case broken := <-failed:
		return broken
	default:
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// prepareLocal makes the folders with settings, and the secret that the nodes share.
func prepareLocal(f localFlags) ([]*localNode, error) {
	dir, err := filepath.Abs(f.dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	secret := filepath.Join(dir, "cluster.secret")
	if err := ensureSecret(secret); err != nil {
		return nil, err
	}
	var nodes []*localNode
	var join []string
	for i := range f.nodes {
		n, err := placeLocal(i, f.anyPort)
		if err != nil {
			return nil, err
		}
		n.folder = filepath.Join(dir, n.name)
		nodes, join = append(nodes, n), append(join, n.gossip)
	}
	for _, n := range nodes {
		if err := os.MkdirAll(n.folder, 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(n.settings(), []byte(n.yaml(secret, join)), 0o600); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// ensureSecret makes a file with a secret, unless there is one.
func ensureSecret(path string) error {
	if _, err := readSecrets(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	secret, err := newSecret()
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(secret+"\n"), 0o600)
}

// placeLocal gives a node its addresses.
func placeLocal(i int, anyPort bool) (*localNode, error) {
	host := fmt.Sprintf("127.0.0.%d", i+1)
	n := &localNode{name: "n" + strconv.Itoa(i+1)}
	ports := []int{defaultGRPCPort, defaultMetricsPort, portNumber(defaultPeerPort), portNumber(defaultGossipPort)}
	for k, address := range []*string{&n.grpc, &n.metrics, &n.peer, &n.gossip} {
		port := ports[k]
		if anyPort {
			port = 0
		}
		l, err := net.Listen("tcp4", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w; --any-port takes ports that are free", n.name, err)
		}
		defer l.Close() // all are held until the last is found, so that no two are the same
		*address = l.Addr().String()
	}
	return n, nil
}

// portNumber reads one of our own ports.
func portNumber(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil {
		panic(err)
	}
	return n
}

func (n *localNode) settings() string { return filepath.Join(n.folder, "node.yaml") }
func (n *localNode) log() string      { return filepath.Join(n.folder, "log") }
func (n *localNode) pid() string      { return filepath.Join(n.folder, "pid") }

// yaml are the node's settings.
func (n *localNode) yaml(secret string, join []string) string {
	var b strings.Builder
	set := func(key, value string) { fmt.Fprintf(&b, "%s: %s\n", key, value) }
	host, grpcPort, _ := net.SplitHostPort(n.grpc) // of a listener
	_, metricsPort, _ := net.SplitHostPort(n.metrics)
	set("node-id", n.name)
	set("data-dir", strconv.Quote(filepath.Join(n.folder, "data")))
	set("grpc-host", host)
	set("grpc-port", grpcPort)
	set("metrics-host", host)
	set("metrics-port", metricsPort)
	set("peer-addr", n.peer)
	set("gossip-addr", n.gossip)
	set("join", "["+strings.Join(join, ", ")+"]")
	set("bootstrap-expect", strconv.Itoa(len(join)))
	set("cluster-secret-file", strconv.Quote(secret))
	return b.String()
}

// localSteps is what there is to try, a line each.
func (p *program) localSteps(f localFlags, nodes []*localNode) string {
	self, dir := shellWord(p.self), shellWord(f.dir)
	var all []string
	for _, n := range nodes {
		all = append(all, n.grpc)
	}
	addresses := strings.Join(all, ",")
	last := nodes[len(nodes)-1]
	text := fmt.Sprintf("ready grpc=%s data=%s\n\ntry, in another terminal:\n", addresses, quoted(f.dir))
	for _, step := range [][2]string{
		{"see who leads", "cluster status --address " + nodes[0].grpc},
		{"write on one node", "session create --metadata user=ada --address " + nodes[0].grpc},
		{"read it on another", "session list --address " + last.grpc},
		{"follow what happens, wherever a node is", "events --follow --address " + addresses},
		{"write while you kill one", "session create --address " + addresses},
		{"hand leadership over", "cluster transfer-leader --address " + nodes[0].grpc},
		{"compare the state of all", "cluster digest --address " + nodes[0].grpc},
	} {
		text += fmt.Sprintf("  %-41s %s %s\n", step[0]+":", self, step[1])
	}
	text += fmt.Sprintf("  %-41s kill -9 $(cat %s)   it is started again after %v\n", "kill a node:", filepath.Join(dir, nodes[0].name, "pid"), f.restartAfter)
	return text + fmt.Sprintf("the streams of events and the writes above go on by themselves on another node.\nstop with ctrl-c; the data stays in %s.\n", printable(f.dir))
}
