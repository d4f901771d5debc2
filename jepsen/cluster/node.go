package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

var (
	// ErrNotRunning is returned for what needs a running process.
	ErrNotRunning = errors.New("node is not running")
	// ErrRunning is returned by Start on a node that runs already.
	ErrRunning = errors.New("node is running already")
	// ErrExited is returned by Start when the process ended before it was ready.
	ErrExited = errors.New("process ended before it was ready")
)

// Bounds of what a server must do in the end, on a machine that has very much else to do.
const (
	readyWithin = 5 * time.Minute
	stopWithin  = 3 * time.Minute
)

// TrailingLogs is the least number of log entries that a server keeps behind a snapshot (D20).
const TrailingLogs = 1024

// Compacting are the arguments of a server that takes a snapshot every few entries and keeps as little log as it may, so
// that a short test sees many snapshots, and a log that no longer begins with the first entry.
func Compacting() []string {
	return []string{
		"--snapshot-threshold", "64", "--snapshot-interval", "50ms", "--trailing-logs", strconv.Itoa(TrailingLogs),
	}
}

// Options say what to run.
type Options struct {
	// Binary is the path of the server.
	Binary string
	// DataDir is its folder. It survives Stop and Kill; Wipe empties it.
	DataDir string
	// InMemory keeps nothing over a restart.
	InMemory bool
	// Args are added to those of `memory-graph dev`.
	Args []string

	// member is set for a node of a Cluster, which runs `memory-graph server`.
	member *member
}

// member is what a node of a cluster has besides.
type member struct {
	network Network
	number  int
	env     []string
	// skewed nodes have a wall clock that can be set.
	skewed bool

	mu sync.Mutex
	// at is where it listens; it changes when the node moves.
	at Addresses
	// args are those that every start has, for the addresses that all nodes have then.
	args func() []string
}

// Node is one server that can be started again and again on the same folder, on new ports each time.
type Node struct {
	options Options

	mu   sync.Mutex
	run  *process
	past []string
	// clock is that of the running process, when it can be set.
	clock *clock
}

// process is one life of a node.
type process struct {
	cmd  *exec.Cmd
	out  *output
	done chan struct{}
	// err is what Wait returned; read it after done.
	err error
}

// New prepares a node; nothing runs yet.
func New(options Options) *Node {
	return &Node{options: options}
}

// Start runs the node and returns when it has said that it is ready, at the latest after five minutes.
func (n *Node) Start(ctx context.Context) error {
	if err := n.Launch(); err != nil {
		return err
	}
	return n.AwaitReady(ctx)
}

// Launch starts the process and returns at once; it may never become ready.
func (n *Node) Launch() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.run != nil {
		return fmt.Errorf("start: %w", ErrRunning)
	}
	out := newOutput()
	cmd := exec.Command(n.options.Binary, n.arguments()...)
	cmd.Stdout = stream{to: out, announces: true}
	cmd.Stderr = stream{to: out}
	bind(cmd)
	if err := n.startLocked(cmd); err != nil {
		return fmt.Errorf("start %s: %w", n.options.Binary, err)
	}
	run := &process{cmd: cmd, out: out, done: make(chan struct{})}
	go func() {
		run.err = cmd.Wait()
		close(run.done)
	}()
	n.run = run
	return nil
}

// startLocked starts the process in the place of the node.
func (n *Node) startLocked(cmd *exec.Cmd) (err error) {
	m := n.options.member
	if m == nil {
		return cmd.Start()
	}
	cmd.Env = append(os.Environ(), m.env...)
	if !m.skewed {
		return m.network.Start(cmd, m.number)
	}
	n.clock, err = startSkewed(cmd, func() error { return m.network.Start(cmd, m.number) })
	return err
}

// AwaitReady returns when the launched process is ready.
func (n *Node) AwaitReady(ctx context.Context) error {
	run := n.current()
	if run == nil {
		return fmt.Errorf("wait for the server: %w", ErrNotRunning)
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	select {
	case <-run.out.ready:
		return nil
	case <-run.done:
		return fmt.Errorf("%w (%w):\n%s", ErrExited, errorOrOK(run.err), run.out)
	case <-ctx.Done():
		return fmt.Errorf("server is not ready: %w:\n%s", ctx.Err(), run.out)
	}
}

var errExitedWithoutError = errors.New("exit code 0")

func errorOrOK(err error) error {
	if err == nil {
		return errExitedWithoutError
	}
	return err
}

func (n *Node) arguments() []string {
	if m := n.options.member; m != nil {
		return append(append([]string{"server", "--data-dir", n.options.DataDir}, m.args()...), n.options.Args...)
	}
	args := []string{"dev", "--data-dir", n.options.DataDir, "--grpc-port", "0", "--metrics-port", "0", "--log-level", "warn"}
	if n.options.InMemory {
		args = append(args, "--in-memory")
	}
	return append(args, n.options.Args...)
}

func (n *Node) current() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.run
}

// Stop asks the process to end and waits for it; any exit code but 0 is an error. It kills after three minutes.
func (n *Node) Stop(ctx context.Context) error {
	run := n.current()
	if run == nil {
		return nil
	}
	if err := run.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	select {
	case <-run.done:
	case <-ctx.Done():
		err := n.Kill()
		return fmt.Errorf("stop: still running: %w", errors.Join(ctx.Err(), err))
	}
	n.forget(run)
	if run.err != nil {
		return fmt.Errorf("stop: %w:\n%s", run.err, run.out)
	}
	return nil
}

// Kill ends the process at once, as a crash does, and waits until it is gone. Killing what does not run is no error.
func (n *Node) Kill() error {
	run := n.current()
	if run == nil {
		return nil
	}
	if err := run.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill: %w", err)
	}
	<-run.done
	n.forget(run)
	return nil
}

// signalKill ends the process without waiting.
func (n *Node) signalKill() error {
	if run := n.current(); run != nil {
		if err := run.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("kill: %w", err)
		}
	}
	return nil
}

// Exited is closed when the running process has ended; nil when none runs.
func (n *Node) Exited() <-chan struct{} {
	if run := n.current(); run != nil {
		return run.done
	}
	return nil
}

func (n *Node) forget(run *process) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.run != run {
		return
	}
	n.past = append(n.past, run.out.String())
	n.run = nil
	if n.clock != nil {
		_ = n.clock.close() // it was of a process that is gone
		n.clock = nil
	}
}

// Wipe removes everything that a stopped node has kept.
func (n *Node) Wipe() error {
	if n.current() != nil {
		return fmt.Errorf("wipe: %w", ErrRunning)
	}
	// The folder itself stays: it may be the root of a file system.
	found, err := os.ReadDir(n.options.DataDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("wipe: %w", err)
	}
	for _, entry := range found {
		if err := os.RemoveAll(filepath.Join(n.options.DataDir, entry.Name())); err != nil {
			return fmt.Errorf("wipe: %w", err)
		}
	}
	return nil
}

// Address is where the running node serves gRPC, empty when it is not ready.
func (n *Node) Address() string { return n.announced("grpc") }

// MetricsAddress is where the running node serves HTTP, empty when it is not ready.
func (n *Node) MetricsAddress() string { return n.announced("metrics") }

func (n *Node) announced(key string) string {
	run := n.current()
	if run == nil {
		return ""
	}
	return run.out.address(key)
}

// DataDir is the folder of the node.
func (n *Node) DataDir() string { return n.options.DataDir }

// Logs are the last things that every life of the node printed, oldest first.
func (n *Node) Logs() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	lives := append([]string(nil), n.past...)
	if n.run != nil {
		lives = append(lives, n.run.out.String())
	}
	return strings.Join(lives, "\n--- restarted ---\n")
}

// Dial connects to the running node without any retry of the client library's own, so that each call is sent once.
func (n *Node) Dial(options ...grpc.DialOption) (*grpc.ClientConn, error) {
	return Dial(n.Address(), options...)
}

// Dial connects to an address as Node.Dial does.
func Dial(address string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	options = append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
	}, options...)
	conn, err := grpc.NewClient("passthrough:///"+address, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	return conn, nil
}
