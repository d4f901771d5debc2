package fsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/backup"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func about() backup.About {
	return backup.About{NodeID: "n1-00000001", CreatedBy: "test", Created: time.Unix(1_700_000_000, 0)}
}

// full is a full backup of the present state.
func (w *world) full() []byte {
	w.t.Helper()
	snap := w.m.Store().Snapshot()
	defer snap.Close()
	var b bytes.Buffer
	if _, err := backup.Full(&b, snap, about()); err != nil {
		w.t.Fatalf("backup: %v", err)
	}
	return b.Bytes()
}

// increment is the entries after an index, each with its digest where digests has one.
func (w *world) increment(after uint64, digests map[uint64][32]byte) []byte {
	w.t.Helper()
	sys := w.system()
	var b bytes.Buffer
	out, err := backup.NewWriter(&b, &pb.BackupHeader{
		Kind: pb.BackupKind_BACKUP_KIND_INCREMENT, ClusterId: sys.ClusterID, Lineage: fmt.Sprintf("%08x", sys.Lineage), Revision: after + sys.Base,
	})
	for _, e := range w.fed {
		if err != nil {
			break
		}
		if e.Index <= after {
			continue
		}
		entry := &pb.BackupEntry{Revision: e.Index + sys.Base, Data: e.Data}
		if d, ok := digests[e.Index]; ok {
			entry.Digest = d[:]
		}
		err = out.Entry(entry)
	}
	if err == nil {
		_, err = out.Close()
	}
	if err != nil {
		w.t.Fatalf("increment: %v", err)
	}
	return b.Bytes()
}

// loadBackup fills a store with a full backup.
func loadBackup(text []byte, s *store.Store) error {
	in, err := backup.NewReader(bytes.NewReader(text))
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = backup.Load(in, s, nil)
	return err
}

// restored is a machine over the state of a full backup and what increments lead to.
func restored(t T, text []byte, until backup.Until, increments ...[]byte) (*fsm.Machine, error) {
	t.Helper()
	s := store.OpenMemory()
	if err := loadBackup(text, s); err != nil {
		return nil, err
	}
	m := fsm.New(s)
	replay, err := backup.NewReplay(m, until)
	if err != nil {
		return m, err
	}
	for _, text := range increments {
		in, err := backup.NewReader(bytes.NewReader(text))
		if err == nil {
			err = replay.File(in)
		}
		if err != nil {
			return m, err
		}
	}
	return m, replay.Finish()
}

// withoutRaft are the rows but for what is of Raft in the system.
func withoutRaft(all []string) []string {
	var out []string
	for _, row := range all {
		if !strings.HasPrefix(row, "system") {
			out = append(out, row)
		}
	}
	return out
}

func TestABackupMakesTheSameState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		commands := generated(0).Draw(t, "commands")
		at := rapid.IntRange(0, len(commands)).Draw(t, "at")
		w := newWorld(t)
		for _, c := range commands[:at] {
			w.do(c)
		}
		m, err := restored(t, w.full(), backup.Until{})
		if err != nil {
			t.Fatalf("restore: %v", err)
		}
		compare := func(when string) {
			if diff := cmp.Diff(withoutRaft(rows(t, w.m.Store())), withoutRaft(rows(t, m.Store()))); diff != "" {
				t.Fatalf("%s: rows of the source and of what was restored differ:\n%s", when, diff)
			}
			if got, want := fsm.Digest(m.Store().System()), w.digest(); got != want {
				t.Fatalf("%s: digest %x, want %x", when, got, want)
			}
		}
		compare("restored")
		clean(t, m.Store())
		for _, c := range commands[at:] {
			data := w.entry(c)
			got, want := w.apply(data), m.Apply([]fsm.LogEntry{{Index: w.index, Term: 1, Data: data}})[0]
			if (got[0].Err == nil) != (want[0].Err == nil) || got[0].Replayed != want[0].Replayed {
				t.Fatalf("%v: %v at the source, %v at what was restored", c, got[0], want[0])
			}
		}
		compare("after the same commands")
	})
}

// TestABackupOnDiskMakesTheSameState does so on the other engine, in both directions.
func TestABackupOnDiskMakesTheSameState(t *testing.T) {
	source, target := openPebble(t, t.TempDir()), openPebble(t, t.TempDir())
	defer func() {
		if err := errors.Join(source.Close(), target.Close()); err != nil {
			t.Error(err)
		}
	}()
	w := onStore(t, source)
	conversation(w, "s1", 40)
	w.must(createNodes(anAgent("a1"), aTemplate("m1")))
	w.must(keyed(createSession("s2"), "key", "asked"))
	if err := loadBackup(w.full(), target); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(withoutRaft(rows(t, source)), withoutRaft(rows(t, target))); diff != "" {
		t.Error(diff)
	}
	clean(t, target)
	m := fsm.New(target)
	stamped := &logpb.Stamped{Stamp: w.stamp + second, Command: encode(t, keyed(createSession("s2"), "key", "asked"))}
	if r := m.Apply([]fsm.LogEntry{{Index: w.index + 1, Data: entryOf(t, stamped)}})[0][0]; !r.Replayed || r.Err != nil {
		t.Errorf("a retry after the restore: %+v, want what it was the first time", r)
	}
	if err := loadBackup(w.full(), target); err == nil {
		t.Error("a backup went into a store that has rows")
	}
}

// conversation makes a session with prompts and responses.
func conversation(w *world, session string, turns int) {
	w.t.Helper()
	w.must(createSession(session))
	for i := range turns {
		prompt := fmt.Sprintf("%s-p%d", session, i)
		w.must(createNodes(aPrompt(prompt, session), aResponse(fmt.Sprintf("%s-r%d", session, i), prompt)))
	}
}

// clean sees that a check of the state finds nothing.
func clean(t T, s *store.Store) {
	t.Helper()
	(&world{t: t, m: fsm.New(s)}).clean("in what was restored")
}

// writes is a writer that does something else meanwhile.
type writes struct {
	io.Writer
	also func()
}

func (w writes) Write(p []byte) (int, error) {
	w.also()
	return w.Writer.Write(p)
}

func TestABackupIsOfOneRevisionWhileWritesGoOn(t *testing.T) {
	w := newWorld(t)
	conversation(w, "s1", 30)
	want, revision, done := w.digest(), fsm.Revision(w.system()), 0
	snap := w.m.Store().Snapshot()
	defer snap.Close()
	var text bytes.Buffer
	trailer, err := backup.Full(writes{&text, func() {
		done++
		w.must(createNodes(aPrompt(fmt.Sprint("late", done), "s1")))
		if done == 3 {
			w.must(deleteSession("s1"))
			w.must(createSession("s1"))
		}
	}}, snap, about())
	if err != nil || done < 6 {
		t.Fatalf("%d writes meanwhile, %v", done, err)
	}
	m, err := restored(t, text.Bytes(), backup.Until{})
	if err != nil {
		t.Fatal(err)
	}
	if got := fsm.Digest(m.Store().System()); got != want || trailer.Revision != uint64(revision) || fsm.Revision(m.Store().System()) != revision {
		t.Errorf("state at revision %d with digest %x, want %d with %x", trailer.Revision, got, revision, want)
	}
}

// TestEveryChangedByteOfABackupIsFound: what is not whole is refused, the place is named, and the store stays as empty as it was.
func TestEveryChangedByteOfABackupIsFound(t *testing.T) {
	w := newWorld(t)
	conversation(w, "s1", 2)
	text := w.full()
	refused := func(what string, text []byte) {
		t.Helper()
		s := store.OpenMemory()
		err := loadBackup(text, s)
		if !errors.Is(err, backup.ErrDamaged) && !errors.Is(err, backup.ErrVersion) {
			t.Fatalf("%s: got %v, want a damaged backup", what, err)
		}
		if !strings.Contains(err.Error(), "offset") && !strings.Contains(err.Error(), "file") {
			t.Errorf("%s: %v does not say where", what, err)
		}
		if sys := s.System(); sys.Applied != 0 || sys.ClusterID != "" {
			t.Fatalf("%s: the store has a state", what)
		}
	}
	for i := range text {
		for _, bit := range []byte{1, 0x80} {
			changed := bytes.Clone(text)
			changed[i] ^= bit
			refused(fmt.Sprintf("byte %d of %d", i, len(text)), changed)
		}
		refused(fmt.Sprintf("cut to %d bytes", i), text[:i])
	}
	refused("with a byte more", append(bytes.Clone(text), 0))
	refused("twice", append(bytes.Clone(text), text...))
	if err := loadBackup(text, store.OpenMemory()); err != nil {
		t.Fatalf("as it was written: %v", err)
	}
}

// history is a log with a deletion that takes several sweeps, and the digests after every entry.
func history(t *testing.T) (w *world, digests map[uint64][32]byte, full []byte) {
	t.Helper()
	w = newWorld(t)
	digests = map[uint64][32]byte{}
	step := func(commands ...*logpb.Command) {
		w.do(commands...)
		digests[w.index] = fsm.Digest(w.system())
	}
	step(createSession("s1"))
	full = w.full()
	for i := range 3 {
		var nodes []*pb.Node
		for j := range 500 {
			nodes = append(nodes, aPrompt(fmt.Sprintf("p%d-%d", i, j), "s1"))
		}
		step(createNodes(nodes...))
	}
	step(createSession("s2"), keyed(createSession("s3"), "k", "s3"), createNodes(aPrompt("q1", "s2")))
	step(deleteSession("s1"))
	for range 4 {
		step(sweep(graph.SweepRows), createNodes(anAgent(fmt.Sprint("a", w.index))))
	}
	w.apply(nil)
	digests[w.index] = fsm.Digest(w.system())
	return w, digests, full
}

func TestARestoreEndsAtAnyRevision(t *testing.T) {
	w, digests, full := history(t)
	log := w.increment(1, digests)
	swept := false
	for index := uint64(2); index <= w.index; index++ {
		m, err := restored(t, full, backup.Until{Revision: graph.Revision(index)}, log)
		if err != nil {
			t.Fatalf("until revision %d: %v", index, err)
		}
		if got := fsm.Digest(m.Store().System()); got != digests[index] {
			t.Errorf("until revision %d: digest %x, the source had %x", index, got, digests[index])
		}
		clean(t, m.Store())
		snap := m.Store().Snapshot()
		_, doomed, err := snap.DoomedTenant()
		snap.Close()
		swept = swept || doomed && err == nil
	}
	if !swept {
		t.Error("no restore ended in the middle of a deletion")
	}
	for _, past := range []graph.Revision{1, graph.Revision(w.index) + 1} {
		if _, err := restored(t, full, backup.Until{Revision: past}, log); err == nil {
			t.Errorf("until revision %d, which is not there: no error", past)
		}
	}
}

// TestARestoreEndsAtAnyMoment: also between the commands of one entry, where the state is that of a log whose last entry ends there.
func TestARestoreEndsAtAnyMoment(t *testing.T) {
	w, digests, full := history(t)
	log := w.increment(1, digests)
	whole := newWorld(t)
	whole.apply(w.fed[1].Data)
	moments := 0
	for _, e := range w.fed[2:] {
		if len(e.Data) == 0 {
			continue
		}
		commands, err := fsm.DecodeEntry(e.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range commands {
			whole.apply(entryOf(t, c))
			moments++
			for _, until := range []int64{c.Stamp, c.Stamp + second - 1} {
				m, err := restored(t, full, backup.Until{Instant: until}, log)
				if err != nil {
					t.Fatalf("until %d: %v", until, err)
				}
				if got, want := fsm.Digest(m.Store().System()), whole.digest(); got != want {
					t.Errorf("until %d: digest %x, want %x", until, got, want)
				}
			}
		}
	}
	if moments < 15 {
		t.Errorf("only %d moments were tried", moments)
	}
	if _, err := restored(t, full, backup.Until{Instant: epoch}, log); err == nil {
		t.Error("until a moment before the full backup: no error")
	}
}

func TestAReplayIsHeldAgainstItsSource(t *testing.T) {
	w, digests, full := history(t)
	digests[w.index] = [32]byte{1}
	if _, err := restored(t, full, backup.Until{}, w.increment(1, digests)); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("another digest than the source's: got %v", err)
	}
	if _, err := restored(t, full, backup.Until{}, w.increment(3, nil)); err == nil {
		t.Error("entries 2 and 3 are missing: no error")
	}
	other := newWorld(t)
	other.must(&logpb.Command{Operation: &logpb.Command_RaiseFeatureLevel{RaiseFeatureLevel: &logpb.RaiseFeatureLevel{Level: 1}}})
	text := other.increment(1, nil)
	changed := strings.Replace(string(text), "feedbeef", "feedbeed", 1) // its checksum is wrong as well, and found first
	if _, err := restored(t, full, backup.Until{}, []byte(changed)); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("a changed header: got %v", err)
	}
	overlapping := w.increment(1, nil)
	m, err := restored(t, full, backup.Until{}, overlapping, overlapping, w.increment(5, nil))
	if err != nil {
		t.Fatalf("increments that overlap: %v", err)
	}
	if got := fsm.Digest(m.Store().System()); got != fsm.Digest(w.system()) {
		t.Error("increments that overlap lead to another state")
	}
}

// The golden files were written once. They are read for ever: never write them anew, add others. When what is hashed changes,
// raise store.DigestFormat, and their digest is not compared any more.
const (
	goldenFull      = "backup/testdata/full-1.mgb"
	goldenIncrement = "backup/testdata/log-1.mgb"
	goldenDigest    = "backup/testdata/digest-1.txt"
)

func TestAnOldBackupIsRead(t *testing.T) {
	if *rewrite {
		writeGoldenBackup(t)
	}
	read := func(name string) []byte {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	m, err := restored(t, read(goldenFull), backup.Until{}, read(goldenIncrement))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%x\n", fsm.Digest(m.Store().System())), string(read(goldenDigest)); got != want && store.DigestFormat == 1 {
		t.Errorf("digest %s, want %s", got, want)
	}
	clean(t, m.Store())
	snap := m.Store().Snapshot()
	defer snap.Close()
	for typ, want := range map[pb.NodeType]int64{sessionType: 3, promptType: 2, responseType: 2, toolType: 1, agentType: 1, templateType: 1} {
		if got, err := snap.View(tenant).CountNodes(0, typ); got != want || err != nil {
			t.Errorf("%v: %d, %v, want %d", typ, got, err, want)
		}
	}
}

// writeGoldenBackup writes the golden files where they are not there.
func writeGoldenBackup(t *testing.T) {
	w := newWorld(t)
	conversation(w, "s1", 2)
	w.must(createNodes(aTool("t1", "s1-r1"), anAgent("a1"), aTemplate("m1")))
	w.must(createEdge(reference("e1", "s1-p0", "a1")))
	w.must(keyed(createSession("s2"), "key", "asked"))
	w.must(createNodes(aPrompt("gone", "s2")))
	w.must(trim(3, 2))
	after, full := w.index, w.full()
	w.must(deleteNode("gone", true))
	w.must(minted(createSession("s3"), "minted", "asked"))
	digest := fsm.Digest(w.system())
	for name, text := range map[string][]byte{
		goldenFull: full, goldenIncrement: w.increment(after, map[uint64][32]byte{w.index: digest}), goldenDigest: fmt.Appendf(nil, "%x\n", digest),
	} {
		if _, err := os.Stat(name); err == nil {
			continue
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, text, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}
