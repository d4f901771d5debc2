package main

import (
	"encoding/json"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// nodeFlags are those of a node with peers on ports that are free.
func nodeFlags(t *testing.T, name, secret string, more ...string) []string {
	t.Helper()
	return on(filepath.Join(t.TempDir(), "data"), append([]string{
		"--node-id", name, "--peer-addr", "127.0.0.1:0", "--gossip-addr", "127.0.0.1:0", "--cluster-secret-file", secret,
		"--raft-timing", "wan", // on a busy machine leaders are silent for a while
	}, more...)...)
}

// statusOf is what a node tells of its cluster.
func statusOf(t *testing.T, s *devServer) clusterStatus {
	t.Helper()
	var told clusterStatus
	if err := json.Unmarshal([]byte(s.must(t, "cluster", "status", "-o", "json")), &told); err != nil {
		t.Fatal(err)
	}
	return told
}

// find is a member by the name that it was started with.
func (c clusterStatus) find(name string) (clusterMember, bool) {
	i := slices.IndexFunc(c.Members, func(m clusterMember) bool { return strings.HasPrefix(m.ID, name+"-") })
	if i < 0 {
		return clusterMember{}, false
	}
	return c.Members[i], true
}

// eventually asks until a claim holds.
func eventually(t *testing.T, what string, holds func() bool, logs ...*devServer) {
	t.Helper()
	patience := time.After(5 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-patience:
			for _, s := range logs {
				t.Log(s.err)
			}
			t.Fatalf("it never came to be: %s", what)
		}
	}
}

// TestAServerGrowsIntoACluster: what dev has stored becomes the first node of a cluster; another joins; each of them takes every
// call; the secret is replaced while they run.
func TestAServerGrowsIntoACluster(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	old, next := goodSecret+"-old", goodSecret+"-new"
	writeFile(t, secret, old+"\n")

	flags := nodeFlags(t, "n1", secret)
	before := startDev(t, flags[:6]...)
	before.must(t, "session", "create", "--metadata", "user=ada")
	before.stop(t)
	n1 := startHere(t, nil, "server", flags...)
	if n1.peer == "" || n1.gossip == "" {
		t.Fatalf("the ready line names no ports for peers: %s", n1.out)
	}
	n2 := startHere(t, nil, "server", nodeFlags(t, "n2", secret, "--join", n1.gossip)...)
	both := []*devServer{n1, n2}
	if out := n2.must(t, "session", "list"); !strings.Contains(out, "user=ada") {
		t.Errorf("what was stored before is not on the new node: %s", out)
	}
	told := statusOf(t, n2)
	if m, ok := told.find("n2"); !ok || m.Role != "non-voter" || m.State != "follower" || m.Address != n2.peer || len(told.Members) != 2 {
		t.Errorf("the new node says %+v", told)
	}

	m2, _ := told.find("n2")
	n2.must(t, "cluster", "promote", m2.ID)
	if m, _ := statusOf(t, n1).find("n2"); m.Role != "voter" {
		t.Errorf("promoted: %+v", m)
	}
	n2.must(t, "session", "create", "--metadata", "user=bob")
	if out := n1.must(t, "session", "list"); !strings.Contains(out, "user=bob") {
		t.Errorf("what was written through the follower is not on the leader: %s", out)
	}
	n2.must(t, "cluster", "digest", "--timeout", "1m")
	if out := n2.must(t, "cluster", "members"); !strings.Contains(out, n1.api) || !strings.Contains(out, n2.api) {
		t.Errorf("members do not tell where clients reach them: %s", out)
	}

	rotate(t, secret, old, next, both)
	n3 := startHere(t, nil, "server", nodeFlags(t, "n3", secret, "--join", n2.gossip, "--read-replica")...)
	m3, ok := statusOf(t, n3).find("n3")
	if !ok {
		t.Fatalf("a node with the new secret is no member: %+v", statusOf(t, n3))
	}

	// Orders go to whoever can carry them out, and say why nobody can.
	eventually(t, "the others hear of the new leader", func() bool {
		if statusOf(t, n3).Leader == m2.ID {
			return true
		}
		execute(t, "", "cluster", "transfer-leader", m2.ID, "--address", n3.api) // also when an election undid it
		return false
	}, n1, n2, n3)
	n1.must(t, "cluster", "snapshot", m3.ID)
	n3.must(t, "cluster", "remove", m2.ID)
	eventually(t, "the leader that was removed is none", func() bool {
		now := statusOf(t, n3)
		_, there := now.find("n2")
		return !there && now.Leader == told.Leader
	}, n1, n2, n3)
	if r := execute(t, "", "cluster", "promote", m3.ID, "--address", n1.api); r.code != exitFailed || !strings.Contains(r.err, "MEMBER_STATE") {
		t.Errorf("a read replica is promoted: %+v", r)
	}
	r := execute(t, "", "cluster", "remove", told.Leader, "--address", n3.api)
	if r.code != exitFailed || !strings.Contains(r.err, "QUORUM_AT_RISK") || !strings.Contains(r.err, "cluster health") {
		t.Errorf("the only voter is removed: %+v", r)
	}

	n1.stop(t)
	if r := dev(t, nil, flags[:6]...); r.code != exitFailed || !strings.Contains(r.err, "one of 2 members of a cluster") || !strings.Contains(r.err, "--peer-addr") {
		t.Errorf("a member starts without a way to the others: %+v", r)
	}
}

// rotate replaces the secret in the three steps of the documentation, and waits until the nodes have taken each.
func rotate(t *testing.T, path, old, next string, nodes []*devServer) {
	t.Helper()
	for step, text := range []string{old + "\n" + next, next + "\n" + old, next} {
		writeFile(t, path, text+"\n")
		for _, n := range nodes {
			eventually(t, "the secrets were read again", func() bool {
				return strings.Count(n.err.String(), "secrets of the cluster were read again") == step+1
			}, n)
		}
	}
	writeFile(t, path, "short\n")
	eventually(t, "a secret that cannot be used is told", func() bool {
		return strings.Contains(nodes[0].err.String(), "the secrets of the cluster stay as they are")
	}, nodes[0])
	if strings.Contains(nodes[0].err.String(), goodSecret) {
		t.Error("a secret is in the log")
	}
	writeFile(t, path, next+"\n")
}

func TestPortsOfPeersThatAreTaken(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secret, goodSecret+"\n")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, what := range []string{"peer", "gossip"} {
		r := serverRun(t, nil, nodeFlags(t, "n1", secret, "--bootstrap-expect", "1", "--"+what+"-addr", taken.Addr().String())...)
		if r.code != exitFailed || !strings.Contains(r.err, "choose another port with --"+what+"-addr") {
			t.Errorf("%s: %+v", what, r)
		}
	}
	r := serverRun(t, nil, nodeFlags(t, "n1", secret, "--bootstrap-expect", "1", "--peer-addr", "192.0.2.1:0")...)
	if r.code != exitFailed || !strings.Contains(r.err, "--peer-listen") {
		t.Errorf("%+v", r)
	}
}

func TestWhereANodeListens(t *testing.T) {
	for _, tt := range []struct{ reached, listen, want string }{
		{"10.0.0.1:5", "", "10.0.0.1:5"}, {"[::1]:5", "", "[::1]:5"}, {"n1.example:5", "", ":5"}, {"localhost:5", "", "localhost:5"}, {"n1:5", "0.0.0.0:6", "0.0.0.0:6"},
	} {
		if got := listenOn(tt.reached, tt.listen); got != tt.want {
			t.Errorf("%+v: got %s", tt, got)
		}
	}
	chosen := &net.TCPAddr{IP: net.IPv4zero, Port: 7}
	for reached, want := range map[string]string{"n1:5": "n1:5", "n1:0": "n1:7"} {
		if got := advertised(reached, chosen); got != want {
			t.Errorf("%s: got %s", reached, got)
		}
	}
	c := &serverConfig{grpcHost: "0.0.0.0", grpcPort: 50051, peers: peersConfig{peerAddr: "n1.example:50052"}}
	if got := c.apiAddress(&ports{}); got != "n1.example:50051" {
		t.Errorf("clients are told %s", got)
	}
	c.grpcHost = "10.0.0.1"
	if got := c.apiAddress(&ports{}); got != "10.0.0.1:50051" {
		t.Errorf("clients are told %s", got)
	}
}
