package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
)

var goodSecret = strings.Repeat("s", secret.MinBytes)

// withPeers are the flags of a node that has peers and lacks nothing.
func withPeers(t *testing.T, more ...string) []string {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secret, goodSecret+"\n")
	return append([]string{"--data-dir", filepath.Join(t.TempDir(), "data"), "--node-id", "n1", "--peer-addr", "127.0.0.1:0", "--gossip-addr", "127.0.0.1:0",
		"--cluster-secret-file", secret, "--print-config"}, more...)
}

func TestPeersThatCannotBe(t *testing.T) {
	tests := []struct {
		name string
		env  map[string]string
		args []string
		want string
	}{
		{"no address", nil, []string{"--peer-addr", "", "--bootstrap-expect", "3"}, "--peer-addr (PEER_ADDR) is missing"},
		{"no secret", nil, []string{"--cluster-secret-file", "", "--bootstrap-expect", "3"}, "memory-graph cluster secret > cluster.secret"},
		{"no secret, the other way", nil, []string{"--cluster-secret-file", "", "--bootstrap-expect", "3"}, "openssl rand -base64 48"},
		{"two secrets", map[string]string{clusterSecret: goodSecret}, []string{"--bootstrap-expect", "3"}, "are both set"},
		{"short secret", map[string]string{clusterSecret: "canary"}, []string{"--cluster-secret-file", "", "--bootstrap-expect", "3"}, "CLUSTER_SECRET: line 1: unfit cluster secret: it has 6 bytes"},
		{"no file of secrets", nil, []string{"--cluster-secret-file", "none", "--bootstrap-expect", "3"}, "no such file"},
		{"nothing to begin with", nil, nil, "needs to know how to begin"},
		{"name", nil, []string{"--node-id", "N 1", "--bootstrap-expect", "3"}, "--node-id \"N 1\" is no name"},
		{"replica that founds", nil, []string{"--read-replica", "--bootstrap-expect", "3"}, "exclude each other"},
		{"too few", nil, []string{"--bootstrap-expect", "-1"}, "--bootstrap-expect is -1"},
		{"too many", nil, []string{"--bootstrap-expect", "10"}, "--bootstrap-expect is 10"},
		{"every address", nil, []string{"--peer-addr", "0.0.0.0:1", "--bootstrap-expect", "3"}, "names no machine"},
		{"no host", nil, []string{"--gossip-addr", ":1", "--bootstrap-expect", "3"}, "names no machine"},
		{"port", nil, []string{"--peer-addr", "a:b", "--bootstrap-expect", "3"}, "the port must be"},
		{"port 0 of another", nil, []string{"--join", "a:0"}, "--join \"a:0\": the port must be"},
		{"colons", nil, []string{"--join", "a:1:2"}, "--join \"a:1:2\": want host:port"},
		{"out of reach", nil, []string{"--join", "10.0.0.2"}, "on loopback, where 10.0.0.2:50053 cannot reach it"},
		{"certificate alone", nil, []string{"--peer-cert", "a.pem", "--bootstrap-expect", "3"}, "--peer-key is missing: --peer-cert, --peer-key and --peer-ca go together"},
		{"certificates that are not there", nil, []string{"--peer-cert", "a.pem", "--peer-key", "a.key", "--peer-ca", "ca.pem", "--bootstrap-expect", "3"}, "no such file"},
		{"timing", nil, []string{"--raft-timing", "moon"}, "use lan or wan"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := serverRun(t, tt.env, withPeers(t, tt.args...)...)
			if r.code != exitUsage || !strings.Contains(r.err, tt.want) || strings.Contains(r.err+r.out, "canary") {
				t.Errorf("exit code %d, %q is missing in\n%s", r.code, tt.want, r.err)
			}
		})
	}
}

func TestEveryProblemOfPeersIsReportedAtOnce(t *testing.T) {
	r := serverRun(t, nil, "--bootstrap-expect", "99", "--join", "x:y", "--node-id", "-", "--gossip-listen", "a:b:c", "--grpc-port", "-1")
	for _, want := range []string{"--bootstrap-expect is 99", `--join "x:y"`, `--node-id "-"`, "--gossip-listen", "--peer-addr (PEER_ADDR) is missing", "needs the secret", "--grpc-port: -1"} {
		if !strings.Contains(r.err, want) {
			t.Errorf("%q is missing in\n%s", want, r.err)
		}
	}
}

func TestPeersThatCanBe(t *testing.T) {
	for name, args := range map[string][]string{
		"founds with others":     {"--bootstrap-expect", "3", "--join", "127.0.0.2,127.0.0.3:7"},
		"founds, others join":    {"--bootstrap-expect", "1"},
		"joins":                  {"--join", "localhost"},
		"read replica":           {"--read-replica", "--join", "127.0.0.2"},
		"name, listens anywhere": {"--peer-addr", "n1.example", "--peer-listen", "0.0.0.0:1", "--gossip-listen", ":2", "--join", "nodes.example"},
		"IPv6":                   {"--peer-addr", "::1", "--gossip-addr", "[::1]:9", "--join", "::1"},
		"far apart":              {"--bootstrap-expect", "3", "--raft-timing", "wan"},
	} {
		if r := serverRun(t, nil, withPeers(t, args...)...); r.code != exitOK {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if got := raftTiming(timingWAN).timing(); got != cluster.WAN() {
		t.Errorf("wan is %+v", got)
	}
}

// TestANodeWithDataNeedsNoBeginning: it goes on where it was.
func TestANodeWithDataNeedsNoBeginning(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	startDev(t, on(folder)...).stop(t)
	if r := serverRun(t, nil, withPeers(t, "--data-dir", folder)...); r.code != exitOK {
		t.Errorf("%+v", r)
	}
}

func TestANodeWithoutPeersTakesNoSecret(t *testing.T) {
	for name, value := range map[string]string{clusterSecret: goodSecret, clusterSecretFile: "canary"} {
		r := dev(t, map[string]string{name: value}, on(t.TempDir())...)
		if r.code != exitUsage || !strings.Contains(r.err, name+" is set, but this node has no peers") || strings.Contains(r.err, value) {
			t.Errorf("%+v", r)
		}
	}
}

func TestSecrets(t *testing.T) {
	got, err := parseSecrets("\n " + goodSecret + " \r\n\n" + goodSecret + "2\n")
	if err != nil || len(got) != 2 {
		t.Errorf("%d secrets, %v", len(got), err)
	}
	for text, want := range map[string]string{"": "there is none", goodSecret + "\ncanary": "line 2: ", "canary": "memory-graph cluster secret"} {
		if _, err := parseSecrets(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%.10q: %v, want %q", text, err, want)
		}
	}
	a, err := newSecret()
	b, other := newSecret()
	if err != nil || other != nil || a == b || len(a) < secret.MinBytes {
		t.Errorf("%v, %v, %v", err, other, a == b)
	}
}
