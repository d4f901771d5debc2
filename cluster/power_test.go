package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store/power"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

const (
	powerRoundsVariable = "MEMORY_GRAPH_POWER_ROUNDS"
	powerSeedVariable   = "MEMORY_GRAPH_POWER_SEED"
)

// A mains is the power of a machine with three files: log and vote, which bbolt writes, and the rows on a disk in memory that
// knows what was synced. It is cut in the middle of a transaction of bbolt. What is found then is put together from the file
// before and after, in the order in which bbolt writes: pages, sync, meta page, sync. It does not model a disk that lies
// about a sync, nor a sector that is torn.
type mains struct {
	random *rand.Rand
	folder string
	rows   *power.Disk
	// before the cut: what was acknowledged until then.
	note func()

	// mu lets one transaction run at a time.
	mu sync.Mutex
	// left is how many transactions come before the one that is cut.
	left int
	// found is the state after the cut, by file; nil before it. off is closed with the cut.
	found map[string][]byte
	disk  *power.Disk
	off   chan struct{}
}

// during runs a transaction on a file, and cuts the power in it if its time has come.
func (m *mains) during(name string, transaction func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left--; m.left != 0 {
		return transaction()
	}
	m.note()
	disk, files := m.rows.Cut(m.random), map[string][]byte{}
	for _, file := range []string{raftlog.FirstLog, raftlog.StableFile} {
		content, err := os.ReadFile(filepath.Join(m.folder, file))
		if err != nil {
			return err
		}
		files[file] = content
	}
	err := transaction()
	after, readErr := os.ReadFile(filepath.Join(m.folder, name))
	if err := errors.Join(err, readErr); err != nil {
		return err
	}
	files[name] = m.half(files[name], after)
	m.found, m.disk = files, disk
	close(m.off)
	return nil
}

const (
	sectorBytes = 512
	metaBytes   = 2 * 4096
)

// half is the file in the middle of the transaction: some sectors of its pages and neither meta page, or all pages and perhaps
// the meta page.
func (m *mains) half(before, after []byte) []byte {
	out := make([]byte, max(len(before), len(after)))
	copy(out, before)
	synced := m.random.IntN(2) == 0
	share := m.random.IntN(101)
	for at := metaBytes; at < len(after); at += sectorBytes {
		end := min(at+sectorBytes, len(after))
		if synced || m.random.IntN(100) < share {
			copy(out[at:end], after[at:end])
		}
	}
	if synced && m.random.IntN(2) == 0 {
		copy(out, after[:metaBytes])
	}
	return out
}

// powerLogs and powerStable are log and vote on the mains.
type powerLogs struct {
	raft.LogStore
	mains *mains
}

func (l powerLogs) StoreLog(log *raft.Log) error { return l.StoreLogs([]*raft.Log{log}) }

func (l powerLogs) StoreLogs(logs []*raft.Log) error {
	return l.mains.during(raftlog.FirstLog, func() error { return l.LogStore.StoreLogs(logs) })
}

func (l powerLogs) DeleteRange(low, high uint64) error {
	return l.mains.during(raftlog.FirstLog, func() error { return l.LogStore.DeleteRange(low, high) })
}

type powerStable struct {
	raft.StableStore
	mains *mains
}

func (s powerStable) Set(key, value []byte) error {
	return s.mains.during(raftlog.StableFile, func() error { return s.StableStore.Set(key, value) })
}

func (s powerStable) SetUint64(key []byte, value uint64) error {
	return s.mains.during(raftlog.StableFile, func() error { return s.StableStore.SetUint64(key, value) })
}

// A powerRun is a node that loses power again and again.
type powerRun struct {
	t      *testing.T
	random *rand.Rand
	config Config
	rows   *power.Disk
	// replayed began empty, and applies what is in the log after each cut.
	replayed *fsm.Machine
	next     int

	mu sync.Mutex
	// acknowledged, guarded by mu, are the writes that must be there; sent those that may.
	acknowledged, sent map[int]bool
	// atCut is acknowledged when the power went.
	atCut map[int]bool
}

// TestPowerCuts cuts the power ten times (four under the race detector), or as often as MEMORY_GRAPH_POWER_ROUNDS says, each time somewhere within a
// transaction, from the seed MEMORY_GRAPH_POWER_SEED or a new one. Every acknowledged write is there afterwards, none half,
// none twice; the rows agree with each other, and replaying the log into an empty store gives the same digest.
func TestPowerCuts(t *testing.T) {
	rounds := uint64(10)
	if underRace {
		rounds = 4
	}
	rounds = numberOf(t, powerRoundsVariable, rounds)
	seed := numberOf(t, powerSeedVariable, rand.Uint64())
	t.Logf("seed %d", seed)
	c := diskConfig(t)
	c.SnapshotThreshold, c.SnapshotInterval, c.TrailingLogs = 60, c.TickInterval, minTrailingLogs
	c.Store.MemTableBytes = 256 << 10
	c.Retention = fsm.Retention{Count: 2000}
	r := &powerRun{
		t: t, random: rand.New(rand.NewPCG(seed, 0)), config: c, rows: power.NewDisk(),
		replayed: fsm.New(store.OpenMemory()), acknowledged: map[int]bool{}, sent: map[int]bool{},
	}
	defer r.replayed.Close()
	for i := range rounds {
		r.round(int(i))
		if t.Failed() {
			t.Fatalf("seed %d, round %d", seed, i)
		}
	}
	t.Logf("%d writes were acknowledged, %d sent, %d entries replayed", len(r.acknowledged), len(r.sent), r.replayed.Applied())
}

func numberOf(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// round starts the node, looks at what it has, writes until the power goes, and builds what is found then.
func (r *powerRun) round(i int) {
	t := r.t
	m := &mains{
		random: r.random, folder: identity.Folder(r.config.Folder).Raft(), rows: r.rows, note: r.noteCut,
		left: 1 + r.random.IntN(150), off: make(chan struct{}),
	}
	if i == 0 || r.random.IntN(4) > 0 {
		m.left += 40 // else the power may go while the node starts
	}
	c := r.config
	c.underLogs = func(l raft.LogStore) raft.LogStore { return powerLogs{l, m} }
	c.underStable = func(s raft.StableStore) raft.StableStore { return powerStable{s, m} }
	c.openStore = func(_ string, o store.Options) (*store.Store, error) { return r.rows.Open(o) }
	c.Events.Rebuilt = func(_ string, damage error) { t.Errorf("a loss of power was taken for damage: %v", damage) }
	n, err := Open(c)
	if err != nil {
		t.Fatalf("after %d cuts: %v", i, err)
	}
	r.look(n, m)
	r.write(n, m)
	<-m.off
	if err := n.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	r.restore(m)
}

func (r *powerRun) noteCut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.atCut = make(map[int]bool, len(r.acknowledged))
	for n := range r.acknowledged {
		r.atCut[n] = true
	}
}

// restore is the machine with power again.
func (r *powerRun) restore(m *mains) {
	folder := filepath.Join(r.t.TempDir(), "again")
	if err := identity.Folder(folder).Make(); err != nil {
		r.t.Fatal(err)
	}
	meta, err := os.ReadFile(identity.Folder(r.config.Folder).Meta())
	err = errors.Join(err, os.WriteFile(identity.Folder(folder).Meta(), meta, 0o600))
	for name, content := range m.found {
		path := filepath.Join(identity.Folder(folder).Raft(), name)
		used := len(bytes.TrimRight(content, "\x00"))
		err = errors.Join(err, os.WriteFile(path, content[:used], 0o600), os.Truncate(path, int64(len(content))))
	}
	if err = errors.Join(err, os.RemoveAll(r.config.Folder)); err != nil {
		r.t.Fatal(err)
	}
	r.config.Folder, r.rows = folder, m.disk
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acknowledged = r.atCut
}

// command is the keyed write number i: a session of some size.
func (r *powerRun) command(i int) []byte {
	c := &logpb.Command{RequestId: keyOf(i, 1), Fingerprint: keyOf(i, 2), Keyed: true}
	c.Operation = &logpb.Command_CreateSession{CreateSession: &logpb.CreateSession{
		Session: &pb.Session{Id: sessionID(i), Metadata: map[string]string{"n": fmt.Sprint(i), "much": string(bytes.Repeat([]byte("x"), i%3000))}},
	}}
	return encode(r.t, c)
}

func keyOf(i int, part byte) []byte {
	key := make([]byte, fsm.RequestIDBytes)
	binary.BigEndian.PutUint64(key, uint64(i))
	key[len(key)-1] = part
	return key
}

// write sends commands until the power is gone. What was sent before and may be there or not is sent again first.
func (r *powerRun) write(n *Node, m *mains) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-m.off
		cancel()
	}()
	work := make(chan int)
	var writing sync.WaitGroup
	for range 8 {
		writing.Go(func() {
			for i := range work {
				result, err := n.Propose(ctx, r.command(i))
				if err == nil && result.Err != nil {
					r.t.Errorf("write %d was refused: %v", i, result.Err)
				}
				if err == nil {
					r.mu.Lock()
					r.acknowledged[i] = true
					r.mu.Unlock()
				}
			}
		})
	}
	send := func(i int) bool {
		r.mu.Lock()
		r.sent[i] = true
		r.mu.Unlock()
		select {
		case work <- i:
			return true
		case <-m.off:
			return false
		}
	}
	for i := 0; i < r.next && (r.isAcknowledged(i) || send(i)); i++ {
	}
	for send(r.next) {
		r.next++
	}
	r.next++
	close(work)
	writing.Wait()
}

func (r *powerRun) isAcknowledged(i int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.acknowledged[i]
}

// look compares the node with what was acknowledged, its rows with each other, and its digest with that of a replay.
func (r *powerRun) look(n *Node, m *mains) {
	if err := n.WaitReady(timeout(r.t)); err != nil {
		r.t.Fatalf("not ready: %v", err)
	}
	r.mu.Lock()
	acknowledged, sent := len(r.acknowledged), len(r.sent)
	for i := range r.acknowledged {
		if !has(r.t, n, sessionID(i)) {
			r.t.Errorf("write %d was acknowledged and is lost", i)
		}
	}
	r.mu.Unlock()
	snap := n.Machine().Store().Snapshot()
	defer snap.Close()
	checked, err := snap.Check(store.CheckOptions{Report: func(f store.Finding) { r.t.Errorf("%+v", f) }})
	if err != nil {
		r.t.Error(err)
	}
	sessions, err := snap.View(graph.Tenant(tenant)).CountNodes(0, pb.NodeType_NODE_TYPE_SESSION)
	if err != nil || sessions < int64(acknowledged) || sessions > int64(sent) || checked.Sessions != uint64(sessions) {
		r.t.Errorf("%d sessions, %d checked, %v: want %d to %d", sessions, checked.Sessions, err, acknowledged, sent)
	}
	r.replay(n, snap.System(), m)
}

// replay applies what came into the log since the last look to a machine that began with an empty store. What was applied before
// the power went was in the log, so it is still there; what a node does after its power went is not to be believed.
func (r *powerRun) replay(n *Node, sys store.System, m *mains) {
	var entries []fsm.LogEntry
	for at := r.replayed.Applied() + 1; at <= sys.Applied; at++ {
		var entry raft.Log
		if err := n.logs.GetLog(at, &entry); err != nil {
			r.t.Fatalf("entry %d: %v", at, err)
		}
		e := fsm.LogEntry{Index: at, Term: entry.Term}
		switch entry.Type {
		case raft.LogCommand:
			e.Data = entry.Data
		case raft.LogConfiguration:
			e.Configuration = entry.Data
		}
		entries = append(entries, e)
	}
	select {
	case <-m.off:
		return
	default:
	}
	for _, e := range entries {
		r.replayed.Apply([]fsm.LogEntry{e})
	}
	if got, want := fsm.Digest(r.replayed.Store().System()), fsm.Digest(sys); got != want {
		r.t.Errorf("digest at entry %d is %x, a replay gives %x:\n%+v\n%+v", sys.Applied, want, got, sys, r.replayed.Store().System())
	}
}
