package peer

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// Files are an operator's own certificates, PEM all of them.
type Files struct {
	// Certificate of this node with what is between it and the authority, Key of it, Authorities that are accepted.
	Certificate, Key, Authorities string
	// Role is the URI that makes a certificate one of a node; one that ends in a slash is followed by the name of the node.
	// [NodeRole] when empty. A certificate of the same authority without it, of a client say, is refused.
	Role string
}

const maxFileBytes = 1 << 20

// FromFiles reads credentials. A [Port] reads them again when they have changed.
func FromFiles(f Files) (*Credentials, error) {
	if f.Role == "" {
		f.Role = NodeRole
	}
	c := &Credentials{role: f.Role, files: &f}
	if _, err := c.reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// reload reads the files again if one of them has changed, and tells whether it has. When they are not right together the
// error says why, and what there was stays. Credentials from secrets never change by it.
func (c *Credentials) reload() (changed bool, err error) {
	if c.files == nil {
		return false, nil
	}
	var text [3][]byte
	digest := sha256.New()
	for i, name := range []string{c.files.Certificate, c.files.Key, c.files.Authorities} {
		if text[i], err = readFile(name); err != nil {
			return false, fmt.Errorf("peer credentials: %w", err)
		}
		part := sha256.Sum256(text[i])
		digest.Write(part[:])
	}
	version := string(digest.Sum(nil))
	if c.isVersion(version) {
		return false, nil
	}
	m, err := fromPEM(text[0], text[1], text[2], c.role)
	if err != nil {
		return false, fmt.Errorf("peer credentials %s: %w", c.files.Certificate, err)
	}
	c.set(m, version)
	return true, nil
}

func (c *Credentials) isVersion(version string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.version == version
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFileBytes {
		return nil, fmt.Errorf("%s has %d bytes, at most %d", name, info.Size(), maxFileBytes)
	}
	return os.ReadFile(name)
}

func fromPEM(certificate, key, authorities []byte, role string) (*material, error) {
	leaf, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authorities) {
		return nil, errors.New("the file of authorities has no certificate")
	}
	return newMaterial(leaf, pool, role)
}
