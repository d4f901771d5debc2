package store

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestHeaderIsHidden(t *testing.T) {
	for name, base := range map[string]vfs.FS{"memory": vfs.NewMem(), "disk": vfs.Default} {
		t.Run(name, func(t *testing.T) {
			dir := "d"
			if name == "disk" {
				dir = filepath.Join(t.TempDir(), "d")
			}
			fs := headerFS{base}
			if err := fs.MkdirAll(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			path := fs.PathJoin(dir, "f")
			if err := writeFile(fs, path, strings.NewReader("0123456789")); err != nil {
				t.Fatal(err)
			}
			f, err := fs.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			part := make([]byte, 4)
			if n, err := f.ReadAt(part, 3); n != 4 || string(part) != "3456" || err != nil {
				t.Errorf("read at 3: %q, %v", part[:n], err)
			}
			whole, err := io.ReadAll(f)
			if string(whole) != "0123456789" || err != nil {
				t.Errorf("read %q, %v", whole, err)
			}
			info, err := f.Stat()
			if err != nil || info.Size() != 10 || f.Fd() != vfs.InvalidFd {
				t.Errorf("file: %v, %v, descriptor %d", info, err, f.Fd())
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if info, err := fs.Stat(path); err != nil || info.Size() != 10 {
				t.Errorf("stat: %v, %v", info, err)
			}
			if info, err := base.Stat(path); err != nil || info.Size() != 10+fileHeader {
				t.Errorf("stat below: %v, %v", info, err)
			}
			if _, err := fs.Stat(path + "?"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("stat of nothing: %v", err)
			}
			readAndWrite(t, fs, path)
			reuse(t, fs, dir, path)
		})
	}
}

// readAndWrite opens one for both.
func readAndWrite(t *testing.T, fs headerFS, path string) {
	f, err := fs.OpenReadWrite(path, headerCategory)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("ab")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("cd")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("YZ"), 8); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(f)
	if string(got) != "abcd4567YZ" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := f.SyncTo(3); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f, err = fs.OpenReadWrite(path+"2", headerCategory)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if f, err = fs.Open(path + "2"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(f); string(got) != "new" || err != nil {
		t.Errorf("a new file holds %q, %v", got, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// reuse: another header for another life.
func reuse(t *testing.T, fs headerFS, dir, path string) {
	head := func(path string) string {
		f, err := fs.FS.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		h := make([]byte, fileHeader)
		if _, err := io.ReadFull(f, h); err != nil {
			t.Fatal(err)
		}
		return string(h)
	}
	before := head(path)
	next := fs.PathJoin(dir, "next")
	f, err := fs.ReuseForWrite(path, next, headerCategory)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if head(next) == before {
		t.Error("a header was used twice")
	}
	if _, err := fs.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old file is there: %v", err)
	}
	if _, err := fs.ReuseForWrite(path, next, headerCategory); err == nil {
		t.Error("a file that is gone was used again")
	}
}
