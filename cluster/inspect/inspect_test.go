//go:build !wasip1

package inspect_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/inspect"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// ran is the data folder of a node that has made a session with prompts and was stopped.
func ran(t *testing.T, prompts int, change func(c *cluster.Config)) string {
	t.Helper()
	config := cluster.Config{Folder: filepath.Join(t.TempDir(), "data"), Name: "test", Random: rand.Reader, SnapshotInterval: time.Hour}
	if change != nil {
		change(&config)
	}
	node, err := cluster.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := node.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	if err := node.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	const session = "00000000-0000-4000-8000-000000000001"
	propose(t, node, &logpb.Command{Tenant: 1, Operation: &logpb.Command_CreateSession{CreateSession: &logpb.CreateSession{Session: &pb.Session{Id: session}}}})
	for i := range prompts {
		n := &pb.Node{Id: fmt.Sprint("p", i), NodeData: &pb.Node_Prompt{Prompt: &pb.PromptNode{SessionId: session, Content: "text"}}}
		if err := graph.CheckNode("node", n); err != nil {
			t.Fatal(err)
		}
		propose(t, node, &logpb.Command{Tenant: 1, Operation: &logpb.Command_CreateNodes{CreateNodes: &logpb.CreateNodes{Nodes: []*pb.Node{n}}}})
	}
	return config.Folder
}

func propose(t *testing.T, node *cluster.Node, c *logpb.Command) {
	t.Helper()
	command, err := fsm.EncodeCommand(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	result, err := node.Propose(ctx, command)
	if err == nil {
		err = result.Err
	}
	if err != nil {
		t.Fatal(err)
	}
}

// look inspects a folder and returns what is wrong as lines.
func look(t *testing.T, folder string, o inspect.Options) (inspect.Report, []string) {
	t.Helper()
	var out []string
	o.Scratch = t.TempDir()
	o.Report = func(f store.Finding) {
		out = append(out, fmt.Sprintf("%s: %s: %s %s", f.Fault, f.Space, strings.TrimPrefix(f.Key, folder+"/"), f.Problem))
	}
	report, err := inspect.Folder(folder, o)
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(o.Scratch)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the scratch folder: %v, %v", left, err)
	}
	slices.Sort(out)
	return report, out
}

func TestAFolderThatWasStoppedIsClean(t *testing.T) {
	folder := ran(t, 20, nil)
	before := tree(t, folder)
	stages := map[string]bool{}
	report, got := look(t, folder, inspect.Options{Replay: true, Progress: func(stage string, _, _ uint64) error {
		stages[stage] = true
		return nil
	}})
	if len(got) > 0 || report.Replay != inspect.ReplayEqual || report.Digest != report.ReplayedDigest || report.Applied != report.Log.Last {
		t.Errorf("findings %q, %+v", got, report)
	}
	if report.Rows.Nodes != 21 || report.Rows.Sessions != 1 || report.Rows.Edges != 39 || report.Log.First != 1 || report.Files < 5 || report.Revision == 0 {
		t.Errorf("%+v", report)
	}
	if !stages[inspect.StageLog] || !stages[inspect.StageFiles] || !stages[inspect.StageReplay] {
		t.Errorf("stages %v", stages)
	}
	if diff := cmp.Diff(before, tree(t, folder)); diff != "" {
		t.Errorf("the folder after a look (-want +got):\n%.500s", diff)
	}
}

// tree is every file but locks with its content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "LOCK" {
			return err
		}
		text, err := os.ReadFile(path)
		out[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAReplayNeedsTheWholeLog(t *testing.T) {
	folder := ran(t, 1100, func(c *cluster.Config) {
		c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = 10*time.Millisecond, 16, 1024
	})
	report, got := look(t, folder, inspect.Options{Replay: true})
	if len(got) > 0 || report.Replay != inspect.ReplayTooShort || report.Log.First < 2 {
		t.Errorf("findings %q, %+v", got, report)
	}
}

func TestProgressEndsAnInspection(t *testing.T) {
	folder, stop := ran(t, 1, nil), errors.New("stop")
	for _, at := range []string{inspect.StageLog, inspect.StageFiles, inspect.StageReplay} {
		_, err := inspect.Folder(folder, inspect.Options{Replay: true, Scratch: t.TempDir(), Report: func(store.Finding) {}, Progress: func(stage string, _, _ uint64) error {
			if stage == at {
				return stop
			}
			return nil
		}})
		if !errors.Is(err, stop) {
			t.Errorf("stopped at %s: %v", at, err)
		}
	}
}

func TestWhatIsNoStoppedNodeIsNotChecked(t *testing.T) {
	report := func(f store.Finding) { t.Errorf("finding %+v", f) }
	empty, file := t.TempDir(), filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{empty, file, filepath.Join(empty, "none")} {
		if _, err := inspect.Folder(path, inspect.Options{Report: report}); !errors.Is(err, inspect.ErrNotChecked) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if left, err := os.ReadDir(empty); err != nil || len(left) > 0 {
		t.Errorf("a look has left %v, %v", left, err)
	}
	folder := ran(t, 1, nil)
	lock, err := identity.Acquire(identity.Folder(folder))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	_, err = inspect.Folder(folder, inspect.Options{Report: report})
	if !errors.Is(err, inspect.ErrNotChecked) || !errors.Is(err, identity.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("a folder in use: %v", err)
	}
}

// withLogs changes the log of a folder as a node would write it, so that all sums are right.
func withLogs(t *testing.T, folder string, change func(logs *raftlog.Logs, stable *raftlog.Stable) error) {
	t.Helper()
	logs, stable, err := raftlog.OpenBolt(identity.Folder(folder).Raft(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(change(logs, stable), logs.Close(), stable.Close()); err != nil {
		t.Fatal(err)
	}
}

// withStore changes rows of the store.
func withStore(t *testing.T, folder string, change func(b *store.Batch)) {
	t.Helper()
	s, err := store.OpenPebble(identity.Folder(folder).Store(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := s.Begin()
	change(b)
	if err := errors.Join(b.Commit(), s.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestEveryDamageOfAFolderIsFound damages one thing of a folder each time.
func TestEveryDamageOfAFolderIsFound(t *testing.T) {
	whole := ran(t, 5, nil)
	sane, _ := look(t, whole, inspect.Options{})
	last := sane.Log.Last
	logs := func(change func(logs *raftlog.Logs, stable *raftlog.Stable) error) func(t *testing.T, folder string) {
		return func(t *testing.T, folder string) { withLogs(t, folder, change) }
	}
	rows := func(change func(b *store.Batch)) func(t *testing.T, folder string) {
		return func(t *testing.T, folder string) { withStore(t, folder, change) }
	}
	remove := func(parts ...string) func(t *testing.T, folder string) {
		return func(t *testing.T, folder string) {
			if err := os.Remove(filepath.Join(append([]string{folder}, parts...)...)); err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(at int64, parts ...string) func(t *testing.T, folder string) {
		return func(t *testing.T, folder string) {
			f, err := os.OpenFile(filepath.Join(append([]string{folder}, parts...)...), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var b [1]byte
			if _, err := f.ReadAt(b[:], at); err != nil {
				t.Fatal(err)
			}
			b[0] ^= 0xff
			if _, err := f.WriteAt(b[:], at); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, folder string)
		replay inspect.Replay
		want   []string
	}{
		"identity is gone":    {remove("meta.json"), inspect.ReplayEqual, []string{"identity: identity: meta.json"}},
		"identity is changed": {flip(30, "meta.json"), inspect.ReplayEqual, []string{"identity: identity: meta.json"}},
		"another node's identity": {func(t *testing.T, folder string) {
			meta, err := identity.New{Name: "other", Random: rand.Reader}.Make()
			if err := errors.Join(err, identity.Save(identity.Folder(folder), meta)); err != nil {
				t.Fatal(err)
			}
		}, inspect.ReplayEqual, []string{"identity: store: store is of cluster"}},
		"log is gone":           {remove("raft", "log-1.db"), inspect.ReplayBroken, []string{"file: raft file: raft raft file: stat"}},
		"vote is gone":          {remove("raft", "stable.db"), inspect.ReplayBroken, []string{"file: raft file: raft raft file: stat"}},
		"a page of the log":     {flip(8, "raft", "log-1.db"), inspect.ReplayBroken, []string{"file: raft file: raft"}},
		"the store has no name": {remove("store", "CURRENT"), inspect.ReplayBroken, []string{"file: store file: store"}},
		"a file of the store":   {flip(40, "store", "CURRENT"), inspect.ReplayBroken, []string{"file: store file: store"}},

		"an entry is another": {logs(func(l *raftlog.Logs, _ *raftlog.Stable) error {
			return l.StoreLog(&raft.Log{Index: 4, Term: 2, Type: raft.LogCommand, Data: []byte("no entry")})
		}), inspect.ReplayBroken, []string{"log: raft log: raft/log-1.db, entry 4"}},
		"an entry of no type": {logs(func(l *raftlog.Logs, _ *raftlog.Stable) error {
			return l.StoreLog(&raft.Log{Index: 4, Term: 2, Type: 77})
		}), inspect.ReplayBroken, []string{"log: raft log: raft/log-1.db, entry 4 type 77"}},
		"an entry with other members": {logs(func(l *raftlog.Logs, _ *raftlog.Stable) error {
			return l.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: []byte("no members")})
		}), inspect.ReplayBroken, []string{"log: raft log: raft/log-1.db, entry 1"}},
		"an entry of a term before": {logs(func(l *raftlog.Logs, _ *raftlog.Stable) error {
			return l.StoreLog(&raft.Log{Index: last + 1, Term: 1, Type: raft.LogNoop})
		}), inspect.ReplayBroken, []string{fmt.Sprintf("log: raft log: raft/log-1.db, entry %d is of term 1, the one before it of term 2", last+1)}},
		"an entry of a term to come": {logs(func(l *raftlog.Logs, _ *raftlog.Stable) error {
			return l.StoreLog(&raft.Log{Index: last + 1, Term: 9, Type: raft.LogNoop})
		}), inspect.ReplayEqual, []string{"log: raft vote: raft/stable.db is at term 2, the log at term 9"}},
		"an entry is lacking": {logs(func(l *raftlog.Logs, _ *raftlog.Stable) error { return l.DeleteRange(5, 5) }), inspect.ReplayBroken, []string{
			"log-gap: raft log: raft/log-1.db, entry 5 is not there"}},
		"the end of the log is lacking": {logs(func(l *raftlog.Logs, _ *raftlog.Stable) error { return l.DeleteRange(last, last) }), inspect.ReplayDiffers, []string{
			fmt.Sprintf("log-gap: store: store ends at entry %d, the log at entry %d", last, last-1), "replay: store: store has the digest"}},
		"a vote of a term to come": {logs(func(_ *raftlog.Logs, s *raftlog.Stable) error { return s.SetUint64([]byte("LastVoteTerm"), 50) }), inspect.ReplayEqual, []string{
			"log: raft vote: raft/stable.db has voted in term 50"}},
		"a term of other bytes": {logs(func(_ *raftlog.Logs, s *raftlog.Stable) error { return s.Set([]byte("CurrentTerm"), []byte("no term")) }), inspect.ReplayEqual, []string{
			"log: raft vote: raft/stable.db has voted in term 2", "log: raft vote: raft/stable.db is at term 0", "log: raft vote: raft/stable.db, CurrentTerm"}},

		"a store of a later feature level": {rows(func(b *store.Batch) { b.System().FeatureLevel = 99 }), inspect.ReplayDiffers, []string{
			"identity: store: store has feature level 99", "replay: store: store has the digest"}},
		"a store without its last entries": {rows(func(b *store.Batch) { b.System().Applied-- }), inspect.ReplayDiffers, []string{
			"replay: store: store has the digest", "revision: edge", "revision: edge", "revision: feed", "revision: feed", "revision: feed", "revision: node"}},
		"a store of another term": {rows(func(b *store.Batch) { b.System().Term = 7 }), inspect.ReplayEqual, []string{
			fmt.Sprintf("log: store: store has entry %d of term 7, in the log it is of term 2", last)}},
		"members that do not decode": {rows(func(b *store.Batch) { b.System().Config = []byte("no members") }), inspect.ReplayEqual, []string{"value: store: store members as of entry"}},
		"members of tomorrow":        {rows(func(b *store.Batch) { b.System().ConfigIndex = 1000 }), inspect.ReplayEqual, []string{"log: store: store has members as of entry 1000"}},
		"a row that no command made": {rows(func(b *store.Batch) { b.Tx(1).SetInvocations(99, 1) }), inspect.ReplayDiffers, []string{
			"position: invocations", "replay: store: store has the digest", "stray: invocations"}},
	} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(folder, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			c.damage(t, folder)
			report, got := look(t, folder, inspect.Options{Replay: true})
			short := slices.Clone(got)
			for i := range short {
				if i < len(c.want) && strings.HasPrefix(got[i], c.want[i]) {
					short[i] = c.want[i]
				}
			}
			if diff := cmp.Diff(c.want, short); diff != "" || report.Replay != c.replay {
				t.Errorf("replay gives %s, want %s; findings (-want +got):\n%s", report.Replay, c.replay, diff)
			}
		})
	}
}

// TestAStoreBehindTheLogIsSeen: entries between them are lost.
func TestAStoreBehindTheLogIsSeen(t *testing.T) {
	folder := ran(t, 5, nil)
	withLogs(t, folder, func(l *raftlog.Logs, _ *raftlog.Stable) error { return l.DeleteRange(1, 6) })
	withStore(t, folder, func(b *store.Batch) { b.System().Applied = 2 })
	_, got := look(t, folder, inspect.Options{})
	if !slices.Contains(got, "log-gap: store: store ends at entry 2, the log begins at entry 7") {
		t.Errorf("findings %q", got)
	}
}

// TestALogThatLeadsElsewhereIsSeen: entries that decode, and lead to another state.
func TestALogThatLeadsElsewhereIsSeen(t *testing.T) {
	folder := ran(t, 5, nil)
	withLogs(t, folder, func(l *raftlog.Logs, _ *raftlog.Stable) error {
		var e raft.Log
		if err := l.GetLog(6, &e); err != nil {
			return err
		}
		e.Type, e.Data = raft.LogNoop, nil
		return l.StoreLog(&e)
	})
	report, got := look(t, folder, inspect.Options{Replay: true})
	if len(got) != 1 || !strings.HasPrefix(got[0], "replay: store: store has the digest") || report.Replay != inspect.ReplayDiffers {
		t.Errorf("findings %q, %s", got, report.Replay)
	}
}
