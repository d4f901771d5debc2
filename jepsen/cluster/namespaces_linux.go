//go:build linux

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// nowhere is a hardware address that no card has: what is sent to it is lost, and the sender is not told.
const nowhere = "02:00:00:00:00:99"

const (
	// Where the client is in the network; node n has n + 1.
	clientHost = 254
	// How often a probe is sent.
	probeEvery = 100 * time.Millisecond
	// basePort is below those that the kernel hands out to whoever connects.
	basePort = 20051
)

// Namespaces is a network of this test alone: each node has a network namespace, so has the client, and a bridge in another one
// joins them. A namespace lives as long as a process in it, and that dies with the test, so nothing is ever left behind.
type Namespaces struct {
	bridge *namespace

	mu     sync.Mutex
	places map[int]*namespace
}

// NewNamespaces makes a network for so many nodes. Its error is ErrNoNamespaces where the machine does not let it.
func NewNamespaces(nodes int) (*Namespaces, error) {
	n := &Namespaces{places: make(map[int]*namespace)}
	if err := n.build(nodes); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrNoNamespaces, err), n.Close())
	}
	return n, nil
}

func (n *Namespaces) build(nodes int) (err error) {
	if n.bridge, err = newNamespace(); err != nil {
		return err
	}
	for _, args := range [][]string{{"link", "add", "br0", "type", "bridge"}, {"link", "set", "br0", "up"}} {
		if err := n.bridge.ip(args...); err != nil {
			return err
		}
	}
	for node := Client; node < nodes; node++ {
		place, err := newNamespace()
		if err != nil {
			return err
		}
		n.places[node] = place
		port, holder := fmt.Sprintf("port%d", node+1), strconv.Itoa(place.holder.Process.Pid)
		if err := n.bridge.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", holder); err != nil {
			return err
		}
		if err := n.bridge.ip("link", "set", port, "master", "br0", "up"); err != nil {
			return err
		}
		for _, args := range [][]string{
			{"address", "add", host(node) + "/24", "dev", "eth0"}, {"link", "set", "eth0", "up"}, {"link", "set", "lo", "up"},
		} {
			if err := place.ip(args...); err != nil {
				return err
			}
		}
	}
	return nil
}

func host(node int) string {
	if node == Client {
		return fmt.Sprintf("10.77.0.%d", clientHost)
	}
	return fmt.Sprintf("10.77.0.%d", node+1)
}

// Place implements Network: a node has the same host always, and other ports each time.
func (n *Namespaces) Place(node int) (Addresses, error) {
	place := n.place(node)
	place.times++
	return addressesAt(host(node), basePort+10*(place.times-1)), nil
}

func (n *Namespaces) place(node int) *namespace {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.places[node]
}

// Start implements Network.
func (n *Namespaces) Start(cmd *exec.Cmd, node int) error { return n.place(node).within(cmd.Start) }

// Dial implements Network.
func (n *Namespaces) Dial(ctx context.Context, address string) (conn net.Conn, err error) {
	err = n.place(Client).within(func() (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, "tcp", address)
		return err
	})
	return conn, err
}

// Cut loses everything that one node sends to another; the other way stays open. Cutting twice is no error.
func (n *Namespaces) Cut(from, to int) error {
	return n.place(from).ip("neigh", "replace", host(to), "lladdr", nowhere, "dev", "eth0", "nud", "permanent")
}

// Mend ends a Cut.
func (n *Namespaces) Mend(from, to int) error {
	return n.place(from).ip("neigh", "del", host(to), "dev", "eth0")
}

// Reaches asks whether a packet from one node arrives at another, by sending some until one does or the time is over.
func (n *Namespaces) Reaches(from, to int, within time.Duration) (arrived bool, err error) {
	var in net.PacketConn
	err = n.place(to).within(func() (err error) {
		in, err = net.ListenPacket("udp", net.JoinHostPort(host(to), "0"))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("probe: %w", err)
	}
	defer func() { _ = in.Close() }()
	var out net.Conn
	err = n.place(from).within(func() (err error) {
		out, err = net.Dial("udp", in.LocalAddr().String())
		return err
	})
	if err != nil {
		return false, fmt.Errorf("probe: %w", err)
	}
	defer func() { _ = out.Close() }()
	for end := time.Now().Add(within); time.Now().Before(end); {
		if _, err := out.Write([]byte("probe")); err != nil {
			return false, fmt.Errorf("probe: %w", err)
		}
		if err := in.SetReadDeadline(time.Now().Add(probeEvery)); err != nil {
			return false, fmt.Errorf("probe: %w", err)
		}
		if _, _, err = in.ReadFrom(make([]byte, 16)); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err == nil, err
		}
	}
	return false, nil
}

// Close implements Network.
func (n *Namespaces) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var errs []error
	for _, place := range n.places {
		errs = append(errs, place.close())
	}
	if n.bridge != nil {
		errs = append(errs, n.bridge.close())
	}
	n.places, n.bridge = nil, nil
	return errors.Join(errs...)
}

// namespace is one network namespace, held by a process that does nothing.
type namespace struct {
	holder *exec.Cmd
	file   *os.File
	times  int
}

func newNamespace() (*namespace, error) {
	holder := exec.Command("cat")
	if _, err := holder.StdinPipe(); err != nil { // it reads until the test ends
		return nil, fmt.Errorf("namespace: %w", err)
	}
	bind(holder)
	holder.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	if err := holder.Start(); err != nil {
		return nil, fmt.Errorf("namespace: %w", err)
	}
	file, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", holder.Process.Pid))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("namespace: %w", err), holder.Process.Kill())
	}
	return &namespace{holder: holder, file: file}, nil
}

func (s *namespace) close() error {
	killed := s.holder.Process.Kill()
	_ = s.holder.Wait() // it says that it was killed
	return errors.Join(killed, s.file.Close())
}

// ip runs the command ip in the namespace.
func (s *namespace) ip(args ...string) error {
	cmd := exec.Command("ip", args...)
	var out []byte
	err := s.within(func() (err error) {
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, out)
	}
	return nil
}

// within runs f on a thread that is in the namespace: sockets and processes that f makes are in it.
func (s *namespace) within(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		own, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- err
			return
		}
		defer func() { _ = own.Close() }()
		if err := setns(s.file); err != nil {
			done <- err
			return
		}
		err = f()
		if back := setns(own); back != nil {
			done <- errors.Join(err, back) // the thread is still locked and ends here
			return
		}
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}

// setns moves this thread. The number of the call is not in package syscall.
func setns(file *os.File) error {
	call, known := map[string]uintptr{"amd64": 308, "arm64": 268, "riscv64": 268, "loong64": 268}[runtime.GOARCH]
	if !known {
		return fmt.Errorf("setns: %w on %s", errors.ErrUnsupported, runtime.GOARCH)
	}
	if _, _, errno := syscall.RawSyscall(call, file.Fd(), syscall.CLONE_NEWNET, 0); errno != 0 {
		return fmt.Errorf("setns: %w", errno)
	}
	return nil
}
