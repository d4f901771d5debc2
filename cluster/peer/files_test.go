package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/memnet"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
)

// pki is an operator's authority.
type pki struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	p := &pki{t: t, key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	p.cert = p.make(template, template, p.key, &p.key.PublicKey)
	return p
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (p *pki) make(template, parent *x509.Certificate, signer, public any) *x509.Certificate {
	p.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		p.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		p.t.Fatal(err)
	}
	return cert
}

func (p *pki) node(id string) *material { return p.certificate(NodeRole + id) }

// certificate makes one for a year, with an URI or without one.
func (p *pki) certificate(uri string) *material { return p.until(uri, time.Now().AddDate(1, 0, 0)) }

func (p *pki) until(uri string, end time.Time) *material {
	p.t.Helper()
	key := newKey(p.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "somebody"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if uri != "" {
		u, err := url.Parse(uri)
		if err != nil {
			p.t.Fatal(err)
		}
		template.URIs = []*url.URL{u}
	}
	leaf := p.make(template, p.cert, p.key, &key.PublicKey)
	pool := x509.NewCertPool()
	pool.AddCert(p.cert)
	return &material{
		leaf: tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}, chain: []*x509.Certificate{leaf}, authorities: pool, role: NodeRole,
	}
}

// write puts a certificate into the files of a folder; the authorities are this one and others.
func (p *pki) write(dir string, m *material, others ...*pki) Files {
	p.t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(m.leaf.PrivateKey)
	if err != nil {
		p.t.Fatal(err)
	}
	authorities := encode("CERTIFICATE", p.cert.Raw)
	for _, o := range others {
		authorities += encode("CERTIFICATE", o.cert.Raw)
	}
	f := Files{Certificate: filepath.Join(dir, "node.pem"), Key: filepath.Join(dir, "node.key"), Authorities: filepath.Join(dir, "ca.pem")}
	for name, text := range map[string]string{
		f.Certificate: encode("CERTIFICATE", m.leaf.Certificate[0]), f.Key: encode("PRIVATE KEY", key), f.Authorities: authorities,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	return f
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func (p *pki) files(t *testing.T, m *material) *Credentials {
	t.Helper()
	c, err := FromFiles(p.write(t.TempDir(), m))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestOwnCertificates: nodes with certificates of one authority talk, and take another role where one is configured.
func TestOwnCertificates(t *testing.T) {
	for _, c := range []struct{ name, role, uri string }{
		{"the usual role", "", NodeRole + "n1"},
		{"another role with a name", "spiffe://corp/graph/", "spiffe://corp/graph/n1"},
		{"one URI for all", "spiffe://corp/graph/peer", "spiffe://corp/graph/peer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, n := newPKI(t), memnet.New()
				open := func(id string) *Port {
					f := p.write(t.TempDir(), p.certificate(c.uri))
					f.Role = c.role
					credentials, err := FromFiles(f)
					if err != nil {
						t.Fatal(err)
					}
					port := openPort(t, n, id, credentials)
					port.SetCluster(ourCluster)
					return port
				}
				n1, n2 := open("n1"), open("n2")
				echo(t, n2)
				conn, err := n1.Streams().Dial("n2@n2:50052", time.Second)
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.Close()
				if err := n1.SetSecrets([]secret.Secret{newSecret(t, "a")}); err == nil {
					t.Error("certificates were replaced by a secret")
				}
			})
		})
	}
}

// TestFilesThatDoNotFitAreRefused: a node that others would not talk to does not start.
func TestFilesThatDoNotFitAreRefused(t *testing.T) {
	p := newPKI(t)
	for _, c := range []struct {
		name, want string
		spoil      func(f *Files)
	}{
		{"no file", "no such file", func(f *Files) { f.Key += "x" }},
		{"a key of another certificate", "private key does not match", func(f *Files) { f.Key = p.write(t.TempDir(), p.node("n2")).Key }},
		{"another authority", "unknown authority", func(f *Files) {
			other := newPKI(t)
			f.Authorities = other.write(t.TempDir(), other.node("n1")).Authorities
		}},
		{"no authority", "no certificate", func(f *Files) { f.Authorities = f.Key }},
		{"a client's", ErrNotANode.Error(), func(f *Files) { *f = p.write(t.TempDir(), p.certificate("")) }},
		{"one that has expired", "expired", func(f *Files) { *f = p.write(t.TempDir(), p.until(NodeRole+"n1", time.Now().Add(-time.Minute))) }},
		{"a huge file", "at most", func(f *Files) { _ = os.Truncate(f.Authorities, maxFileBytes+1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := p.write(t.TempDir(), p.node("n1"))
			c.spoil(&f)
			if _, err := FromFiles(f); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want something about %q", err, c.want)
			}
		})
	}
}

// TestCertificatesAreReplacedWhileRunning: a new one is shown, what a withdrawn authority let in is closed, and files that are not
// right together change nothing.
func TestCertificatesAreReplacedWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, n := newPKI(t), newPKI(t), memnet.New()
		dir := t.TempDir()
		credentials, err := FromFiles(first.write(dir, first.node("n2")))
		if err != nil {
			t.Fatal(err)
		}
		reloaded := make(chan error, 10)
		n2 := openPortAt(t, n.Host("n2"), Config{NodeID: "n2", Credentials: credentials, Events: Events{Reloaded: func(err error) { reloaded <- err }}})
		n2.SetCluster(ourCluster)
		echo(t, n2)
		n1 := openPort(t, n, "n1", first.files(t, first.node("n1")))
		n1.SetCluster(ourCluster)
		stream, err := n1.Streams().Dial("n2@n2:50052", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stream.Close() }()
		shown := func() string {
			c, err := n1.Streams().Dial("n2@n2:50052", time.Second)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			return string(c.(*connection).theirs[0].Raw)
		}
		before := shown()

		first.write(dir, first.node("n2"), second)
		if err := <-reloaded; err != nil {
			t.Fatal(err)
		}
		if shown() == before {
			t.Error("the old certificate is shown")
		}
		if _, err := say(stream, "hello"); err != nil {
			t.Errorf("a stream whose authority is still good: %v", err)
		}

		if err := os.WriteFile(filepath.Join(dir, "node.key"), []byte("rubbish"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := <-reloaded; err == nil {
			t.Error("rubbish was read as a key")
		}
		if _, err := say(stream, "hello"); err != nil {
			t.Errorf("with the old certificates: %v", err)
		}

		second.write(dir, second.node("n2"))
		if err := <-reloaded; err != nil {
			t.Fatal(err)
		}
		if _, err := say(stream, "hello"); err == nil {
			t.Error("a stream outlives the authority that let it in")
		}
		if _, err := n1.Streams().Dial("n2@n2:50052", time.Second); err == nil {
			t.Error("the withdrawn authority still lets in")
		}
	})
}

// TestAnExpiredCertificateLetsNobodyIn: at the time of the connection, and it is told why.
func TestAnExpiredCertificateLetsNobodyIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, n := newPKI(t), memnet.New()
		heard := make(chan error, 10)
		n2 := openPortAt(t, n.Host("n2"), Config{NodeID: "n2", Credentials: p.files(t, p.node("n2")), Events: Events{Refused: func(err error) { heard <- err }}})
		n2.SetCluster(ourCluster)
		echo(t, n2)
		short := p.files(t, p.until(NodeRole+"n1", time.Now().Add(time.Hour)))
		n1 := openPort(t, n, "n1", short)
		n1.SetCluster(ourCluster)
		if left := time.Until(short.Expires()); left <= 0 || left > time.Hour {
			t.Errorf("the certificate says that it expires in %v", left)
		}
		time.Sleep(2 * time.Hour)
		if _, err := n1.Streams().Dial("n2@n2:50052", time.Second); err == nil {
			t.Error("an expired certificate lets in")
		}
		var invalid x509.CertificateInvalidError
		if err := <-heard; !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
			t.Errorf("heard: %v", err)
		}
	})
}
