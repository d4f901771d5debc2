package peer

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
)

const (
	authorityName = "memory-graph peer authority"
	serialBits    = 120
)

// Certificates that are made from a secret are valid for all of X.509's time: whoever has the secret can make another one, so their
// end would protect nobody, and a node whose clock is wrong must still be able to hear that it is.
func beginning() time.Time { return time.Unix(0, 0).UTC() }
func end() time.Time       { return time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }

// fromSecrets makes an authority of each secret and a fresh leaf of the first.
func fromSecrets(nodeID string, secrets []secret.Secret) (*material, error) {
	if err := secret.Check(secrets); err != nil {
		return nil, err
	}
	if nodeID == "" {
		return nil, errors.New("node id is empty")
	}
	pool := x509.NewCertPool()
	var signer authority
	for i, s := range secrets {
		a, err := newAuthority(s)
		if err != nil {
			return nil, err
		}
		pool.AddCert(a.certificate)
		if i == 0 {
			signer = a
		}
	}
	leaf, err := signer.sign(nodeID)
	if err != nil {
		return nil, err
	}
	return newMaterial(leaf, pool, NodeRole)
}

// newMaterial checks that others would take the leaf as we would take theirs.
func newMaterial(leaf tls.Certificate, authorities *x509.CertPool, role string) (*material, error) {
	m := &material{leaf: leaf, authorities: authorities, role: role}
	for _, der := range leaf.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		m.chain = append(m.chain, c)
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if err := m.verify(m.chain, use); err != nil {
			return nil, fmt.Errorf("own certificate: %w", err)
		}
	}
	return m, nil
}

// authority is what every node that has the secret derives from it.
type authority struct {
	key         ed25519.PrivateKey
	certificate *x509.Certificate
}

func newAuthority(s secret.Secret) (authority, error) {
	key := ed25519.NewKeyFromSeed(s.Key(secret.PeerAuthority))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: authorityName},
		NotBefore: beginning(), NotAfter: end(),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return authority{}, fmt.Errorf("make authority: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return authority{}, fmt.Errorf("make authority: %w", err)
	}
	return authority{key, certificate}, nil
}

// sign makes a certificate with the role of a node, over a key that is made here and stays in this process.
func (a authority) sign(nodeID string) (tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make serial number: %w", err)
	}
	uri, err := url.Parse(NodeRole + url.PathEscape(nodeID))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("node id %q: %w", nodeID, err)
	}
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: pkix.Name{CommonName: nodeID},
		NotBefore: beginning(), NotAfter: end(), URIs: []*url.URL{uri}, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, public, a.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, nil
}
