//go:build !wasip1

package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// FaultFile is of a file that is not what was written.
const FaultFile Fault = "file"

// FileCheck says whom to tell of a check of files.
type FileCheck struct {
	// Report hears of each finding.
	Report func(Finding)
	// Progress hears of the bytes that were read so far; its error ends the check. nil is not asked.
	Progress func(bytes int64) error
}

// CheckedFiles is what a check of files has read.
type CheckedFiles struct {
	Files int
	Bytes int64
	// Leftovers are names that the store does not use and clears away when it opens for writing.
	Leftovers []string
}

// CheckFiles reads every file that the store uses, with its header and every block, and compares checksums. What it cannot see
// changes nothing: the nonce in a header, the options that Pebble was opened with last, and what stands in Pebble's log, which
// is never written to nor read.
// The store must come from OpenReadOnly. The error is that of Progress.
func (s *Store) CheckFiles(o FileCheck) (CheckedFiles, error) {
	f := &fileCheck{o: o, home: s.home.(*pebbleHome), engine: s.current.engine.(readOnlyEngine)}
	if f.o.Progress == nil {
		f.o.Progress = func(int64) error { return nil }
	}
	err := f.all(s.current.name)
	return f.done, err
}

type fileCheck struct {
	o      FileCheck
	home   *pebbleHome
	engine readOnlyEngine
	done   CheckedFiles
}

func (f *fileCheck) fault(path, format string, args ...any) {
	f.o.Report(Finding{Fault: FaultFile, Space: "store file", Key: path, Problem: fmt.Sprintf(format, args...)})
}

func (f *fileCheck) all(current string) error {
	names, err := f.home.fs.List(f.home.dir)
	if err != nil {
		f.fault(f.home.dir, "%v", err)
		return nil
	}
	slices.Sort(names)
	for _, n := range names {
		switch n {
		case lockName, current:
		case currentName: // was read when the store opened
			f.done.Files++
		default:
			f.done.Leftovers = append(f.done.Leftovers, f.home.path(n))
		}
	}
	return f.generation(f.home.path(current))
}

// generation reads the files of a database: the tables that its manifest names, and all others but leftovers.
func (f *fileCheck) generation(dir string) error {
	fs := f.home.fs
	names, err := fs.List(dir)
	if err != nil {
		f.fault(dir, "%v", err)
		return nil
	}
	tables, err := f.tables()
	if err != nil {
		f.fault(dir, "%v", err)
	}
	slices.Sort(names)
	for _, n := range names {
		path := fs.PathJoin(dir, n)
		check := f.plain
		switch {
		case n == lockName:
			continue
		case strings.HasSuffix(n, ".sst"):
			if !tables[n] {
				f.done.Leftovers = append(f.done.Leftovers, path)
				continue
			}
			delete(tables, n)
			check = f.table
		case strings.HasPrefix(n, "MANIFEST-"):
			check = f.manifest
		}
		if err := f.one(path, check); err != nil {
			return err
		}
	}
	for _, n := range slices.Sorted(maps.Keys(tables)) {
		f.fault(fs.PathJoin(dir, n), "is missing")
	}
	return nil
}

// tables are the names of the tables in use.
func (f *fileCheck) tables() (map[string]bool, error) {
	levels, err := f.engine.db.SSTables()
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, level := range levels {
		for _, t := range level {
			names[fmt.Sprintf("%s.sst", t.BackingSSTNum)] = true
		}
	}
	return names, nil
}

// one checks a file and counts it.
func (f *fileCheck) one(path string, check func(vfs.File) error) error {
	file, err := f.home.fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		f.fault(path, "%v", err)
		return nil
	}
	info, err := file.Stat()
	if err == nil {
		f.done.Bytes += info.Size() + fileHeader
		err = check(file)
	} else {
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		f.fault(path, "%v", err)
	}
	f.done.Files++
	return f.o.Progress(f.done.Bytes)
}

// plain is a file without checksums of its own: what is left is that it can be read.
func (f *fileCheck) plain(file vfs.File) error {
	_, err := io.Copy(io.Discard, struct{ io.Reader }{file})
	return errors.Join(err, file.Close())
}

// table compares the checksum of every block. Bytes that mislead the reader before that may make it panic.
func (f *fileCheck) table(file vfs.File) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v: %w", p, ErrDamaged)
		}
	}()
	in, err := sstable.NewSimpleReadable(file)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	options := f.home.o.pebble(f.home.fs)
	options.EnsureDefaults()
	r, err := sstable.NewReader(context.Background(), in, options.MakeReaderOptions())
	if err != nil {
		return errors.Join(kindOf(err), in.Close())
	}
	return errors.Join(kindOf(r.ValidateBlockChecksums()), r.Close())
}

// Layout of a manifest (pebble, package record): blocks of 32 KiB with chunks, each crc32c u32 | bytes u16 | type u8 | payload,
// little-endian; the sum is rotated and covers type and payload. What is left of a block is zeros.
const (
	manifestBlock  = 32 << 10
	manifestHeader = 7
	manifestTypes  = 4
)

// manifest compares the checksum of every chunk. Pebble takes the first chunk that does not agree for the end, and would open
// the state before it. Only a chunk that the end of the file cuts off is what a crash leaves.
func (f *fileCheck) manifest(file vfs.File) error {
	block := make([]byte, manifestBlock)
	for offset := int64(0); ; offset += manifestBlock {
		n, err := io.ReadFull(file, block)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return errors.Join(err, file.Close())
		}
		if at, ok := chunks(block[:n], last); !ok {
			err := fmt.Errorf("chunk at offset %d: wrong checksum: %w", offset+int64(at)+fileHeader, ErrDamaged)
			return errors.Join(err, file.Close())
		}
		if last {
			return file.Close()
		}
	}
}

// chunks checks those of one block, and returns where the first that is damaged begins.
func chunks(b []byte, last bool) (at int, ok bool) {
	for at < len(b) {
		left := b[at:]
		if len(bytes.Trim(left[:min(len(left), manifestHeader)], "\x00")) == 0 {
			return at, len(bytes.Trim(left, "\x00")) == 0
		}
		if len(left) < manifestHeader {
			return at, last
		}
		end := manifestHeader + int(binary.LittleEndian.Uint16(left[4:]))
		if end > len(left) {
			return at, last && at+end <= manifestBlock && !endsBefore(left)
		}
		if left[6] == 0 || left[6] > manifestTypes || binary.LittleEndian.Uint32(left) != rotated(crc32.Checksum(left[6:end], castagnoli())) {
			return at, false
		}
		at += end
	}
	return at, true
}

// endsBefore reports a chunk that is whole when it is taken to be shorter than it says: then its length is what is damaged, and
// it was not cut off.
func endsBefore(left []byte) bool {
	sum, want := uint32(0), binary.LittleEndian.Uint32(left)
	for i := 6; i < len(left); i++ {
		if sum = crc32.Update(sum, castagnoli(), left[i:i+1]); rotated(sum) == want {
			return true
		}
	}
	return false
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func rotated(sum uint32) uint32 { return (sum>>15 | sum<<17) + 0xa282ead8 }
