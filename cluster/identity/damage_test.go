package identity

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNoteOfDamage(t *testing.T) {
	f := Folder(t.TempDir())
	want := func(text string) {
		t.Helper()
		if got, err := f.Damage(); got != text || err != nil {
			t.Errorf("note: got %q, %v, want %q", got, err, text)
		}
	}
	want("")
	if err := f.ClearDamage(); err != nil {
		t.Errorf("clear of nothing: %v", err)
	}
	for _, text := range []string{"file 1 is rotten", "a later consequence"} {
		if err := f.NoteDamage(text); err != nil {
			t.Fatal(err)
		}
	}
	want("file 1 is rotten")
	if err := f.ClearDamage(); err != nil {
		t.Fatal(err)
	}
	want("")
	if err := f.NoteDamage(strings.Repeat("x", 2*maxNoteBytes)); err != nil {
		t.Fatal(err)
	}
	want(strings.Repeat("x", maxNoteBytes))
	if err := os.WriteFile(f.note(), nil, fileMode); err != nil {
		t.Fatal(err)
	}
	want("it is not known how")
}

func TestStoreIsMovedAside(t *testing.T) {
	f := Folder(t.TempDir())
	if err := f.Make(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.Store(), "row"), []byte("x"), fileMode); err != nil {
		t.Fatal(err)
	}
	if err := f.NoteDamage("rotten"); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	aside, err := f.MoveStoreAside(now)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(string(f), "store.damaged-20260301T120000.000Z"); aside != want {
		t.Errorf("moved to %s, want %s", aside, want)
	}
	if _, err := os.Stat(filepath.Join(aside, "row")); err != nil {
		t.Error(err)
	}
	if rows, err := os.ReadDir(f.Store()); len(rows) != 0 || err != nil {
		t.Errorf("new store: %v, %v, want an empty folder", rows, err)
	}
	if noted, err := f.Damage(); noted != "" || err != nil {
		t.Errorf("note: %q, %v, want none", noted, err)
	}
	if again, err := f.MoveStoreAside(now); err == nil {
		t.Errorf("moved over the first one to %s", again)
	}
	if paths, err := f.MovedAside(); len(paths) != 1 || paths[0] != aside || err != nil {
		t.Errorf("moved aside: %v, %v", paths, err)
	}
}
