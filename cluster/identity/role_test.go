package identity

import (
	"errors"
	"os"
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
