package identity

import (
	"errors"
	"os"
	"slices"
	"testing"
)

func TestRoleIsKept(t *testing.T) {
	f := newFolder(t)
	if role, err := f.Role(); role != "" || err != nil {
		t.Errorf("at first: got %q, %v, want none", role, err)
	}
	for _, want := range []string{"reader", "voter"} {
		if err := f.SetRole(want); err != nil {
			t.Fatal(err)
		}
		if role, err := f.Role(); role != want || err != nil {
			t.Errorf("got %q, %v, want %q", role, err, want)
		}
	}
	if err := f.SetRole("two words"); err == nil {
		t.Error("a role of two words was taken")
	}
	if err := os.WriteFile(f.role(), []byte("vot"), fileMode); err != nil {
		t.Fatal(err)
	}
	if role, err := f.Role(); !errors.Is(err, ErrDamaged) {
		t.Errorf("cut short: got %q, %v, want that it is damaged", role, err)
	}
}

func TestRemovedNodesAreWrittenDown(t *testing.T) {
	f := Folder(t.TempDir())
	for _, want := range [][]string{nil, {"n1-1"}, {"n1-1", "n2-2"}} {
		if want != nil {
			if err := f.SetRemoved(want); err != nil {
				t.Fatal(err)
			}
		}
		got, err := f.Removed()
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
}

func TestNoteOfQuarantine(t *testing.T) {
	f := Folder(t.TempDir())
	for _, text := range []string{"", "it differs", "a later one"} {
		if text != "" {
			if err := f.NoteQuarantine(text); err != nil {
				t.Fatal(err)
			}
		}
		want := text
		if text == "a later one" {
			want = "it differs"
		}
		if got, err := f.Quarantine(); got != want || err != nil {
			t.Errorf("after %q: got %q, %v", text, got, err)
		}
	}
	if err := os.WriteFile(f.quarantine(), nil, fileMode); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Quarantine(); got == "" || err != nil {
		t.Errorf("a note that a crash cut short: %q, %v", got, err)
	}
}
