package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"

	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1/graphgrpc"
)

// peers is what a node has that is not alone: its port, and what it knows of the others.
type peers struct {
	port      Port
	transport *ackTransport
	addresses *addressBook
	server    *grpc.Server
	serving   sync.WaitGroup
	// readIndexes counts those that were found for other nodes.
	readIndexes atomic.Uint64

	// mu guards connections, by node id, or by address where that is not known.
	mu          sync.Mutex
	connections map[string]connection
	closed      bool
}

type connection struct {
	address string
	conn    *grpc.ClientConn
}

// openPeers opens the port, if this node is to have one.
func (n *Node) openPeers() error {
	if n.config.Peers == nil {
		return nil
	}
	port, err := n.config.Peers.Open(n.Identity().NodeID)
	if err != nil {
		return fmt.Errorf("peer port: %w", err)
	}
	p := &peers{port: port, connections: map[string]connection{}}
	p.addresses = &addressBook{self: raft.ServerID(n.Identity().NodeID), own: raft.ServerAddress(port.Address()), members: n.members, known: map[raft.ServerID]string{}}
	n.parts.add(p.close)
	if id := n.Identity().ClusterID; id != "" {
		port.SetCluster(id)
	}
	n.peers = p
	return nil
}

// members is Raft's newest configuration; none before Raft is there.
func (n *Node) members() raft.Configuration {
	select {
	case <-n.started:
	default:
		return raft.Configuration{}
	}
	future := n.raft.GetConfiguration()
	if future.Error() != nil {
		return raft.Configuration{}
	}
	return future.Configuration()
}

// openTransport makes what Raft talks through.
func (n *Node) openTransport(ctx context.Context) raft.Transport {
	if n.peers == nil {
		_, alone := raft.NewInmemTransport(raft.ServerAddress(n.Identity().NodeID))
		n.parts.add(alone.Close)
		return alone
	}
	leads := func(term uint64) bool { return n.raft.State() == raft.Leader && n.raft.CurrentTerm() == term }
	t := newTransport(n.peers.port, n.peers.addresses, newThrottle(ctx, n.config.Peers.SnapshotRate, leads), n.config.Logger.Named("raft-net"))
	n.peers.transport = t
	n.snapshots.stalled = func() {
		n.logger.Warn("a snapshot that comes in stands still: its stream is ended", "for", readStall)
		t.streams.endAccepted()
	}
	n.parts.add(t.Close)
	return t
}

// maxMessageBytes bounds a message to the peer service: the largest is a batch with one command as large as may be.
const maxMessageBytes = MaxCommandBytes + 1<<20

// servePeers begins to answer the other nodes.
func (n *Node) servePeers() {
	p := n.peers
	if p == nil {
		return
	}
	p.server = grpc.NewServer(append([]grpc.ServerOption{grpc.MaxRecvMsgSize(maxMessageBytes)}, p.port.ServerOptions()...)...)
	graphgrpc.RegisterPeerServiceServer(p.server, &peerServer{node: n})
	if n.config.Peers.Register != nil {
		n.config.Peers.Register(n, p.server)
	}
	listener := p.port.Listener()
	p.serving.Go(func() {
		if err := p.server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			n.logger.Warn("peer service", "error", err)
		}
	})
}

// startForwarding starts what a node among others does beside Raft.
func (n *Node) startForwarding(ctx context.Context) {
	n.background.Go(func() { n.followLeader(ctx) })
	if n.peers == nil {
		return
	}
	n.forward = &forwarder{
		self: n.Identity().NodeID, queue: n.queue, sent: n.sent, route: n.route, gate: n.gate, connect: n.connectTo,
		logger: n.logger, life: n.life, stuck: n.stuckTransfer, window: make(chan struct{}, maxBatchesInFlight),
	}
	n.clock = newJumpGuard(n.config.Clock, n.heard.Load)
	n.confirms, n.asks = newRounds(n.timed(false, n.confirm)), newRounds(n.timed(true, n.askLeader))
	n.background.Go(func() { n.forward.watch(ctx) })
	n.background.Go(func() { n.confirms.run(ctx) })
	n.background.Go(func() { n.asks.run(ctx) })
	n.background.Go(func() { n.keepFresh(ctx) })
	n.background.Go(func() { n.duties(ctx) })
	n.background.Go(func() { n.watchDigests(ctx) })
	n.background.Go(func() { n.watchTwin(ctx) })
	n.background.Go(func() { n.watchLeader(ctx) })
}

// timed tells of each question for a read index.
func (n *Node) timed(ofLeader bool, ask func(context.Context) (uint64, error)) func(context.Context) (uint64, error) {
	return func(ctx context.Context) (uint64, error) {
		start := time.Now()
		index, err := ask(ctx)
		n.config.Events.readIndex(ofLeader, time.Since(start), err)
		return index, err
	}
}

// stampClock is what commands are stamped with.
func (n *Node) stampClock() func() time.Time {
	if n.clock == nil {
		return n.config.Clock
	}
	return n.clock.now
}

// close ends every call from and to other nodes.
func (p *peers) close() error {
	if p.server != nil {
		p.server.Stop()
	}
	p.mu.Lock()
	var errs []error
	for _, c := range p.connections {
		errs = append(errs, c.conn.Close())
	}
	p.connections, p.closed = nil, true
	p.mu.Unlock()
	errs = append(errs, p.port.Close())
	p.serving.Wait()
	return errors.Join(errs...)
}

// connect is the one connection to the peer service of a node, made anew when the node has moved.
func (p *peers) connect(nodeID, address string) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	key := nodeID
	if key == "" {
		key = "@" + address
	}
	c, ok := p.connections[key]
	if ok && c.address == address {
		return c.conn, nil
	}
	conn, err := p.port.Connect(nodeID, address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s at %s: %w", nodeID, address, err)
	}
	p.connections[key] = connection{address: address, conn: conn}
	if ok {
		err = c.conn.Close()
	}
	return conn, err
}

// maxConnections is how many connections are kept before those to nodes that are not members are closed.
const maxConnections = 32

// connectTo is the connection to a node that leads, where it was last seen.
func (n *Node) connectTo(l Leader) (*grpc.ClientConn, error) {
	address, ok := n.peers.addresses.find(raft.ServerID(l.NodeID))
	if !ok {
		address = l.Address
	}
	return n.peers.connect(l.NodeID, address)
}

// forget closes the connections to nodes that are not members, if there are many.
func (p *peers) forget(members raft.Configuration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.connections) <= maxConnections {
		return nil
	}
	var errs []error
	for id, c := range p.connections {
		if !isMember(members, id) {
			errs = append(errs, c.conn.Close())
			delete(p.connections, id)
		}
	}
	return errors.Join(errs...)
}

func isMember(members raft.Configuration, nodeID string) bool {
	for _, s := range members.Servers {
		if string(s.ID) == nodeID {
			return true
		}
	}
	return false
}

// An addressBook says where a node is: as somebody has seen it, else as Raft's configuration has it.
type addressBook struct {
	self    raft.ServerID
	own     raft.ServerAddress
	members func() raft.Configuration

	// mu guards known.
	mu    sync.Mutex
	known map[raft.ServerID]string
}

// ServerAddr is where Raft's streams reach a node. This node's own address goes to the others as it is.
func (b *addressBook) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if id == b.self {
		return b.own, nil
	}
	address, ok := b.find(id)
	if !ok {
		return "", fmt.Errorf("nobody knows where %s is", id)
	}
	return PeerAddress(string(id), address), nil
}

// seen is where somebody has seen a node.
func (b *addressBook) seen(id raft.ServerID) (address string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	address, ok = b.known[id]
	return address, ok
}

func (b *addressBook) find(id raft.ServerID) (address string, ok bool) {
	if address, ok = b.seen(id); ok {
		return address, true
	}
	for _, s := range b.members().Servers {
		if s.ID == id {
			return string(s.Address), true
		}
	}
	return "", false
}

func (b *addressBook) note(id raft.ServerID, address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if address == "" {
		delete(b.known, id)
		return
	}
	b.known[id] = address
}

// NoteAddress tells where a node has been seen, which goes before the address in the configuration: so nodes that all come back
// on other addresses find each other. An empty address forgets it.
func (n *Node) NoteAddress(nodeID, address string) {
	if n.peers != nil {
		n.peers.addresses.note(raft.ServerID(nodeID), address)
	}
}

// Connect is a connection to the peer service of another node, which the node keeps and closes. Where the node has been seen (NoteAddress)
// goes before the address: else two callers who know different ones would close each other's.
func (n *Node) Connect(nodeID, address string) (*grpc.ClientConn, error) {
	if n.peers == nil {
		return nil, errNoPeers
	}
	if seen, ok := n.peers.addresses.seen(raft.ServerID(nodeID)); ok {
		address = seen
	}
	return n.peers.connect(nodeID, address)
}
