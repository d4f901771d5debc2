package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Bounds of rows in the file of a memory engine, bytes.
const (
	maxKeyBytes   = 64 << 10
	maxValueBytes = 64 << 20
)

// memoryFrozen is a snapshot as a file.
type memoryFrozen struct{ rows memorySnapshot }

func (f memoryFrozen) system() (System, error) { return readSystem(f.rows) }
func (f memoryFrozen) close() error            { return nil }

func (f memoryFrozen) files() ([]frozenFile, error) {
	var size int64
	f.rows.tree.Scan(func(r memoryRow) bool {
		size += rowBytes(r)
		return true
	})
	open := func() (io.ReadCloser, error) { return &rowFile{rows: f.rows}, nil }
	return []frozenFile{{name: memoryRows, size: size, open: open}}, nil
}

// rowFile reads a snapshot as bytes.
type rowFile struct {
	rows    memorySnapshot
	started bool
	last    []byte // key of the last row in buffer
	buffer  []byte // what was encoded and not read
}

func (f *rowFile) Read(p []byte) (int, error) {
	if len(f.buffer) == 0 {
		f.fill()
	}
	if len(f.buffer) == 0 {
		return 0, io.EOF
	}
	n := copy(p, f.buffer)
	f.buffer = f.buffer[n:]
	return n, nil
}

func (f *rowFile) fill() {
	pivot := memoryRow{}
	if f.started {
		pivot.key = extend(f.last, 0)
	}
	f.started = true
	f.rows.tree.Ascend(pivot, func(r memoryRow) bool {
		f.buffer = appendRow(f.buffer, r)
		f.last = r.key
		return len(f.buffer) < copyBytes
	})
}

func (f *rowFile) Close() error { return nil }

// memoryLanding takes the one file of rows.
type memoryLanding struct {
	tree *memoryTree
	// disk is nil where nothing is kept; slot is what it gets.
	disk *MemoryDisk
	slot *memorySlot
}

func (l *memoryLanding) name() string { return "" }

func (l *memoryLanding) adopt() error {
	if l.disk != nil {
		l.disk.adopt(l.slot)
	}
	return nil
}

func (l *memoryLanding) open() (engine, error) {
	if l.disk != nil {
		l.slot = &memorySlot{tree: l.tree.Copy()}
	}
	return &memoryEngine{tree: l.tree, slot: l.slot}, nil
}

func (l *memoryLanding) accept(name string, size int64, r io.Reader) error {
	if name != memoryRows {
		return fmt.Errorf("no such file is known: %w", ErrDamaged)
	}
	in := bufio.NewReaderSize(r, int(min(size, copyBytes)))
	var last string
	for {
		key, err := readField(in, maxKeyBytes)
		if errors.Is(err, io.EOF) {
			return nil
		}
		var value []byte
		if err == nil {
			value, err = readField(in, maxValueBytes)
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
		}
		if err != nil {
			return err
		}
		if string(key) <= last {
			return fmt.Errorf("rows out of order: %w", ErrDamaged)
		}
		last = string(key)
		l.tree.Set(memoryRow{key, value})
	}
}

// readField reads a length and as many bytes. It is io.EOF at the end, and takes no more memory than there are bytes.
func readField(in *bufio.Reader, limit uint64) ([]byte, error) {
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("field of %d bytes, at most %d: %w", n, limit, ErrDamaged)
	}
	b, err := io.ReadAll(io.LimitReader(in, int64(n)))
	if err == nil && uint64(len(b)) < n {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}
