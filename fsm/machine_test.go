package fsm_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
)

func TestDecodeEntryRefuses(t *testing.T) {
	good := entryOf(t, &logpb.Stamped{Stamp: 1, Command: encode(t, createSession("s1"))})
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "too short"},
		{"one byte", []byte{1}, "too short"},
		{"a later version", append([]byte{2}, good[1:]...), "version 2 is newer"},
		{"a later codec", append([]byte{1, 1}, good[2:]...), "codec 1 is unknown"},
		{"cut off", good[:len(good)-1], "log entry"},
	} {
		if _, err := fsm.DecodeEntry(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
	if got, err := fsm.DecodeEntry(good); err != nil || len(got) != 1 || got[0].Stamp != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestEncodeCommandRefusesWhatNoReplicaDecodes(t *testing.T) {
	short := createSession("s1")
	short.RequestId = []byte("short")
	text := createSession("s1")
	text.GetCreateSession().Session.Metadata = map[string]string{"k": "\xff"}
	level := bootstrap()
	level.GetBootstrap().FeatureLevel = fsm.FeatureLevel + 1
	for want, c := range map[string]*logpb.Command{
		"request id of 5 bytes": short,
		"no operation":          {Tenant: 1},
		"invalid UTF-8":         text,
		"feature level 2":       level,
		"feature level 9":       raise(9),
	} {
		if _, err := fsm.EncodeCommand(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestApplyPanicsOnWhatDoesNotDecode(t *testing.T) {
	level, err := proto.Marshal(raise(2))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"an entry":            {9, 9, 9},
		"a command":           entryOf(t, &logpb.Stamped{Command: []byte{0xff}}),
		"an unknown command":  entryOf(t, &logpb.Stamped{Command: []byte{0x08, 0x01, 0xfa, 0x3e, 0x00}}),
		"a level of tomorrow": entryOf(t, &logpb.Stamped{Command: level}),
	} {
		w := newWorld(t)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s that does not decode was passed over", name)
				}
			}()
			w.m.Apply([]fsm.LogEntry{{Index: 2, Term: 1, Data: data}})
		}()
	}
}

func TestApplySkipsWhatIsApplied(t *testing.T) {
	w := newWorld(t)
	first, second := w.entry(createSession("s1")), w.entry(createSession("s2"))
	entries := []fsm.LogEntry{{Index: 2, Term: 1, Data: first}, {Index: 3, Term: 1, Data: second}}
	w.m.Apply(entries[:1])
	before := w.digest()
	got := w.m.Apply(entries[:1])
	if len(got) != 1 || got[0] != nil || w.digest() != before {
		t.Errorf("an entry that was applied already gave %v", got)
	}
	got = w.m.Apply(entries)
	if len(got) != 2 || got[0] != nil || len(got[1]) != 1 || got[1][0].Err != nil {
		t.Errorf("got %v", got)
	}
	if got[1][0].Revision != 3 || w.m.Applied() != 3 {
		t.Errorf("revision %d, applied %d", got[1][0].Revision, w.m.Applied())
	}
}

func TestEntriesWithoutCommands(t *testing.T) {
	w := newWorld(t)
	before := w.digest()
	w.m.Apply([]fsm.LogEntry{
		{Index: 2, Term: 2}, {Index: 3, Term: 2, Data: []byte{}}, {Index: 4, Term: 3, Configuration: []byte("members")},
	})
	sys := w.system()
	if sys.Applied != 4 || sys.Term != 3 || sys.ConfigIndex != 4 || string(sys.Config) != "members" || fsm.Revision(sys) != 4 {
		t.Errorf("got %+v", sys)
	}
	if w.digest() != before {
		t.Error("the digest covers what is of the log, not of the state")
	}
}

func TestInstantsOnlyGrow(t *testing.T) {
	w := newWorld(t)
	var got []int64
	for _, stamp := range []int64{epoch + 10, epoch + 10, epoch - 5, epoch + 11, epoch + 100} {
		w.index++
		data := entryOf(t, &logpb.Stamped{Stamp: stamp, Command: encode(t, raise(1))})
		w.m.Apply([]fsm.LogEntry{{Index: w.index, Term: 1, Data: data}})
		got = append(got, w.system().Instant-epoch)
	}
	if diff := cmp.Diff([]int64{second + 1, second + 2, second + 3, second + 4, second + 5}, got); diff != "" {
		t.Error(diff)
	}
	w.stamp = epoch + 100*second
	w.do(raise(1))
	if got := w.system().Instant; got != epoch+101*second {
		t.Errorf("got %d", got)
	}
}

func TestWaiting(t *testing.T) {
	w := newWorld(t)
	if err := w.m.WaitApplied(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if err := w.m.WaitRevision(t.Context(), 0); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.m.WaitRevision(ctx, 2); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "entry 2") {
		t.Errorf("got %v", err)
	}
	changed, done := w.m.Changed(), make(chan error)
	go func() { done <- w.m.WaitApplied(t.Context(), 3) }()
	w.do(raise(1))
	<-changed
	w.do(raise(1))
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestBootstrapNeedsAKey(t *testing.T) {
	for _, change := range []func(b *logpb.Bootstrap){
		func(b *logpb.Bootstrap) { b.Key = b.Key[:31] },
		func(b *logpb.Bootstrap) { b.Key = nil },
		func(b *logpb.Bootstrap) { b.ClusterId = "" },
	} {
		w := &world{t: t, m: fsm.New(store.OpenMemory()), stamp: epoch}
		c := bootstrap()
		change(c.GetBootstrap())
		if r := w.do(c)[0]; !errors.Is(r.Err, graph.Invalid) {
			t.Errorf("got %v", r.Err)
		}
		if r := w.do(bootstrap())[0]; r.Err != nil {
			t.Error(r.Err)
		}
		sys := w.system()
		if sys.Lineage != 0xfeedbeef || sys.ClusterID == "" || sys.FeatureLevel != 1 || string(sys.Key[:]) != strings.Repeat("k", 32) {
			t.Errorf("got %+v", sys)
		}
	}
}

// TestDeterminism: the same log gives the same bytes, on either engine.
func TestDeterminism(t *testing.T) {
	var first []string
	for name, s := range map[string]*store.Store{"memory": store.OpenMemory(), "memory again": store.OpenMemory(), "pebble": openPebble(t, t.TempDir())} {
		w := onStore(t, s)
		for _, c := range generated(3).Example(7) {
			w.do(c)
		}
		got := rows(t, s)
		if first == nil {
			first = got
		}
		if !slices.Equal(first, got) {
			t.Errorf("%s: %s", name, cmp.Diff(first, got))
		}
		w.digest()
		if err := w.m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func benchStore(b *testing.B) *store.Store {
	s, err := store.OpenPebble(b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func openPebble(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.OpenPebble(dir, store.Options{CacheBytes: 8 << 20, MemTableBytes: 1 << 20, OnError: func(err error) { t.Errorf("store: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestInstallAtEveryIndex: a replica that takes a snapshot of any moment and the entries after it ends where the others do.
func TestInstallAtEveryIndex(t *testing.T) {
	commands := generated(3).Example(5)
	commands = commands[:min(len(commands), 25)]
	w := newWorld(t)
	var entries []fsm.LogEntry
	for i, c := range commands {
		entries = append(entries, fsm.LogEntry{Index: uint64(i) + 2, Term: 1, Data: w.entry(c)})
	}
	w.m.Apply(entries)
	want := rows(t, w.m.Store())
	for i := range entries {
		leader := newWorld(t)
		leader.m.Apply(entries[:i])
		var stream bytes.Buffer
		if _, err := leader.m.Store().WriteCheckpoint(&stream); err != nil {
			t.Fatal(err)
		}
		follower := newWorld(t)
		follower.do(createSession("s9")) // what it has is replaced
		staged, err := follower.m.Store().Stage(&stream)
		if err != nil {
			t.Fatal(err)
		}
		changed := follower.m.Changed()
		if err := follower.m.Install(staged, leader.m.Applied(), 1); err != nil {
			t.Fatal(err)
		}
		<-changed
		if follower.m.Applied() != leader.m.Applied() || follower.digest() != leader.digest() {
			t.Fatalf("installed at %d: applied %d", i, follower.m.Applied())
		}
		follower.m.Apply(entries)
		if got := rows(t, follower.m.Store()); !slices.Equal(got, want) {
			t.Fatalf("installed at %d: %s", i, cmp.Diff(want, got))
		}
	}
}

func TestInstallOfWhatIsClosedFails(t *testing.T) {
	w := newWorld(t)
	var stream bytes.Buffer
	if _, err := w.m.Store().WriteCheckpoint(&stream); err != nil {
		t.Fatal(err)
	}
	staged, err := w.m.Store().Stage(&stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(staged.Close(), w.m.Install(staged, 9, 1)); err == nil || w.m.Applied() != 1 {
		t.Errorf("got %v, applied %d", err, w.m.Applied())
	}
}
