package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer"
)

// certified makes an authority and a certificate of it for each URI, and returns the flags that name each.
func certified(t *testing.T, uris ...string) (flags [][]string) {
	t.Helper()
	folder := t.TempDir()
	file := func(name, kind string, der []byte) string {
		path := filepath.Join(folder, name)
		writeFile(t, path, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
		return path
	}
	template := func(n int64) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: "a test"},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), BasicConstraintsValid: true,
		}
	}
	sign := func(c, parent *x509.Certificate, public, signer any) []byte {
		der, err := x509.CreateCertificate(rand.Reader, c, parent, public, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	authority := template(1)
	authority.IsCA, authority.KeyUsage = true, x509.KeyUsageCertSign
	public, signer, _ := ed25519.GenerateKey(rand.Reader)
	ca := file("ca.pem", "CERTIFICATE", sign(authority, authority, public, signer))
	for i, uri := range uris {
		who, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		c := template(int64(i) + 2)
		c.URIs, c.KeyUsage = []*url.URL{who}, x509.KeyUsageDigitalSignature
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		public, private, _ := ed25519.GenerateKey(rand.Reader)
		key, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		name := string(rune('a' + i))
		flags = append(flags, []string{
			"--peer-cert", file(name+".pem", "CERTIFICATE", sign(c, authority, public, signer)), "--peer-key", file(name+".key", "PRIVATE KEY", key), "--peer-ca", ca,
		})
	}
	return flags
}

// TestOwnCertificates: nodes with certificates of one authority make a cluster; a client's certificate of it opens nothing.
func TestOwnCertificates(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secret, goodSecret+"\n")
	flags := certified(t, peer.NodeRole+"n1", peer.NodeRole+"n2", "spiffe://memory-graph/client/ada")
	n1 := startHere(t, nil, "server", nodeFlags(t, "n1", secret, append(flags[0], "--bootstrap-expect", "1")...)...)
	n2 := startHere(t, nil, "server", nodeFlags(t, "n2", secret, append(flags[1], "--join", n1.gossip)...)...)
	if _, ok := statusOf(t, n2).find("n1"); !ok {
		t.Errorf("members: %+v", statusOf(t, n2))
	}
	r := serverRun(t, nil, nodeFlags(t, "n3", secret, append(flags[2], "--join", n1.gossip)...)...)
	if r.code != exitUsage || !strings.Contains(r.err, "not one of a node") {
		t.Errorf("a client's certificate: exit code %d\n%s", r.code, r.err)
	}
}
