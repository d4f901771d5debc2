package importer

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func opening(name string, open func() (io.ReadCloser, error)) Source {
	return Source{Name: name, Open: open}
}

// unreadable are sources that fail in every way.
func unreadable(t *testing.T) []Source {
	t.Helper()
	damaged := zipped(t, strings.Repeat("x", 1000))
	return []Source{
		opening("absent", func() (io.ReadCloser, error) { return nil, os.ErrNotExist }),
		opening("broken", func() (io.ReadCloser, error) { return io.NopCloser(brokenReader{}), nil }),
		textSource("damaged gzip", damaged[:len(damaged)-9]),
		textSource("gzip in name only", "\x1f\x8bno"),
		textSource("two bytes of gzip", "\x1f\x8b"),
		{Name: "fault", Fault: errors.New("no way")},
	}
}

// TestUnreadableSourcesAlone: where nothing else is read, the import fails.
func TestUnreadableSourcesAlone(t *testing.T) {
	for _, s := range unreadable(t) {
		got, err := Import(t.Context(), nil, []Source{s}, Options{DryRun: true})
		if err == nil || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), s.Name) || got.Skipped != 1 {
			t.Errorf("%s: %+v, %v", s.Name, got, err)
		}
	}
}

// TestUnreadableSourcesAmongOthers: the others are read; under Strict the import ends.
func TestUnreadableSourcesAmongOthers(t *testing.T) {
	for _, s := range unreadable(t) {
		sources := []Source{sample(t, "bare.json"), s, sample(t, "text.traj")}
		want, err := Import(t.Context(), nil, []Source{sources[0], sources[2]}, Options{DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		var told []Problem
		got, err := Import(t.Context(), nil, sources, Options{DryRun: true, Problem: func(p Problem) { told = append(told, p) }})
		if err != nil || len(told) != 1 || told[0].Source != s.Name || told[0].Reason == "" {
			t.Errorf("%s: %v, %v", s.Name, told, err)
		}
		if want.Skipped, want.Files = 1, got.Files; got != want {
			t.Errorf("%s: got %+v, want %+v", s.Name, got, want)
		}
		var stopped *Stopped
		if _, err := Import(t.Context(), nil, sources, Options{DryRun: true, Strict: true}); !errors.As(err, &stopped) || stopped.Problem.Source != s.Name {
			t.Errorf("%s: strict: %v", s.Name, err)
		}
	}
}

// TestFilesThatBreakOff keep what came before the fault where no id is made of the whole file, and say where it was.
func TestFilesThatBreakOff(t *testing.T) {
	whole := zipped(t, `{"memory_graph_export":{"version":1,"lineage":"","revision":1}}`+"\n"+`{"node":`+agent("a")+"}\n"+`{"node":`+agent("b")+"}\n")
	tests := []struct {
		name, text  string
		agents      int64
		where, what string
	}{
		{"graph.jsonl.gz", whole[:len(whole)-9], 2, "line 4", "unexpected EOF; nothing from here on can be read"},
		{"lines.jsonl.gz", zipped(t, strings.Repeat(`{"messages":[{"role":"user","content":"hi"}]}`+"\n", 3))[:40], 0, "", "unexpected EOF"},
	}
	for _, tt := range tests {
		var told []Problem
		got, err := Import(t.Context(), nil, []Source{textSource(tt.name, tt.text), sample(t, "bare.json")},
			Options{DryRun: true, Problem: func(p Problem) { told = append(told, p) }})
		if err != nil || len(told) != 1 || told[0].Where != tt.where || !strings.Contains(told[0].Reason, tt.what) {
			t.Errorf("%s: %v, %v", tt.name, told, err)
		}
		if own, _ := Import(t.Context(), nil, []Source{sample(t, "bare.json")}, Options{DryRun: true}); got.Agents-own.Agents != tt.agents {
			t.Errorf("%s: %d agents, want %d", tt.name, got.Agents-own.Agents, tt.agents)
		}
	}
}

// linked makes a folder with links of every kind, and a link to the folder itself.
func linked(t *testing.T) (folder, link string) {
	t.Helper()
	dir := t.TempDir()
	folder, link = filepath.Join(dir, "folder"), filepath.Join(dir, "link")
	if err := os.MkdirAll(filepath.Join(folder, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(folder, "sub", "a.json"), filepath.Join(dir, "elsewhere")} {
		if err := os.WriteFile(path, []byte("[]"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		link: folder, filepath.Join(folder, "b.json"): filepath.Join(dir, "elsewhere"), filepath.Join(folder, "README"): filepath.Join(dir, "elsewhere"),
		filepath.Join(folder, "circle"): folder, filepath.Join(folder, "gone.json"): filepath.Join(dir, "absent"),
	} {
		if err := os.Symlink(target, name); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
	}
	return folder, link
}

func TestLinksAreReadOrTold(t *testing.T) {
	folder, link := linked(t)
	for _, root := range []string{folder, link} {
		found, _, err := Sources([]string{root, filepath.Join(root, "b.json")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range found {
			name, err := filepath.Rel(root, s.Name)
			if err != nil {
				t.Fatal(err)
			}
			if s.Fault != nil {
				name += ": " + s.Fault.Error()
			}
			got = append(got, name)
		}
		want := []string{"b.json", "circle: " + errLinkToFolder.Error(), "gone.json: is a symbolic link that leads nowhere: no such file or directory",
			filepath.Join("sub", "a.json"), "b.json"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", root, diff)
		}
	}
}

// TestFoldersThatCannotBeListed are told, and their neighbours are read.
func TestFoldersThatCannotBeListed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"closed", "open"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "x.json"), []byte("[]"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	closed := filepath.Join(dir, "closed")
	if err := os.Chmod(closed, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(closed, 0o755) })
	if _, err := os.ReadDir(closed); err == nil {
		t.Skip("whoever runs this may list every folder")
	}
	found, _, err := Sources([]string{dir}, nil)
	if err != nil || len(found) != 2 || found[0].Name != closed || !errors.Is(found[0].Fault, os.ErrPermission) || found[1].Fault != nil {
		t.Errorf("%+v, %v", found, err)
	}
}
