package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
)

// filled is the config of a node that was stopped, with sessions in tables, and its digest. Its log begins with the first
// entry unless it is cut.
func filled(t *testing.T, cut bool) (Config, [32]byte) {
	t.Helper()
	c := diskConfig(t)
	c.Store.CacheBytes = 1
	c.TrailingLogs = minTrailingLogs
	n := start(t, c)
	fill(t, n, 0, 100)
	if cut {
		grow(t, n, minTrailingLogs+200)
	}
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	fill(t, n, 100, 150)
	want := digest(n)
	stop(t, n)
	if s, err := os.Stat(c.Folder); err != nil || !s.IsDir() {
		t.Fatal(err)
	}
	return c, want
}

// dataFiles are the files in a data folder that a node reads, relative to it.
func dataFiles(t *testing.T, folder string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "LOCK" {
			name, _ := filepath.Rel(folder, path)
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func flip(t *testing.T, path string, at int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	_, err = f.ReadAt(b[:], int64(at))
	b[0] ^= 0x41
	_, writeErr := f.WriteAt(b[:], int64(at))
	if err := errors.Join(err, writeErr, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func tables(t *testing.T, folder string) (paths []string) {
	t.Helper()
	for _, name := range dataFiles(t, folder) {
		if strings.HasSuffix(name, ".sst") {
			paths = append(paths, filepath.Join(folder, name))
		}
	}
	if len(paths) == 0 {
		t.Fatal("there is no table")
	}
	return paths
}

func asideOf(t *testing.T, c Config) []string {
	t.Helper()
	paths, err := identity.Folder(c.Folder).MovedAside()
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// TestDamagedStoreIsMadeAgainFromTheLog under the same id, and what was damaged is kept.
func TestDamagedStoreIsMadeAgainFromTheLog(t *testing.T) {
	c, want := filled(t, false)
	for name, harm := range map[string]func(folder string){
		"CURRENT": func(folder string) { flip(t, folder+"/store/CURRENT", 40) },
		"MANIFEST": func(folder string) {
			for _, name := range dataFiles(t, folder) {
				if strings.Contains(name, "MANIFEST-") && !strings.Contains(name, "marker") {
					flip(t, filepath.Join(folder, name), 60)
				}
			}
		},
		".sst": func(folder string) {
			for _, path := range tables(t, folder) {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			copied := crashed(t, c)
			harm(copied.Folder)
			var told []string
			copied.Events.Rebuilt = func(to string, damage error) {
				told = append(told, to)
				if !errors.Is(damage, store.ErrDamaged) || !strings.Contains(damage.Error(), name) {
					t.Errorf("told of %v, which does not name %s", damage, name)
				}
			}
			before, err := identity.Load(identity.Folder(copied.Folder))
			if err != nil {
				t.Fatal(err)
			}
			n := start(t, copied)
			wantSessions(t, n, 150)
			if digest(n) != want || n.Identity().NodeID != before.NodeID {
				t.Error("digest or identity differs")
			}
			if aside := asideOf(t, copied); len(aside) != 1 || len(told) != 1 || told[0] != aside[0] {
				t.Errorf("moved aside %v, told %v", aside, told)
			}
			if s := status(t, n); s.DamagedStores != 1 {
				t.Errorf("status counts %d damaged stores", s.DamagedStores)
			}
			fill(t, n, 150, 160)
			stop(t, n)
			wantSessions(t, start(t, copied), 160)
		})
	}
}

// TestDamagedStoreWithoutAWholeLogIsRefused and left as it is.
func TestDamagedStoreWithoutAWholeLogIsRefused(t *testing.T) {
	c, _ := filled(t, true)
	copied := crashed(t, c)
	flip(t, copied.Folder+"/store/CURRENT", 40)
	_, err := Open(copied)
	if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "CURRENT") || !strings.Contains(err.Error(), "restore a backup") {
		t.Errorf("got %v", err)
	}
	if aside := asideOf(t, copied); len(aside) != 0 {
		t.Errorf("moved aside: %v", aside)
	}
}

// TestDamageThatIsMetWhileRunningEndsTheNodeAndIsMendedByTheNextStart.
func TestDamageThatIsMetWhileRunningEndsTheNodeAndIsMendedByTheNextStart(t *testing.T) {
	c, want := filled(t, false)
	fatal := make(chan error, 8)
	c.Fatal = func(err error) { fatal <- err }
	n := start(t, c)
	// The block with the first rows stays: the node has started, and nothing at its start reads the rest.
	var harmed []string
	for _, path := range tables(t, c.Folder) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := len(content) / 4; at < len(content)*3/4; at += 512 {
			content[at] ^= 0x41
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		harmed = append(harmed, filepath.Base(path))
	}
	snap := n.Machine().Store().Snapshot()
	rows := 0
	err := snap.WalkRows(func([]byte, []byte) error { rows++; return nil })
	snap.Close()
	if !errors.Is(err, store.ErrDamaged) {
		t.Fatalf("read %d rows, then %v; want damage", rows, err)
	}
	var failure error
	select {
	case failure = <-fatal:
	case <-timeout(t).Done():
		t.Fatal("the node goes on")
	}
	if !errors.Is(failure, store.ErrDamaged) || !containsOne(failure.Error(), harmed) {
		t.Errorf("fatal: %v, want the name of one of %v", failure, harmed)
	}
	if err := n.Ready(); err == nil || !containsOne(err.Error(), harmed) {
		t.Errorf("ready: %v, want the name of the file", err)
	}
	_ = n.Close() // what it could not flush is in the log
	c.Fatal = func(err error) { t.Errorf("fatal: %v", err) }
	c.Events.Rebuilt = func(_ string, damage error) {
		if !containsOne(damage.Error(), harmed) {
			t.Errorf("rebuilt because of %v, want the file", damage)
		}
	}
	again := start(t, c)
	wantSessions(t, again, 150)
	if digest(again) != want || len(asideOf(t, c)) != 1 {
		t.Errorf("digest differs, or nothing was moved aside: %v", asideOf(t, c))
	}
}

func containsOne(text string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}

// TestNoteOfDamageThatIsNotThereGoes: a cable that was put back, a file that was restored.
func TestNoteOfDamageThatIsNotThereGoes(t *testing.T) {
	c, want := filled(t, false)
	folder := identity.Folder(c.Folder)
	if err := folder.NoteDamage("file 000001.sst: checksum"); err != nil {
		t.Fatal(err)
	}
	n := start(t, c)
	if noted, err := folder.Damage(); noted != "" || err != nil || digest(n) != want || len(asideOf(t, c)) != 0 {
		t.Errorf("note %q, %v; moved aside %v", noted, err, asideOf(t, c))
	}
}

// TestLogThatLostItsEndIsRefused: the store has had what is gone from it.
func TestLogThatLostItsEndIsRefused(t *testing.T) {
	c, _ := filled(t, false)
	logs, stable, err := raftlog.OpenBolt(identity.Folder(c.Folder).Raft(), nil)
	if err != nil {
		t.Fatal(err)
	}
	last, err := logs.LastIndex()
	if err := errors.Join(err, logs.DeleteRange(last-2, last), logs.Close(), stable.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = Open(c)
	if !errors.Is(err, raftlog.ErrDamaged) || !strings.Contains(err.Error(), raftlog.FirstLog) {
		t.Errorf("got %v, want that the log is damaged", err)
	}
}

// TestLogThatLostItsEndMakesNoStore: an old copy of the log has no end that could be missed, but the store was durable past
// it. What was acknowledged is not taken back, with a store that is damaged nor with one that is gone, and nothing is changed
// that shows it: every start refuses.
func TestLogThatLostItsEndMakesNoStore(t *testing.T) {
	c := diskConfig(t)
	n := start(t, c)
	fill(t, n, 0, 1)
	log := filepath.Join(identity.Folder(c.Folder).Raft(), raftlog.FirstLog)
	ends := fmt.Sprintf("ends at entry %d,", status(t, n).LastLog)
	stop(t, n)
	old, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	n = start(t, c)
	fill(t, n, 1, 10)
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	durable := fmt.Sprintf("durable up to entry %d,", status(t, n).Durable)
	stop(t, n)
	if err := os.WriteFile(log, old, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, harm := range map[string]func(string) error{
		"damaged store": func(store string) error { return os.WriteFile(filepath.Join(store, "CURRENT"), []byte("x"), 0o600) },
		"empty store":   os.RemoveAll,
	} {
		t.Run(name, func(t *testing.T) {
			copied := crashed(t, c)
			if err := harm(identity.Folder(copied.Folder).Store()); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				n, err := Open(copied)
				if err == nil {
					stop(t, n)
				}
				if !errors.Is(err, raftlog.ErrDamaged) || !strings.Contains(err.Error(), ends) || !strings.Contains(err.Error(), durable) {
					t.Errorf("got %v, want that the log is damaged, and both indexes", err)
				}
			}
			if aside := asideOf(t, copied); len(aside) != 0 {
				t.Errorf("moved aside: %v", aside)
			}
		})
	}
}

// TestStoreThatLostItsEndIsMadeGood by the log, and told: Pebble takes a wrong end of its MANIFEST for a crash.
func TestStoreThatLostItsEndIsMadeGood(t *testing.T) {
	c, want := filled(t, false)
	manifest := ""
	for _, name := range dataFiles(t, c.Folder) {
		if strings.Contains(name, "MANIFEST-") && !strings.Contains(name, "marker") {
			manifest = filepath.Join(c.Folder, name)
		}
	}
	info, err := os.Stat(manifest)
	if err != nil {
		t.Fatal(err)
	}
	// Enough to take the last flushes back; some lengths leave entries that name files which are gone.
	lost, step := 0, 23
	if underRace { // which makes each start slow
		step = 71
	}
	for cut := 1; cut < int(info.Size())-40; cut += step {
		copied := crashed(t, c)
		name, _ := filepath.Rel(c.Folder, manifest)
		flip(t, filepath.Join(copied.Folder, name), int(info.Size())-cut)
		copied.Events.Rebuilt = func(string, error) { lost++ }
		n := start(t, copied)
		wantSessions(t, n, 150)
		if digest(n) != want {
			t.Errorf("byte %d from the end: digest differs", cut)
		}
		stop(t, n)
	}
	if lost == 0 {
		t.Error("nothing was ever lost, so nothing was shown")
	}
}

// TestRotAnywhereInADataFolder changes single bytes of every kind of file of a node that was stopped. The next start refuses
// and names the file, or answers as before; what is damaged of the rows is made again from the log.
func TestRotAnywhereInADataFolder(t *testing.T) {
	c, want := filled(t, false)
	const each = 5
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	refused, rebuilt := map[string]int{}, map[string]int{}
	for _, name := range dataFiles(t, c.Folder) {
		intact, err := os.ReadFile(filepath.Join(c.Folder, name))
		if err != nil {
			t.Fatal(err)
		}
		var written []int // a byte that is not 0 rather means something
		for i, b := range intact {
			if b != 0 {
				written = append(written, i)
			}
		}
		for range each {
			copied := crashed(t, c)
			at := written[random.IntN(len(written))]
			flip(t, filepath.Join(copied.Folder, name), at)
			kind := filepath.Base(name)
			copied.Events.Rebuilt = func(_ string, damage error) {
				rebuilt[kind]++
				if !strings.HasPrefix(name, "store/") {
					t.Errorf("%s byte %d: the store was made again: %v", name, at, damage)
				}
			}
			var failed []error
			copied.Fatal = func(err error) { failed = append(failed, err) }
			answersOrNames(t, copied, name, at, want, func() { refused[kind]++ }, &failed)
		}
	}
	t.Logf("refused %v, rebuilt %v", refused, rebuilt)
	if refused["meta.json"] == 0 || len(refused) < 2 || len(rebuilt) == 0 {
		t.Errorf("refused %v, rebuilt %v: this shows little", refused, rebuilt)
	}
}

func answersOrNames(t *testing.T, c Config, name string, at int, want [32]byte, refused func(), failed *[]error) {
	t.Helper()
	n, err := Open(c)
	if err == nil {
		err = n.WaitReady(timeout(t))
		if err == nil {
			got := digest(n)
			_, err = readAllRows(n)
			if err == nil && got != want {
				t.Errorf("%s byte %d: another digest", name, at)
			}
		}
		closeErr := n.Close()
		err = errors.Join(append([]error{err}, *failed...)...)
		if err == nil && closeErr != nil {
			t.Errorf("%s byte %d: close: %v", name, at, closeErr)
		}
	}
	if err == nil {
		return
	}
	refused()
	base := filepath.Base(name)
	kind, _, _ := strings.Cut(base, "-")
	if !strings.Contains(err.Error(), base) && !strings.Contains(err.Error(), kind) {
		t.Errorf("%s byte %d: %v does not name the file", name, at, err)
	}
}

// readAllRows reads every row of a node and compares the digest that it keeps with them.
func readAllRows(n *Node) (rows int, err error) {
	if err := readsWhole(n.Machine().Store()); err != nil {
		return 0, err
	}
	snap := n.Machine().Store().Snapshot()
	defer snap.Close()
	err = snap.WalkRows(func([]byte, []byte) error { rows++; return nil })
	return rows, err
}
