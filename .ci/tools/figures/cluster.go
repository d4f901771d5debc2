package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	nodes         = 3
	clusterWait   = 2 * time.Minute
	lookAgain     = 100 * time.Millisecond
	stopPatience  = 30 * time.Second
	statusTimeout = 10 * time.Second
)

// A node is one server in a process of its own.
type node struct {
	name, address, folder string
	command               *exec.Cmd
	ended                 chan struct{}
}

func (n *node) pid() int { return n.command.Process.Pid }

// A trio is three nodes of one system, started for one run. Its folder goes when it stops.
type trio struct {
	bench  *bench
	folder string
	nodes  []*node
	leader *node
	// secret and gossip are those of our own nodes.
	secret string
	gossip []string
}

// newTrio makes the folder.
func newTrio(b *bench) (*trio, error) {
	folder, err := os.MkdirTemp(b.dataDir, "trio-")
	if err != nil {
		return nil, err
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return nil, err
	}
	return &trio{bench: b, folder: folder, secret: rand.Text() + rand.Text()}, nil
}

// ports are addresses that were free a moment ago.
func ports(count int) (addresses []string, err error) {
	for range count {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all are held until the last is found
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// start starts a process with its output in a file of the trio's folder.
func (t *trio) start(n *node, program string, args []string, environment ...string) (io.Reader, error) {
	log, err := os.Create(filepath.Join(t.folder, n.name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	n.command = exec.Command(program, args...)
	n.command.Env = append(os.Environ(), environment...)
	n.command.Stderr = log
	bind(n.command)
	out, err := n.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := n.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", n.name, err)
	}
	n.ended = make(chan struct{})
	return out, nil
}

// stop ends all nodes and removes their folder.
func (t *trio) stop() error {
	for _, n := range t.nodes {
		_ = n.command.Process.Signal(syscall.SIGTERM) // it may have gone
	}
	for _, n := range t.nodes {
		kill := time.AfterFunc(stopPatience, func() { _ = n.command.Process.Kill() })
		<-n.ended
		kill.Stop()
		_ = n.command.Wait() // how it ended changes no figure
	}
	return os.RemoveAll(t.folder)
}

// ours starts three nodes of memory-graph and waits until they are a cluster.
func (b *bench) ours(ctx context.Context) (_ *trio, err error) {
	t, err := newTrio(b)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.stop())
		}
	}()
	if t.gossip, err = ports(nodes); err != nil {
		return nil, err
	}
	var ready []<-chan string
	for i := range nodes {
		n := &node{name: "n" + strconv.Itoa(i+1)}
		r, err := t.join(n, t.gossip[i], "--bootstrap-expect", strconv.Itoa(nodes))
		if err != nil {
			return nil, err
		}
		ready = append(ready, r)
	}
	for i, n := range t.nodes {
		if n.address, err = await(ctx, ready[i], n.name); err != nil {
			return nil, err
		}
	}
	return t, t.settle(ctx, func(s status) bool { return s.voters() == nodes && s.Leader != "" })
}

// join starts a node of memory-graph that joins the others.
func (t *trio) join(n *node, gossip string, more ...string) (ready <-chan string, err error) {
	peer, err := ports(1)
	if err != nil {
		return nil, err
	}
	n.folder = filepath.Join(t.folder, n.name)
	args := append([]string{
		"server", "--node-id", n.name, "--data-dir", n.folder, "--grpc-host", "127.0.0.1", "--grpc-port", "0", "--metrics-port", "0", "--log-level", "warn",
		"--peer-addr", peer[0], "--gossip-addr", gossip, "--join", strings.Join(t.gossip, ","), "--raft-timing", "lan",
	}, more...)
	out, err := t.start(n, t.bench.binary, args, "CLUSTER_SECRET="+t.secret)
	if err != nil {
		return nil, err
	}
	t.nodes = append(t.nodes, n)
	return n.watch(out), nil
}

// watch tells of the line that a node prints when it serves, and of its end.
func (n *node) watch(out io.Reader) <-chan string {
	ready := make(chan string, 1)
	go func() {
		defer close(n.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			rest, is := strings.CutPrefix(lines.Text(), "ready grpc=")
			if address, _, _ := strings.Cut(rest, " "); is && len(ready) == 0 {
				ready <- address
			}
		}
		close(ready)
	}()
	return ready
}

func await(ctx context.Context, ready <-chan string, name string) (string, error) {
	select {
	case address, ok := <-ready:
		if ok {
			return address, nil
		}
		return "", fmt.Errorf("%s ended before it was ready", name)
	case <-ctx.Done():
		return "", ctx.Err()
	case <-time.After(clusterWait):
		return "", fmt.Errorf("%s was not ready within %v", name, clusterWait)
	}
}

// A status is what `memory-graph cluster status -o json` prints.
type status struct {
	Leader   string   `json:"leader"`
	Revision uint64   `json:"revision"`
	Members  []member `json:"members"`
}

type member struct {
	ID      string `json:"id"`
	Role    string `json:"role"`
	State   string `json:"state"`
	Applied uint64 `json:"applied"`
	Lag     uint64 `json:"lag"`
}

func (s status) voters() (count int) {
	for _, m := range s.Members {
		if m.Role == "voter" {
			count++
		}
	}
	return count
}

// member is the one of a node's name: an id is NAME-8HEX.
func (s status) member(name string) (member, bool) {
	for _, m := range s.Members {
		if strings.HasPrefix(m.ID, name+"-") {
			return m, true
		}
	}
	return member{}, false
}

// status asks a node.
func (t *trio) status(ctx context.Context, n *node) (s status, err error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, t.bench.binary, "cluster", "status", "-o", "json", "--address", n.address).Output()
	if err != nil {
		return s, fmt.Errorf("cluster status: %w", err)
	}
	return s, json.Unmarshal(out, &s)
}

// settle waits until the cluster is as it should be, and notes who leads.
func (t *trio) settle(ctx context.Context, enough func(status) bool) error {
	last := errors.New("nobody leads")
	for end := time.Now().Add(clusterWait); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, lookAgain) {
		s, err := t.status(ctx, t.nodes[0])
		if err != nil {
			last = err
			continue
		}
		for _, n := range t.nodes {
			if strings.HasPrefix(s.Leader, n.name+"-") {
				t.leader = n
			}
		}
		if t.leader != nil && enough(s) {
			return nil
		}
	}
	return fmt.Errorf("the nodes are no cluster after %v: %w", clusterWait, errors.Join(ctx.Err(), last))
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// etcd starts three nodes of etcd and waits until they have a leader.
func (b *bench) etcds(ctx context.Context) (_ *trio, err error) {
	t, err := newTrio(b)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.stop())
		}
	}()
	addresses, err := ports(2 * nodes)
	if err != nil {
		return nil, err
	}
	var all []string
	for i := range nodes {
		all = append(all, fmt.Sprintf("e%d=http://%s", i+1, addresses[nodes+i]))
	}
	for i := range nodes {
		n := &node{name: "e" + strconv.Itoa(i+1), address: addresses[i]}
		client, peer := "http://"+addresses[i], "http://"+addresses[nodes+i]
		out, err := t.start(n, b.etcd, []string{
			"--name", n.name, "--data-dir", filepath.Join(t.folder, n.name), "--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", strings.Join(all, ","),
		})
		if err != nil {
			return nil, err
		}
		t.nodes = append(t.nodes, n)
		n.watch(out)
	}
	return t, t.elect(ctx)
}

// elect waits until all nodes of etcd name the same leader.
func (t *trio) elect(ctx context.Context) error {
	for end := time.Now().Add(clusterWait); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, lookAgain) {
		t.leader = nil
		leaders := map[string]int{}
		for _, n := range t.nodes {
			self, leader, err := askEtcd(ctx, n.address)
			if err != nil || leader == "" {
				continue
			}
			if leaders[leader]++; self == leader {
				t.leader = n
			}
		}
		if t.leader != nil && len(leaders) == 1 {
			for _, count := range leaders {
				if count == nodes {
					return nil
				}
			}
		}
	}
	return errors.Join(ctx.Err(), errors.New("etcd has no leader"))
}

// askEtcd asks a node of etcd who it is and who leads.
func askEtcd(ctx context.Context, address string) (self, leader string, err error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/v3/maintenance/status", bytes.NewReader([]byte("{}")))
	if err != nil {
		return "", "", err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", "", err
	}
	defer reply.Body.Close()
	var s struct {
		Header struct {
			Member string `json:"member_id"`
		} `json:"header"`
		Leader string `json:"leader"`
	}
	err = json.NewDecoder(reply.Body).Decode(&s)
	return s.Header.Member, s.Leader, err
}

// etcdVersion is the name of the etcd to compare with.
func (b *bench) etcdVersion(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, b.etcd, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("etcd is not installed (apt-get install etcd-server): %w", errSkipped)
	}
	_, version, _ := strings.Cut(firstLine(string(out)), ": ")
	return "etcd " + version, nil
}
