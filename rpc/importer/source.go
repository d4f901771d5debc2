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
	// Fault, when set, says why it cannot be read; it is then never opened, and an import reports it.
	Fault error
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
//
// A path may be a symbolic link, and so may a file in a folder. Links to folders inside a folder are not followed, since they
// may lead back: they are sources with a Fault, and so is whatever else below a folder cannot be read.
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
	info, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		s, err := file(root)
		return []Source{s}, err
	}
	var found []Source
	// The walk begins inside the folder, so that it does not matter whether the root is a link to it.
	err = fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		path := filepath.Join(root, filepath.FromSlash(name))
		switch {
		case err != nil:
			found = append(found, Source{Name: path, Fault: withoutPath(err)})
			return nil // a folder that cannot be listed has nothing below it
		case d.IsDir():
			return nil
		}
		if s, ok := below(path, d); ok {
			found = append(found, s)
		}
		return nil
	})
	return found, err
}

// below is what stands in a folder as a source. ok is false for files of other kinds than those that are picked up.
func below(path string, d fs.DirEntry) (s Source, ok bool) {
	wanted := hasSuffix(path, suffixes())
	if d.Type()&fs.ModeSymlink != 0 {
		switch info, err := os.Stat(path); {
		case err != nil:
			return Source{Name: path, Fault: fmt.Errorf("is a symbolic link that leads nowhere: %w", withoutPath(err))}, true
		case info.IsDir():
			return Source{Name: path, Fault: errLinkToFolder}, true
		}
	}
	if !wanted {
		return Source{}, false
	}
	s, err := file(path)
	if err != nil {
		s = Source{Name: path, Fault: withoutPath(err)}
	}
	return s, true
}

var (
	errLinkToFolder = errors.New("is a symbolic link to a folder, which is not followed; name it, or what it leads to, to import it")
	errNotRegular   = errors.New("not a regular file")
)

// withoutPath is the error of a file operation without the path, which whoever reports it names.
func withoutPath(err error) error {
	var failed *fs.PathError
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

func file(path string) (Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Source{}, err
	}
	if !info.Mode().IsRegular() {
		return Source{}, &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	open := func() (io.ReadCloser, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, withoutPath(err)
		}
		return f, nil
	}
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
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("gzip: %w", err), f.Close())
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
