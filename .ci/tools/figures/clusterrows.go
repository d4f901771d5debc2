package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What a cluster was asked for. Rates are per second, times milliseconds.
const (
	clusterWrites, clusterBatched, followerReads = 6_000, 15_000, 10_000
	besideRate                                   = 2_000
	followerP99, subscribedP99                   = 15, 50
	timesPut, timesTxn, timesGet, timesNodes     = 0.7, 3, 1.5, 2.6
	cpuShare                                     = 0.3
	joinedWithin                                 = 3 * time.Minute
	joinedP99                                    = 2
	joinRate                                     = "500"
)

// Where a run sends its calls, as commands name it.
const (
	toLeader   = "LEADER"
	toFollower = "FOLLOWER"
	toAll      = "ALL"
)

func clusterRows(count int64) []row {
	return []row{
		{"AddPrompt, 256 clients, to the leader", "6,000/s", clusterWrite(clusterWrites, "256", toLeader)},
		{"AddPrompt, 256 clients, to all nodes", "–", clusterWrite(0, "256", toAll)},
		{"AddPrompt, 1,024 clients, to the leader", "–", clusterWrite(0, "1024", toLeader)},
		{"AddPrompt, 1,024 clients, to all nodes", "–", clusterWrite(0, "1024", toAll)},
		{"AddPrompt against a put of etcd, 256 clients", "0.7 ×", againstEtcd("etcd-put", "256", timesPut)},
		{"AddPrompt against a put of etcd, 1,024 clients", "0.7 ×", againstEtcd("etcd-put", "1024", timesPut)},
		{"AddPrompt against a transaction of etcd of as many keys as it has rows (23: one of 256 bytes, 22 of 32), 256 clients", "3 ×",
			againstEtcd("etcd-txn", "256", timesTxn)},
		{"BatchCreateNodes of 100", "15,000 nodes/s", inCluster(func(s *session, t *trio) (string, verdict, error) {
			r, err := s.on(t, toLeader, "batch", "--batch", "100")
			return perNode(r), judge(r.PerSecond >= clusterBatched), err
		})},
		{"GetNode from a follower, 64 clients, linearizable", "10,000/s", inCluster(func(s *session, t *trio) (string, verdict, error) {
			r, err := s.on(t, toFollower, "read", "--clients", "64")
			return perNode(r), judge(r.PerSecond >= followerReads), err
		})},
		{"the same while 2,000 writes/s run", "10,000/s, p99 < 15 ms", inCluster(besideWrites)},
		{"GetNode against a linearizable get of etcd, both from a follower, 64 clients", "1.5 ×", readsAgainstEtcd},
		{"one subscriber on each of three nodes, 2,000 writes/s", "each sees all, p99 < 50 ms after the acknowledgement", inCluster(subscribed("--rate", "2000"))},
		{"one subscriber on each of three nodes, 64 writers as fast as they can", "each sees all", inCluster(subscribed())},
		{"local reads of three nodes against one, each held to 0.3 CPU", "2.6 ×", heldBack},
		{"a new follower from zero, " + whole(float64(count)) + " nodes, " + joinRate + " writes/s", "< 3 min with 10,000,000; p99 of writes < 2 × quiet",
			inCluster(func(s *session, t *trio) (string, verdict, error) { return newFollower(s, t, count) })},
	}
}

// on runs a workload of memory-graph bench against nodes that run.
func (s *session) on(t *trio, to string, args ...string) (result, error) {
	var addresses, pids []string
	for _, n := range t.nodes {
		pids = append(pids, strconv.Itoa(n.pid()))
		if to == toAll || to == toLeader && n == t.leader || to == toFollower && n != t.leader && len(addresses) == 0 {
			addresses = append(addresses, n.address)
		}
	}
	if !slices.Contains(args, "--duration") && args[0] != "fill" {
		args = append(args, "--duration", s.bench.duration.String())
	}
	return s.check(s.run(s.bench.binary, append(append([]string{"bench"}, args...), "--address", to), "",
		"--address", strings.Join(addresses, ","), "--pid", strings.Join(pids, ","), "-o", "json"))
}

// inCluster runs a row on a cluster that is started for it.
func inCluster(measure func(*session, *trio) (string, verdict, error)) func(*session) (string, verdict, error) {
	return func(s *session) (figure string, met verdict, err error) {
		t, err := s.bench.ours(s.ctx)
		if err != nil {
			return "", no, err
		}
		defer func() { err = errors.Join(err, t.stop()) }()
		return measure(s, t)
	}
}

// perNode is what every figure of a cluster tells beside its rate.
func perNode(r result) string {
	text := whole(r.PerSecond) + "/s"
	if r.Operations == r.Calls {
		text += fmt.Sprintf("; p50 %s, p99 %s ms", short(r.Latency.P50), short(r.Latency.P99))
	}
	text += fmt.Sprintf("; %.1f µs CPU each and node; nodes %s cores; client %.2f", r.ServerCPU/max(1, float64(len(r.NodeCores))), cores(r), r.ClientCores)
	if r.Refused > 0 {
		text += fmt.Sprintf("; %d refused", r.Refused)
	}
	return text
}

func cores(r result) string {
	var each []string
	for _, c := range r.NodeCores {
		each = append(each, fmt.Sprintf("%.2f", c))
	}
	return strings.Join(each, " + ")
}

func clusterWrite(rate float64, clients, to string) func(*session) (string, verdict, error) {
	return inCluster(func(s *session, t *trio) (string, verdict, error) {
		r, err := s.on(t, to, "write", "--clients", clients)
		met := open
		if rate > 0 {
			met = judge(r.PerSecond >= rate)
		}
		return perNode(r), met, err
	})
}

// againstEtcd measures both in turn, twice, each time on new clusters.
func againstEtcd(workload, clients string, times float64) func(*session) (string, verdict, error) {
	return func(s *session) (string, verdict, error) {
		return s.versus(times, []string{"write", "--clients", clients}, []string{workload, "--clients", clients}, toLeader)
	}
}

func readsAgainstEtcd(s *session) (string, verdict, error) {
	return s.versus(timesGet, []string{"read", "--clients", "64"}, []string{"etcd-get", "--clients", "64"}, toFollower)
}

// versus runs a workload of ours and one of etcd in turn, twice.
func (s *session) versus(times float64, our, their []string, to string) (string, verdict, error) {
	const rounds = 2
	version, err := s.bench.etcdVersion(s.ctx)
	if err != nil {
		return "", no, err
	}
	var ours, theirs []result
	var a, b float64
	for range rounds {
		for _, side := range []struct {
			start func(context.Context) (*trio, error)
			args  []string
			to    *[]result
			sum   *float64
		}{{s.bench.ours, our, &ours, &a}, {s.bench.etcds, their, &theirs, &b}} {
			r, err := s.once(side.start, to, side.args)
			if err != nil {
				return "", no, err
			}
			*side.to = append(*side.to, r)
			*side.sum += r.PerSecond
		}
	}
	describe := func(all []result) string {
		var rates, p99s, cpus, nodes []string
		for _, r := range all {
			rates, p99s = append(rates, whole(r.PerSecond)), append(p99s, short(r.Latency.P99))
			cpus, nodes = append(cpus, fmt.Sprintf("%.1f", r.ServerCPU/max(1, float64(len(r.NodeCores))))), append(nodes, cores(r))
		}
		and := func(v []string) string { return strings.Join(v, " and ") }
		return fmt.Sprintf("%s/s (p99 %s ms; %s µs CPU each and node; nodes %s cores)", and(rates), and(p99s), and(cpus), strings.Join(nodes, " and "))
	}
	return fmt.Sprintf("%.2f ×: ours %s, %s %s", a/b, describe(ours), version, describe(theirs)), judge(a >= times*b), nil
}

// once runs a workload on nodes that are started for it.
func (s *session) once(start func(context.Context) (*trio, error), to string, args []string) (r result, err error) {
	t, err := start(s.ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	return s.on(t, to, slices.Clone(args)...)
}

// besideWrites reads from a follower while others write to the leader.
func besideWrites(s *session, t *trio) (string, verdict, error) {
	const longer = 6 * time.Second // reads have something to write first, and to warm up
	writes := *s
	writes.commands = nil
	var w result
	var failed error
	var writing sync.WaitGroup
	writing.Go(func() {
		w, failed = writes.on(t, toLeader, "write", "--clients", "64", "--rate", strconv.Itoa(besideRate), "--duration", (s.bench.duration + longer).String())
	})
	r, err := s.on(t, toFollower, "read", "--clients", "64")
	writing.Wait()
	s.commands = append(writes.commands, s.commands...)
	if err := errors.Join(err, failed); err != nil {
		return "", no, err
	}
	met := r.PerSecond >= followerReads && r.Latency.P99 < followerP99 && w.PerSecond >= keptUp*besideRate
	return fmt.Sprintf("%s; writes %s/s, p99 %s ms", perNode(r), whole(w.PerSecond), short(w.Latency.P99)), judge(met), nil
}

func subscribed(more ...string) func(*session, *trio) (string, verdict, error) {
	return func(s *session, t *trio) (string, verdict, error) {
		r, err := s.on(t, toAll, append([]string{"events", "--clients", "64"}, more...)...)
		met := open
		if len(more) > 0 {
			met = judge(r.Above.P99 < subscribedP99 && float64(r.Calls)/max(r.Seconds, 1e-9) >= keptUp*besideRate)
		}
		return fmt.Sprintf("p50 %s, p95 %s, p99 %s ms after the acknowledgement; %s writes/s, p99 %s ms; %s events/s to all three; nodes %s cores",
			short(r.Above.P50), short(r.Above.P95), short(r.Above.P99), whole(float64(r.Calls)/max(r.Seconds, 1e-9)), short(r.Latency.P99),
			whole(r.PerSecond), cores(r)), met, err
	}
}

// heldBack compares a server of one node with three that have peers, each with a part of one processor.
func heldBack(s *session) (string, verdict, error) {
	args := []string{"read", "--local", "--clients", "96", "--connections", "6"}
	one, err := s.held(s.bench.alone, args)
	if err != nil {
		return "", no, err
	}
	three, err := s.held(s.bench.ours, args)
	if err != nil {
		return "", no, err
	}
	times := three.PerSecond / one.PerSecond
	return fmt.Sprintf("%.2f ×: %s/s (nodes %s cores, client %.2f) against %s/s (%s cores)", times, whole(three.PerSecond), cores(three), three.ClientCores,
		whole(one.PerSecond), cores(one)), judge(times >= timesNodes), nil
}

// held runs a workload on nodes that are held to a part of one processor each.
func (s *session) held(start func(context.Context) (*trio, error), args []string) (r result, err error) {
	t, err := start(s.ctx)
	if err != nil {
		return r, err
	}
	var shares []*share
	defer func() {
		err = errors.Join(err, t.stop())
		for _, h := range shares {
			err = errors.Join(err, h.end())
		}
	}()
	for _, n := range t.nodes {
		h, err := holdTo(n.pid(), cpuShare, n.name)
		if err != nil {
			return r, err
		}
		shares = append(shares, h)
	}
	return s.on(t, toAll, args...)
}

// alone starts a server of one node.
func (b *bench) alone(ctx context.Context) (_ *trio, err error) {
	t, err := newTrio(b)
	if err != nil {
		return nil, err
	}
	n := &node{name: "n1", folder: filepath.Join(t.folder, "n1")}
	out, err := t.start(n, b.binary, []string{"server", "--data-dir", n.folder, "--grpc-port", "0", "--metrics-port", "0", "--log-level", "warn"})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(t.folder))
	}
	t.nodes, t.leader = []*node{n}, n
	if n.address, err = await(ctx, n.watch(out), n.name); err != nil {
		return nil, errors.Join(err, t.stop())
	}
	return t, nil
}
