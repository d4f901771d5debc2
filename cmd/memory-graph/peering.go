package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/gossip"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/membership"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/telemetry"
)

// secretsInterval is how often the file of secrets is looked at.
const secretsInterval = 2 * time.Second

// peering is what a node with peers has besides: its port, gossip, and who looks after the members.
type peering struct {
	config *peersConfig
	logger hclog.Logger
	// admin is filled in by whoever has the node.
	admin   *here
	members *cluster.Members
	counts  *telemetry.NodeEvents
	port    *peer.Port
	gossip  *gossip.Gossip
	// shown are what this node shows to peers.
	shown *peer.Credentials

	stop     context.CancelFunc
	watching sync.WaitGroup
}

// newPeering prepares what a node with peers needs; it is nil for a node without. No port for peers is open yet, but that for
// clients is when only that tells where it is.
func (c *serverConfig) newPeering(logger hclog.Logger, ports *ports, counts *telemetry.NodeEvents) (*peering, error) {
	if !c.peers.wanted() {
		return nil, nil
	}
	if c.grpcPort == 0 {
		if err := ports.open(); err != nil {
			return nil, err
		}
	}
	members, err := cluster.NewMembers(cluster.MembersConfig{
		Expect: c.peers.expect, Joins: len(c.peers.join) > 0, ReadReplica: c.peers.readReplica, APIAddress: c.apiAddress(ports),
		Events: membership.Events{Changed: func(kind membership.ChangeKind, _ membership.NodeID, err error) {
			counts.MemberChange(kind.String(), err)
		}},
	})
	if err != nil {
		return nil, err
	}
	return &peering{config: &c.peers, logger: logger, members: members, counts: counts}, nil
}

// apiAddress is where clients reach this node: where it listens or, where that is every address, at the host that peers reach.
func (c *serverConfig) apiAddress(ports *ports) string {
	host, port := c.grpcHost, strconv.Itoa(c.grpcPort)
	if ports.api != nil {
		if _, chosen, err := net.SplitHostPort(ports.api.Addr().String()); err == nil {
			port = chosen
		}
	}
	if reached, _, err := net.SplitHostPort(c.peers.peerAddr); err == nil && unspecified(host) {
		host = reached
	}
	return net.JoinHostPort(host, port)
}

// tell adds the peers to what the node is told. Members ask each other for what admin does here.
func (p *peering) tell(c cluster.Config, admin *here) cluster.Config {
	if p != nil {
		p.admin = admin
		c.Peers = &cluster.PeersConfig{Open: p.openPort, Register: p.register, ReadReplica: p.config.readReplica}
	}
	return c
}

// openPort opens the port for peers, once the node knows its id.
func (p *peering) openPort(nodeID string) (cluster.Port, error) {
	credentials, err := p.config.credentials(nodeID)
	if err != nil {
		return nil, err
	}
	p.shown = credentials
	listener, err := peer.Listen(context.Background(), listenOn(p.config.peerAddr, p.config.peerListen))
	if err != nil {
		return nil, portError(err, "peer")
	}
	p.port, err = peer.Open(peer.Config{
		NodeID: nodeID, Credentials: credentials, Listener: listener, Advertise: advertised(p.config.peerAddr, listener.Addr()), Logger: p.logger,
		Events: peer.Events{Refused: func(error) { p.counts.PeerRefused() }, Reloaded: p.counts.Certificates},
	})
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return p.port, nil
}

// register adds what members ask each other for to the port.
func (p *peering) register(node *cluster.Node, to grpc.ServiceRegistrar) {
	p.members.Register(node, to)
	p.admin.node = node
	graphgrpc.RegisterClusterServiceServer(to, rpc.PeerClusterService(p.admin))
}

// fits refuses to run a member of a cluster of several without a way to the others: it would wait for them for ever.
func (p *peering) fits(node *cluster.Node) error {
	c, err := node.Configuration()
	if err != nil || p != nil || len(c.Servers) < 2 {
		return err
	}
	return fmt.Errorf("the data folder is that of %s, one of %d members of a cluster: start it with memory-graph server, --peer-addr and the secret of the cluster; "+
		"if most of the others are lost for good, see memory-graph cluster recover --help", node.Identity().NodeID, len(c.Servers))
}

// start begins to gossip and to look after the members.
func (p *peering) start(node *cluster.Node) error {
	if p == nil {
		return nil
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	metadata, err := p.members.Metadata(node)
	if err != nil {
		return err
	}
	packets, streams, err := gossip.Listen(ctx, listenOn(p.config.gossipAddr, p.config.gossipListen))
	if err != nil {
		return portError(err, "gossip")
	}
	p.gossip, err = gossip.Open(ctx, gossip.Config{
		NodeID: node.Identity().NodeID, Metadata: metadata, Secrets: p.config.secrets, Packets: packets, Streams: streams,
		Advertise: p.config.gossipAddr, Seeds: p.config.join, Logger: p.logger,
	})
	if err != nil {
		return err
	}
	if err := p.members.Start(node, p.gossip); err != nil {
		return err
	}
	p.admin.members = p.members
	p.watching.Go(func() { p.watchSecrets(ctx) })
	return nil
}

// close ends all but the port, which is the node's. Members hear that this node goes.
func (p *peering) close() error {
	if p == nil {
		return nil
	}
	p.members.Close()
	if p.stop != nil {
		p.stop()
	}
	p.watching.Wait()
	if p.gossip == nil {
		return nil
	}
	if err := p.gossip.Leave(); err != nil {
		p.logger.Info("not every other node has heard that this one goes; they find out", "error", err)
	}
	return p.gossip.Close()
}

// watchSecrets reads the file of secrets again when it changes, and when the process is told to (SIGHUP). What cannot be used
// changes nothing.
func (p *peering) watchSecrets(ctx context.Context) {
	hangup, release := onHangup()
	defer release()
	tick := time.NewTicker(secretsInterval)
	defer tick.Stop()
	told := ""
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-hangup:
			asked = true
		}
		switch changed, err := p.rereadSecrets(); {
		case err != nil && (asked || err.Error() != told):
			told = err.Error()
			p.counts.Secrets(err)
			p.logger.Warn("the secrets of the cluster stay as they are", "error", err)
		case changed:
			told = ""
			p.counts.Secrets(nil)
			p.logger.Info("secrets of the cluster were read again", "accepted", len(p.config.secrets))
		case asked:
			p.logger.Info("the secrets of the cluster have not changed")
		}
	}
}

// rereadSecrets takes the file's secrets into use when they are others.
func (p *peering) rereadSecrets() (changed bool, err error) {
	if p.config.secretFile == "" {
		return false, nil
	}
	secrets, err := readSecrets(p.config.secretFile)
	if err != nil || slices.EqualFunc(secrets, p.config.secrets, secret.Secret.Equal) {
		return false, err
	}
	err = p.gossip.SetSecrets(secrets)
	if !p.config.ownCertificates() { // those are read again by the port itself
		err = errors.Join(err, p.port.SetSecrets(secrets))
	}
	if err != nil {
		return false, err
	}
	p.config.secrets = secrets
	return true, nil
}

// expires is when the certificate that this node shows to peers ends; zero for one made of a secret, and without peers.
func (p *peering) expires() time.Time {
	if p == nil || p.shown == nil || !p.config.ownCertificates() {
		return time.Time{}
	}
	return p.shown.Expires()
}

// describe is what the ready line tells of the peers.
func (p *peering) describe() string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("peer=%s gossip=%s ", p.port.Address(), p.gossip.Address())
}

// listenOn is what to listen on for an address under which a node is reached: on it, when it is one of a machine; on every
// address, when it is a name, which may not be known yet.
func listenOn(reached, listen string) string {
	if listen != "" {
		return listen
	}
	host, port, err := net.SplitHostPort(reached)
	if err == nil && net.ParseIP(host) == nil && host != "localhost" {
		return net.JoinHostPort("", port)
	}
	return reached
}

// advertised is the address to tell others: as configured, but for a port that the system has chosen.
func advertised(reached string, listening net.Addr) string {
	host, port, err := net.SplitHostPort(reached)
	if err != nil || port != "0" {
		return reached
	}
	_, port, err = net.SplitHostPort(listening.String())
	if err != nil {
		return reached
	}
	return net.JoinHostPort(host, port)
}

// portError says which flag would help.
func portError(err error, what string) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w; choose another port with --%s-addr or --%s-listen", err, what, what)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w; choose a port above 1023 with --%s-addr or --%s-listen", err, what, what)
	}
	return fmt.Errorf("%w; name an address of this machine with --%s-listen", err, what)
}
