package backup_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/backup"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// What makes states is beside the machine: fsm/backup_test.go.

func golden(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func open(t testing.TB, text []byte) *backup.Reader {
	t.Helper()
	in, err := backup.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	return in
}

func TestVerifyFindsNothingInAGoodBackup(t *testing.T) {
	checked, err := backup.Verify(open(t, golden(t, "full-1.mgb")), store.OpenMemory(), func(f store.Finding) { t.Errorf("finding %v", f) }, nil)
	if err != nil || checked.Nodes != 10 {
		t.Errorf("%d nodes, %v", checked.Nodes, err)
	}
	if trailer, err := backup.VerifyEntries(open(t, golden(t, "log-1.mgb")), nil); err != nil || trailer.Entries != 2 || trailer.Commands != 2 {
		t.Errorf("increment: %v, %v", trailer, err)
	}
	if _, err := backup.Verify(open(t, golden(t, "log-1.mgb")), store.OpenMemory(), nil, nil); err == nil {
		t.Error("an increment was verified as a full backup")
	}
}

func TestTheEndsOfAFileTellWhatItIs(t *testing.T) {
	text := golden(t, "log-1.mgb")
	h, trailer, err := backup.Ends(bytes.NewReader(text), int64(len(text)))
	if err != nil || h.Kind != pb.BackupKind_BACKUP_KIND_INCREMENT || trailer.Revision != h.Revision+2 || trailer.Entries != 2 {
		t.Fatalf("%v, %v, %v", h, trailer, err)
	}
	for what, read := range map[string]func(*backup.Reader) (*pb.BackupTrailer, error){
		"reading all": func(b *backup.Reader) (*pb.BackupTrailer, error) { return backup.VerifyEntries(b, nil) },
		"skimming":    (*backup.Reader).Skim,
	} {
		if got, err := read(open(t, text)); err != nil || got.String() != trailer.String() {
			t.Errorf("%s gives %v, %v, the end alone %v", what, got, err, trailer)
		}
	}
	for n := range text {
		if _, _, err := backup.Ends(bytes.NewReader(text[:n]), int64(n)); !errors.Is(err, backup.ErrDamaged) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

func TestSkimmingFindsEveryChangedByte(t *testing.T) {
	text := golden(t, "log-1.mgb")
	for i := range text {
		changed := bytes.Clone(text)
		changed[i] ^= 1
		in, err := backup.NewReader(bytes.NewReader(changed))
		if err == nil {
			_, err = in.Skim()
		}
		if !errors.Is(err, backup.ErrDamaged) && !errors.Is(err, backup.ErrVersion) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}

func TestALaterVersionIsNamed(t *testing.T) {
	text := golden(t, "full-1.mgb")
	text[11]++
	if _, err := backup.NewReader(bytes.NewReader(text)); !errors.Is(err, backup.ErrVersion) || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("got %v", err)
	}
}

func TestAnIncrementHasNoGap(t *testing.T) {
	h := &pb.BackupHeader{Kind: pb.BackupKind_BACKUP_KIND_INCREMENT, Revision: 7}
	w, err := backup.NewWriter(io.Discard, h)
	if err != nil {
		t.Fatal(err)
	}
	for revision, good := range map[uint64]bool{7: false, 9: false} {
		if err := w.Entry(&pb.BackupEntry{Revision: revision}); (err == nil) != good {
			t.Errorf("entry %d after 7: %v", revision, err)
		}
	}
	if err := w.Entry(&pb.BackupEntry{Revision: 8}); err != nil {
		t.Error(err)
	}
}

// file is what a file of a folder says of itself.
func file(name string, kind pb.BackupKind, revision, last uint64) backup.File {
	at := func(r uint64) *timestamppb.Timestamp { return graph.Timestamp(int64(r) * 1000) }
	return backup.File{
		Name:    name,
		Header:  &pb.BackupHeader{Kind: kind, ClusterId: "c", Lineage: "l", Revision: revision, Instant: at(revision)},
		Trailer: &pb.BackupTrailer{Revision: last, Instant: at(last)},
	}
}

func TestChoose(t *testing.T) {
	const full, log = pb.BackupKind_BACKUP_KIND_FULL, pb.BackupKind_BACKUP_KIND_INCREMENT
	f10, f30 := file("f10", full, 10, 10), file("f30", full, 30, 30)
	l10, l20, l35, l50 := file("l10", log, 10, 20), file("l20", log, 20, 35), file("l35", log, 35, 40), file("l50", log, 50, 60)
	short := file("short", log, 10, 15)
	all := []backup.File{l35, f30, l20, short, l10, f10}
	for _, tt := range []struct {
		name  string
		files []backup.File
		from  *backup.File
		until backup.Until
		want  string
	}{
		{"the latest", all, nil, backup.Until{}, "f30 l20 l35"},
		{"from a full backup that is named", all, &f10, backup.Until{}, "f10 l10 l20 l35"},
		{"a revision between full backups", all, nil, backup.Until{Revision: 22}, "f10 l10 l20"},
		{"the revision of a full backup", all, nil, backup.Until{Revision: 30}, "f30"},
		{"a moment", all, nil, backup.Until{Instant: 29_000}, "f10 l10 l20"},
		{"a moment after all", all, nil, backup.Until{Instant: 99_000}, "f30 l20 l35"},
		{"before all", all, nil, backup.Until{Revision: 9}, "no full backup fits"},
		{"a revision that is not there yet", all, nil, backup.Until{Revision: 41}, "ends at revision 40"},
		{"a gap", append([]backup.File{l50}, all...), nil, backup.Until{}, "after revision 40"},
		{"a gap behind the end", append([]backup.File{l50}, all...), nil, backup.Until{Revision: 38}, "f30 l20 l35"},
		{"a full backup alone", []backup.File{f10}, nil, backup.Until{}, "f10"},
		{"nothing", nil, nil, backup.Until{}, "no full backup fits"},
		{"an increment is named", all, &l10, backup.Until{}, "no full backup"},
	} {
		c, err := backup.Choose(tt.files, tt.from, tt.until)
		got := c.Full.Name
		for _, i := range c.Increments {
			got += " " + i.Name
		}
		if err != nil {
			got = err.Error()
		}
		if err == nil && got != tt.want || err != nil && !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		if err == nil && len(tt.files) > 4 && c.Issued < 40 {
			t.Errorf("%s: issued up to %d, the files know of 40", tt.name, c.Issued)
		}
	}
	other := file("other", log, 40, 41)
	other.Header.Lineage = "m"
	if _, err := backup.Choose([]backup.File{f10, other}, nil, backup.Until{}); err == nil {
		t.Error("files of two lineages: no error")
	}
}

// FuzzReader: whatever a file holds, reading it is an error or gives a state, takes a bounded memory, and a store that was not
// filled whole counts as empty.
func FuzzReader(f *testing.F) {
	f.Add(golden(f, "full-1.mgb"), false)
	f.Add(golden(f, "log-1.mgb"), false)
	f.Add(plain(golden(f, "full-1.mgb")), true)
	f.Add(plain(golden(f, "log-1.mgb")), true)
	f.Fuzz(func(t *testing.T, text []byte, sealed bool) {
		if sealed {
			text = reseal(text)
		}
		in, err := backup.NewReader(bytes.NewReader(text))
		if err != nil {
			return
		}
		defer in.Close()
		if in.Header().Kind == pb.BackupKind_BACKUP_KIND_INCREMENT {
			s := store.OpenMemory()
			base := open(t, golden(t, "full-1.mgb"))
			if _, err := backup.Load(base, s, nil); err != nil {
				t.Fatal(err)
			}
			if replay, err := backup.NewReplay(fsm.New(s), backup.Until{}); err == nil && replay.File(in) == nil {
				_ = replay.Finish()
			}
			return
		}
		s := store.OpenMemory()
		if _, err := backup.Verify(in, s, func(store.Finding) {}, nil); err != nil && s.System().ClusterID != "" {
			t.Fatalf("the store has a state after %v", err)
		}
	})
}
