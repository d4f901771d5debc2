//go:build !wasip1

package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// Layout of a bbolt file (go.etcd.io/bbolt v1.5.0, internal/common/meta.go, in the byte order of the machine): two meta
// pages, the newer of which is the root of everything. Page header 16 bytes, then magic u32, version u32, page size u32,
// flags u32, root u64, sequence u64, freelist u64, high water mark u64, transaction u64, fnv64a of the bytes before.
const (
	boltMagic       = 0xED0CDAED
	boltPageHeader  = 16
	boltMetaBytes   = 64
	boltSumAt       = 56
	boltMetaFlag    = 0x04
	boltMinPageSize = 512
	boltMaxPageSize = 64 << 10
)

// boltMeta is a meta page.
type boltMeta struct {
	pageSize               uint32
	root, freelist         uint64
	highWater, transaction uint64
}

// readMetas returns the newer meta page and refuses a file of which either is damaged, or which was cut short. bbolt opens
// it if the other one is good, which takes back the last transaction: entries that were acknowledged would be gone without
// a word. A write that a power cut interrupts does not look like this: the 64 bytes lie in one sector.
func readMetas(f io.ReaderAt, size int64) (boltMeta, error) {
	first, err := readMeta(f, 0, 0)
	if err != nil {
		return boltMeta{}, err
	}
	second, err := readMeta(f, 1, int64(first.pageSize))
	if err != nil {
		return boltMeta{}, err
	}
	newer, older := first, second
	if newer.transaction < older.transaction {
		newer, older = older, newer
	}
	if newer.transaction != older.transaction+1 {
		return boltMeta{}, fmt.Errorf("meta pages are of transactions %d and %d: %w", older.transaction, newer.transaction, ErrDamaged)
	}
	if pages := uint64(size) / uint64(newer.pageSize); newer.highWater > pages {
		return boltMeta{}, fmt.Errorf("file of %d bytes has %d pages, it should have %d: %w", size, pages, newer.highWater, ErrDamaged)
	}
	return newer, nil
}

func readMeta(f io.ReaderAt, page uint64, at int64) (boltMeta, error) {
	var b [boltPageHeader + boltMetaBytes]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		if errors.Is(err, io.EOF) {
			return boltMeta{}, fmt.Errorf("meta page %d at offset %d: file ends: %w", page, at, ErrDamaged)
		}
		return boltMeta{}, fmt.Errorf("meta page %d at offset %d: %w", page, at, err)
	}
	e, m := binary.NativeEndian, b[boltPageHeader:]
	h := fnv.New64a()
	h.Write(m[:boltSumAt])
	meta := boltMeta{
		pageSize: e.Uint32(m[8:]), root: e.Uint64(m[16:]), freelist: e.Uint64(m[32:]),
		highWater: e.Uint64(m[40:]), transaction: e.Uint64(m[48:]),
	}
	switch {
	case e.Uint32(m) != boltMagic, e.Uint64(m[boltSumAt:]) != h.Sum64():
		return meta, fmt.Errorf("meta page %d at offset %d: checksum does not match: %w", page, at, ErrDamaged)
	case e.Uint64(b[:]) != page, e.Uint16(b[8:])&boltMetaFlag == 0, meta.transaction%2 != page:
		return meta, fmt.Errorf("meta page %d at offset %d: header is of another page: %w", page, at, ErrDamaged)
	case meta.pageSize < boltMinPageSize, meta.pageSize > boltMaxPageSize:
		return meta, fmt.Errorf("meta page %d at offset %d: page size %d: %w", page, at, meta.pageSize, ErrDamaged)
	}
	return meta, nil
}
