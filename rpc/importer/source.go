package importer

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Source is one file to read.
type Source struct {
	// Name is what reports call it.
	Name string
	// Open opens it from the beginning. It is called up to three times: to see how the file is laid out, to read it, and to
	// take its digest when ids need one.
	Open func() (io.ReadCloser, error)
	// Size is its length on disk in bytes, for progress; 0 when unknown.
	Size int64
	// Beside opens a file by its path from the folder of this one, for formats whose files need each other; nil where there
	// is no folder. The error wraps fs.ErrNotExist when there is no such file.
	Beside func(path string) (Source, error)
}

// Stdin is the path that stands for standard input.
const Stdin = "-"

// suffixes are the file names that a walk through a folder picks up, each also with .gz behind it.
func suffixes() []string {
	return []string{".json", ".jsonl", ".ndjson", ".traj", ".csv", ".yaml", ".yml"}
}

// lineSuffixes are the file names that say that a file holds one value a line.
func lineSuffixes() []string { return []string{".jsonl", ".ndjson"} }

func hasSuffix(name string, list []string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".gz")
	return slices.ContainsFunc(list, func(s string) bool { return strings.HasSuffix(name, s) })
}

// Sources finds what the paths name. A file is taken whatever its name is; a folder gives its .json, .jsonl, .ndjson,
// .traj, .csv, .yaml and .yml files and those of the folders below, sorted, gzipped ones too; "-" is stdin, which is copied to a temporary
// file because reading takes two passes. close removes that file; call it when the sources are read, also after an error.
func Sources(paths []string, stdin io.Reader) (found []Source, close func() error, err error) {
	var spooled []string
	close = func() error {
		var errs []error
		for _, name := range spooled {
			errs = append(errs, os.Remove(name))
		}
		return errors.Join(errs...)
	}
	for _, p := range paths {
		if p == Stdin {
			name, err := spool(stdin)
			if name != "" {
				spooled = append(spooled, name)
			}
			if err != nil {
				return nil, close, fmt.Errorf("standard input: %w", err)
			}
			s, err := file(name)
			if err != nil {
				return nil, close, err
			}
			s.Name, s.Beside = Stdin, nil
			found = append(found, s)
			continue
		}
		below, err := walk(p)
		if err != nil {
			return nil, close, err
		}
		found = append(found, below...)
	}
	return found, close, nil
}

func spool(in io.Reader) (name string, err error) {
	f, err := os.CreateTemp("", "memory-graph-import-*")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, in)
	return f.Name(), errors.Join(err, f.Close())
}

func walk(root string) ([]Source, error) {
	var found []Source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return nil
		case path != root && (!hasSuffix(path, suffixes()) || !d.Type().IsRegular()):
			return nil
		}
		s, err := file(path)
		found = append(found, s)
		return err
	})
	return found, err
}

func file(path string) (Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Source{}, err
	}
	if !info.Mode().IsRegular() {
		return Source{}, fmt.Errorf("%s: not a regular file", path)
	}
	open := func() (io.ReadCloser, error) { return os.Open(path) }
	beside := func(other string) (Source, error) {
		return file(filepath.Join(filepath.Dir(path), filepath.FromSlash(other)))
	}
	return Source{Name: path, Open: open, Size: info.Size(), Beside: beside}, nil
}

// A countingReader tells how much was read.
type countingReader struct {
	io.Reader
	report func(int)
}

func (c countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if c.report != nil {
		c.report(n)
	}
	return n, err
}

// text opens the source as text: unzipped when it is gzip, and without a byte order mark.
func (s Source) text(progress func(int)) (*bufio.Reader, io.Closer, error) {
	f, err := s.Open()
	if err != nil {
		return nil, nil, err
	}
	r := bufio.NewReaderSize(countingReader{f, progress}, readBufferBytes)
	if magic, _ := r.Peek(2); string(magic) == "\x1f\x8b" {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, errors.Join(err, f.Close())
		}
		r = bufio.NewReaderSize(z, readBufferBytes)
	}
	if mark, _ := r.Peek(3); string(mark) == "\ufeff" {
		if _, err := r.Discard(len(mark)); err != nil {
			return nil, nil, errors.Join(err, f.Close())
		}
	}
	return r, f, nil
}
