package peer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
)

// NodeRole begins the URI that makes a certificate one of a node, unless another role is configured; the rest of it names the node.
const NodeRole = "spiffe://memory-graph/node/"

// Protocols of the port, told apart by ALPN.
const (
	raftProtocol = "mg-raft/1"
	grpcProtocol = "h2"
)

// ErrNotANode is what the errors about certificates without the role of a node are.
var ErrNotANode = errors.New("the certificate is not one of a node")

// Credentials are what a node shows to others, and by what it knows them: made from secrets or from files. All of it may be
// called from any goroutine.
type Credentials struct {
	nodeID string
	role   string
	files  *Files

	mu      sync.RWMutex
	current *material
	// version of the files that current was read from.
	version string
}

// material is one set of credentials. It never changes.
type material struct {
	leaf tls.Certificate
	// chain is leaf's, parsed.
	chain       []*x509.Certificate
	authorities *x509.CertPool
	role        string
}

// FromSecrets makes the credentials of a node from the secrets of its cluster: the first signs, all are accepted. Every
// call makes a key that nobody else has.
func FromSecrets(nodeID string, secrets []secret.Secret) (*Credentials, error) {
	m, err := fromSecrets(nodeID, secrets)
	if err != nil {
		return nil, fmt.Errorf("peer credentials: %w", err)
	}
	return &Credentials{nodeID: nodeID, role: NodeRole, current: m}, nil
}

func (c *Credentials) setSecrets(secrets []secret.Secret) error {
	if c.files != nil {
		return errors.New("peer credentials: they are from files and not from secrets: replace the files")
	}
	m, err := fromSecrets(c.nodeID, secrets)
	if err != nil {
		return fmt.Errorf("peer credentials: %w", err)
	}
	c.set(m, "")
	return nil
}

func (c *Credentials) set(m *material, version string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.version = m, version
}

func (c *Credentials) get() *material {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.current
}

// Expires is when the certificate that this node shows ceases to be taken.
func (c *Credentials) Expires() time.Time { return c.get().chain[0].NotAfter }

// config is the TLS of one connection. Verifying is ours: nodes are known by their role and not by a host name. There are no
// session tickets, so every connection is authenticated by what is valid when it is made.
func (m *material) config(protocols ...string) *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{m.leaf},
		MinVersion:             tls.VersionTLS13,
		NextProtos:             protocols,
		SessionTicketsDisabled: true,
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // only of host names: VerifyConnection does the rest
	}
}

func (m *material) accepting() *tls.Config {
	c := m.config(raftProtocol, grpcProtocol)
	c.VerifyConnection = func(s tls.ConnectionState) error { return m.verifyState(s, x509.ExtKeyUsageClientAuth) }
	return c
}

func (m *material) dialling(protocol string) *tls.Config {
	c := m.config(protocol)
	c.VerifyConnection = func(s tls.ConnectionState) error { return m.verifyState(s, x509.ExtKeyUsageServerAuth) }
	return c
}

func (m *material) verifyState(s tls.ConnectionState, use x509.ExtKeyUsage) error {
	if s.NegotiatedProtocol != raftProtocol && s.NegotiatedProtocol != grpcProtocol {
		return fmt.Errorf("protocol %q is not spoken here", s.NegotiatedProtocol)
	}
	return m.verify(s.PeerCertificates, use)
}

// verify tells whether a chain is of an authority that is accepted now, and its first certificate one of a node.
func (m *material) verify(chain []*x509.Certificate, use x509.ExtKeyUsage) error {
	if len(chain) == 0 {
		return errors.New("it shows no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: m.authorities, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{use}})
	if err != nil {
		return fmt.Errorf("%w (have both nodes the same secret, or certificates of one authority?)", err)
	}
	if !slices.ContainsFunc(chain[0].URIs, func(u *url.URL) bool { return hasRole(u.String(), m.role) }) {
		return fmt.Errorf("%w: it has no URI %s", ErrNotANode, m.role)
	}
	return nil
}

// hasRole: a role that ends in a slash is followed by the name of a node, which has no slash; any other one is the whole URI.
func hasRole(uri, role string) bool {
	if !strings.HasSuffix(role, "/") {
		return uri == role
	}
	name, ok := strings.CutPrefix(uri, role)
	return ok && name != "" && !strings.Contains(name, "/")
}
