package sim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc"
)

// Ports of a node.
const (
	peerPort = "50052"
	apiPort  = "50051"
)

// machine is a computer with one node on it, which may crash, come back, and be replaced.
type machine struct {
	run  *run
	name string
	disk *disk
	// ahead is how far its clock is ahead.
	ahead atomic.Int64

	// mu guards what follows.
	mu      sync.Mutex
	running *running
	// failed is why the node said that it cannot go on; its process is about to end then.
	failed error
}

// running is a node whose process runs, or has been killed and does not know it yet.
type running struct {
	node   *cluster.Node
	server *rpc.Server
	// process is what the network knows of it.
	process process
	serving sync.WaitGroup
	// applied is the last index that was seen here.
	applied uint64
}

func (m *machine) peerAddress() string { return m.name + ":" + peerPort }
func (m *machine) apiAddress() string  { return m.name + ":" + apiPort }

// now is the node, nil when it does not run.
func (m *machine) now() *running {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running
}

// node is the cluster node that runs, nil for none.
func (m *machine) node() *cluster.Node {
	if r := m.now(); r != nil {
		return r.node
	}
	return nil
}

// id is the node id that the disk has.
func (m *machine) id() string {
	meta, err := m.disk.Identity()
	if err != nil {
		return ""
	}
	return meta.NodeID
}

// start boots the machine on its disk.
func (m *machine) start() error {
	r := &running{process: m.run.network.boot(m.name)}
	api, err := r.process.listen(apiPort)
	if err != nil {
		return err
	}
	logger := m.run.logger.Named(m.name)
	if r.node, err = cluster.Open(m.config(r, logger)); err != nil {
		return fmt.Errorf("start %s: %w", m.name, err)
	}
	c := rpc.DefaultConfig()
	c.Version, c.NodeID, c.Logger, c.Reflection = "sim", r.node.Identity().NodeID, logger.Named("api"), false
	if r.server, err = rpc.New(c, road{r.node}, r.node.Machine()); err != nil {
		return errors.Join(err, r.node.Close())
	}
	r.serving.Go(func() {
		if err := r.server.Serve(api); err != nil {
			logger.Debug("api ended", "error", err)
		}
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running, m.failed = r, nil
	return nil
}

// config is that of the node: as the program runs it on a LAN, but for snapshots, which are frequent.
func (m *machine) config(r *running, logger hclog.Logger) cluster.Config {
	c := m.run.config
	return cluster.Config{
		InMemory: true, Disk: m.disk, Name: m.name, Version: "sim", Random: rand.Reader, Logger: logger,
		Clock:  func() time.Time { return time.Now().Add(time.Duration(m.ahead.Load())) },
		Timing: c.Timing, SnapshotInterval: c.SnapshotInterval, SnapshotThreshold: c.SnapshotEntries, TrailingLogs: trailingLogs,
		Peers: &cluster.PeersConfig{Open: func(id string) (cluster.Port, error) { return m.openPort(r, id, logger) }},
		Events: cluster.Events{
			Leader:    func(leading bool, term uint64) { m.run.watch.leads(m, leading, term) },
			Snapshot:  func(uint64, time.Duration) { m.run.watch.snapshots.Add(1) },
			Installed: func(uint64, time.Duration) { m.run.watch.installed.Add(1) },
			Rebuilt:   func(_ string, damage error) { m.run.anomaly("%s took a crash for damage: %v", m.name, damage) },
		},
		Fatal: func(err error) { m.fail(r, err) },
	}
}

func (m *machine) openPort(r *running, id string, logger hclog.Logger) (cluster.Port, error) {
	l, err := r.process.listen(peerPort)
	if err != nil {
		return nil, err
	}
	credentials, err := peer.FromSecrets(id, []secret.Secret{m.run.secret})
	if err != nil {
		return nil, err
	}
	return peer.Open(peer.Config{
		NodeID: id, Credentials: credentials, Listener: l, Advertise: m.peerAddress(), Logger: logger,
		Dial: r.process.dial,
	})
}

// fail is what the node calls when it cannot go on: the program would end.
func (m *machine) fail(r *running, err error) {
	m.mu.Lock()
	current := m.running == r || m.running == nil
	if current {
		m.failed = err
	}
	m.mu.Unlock()
	if current {
		m.run.watch.failed(m, err)
	}
}

// crash ends the process at once; with power also what its system would have told others. The disk has what was synced.
func (m *machine) crash(power bool) {
	m.mu.Lock()
	r := m.running
	m.running = nil
	m.mu.Unlock()
	if r == nil {
		return
	}
	m.run.network.kill(m.name, power)
	m.disk = m.disk.cut()
	m.run.bury(r, m.run.logger.Named(m.name+"-gone"))
}

// stop ends the node in good order.
func (m *machine) stop(ctx context.Context) error {
	m.mu.Lock()
	r := m.running
	m.running = nil
	m.mu.Unlock()
	if r == nil {
		return nil
	}
	err := r.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	err = errors.Join(err, r.node.Close())
	r.serving.Wait()
	m.run.network.kill(m.name, false)
	m.disk = m.disk.cut()
	return err
}

// bury waits in the background for a node that was killed to notice it: goroutines cannot be stopped from outside. It can reach nobody, and
// writes to a disk that nobody will read.
func (r *run) bury(dead *running, logger hclog.Logger) {
	r.graves.Go(func() {
		_ = dead.server.Close()
		if err := dead.node.Close(); err != nil {
			logger.Debug("gone", "error", err)
		}
		dead.serving.Wait()
	})
}
