package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
)

// Ports of a node for its peers.
const (
	defaultPeerPort   = "50052"
	defaultGossipPort = "50053"
)

// Variables with the secret of a cluster, and with a file of them.
const (
	clusterSecret     = "CLUSTER_SECRET"
	clusterSecretFile = "CLUSTER_SECRET_FILE"
)

// maxExpected bounds the nodes that found a cluster together.
const maxExpected = 9

// nodeNames are the names that a node may have: labels of host names.
var nodeNames = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// peersConfig is what the operator of a node with peers may set.
type peersConfig struct {
	nodeID                   string
	peerAddr, peerListen     string
	gossipAddr, gossipListen string
	join                     []string
	expect                   int
	readReplica              bool
	timing                   raftTiming
	secretFile               string
	// certificates are the operator's own, for the port of peers; without them they are made of the secret.
	certificates peer.Files
	// secrets are those of the file or the variable; the first signs. secretsError is why there are none.
	secrets        []secret.Secret
	secretsFromEnv bool
	secretsError   error
}

func (c *peersConfig) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.nodeID, "node-id", "", "first part of the node's id when its folder is new: a-z, 0-9 and hyphens; the host's name if empty (NODE_ID)")
	f.StringVar(&c.peerAddr, "peer-addr", "", "host:port under which peers reach this node, port "+defaultPeerPort+" if left out; without one it has no peers (PEER_ADDR)")
	f.StringVar(&c.peerListen, "peer-listen", "", "host:port to listen on for peers; if empty the --peer-addr, on every address when that is a name (PEER_LISTEN)")
	f.StringVar(&c.gossipAddr, "gossip-addr", "", "host:port of gossip, TCP and UDP; if empty the host of --peer-addr and port "+defaultGossipPort+" (GOSSIP_ADDR)")
	f.StringVar(&c.gossipListen, "gossip-listen", "", "host:port to listen on for gossip; if empty the --gossip-addr, on every address when that is a name (GOSSIP_LISTEN)")
	f.StringSliceVar(&c.join, "join", nil, "gossip addresses of other nodes, separated by commas, port "+defaultGossipPort+" if left out; a name may have several addresses (JOIN)")
	f.IntVar(&c.expect, "bootstrap-expect", 0, "how many nodes found a new cluster together; 0 for joining one that is there (BOOTSTRAP_EXPECT)")
	f.BoolVar(&c.readReplica, "read-replica", false, "have all data and serve reads, but never vote (READ_REPLICA)")
	f.Var(&c.timing, "raft-timing", "lan for nodes in one place, wan for nodes far apart: how soon a silent leader is replaced (RAFT_TIMING)")
	f.StringVar(&c.secretFile, "cluster-secret-file", "", "file with the secrets of the cluster, one a line: the first is used, all are accepted ("+clusterSecretFile+", or "+clusterSecret+")")
	f.StringVar(&c.certificates.Certificate, "peer-cert", "", "PEM file with this node's own certificate for the port of peers; it is made of the secret of the cluster if empty (PEER_CERT_PATH)")
	f.StringVar(&c.certificates.Key, "peer-key", "", "PEM file with the key of --peer-cert (PEER_KEY_PATH)")
	f.StringVar(&c.certificates.Authorities, "peer-ca", "", "PEM file with the authorities whose nodes are let in (PEER_CA_CERT_PATH)")
	f.StringVar(&c.certificates.Role, "peer-role", peer.NodeRole, "URI in a certificate that makes it one of a node; one that ends in a slash is followed by any name (PEER_ROLE)")
	for _, file := range []string{"cluster-secret-file", "peer-cert", "peer-key", "peer-ca"} {
		_ = cmd.MarkFlagFilename(file)
	}
	_ = cmd.RegisterFlagCompletionFunc("raft-timing", cobra.FixedCompletions([]string{timingLAN, timingWAN}, cobra.ShellCompDirectiveNoFileComp))
}

// wanted says whether the node has peers: whoever sets anything that is about them wants them.
func (c *peersConfig) wanted() bool {
	return c.peerAddr != "" || c.peerListen != "" || c.gossipAddr != "" || c.gossipListen != "" || len(c.join) > 0 ||
		c.expect != 0 || c.readReplica || c.secretFile != "" || c.secretsFromEnv || c.ownCertificates()
}

// ownCertificates says whether the operator brings certificates for the port of peers.
func (c *peersConfig) ownCertificates() bool {
	f := c.certificates
	return f.Certificate != "" || f.Key != "" || f.Authorities != ""
}

// credentials open the port of peers.
func (c *peersConfig) credentials(nodeID string) (*peer.Credentials, error) {
	if c.ownCertificates() {
		return peer.FromFiles(c.certificates)
	}
	return peer.FromSecrets(nodeID, c.secrets)
}

// checkCertificates: all of the three files are there and fit, or none is named.
func (c *peersConfig) checkCertificates() error {
	if !c.ownCertificates() {
		return nil
	}
	f := c.certificates
	for _, file := range []struct{ flag, path string }{{"peer-cert", f.Certificate}, {"peer-key", f.Key}, {"peer-ca", f.Authorities}} {
		if file.path == "" {
			return fmt.Errorf("--%s is missing: --peer-cert, --peer-key and --peer-ca go together", file.flag)
		}
	}
	_, err := peer.FromFiles(f)
	return err
}

// derive fills what follows from other settings, and says so.
func (c *peersConfig) derive(from origins) {
	if c.nodeID == "" {
		c.nodeID, from["node-id"] = hostLabel(), "default, from the name of this host"
	}
	if !c.wanted() {
		return
	}
	if c.gossipAddr == "" && c.peerAddr != "" {
		if host, _, err := splitAddress(c.peerAddr, defaultPeerPort); err == nil {
			c.gossipAddr, from["gossip-addr"] = net.JoinHostPort(host, defaultGossipPort), "default, from peer-addr"
		}
	}
	for _, a := range []struct {
		value *string
		port  string
	}{{&c.peerAddr, defaultPeerPort}, {&c.peerListen, defaultPeerPort}, {&c.gossipAddr, defaultGossipPort}, {&c.gossipListen, defaultGossipPort}} {
		if host, port, err := splitAddress(*a.value, a.port); err == nil {
			*a.value = net.JoinHostPort(host, port)
		}
	}
	for i, a := range c.join {
		if host, port, err := splitAddress(a, defaultGossipPort); err == nil {
			c.join[i] = net.JoinHostPort(host, port)
		}
	}
}

// hostLabel is the name of this host as a node may have it, or a name for one that cannot be named so.
func hostLabel() string {
	host, _ := os.Hostname() // a host without a name has the same node name as any
	label, _, _ := strings.Cut(strings.ToLower(host), ".")
	if !nodeNames.MatchString(label) {
		return "node"
	}
	return label
}

// read takes in the secrets; validate reports what is wrong with them.
func (c *peersConfig) read(getenv func(string) string) {
	inline := getenv(clusterSecret)
	c.secretsFromEnv = inline != ""
	switch {
	case c.secretsFromEnv && c.secretFile != "":
		c.secretsError = fmt.Errorf("%s and --cluster-secret-file (%s) are both set: keep one", clusterSecret, clusterSecretFile)
	case c.secretsFromEnv:
		if c.secrets, c.secretsError = parseSecrets(inline); c.secretsError != nil {
			c.secretsError = fmt.Errorf("%s: %w", clusterSecret, c.secretsError)
		}
	case c.secretFile != "":
		c.secrets, c.secretsError = readSecrets(c.secretFile)
	}
}

// validate reports every problem at once. Without peers there is none but with the name.
func (c *peersConfig) validate(server *serverConfig) error {
	var problems []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	add(!nodeNames.MatchString(c.nodeID), "--node-id %q is no name: want 1 to 63 of a-z, 0-9 and hyphens inside", c.nodeID)
	if !c.wanted() {
		return errors.Join(problems...)
	}
	add(c.peerAddr == "", "--peer-addr (PEER_ADDR) is missing: name the address under which the other nodes reach this one, as in --peer-addr 10.0.0.1:%s", defaultPeerPort)
	add(c.expect < 0 || c.expect > maxExpected, "--bootstrap-expect is %d, use 0 to %d", c.expect, maxExpected)
	add(c.expect > 0 && c.readReplica, "--bootstrap-expect and --read-replica exclude each other: a read replica founds no cluster")
	for _, a := range []struct {
		flag, value, port string
		reached           bool
	}{
		{"peer-addr", c.peerAddr, defaultPeerPort, true}, {"peer-listen", c.peerListen, defaultPeerPort, false},
		{"gossip-addr", c.gossipAddr, defaultGossipPort, true}, {"gossip-listen", c.gossipListen, defaultGossipPort, false},
	} {
		if a.value != "" {
			problems = append(problems, checkAddress(a.flag, a.value, a.port, a.reached))
		}
	}
	for _, a := range c.join {
		problems = append(problems, checkAddress("join", a, defaultGossipPort, true))
	}
	problems = append(problems, c.checkSecrets(), c.checkCertificates(), c.checkReach(), c.checkBeginning(server))
	return errors.Join(problems...)
}

// checkSecrets: a node that has peers has a secret that all of them share.
func (c *peersConfig) checkSecrets() error {
	if c.secretsError != nil {
		return c.secretsError
	}
	if len(c.secrets) > 0 {
		return nil
	}
	return fmt.Errorf("a node with peers needs the secret that all of them share: make one with `memory-graph cluster secret > cluster.secret` "+
		"(or `openssl rand -base64 48 > cluster.secret`), copy it to every node, and name it with --cluster-secret-file, %s or %s", clusterSecretFile, clusterSecret)
}

// checkReach: others cannot reach an address that every machine has.
func (c *peersConfig) checkReach() error {
	if !loopbackHost(c.peerAddr) {
		return nil
	}
	for _, a := range c.join {
		if !loopbackHost(a) {
			return fmt.Errorf("--peer-addr %s is on loopback, where %s cannot reach it: name the address of this machine", c.peerAddr, a)
		}
	}
	return nil
}

// checkBeginning: a new folder needs somebody to join, or nodes to found a cluster with.
func (c *peersConfig) checkBeginning(server *serverConfig) error {
	if c.expect != 0 || len(c.join) > 0 {
		return nil
	}
	meta, err := identity.Load(identity.Folder(server.dataDir))
	isNew := errors.Is(err, identity.ErrNone) || errors.Is(err, fs.ErrNotExist) || err == nil && meta.Waits()
	if !isNew {
		return nil // it goes on as what it was, or says what is wrong with the folder
	}
	return errors.New("a new node with peers needs to know how to begin: --join with the gossip address of another node, " +
		"--bootstrap-expect with how many nodes found the cluster together (3), or both; --bootstrap-expect 1 begins a cluster that others join")
}

// checkAddress says what is wrong with host:port. One that is to be reached names a machine.
func checkAddress(flag, value, port string, reached bool) error {
	host, digits, err := splitAddress(value, port)
	if err != nil {
		return fmt.Errorf("--%s %q: %w", flag, value, err)
	}
	if n, err := strconv.ParseUint(digits, 10, 16); err != nil || n == 0 && flag == "join" {
		return fmt.Errorf("--%s %q: the port must be 1 to 65535", flag, value)
	}
	if reached && (host == "" || unspecified(host)) {
		return fmt.Errorf("--%s %q names no machine: give the name or address under which other nodes reach it; what to listen on has a flag of its own", flag, value)
	}
	return nil
}

// splitAddress reads host:port, or a host alone, which has the given port.
func splitAddress(address, port string) (host, digits string, err error) {
	switch {
	case address == "":
		return "", "", errors.New("is empty")
	case net.ParseIP(strings.Trim(address, "[]")) != nil:
		return strings.Trim(address, "[]"), port, nil
	case !strings.Contains(address, ":"):
		return address, port, nil
	}
	if host, digits, err = net.SplitHostPort(address); err != nil {
		return "", "", errors.New("want host:port")
	}
	return host, digits, nil
}

// loopbackHost says whether only this machine reaches an address.
func loopbackHost(address string) bool {
	host, _, err := splitAddress(address, defaultPeerPort)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// Names of the timings of Raft.
const (
	timingLAN = "lan"
	timingWAN = "wan"
)

// raftTiming is the flag that says how far apart the nodes are; empty is lan.
type raftTiming string

func (t *raftTiming) Type() string { return "timing" }

func (t *raftTiming) String() string {
	if *t == "" {
		return timingLAN
	}
	return string(*t)
}

// Set takes lan or wan.
func (t *raftTiming) Set(v string) error {
	if v != timingLAN && v != timingWAN {
		return fmt.Errorf("%q is unknown: use %s or %s", v, timingLAN, timingWAN)
	}
	*t = raftTiming(v)
	return nil
}

func (t raftTiming) timing() cluster.Timing {
	if t == timingWAN {
		return cluster.WAN()
	}
	return cluster.LAN()
}
