// Package samples hands real texts to fuzz targets: what people and models said, in the formats in which they are kept.
//
// It promises the same few pieces in the same order for the same folder, and nothing when the folder is not there: targets
// have small seeds of their own. It knows none of the formats. Only tests import it.
package samples

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// perFolder is how many files of one data set give a piece.
const perFolder = 3

// Texts are pieces of real files, each at most maxBytes long: the beginning of one file, the middle of the next. The folder
// with the data is MEMORY_GRAPH_DATA, else beside the repository.
func Texts(tb testing.TB, maxBytes int) [][]byte {
	tb.Helper()
	root := folder(tb)
	sets, err := os.ReadDir(root)
	if err != nil {
		tb.Logf("no real data for seeds (set MEMORY_GRAPH_DATA): %v", err)
		return nil
	}
	var all [][]byte
	for _, set := range sets {
		var files []string
		err := filepath.WalkDir(filepath.Join(root, set.Name()), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			tb.Fatalf("seeds: %v", err)
		}
		for i := range min(perFolder, len(files)) {
			piece, err := read(files[i*len(files)/perFolder%len(files)], i%2 == 1, maxBytes)
			if err != nil {
				tb.Fatalf("seeds: %v", err)
			}
			all = append(all, piece)
		}
	}
	return all
}

// folder is where the data would be: the environment says it, or the repository, whose root has the go.mod above.
func folder(tb testing.TB) string {
	if root := os.Getenv("MEMORY_GRAPH_DATA"); root != "" {
		return root
	}
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatalf("seeds: %v", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil || dir == filepath.Dir(dir) {
			return filepath.Join(dir, "..", "shared", "data")
		}
	}
}

// read reads a piece of a file as text: what is cut or no UTF-8 is dropped.
func read(path string, middle bool, most int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if at := info.Size() / 2; middle && at > 0 {
		if _, err := f.Seek(at, io.SeekStart); err != nil {
			return nil, err
		}
	}
	piece, err := io.ReadAll(io.LimitReader(f, int64(most)))
	return bytes.ToValidUTF8(piece, nil), err
}
