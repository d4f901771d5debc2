package samples

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTextsArePiecesOfTheFolder(t *testing.T) {
	root := t.TempDir()
	t.Setenv("MEMORY_GRAPH_DATA", root)
	for name, text := range map[string]string{"a/1.txt": "first file", "b/1.txt": "äß€", "b/2.txt": "0123456789"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, b := range Texts(t, 5) {
		got = append(got, string(b))
	}
	if diff := cmp.Diff([]string{"first", "äß", "€"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestNoFolderIsNoSeeds(t *testing.T) {
	t.Setenv("MEMORY_GRAPH_DATA", filepath.Join(t.TempDir(), "none"))
	if got := Texts(t, 5); got != nil {
		t.Errorf("got %q", got)
	}
}
