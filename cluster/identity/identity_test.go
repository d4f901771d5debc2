package identity

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newMeta(t *testing.T) Meta {
	t.Helper()
	m, err := New{Name: "node", Random: rand.Reader, Created: time.Unix(1_700_000_000, 123_456_789), CreatedBy: "v1"}.Make()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newFolder(t *testing.T) Folder {
	t.Helper()
	f := Folder(filepath.Join(t.TempDir(), "data"))
	if err := f.Make(); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestMadeIdentityHasTheShapeThatIsPromised(t *testing.T) {
	a, b := newMeta(t), newMeta(t)
	for _, m := range []Meta{a, b} {
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(m.ClusterID) {
			t.Errorf("cluster id: got %q, want a random UUID", m.ClusterID)
		}
		if !regexp.MustCompile(`^node-[0-9a-f]{8}$`).MatchString(m.NodeID) {
			t.Errorf("node id: got %q, want node-<8 hex>", m.NodeID)
		}
		if m.Lineage == 0 {
			t.Error("lineage: got 0")
		}
	}
	if a.ClusterID == b.ClusterID || a.NodeID == b.NodeID || a.Lineage == b.Lineage {
		t.Errorf("two identities share an id: %+v, %+v", a, b)
	}
}

func TestIdentityComesFromTheRandomnessThatItIsHanded(t *testing.T) {
	n := New{Name: "a", Random: bytes.NewReader(bytes.Repeat([]byte{7}, 100))}
	m, err := n.Make()
	if err != nil {
		t.Fatal(err)
	}
	if m.NodeID != "a-07070707" || m.Lineage != 0x07070707 || m.ClusterID != "07070707-0707-4707-8707-070707070707" {
		t.Errorf("got %+v", m)
	}
	for _, bytesLeft := range []int{0, 15, 16, 19, 20, 23} {
		n.Random = bytes.NewReader(bytes.Repeat([]byte{7}, bytesLeft))
		if _, err := n.Make(); err == nil {
			t.Errorf("%d random bytes: got no error", bytesLeft)
		}
	}
	if _, err := NewLineage(bytes.NewReader(make([]byte, 100))); err == nil {
		t.Error("lineage from zeros: got no error")
	}
	if l, err := NewLineage(bytes.NewReader([]byte{0, 0, 0, 0, 0, 0, 0, 5})); l != 5 || err != nil {
		t.Errorf("lineage after four zeros: got %d, %v, want 5", l, err)
	}
}

func TestNamesThatAreNoHostLabelAreRefused(t *testing.T) {
	for _, name := range []string{"", "-a", "a-", "A", "a/b", "a b", strings.Repeat("a", 64), "ä"} {
		if _, err := (New{Name: name, Random: rand.Reader}).Make(); err == nil {
			t.Errorf("name %q: got no error", name)
		}
	}
}

func TestSavedIdentityLoads(t *testing.T) {
	f := newFolder(t)
	if _, err := Load(f); !errors.Is(err, ErrNone) {
		t.Fatalf("fresh folder: got %v, want none", err)
	}
	want := newMeta(t)
	for range 2 {
		if err := Save(f, want); err != nil {
			t.Fatal(err)
		}
		got, err := Load(f)
		if err != nil {
			t.Fatal(err)
		}
		want.KeyIDs = []uint32{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		want.Lineage++
	}
	for path, want := range map[string]fs.FileMode{string(f): 0o700, f.Raft(): 0o700, f.Store(): 0o700, f.Meta(): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s: got mode %o, want %o", path, got, want)
		}
	}
	if _, err := os.Stat(f.Meta() + ".tmp"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("temporary file: got %v, want not exist", err)
	}
}

func TestEveryChangedByteOfMetaIsNoticed(t *testing.T) {
	f := newFolder(t)
	if err := Save(f, newMeta(t)); err != nil {
		t.Fatal(err)
	}
	intact, err := os.ReadFile(f.Meta())
	if err != nil {
		t.Fatal(err)
	}
	for i := range intact {
		for bit := range 8 {
			broken := bytes.Clone(intact)
			broken[i] ^= 1 << bit
			if m, err := decode(broken); err == nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) {
				t.Fatalf("byte %d bit %d: got %+v, %v", i, bit, m, err)
			}
		}
	}
	for n := range intact {
		if _, err := decode(intact[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d bytes: got %v, want damaged", n, err)
		}
	}
}

func TestLoadNamesTheFileAndWhatToDo(t *testing.T) {
	f := newFolder(t)
	for text, want := range map[string]struct {
		kind error
		says string
	}{
		`{"format": 2, "something": "else"}`: {ErrFormat, "later one"},
		`{"format": 1}`:                      {ErrDamaged, "checksum"},
		`rubbish`:                            {ErrDamaged, "invalid"},
		strings.Repeat(" ", maxMetaBytes+1):  {ErrDamaged, "bytes"},
	} {
		if err := os.WriteFile(f.Meta(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(f)
		if !errors.Is(err, want.kind) || !strings.Contains(err.Error(), f.Meta()) || !strings.Contains(err.Error(), want.says) {
			t.Errorf("%.40q: got %v, want %v, with the path and %q", text, err, want.kind, want.says)
		}
	}
}

func TestIncompleteIdentitiesAreNeitherSavedNorLoaded(t *testing.T) {
	f := newFolder(t)
	whole := newMeta(t)
	for name, change := range map[string]func(*Meta){
		"format":  func(m *Meta) { m.Format = 0 },
		"cluster": func(m *Meta) { m.ClusterID = "" },
		"node":    func(m *Meta) { m.NodeID = "" },
		"path":    func(m *Meta) { m.NodeID = "../x" },
		"lineage": func(m *Meta) { m.Lineage = 0 },
	} {
		m := whole
		change(&m)
		if err := Save(f, m); err == nil {
			t.Errorf("%s: saved", name)
		}
		text, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode(text); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: got %v, want damaged", name, err)
		}
	}
	if _, err := Load(f); !errors.Is(err, ErrNone) {
		t.Errorf("after refused saves: got %v, want none", err)
	}
}

func TestFolderThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := Folder(filepath.Join(file, "data"))
	if err := f.Make(); err == nil {
		t.Error("folder below a file: got no error")
	}
	if err := Save(f, newMeta(t)); err == nil {
		t.Error("save below a file: got no error")
	}
	if _, err := Load(f); err == nil || errors.Is(err, ErrNone) {
		t.Errorf("load below a file: got %v", err)
	}
	if _, err := Acquire(f); err == nil {
		t.Error("lock below a file: got no error")
	}
}

func TestOneProcessHoldsTheFolder(t *testing.T) {
	f := newFolder(t)
	held, err := Acquire(f)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Acquire(f)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("second lock: got %v, want locked, naming this process", err)
	}
	if err := os.WriteFile(filepath.Join(string(f), lockName), []byte("no number"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(f); !errors.Is(err, ErrLocked) || strings.Contains(err.Error(), "process") {
		t.Errorf("second lock, holder unknown: got %v, want locked", err)
	}
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
	held, err = Acquire(f)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
	if err := held.Release(); err == nil {
		t.Error("second release: got no error")
	}
}

// TestLockEndsWithItsProcess starts this test binary as the other process and kills it.
func TestLockEndsWithItsProcess(t *testing.T) {
	if folder := os.Getenv("IDENTITY_TEST_HOLD"); folder != "" {
		if _, err := Acquire(Folder(folder)); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("held\n")
		select {}
	}
	f := newFolder(t)
	other := exec.Command(os.Args[0], "-test.run", "^TestLockEndsWithItsProcess$")
	other.Env = append(os.Environ(), "IDENTITY_TEST_HOLD="+string(f))
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(f); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "process "+strconv.Itoa(other.Process.Pid)) {
		t.Errorf("folder of another process: got %v, want locked, naming it", err)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(); err == nil {
		t.Error("killed process: got no error")
	}
	held, err := Acquire(f)
	if err != nil {
		t.Fatalf("after the holder was killed: %v", err)
	}
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
}
