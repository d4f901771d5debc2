//go:build !wasip1

package raftlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// Layout of the other pages of a bbolt file (go.etcd.io/bbolt v1.5.0, internal/common/page.go, inode.go, bucket.go).
// Header: id u64, flags u16, count u16, overflow u32. Then count elements of 16 bytes, whose keys lie pos bytes after the
// element's own start; or the ids of the freelist.
const (
	boltBranchFlag   = 0x01
	boltLeafFlag     = 0x02
	boltFreelistFlag = 0x10
	boltElement      = 16
	boltBucketLeaf   = 0x01
	boltBucketHeader = 16
	boltFirstPage    = 2
	boltCountInIDs   = 0xFFFF
)

// Names that raft-boltdb and raft give to things in a file.
const (
	logsBucket = "logs"
	confBucket = "conf"
)

// checkFile reads the structure of a file before bbolt does. bbolt believes what it reads: a rotten page can make it fault,
// loop, or fill the memory; raft-boltdb makes a bucket that it does not find, so a rotten name would be an empty log, and a
// rotten key a vote that was never cast. Values are not looked at: they are sealed.
//
// Every page must be of the tree or free, once, and every key in its place. A file that is absent or empty is fine.
func checkFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open raft file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("raft file %s: %w", path, err)
	}
	if info.Size() == 0 {
		return nil
	}
	meta, err := readMetas(f, info.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	c := &boltChecker{file: f, meta: meta, seen: make([]bool, meta.highWater)}
	if err := c.check(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// A boltChecker walks one file.
type boltChecker struct {
	file io.ReaderAt
	meta boltMeta
	// seen are the pages that the walk has met.
	seen []bool
}

// boltPage is a page with those that it overflows into.
type boltPage struct {
	id    uint64
	flags uint16
	count int
	// size is that of all of it, data its beginning: the header and all elements at least.
	size uint64
	data []byte
}

func (c *boltChecker) check() error {
	var names []string
	err := c.tree(c.meta.root, nil, nil, func(flags uint32, key, value []byte) error {
		names = append(names, string(key))
		if flags != boltBucketLeaf {
			return fmt.Errorf("%q is no bucket: %w", key, ErrDamaged)
		}
		return c.bucket(string(key), value)
	})
	if err != nil {
		return err
	}
	// A file without any bucket is one that was being made.
	if len(names) != 0 && !slices.Equal(names, []string{confBucket, logsBucket}) {
		return fmt.Errorf("buckets are %q, want %s and %s: %w", names, confBucket, logsBucket, ErrDamaged)
	}
	if err := c.freelist(); err != nil {
		return err
	}
	for id := uint64(boltFirstPage); id < c.meta.highWater; id++ {
		if !c.seen[id] {
			return c.bad(id, "is neither in use nor free")
		}
	}
	return nil
}

// bucket walks a bucket of the file: a tree of its own, or a small one inline.
func (c *boltChecker) bucket(name string, value []byte) error {
	if len(value) < boltBucketHeader {
		return fmt.Errorf("bucket %s of %d bytes: %w", name, len(value), ErrDamaged)
	}
	row := func(flags uint32, key, _ []byte) error {
		switch {
		case flags != 0:
			return fmt.Errorf("bucket %s: key %x has flags %x: %w", name, key, flags, ErrDamaged)
		case name == logsBucket && len(key) != 8, name == confBucket && !knownKey(key):
			return fmt.Errorf("bucket %s: unknown key %q: %w", name, key, ErrDamaged)
		}
		return nil
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return c.tree(root, nil, nil, row)
	}
	inline, err := parsePage(0, value[boltBucketHeader:])
	if err != nil {
		return fmt.Errorf("bucket %s: %w", name, err)
	}
	if inline.flags != boltLeafFlag {
		return fmt.Errorf("bucket %s: inline page has flags %x: %w", name, inline.flags, ErrDamaged)
	}
	return c.leaf(inline, nil, nil, row)
}

// knownKey: what raft keeps in the stable store, and what we do.
func knownKey(key []byte) bool {
	return slices.Contains([]string{"CurrentTerm", "LastVoteTerm", "LastVoteCand", KeyDurable, KeyInstalled}, string(key))
}

// tree walks the pages below id, whose keys are at least low and, unless high is nil, below high.
func (c *boltChecker) tree(id uint64, low, high []byte, row func(flags uint32, key, value []byte) error) error {
	p, err := c.page(id)
	if err != nil {
		return err
	}
	switch p.flags {
	case boltLeafFlag:
		return c.leaf(p, low, high, row)
	case boltBranchFlag:
		return c.branch(p, low, high, row)
	}
	return c.bad(id, "has flags %x", p.flags)
}

func (c *boltChecker) leaf(p boltPage, low, high []byte, row func(flags uint32, key, value []byte) error) error {
	next := p.contentAt()
	for i := range p.count {
		e := p.data[boltPageHeader+i*boltElement:]
		u := func(at int) uint64 { return uint64(binary.NativeEndian.Uint32(e[at:])) }
		flags, pos, keyBytes, valueBytes := uint32(u(0)), u(4), u(8), u(12)
		at := uint64(boltPageHeader+i*boltElement) + pos
		if at+keyBytes+valueBytes > p.size {
			return c.bad(p.id, "element %d goes past the page", i)
		}
		if err := c.adjoins(p, i, pos, &next, keyBytes+valueBytes); err != nil {
			return err
		}
		if keyBytes > uint64(c.meta.pageSize) {
			return c.bad(p.id, "element %d has a key of %d bytes", i, keyBytes)
		}
		key, err := c.content(p, at, keyBytes)
		if err != nil {
			return err
		}
		if err := c.inOrder(p.id, key, low, high, i == 0); err != nil {
			return err
		}
		low = key
		var value []byte // that of an entry is sealed, and may be long
		if flags == boltBucketLeaf {
			if value, err = c.content(p, at+keyBytes, valueBytes); err != nil {
				return err
			}
		}
		if err := row(flags, key, value); err != nil {
			return err
		}
	}
	return nil
}

func (c *boltChecker) branch(p boltPage, low, high []byte, row func(flags uint32, key, value []byte) error) error {
	type child struct {
		key []byte
		id  uint64
	}
	var children []child
	next := p.contentAt()
	for i := range p.count {
		e := p.data[boltPageHeader+i*boltElement:]
		pos, keyBytes := uint64(binary.NativeEndian.Uint32(e)), uint64(binary.NativeEndian.Uint32(e[4:]))
		if pos+keyBytes > uint64(len(e)) {
			return c.bad(p.id, "element %d goes past the page", i)
		}
		if err := c.adjoins(p, i, pos, &next, keyBytes); err != nil {
			return err
		}
		key := e[pos : pos+keyBytes]
		if err := c.inOrder(p.id, key, low, high, i == 0); err != nil {
			return err
		}
		low = key
		children = append(children, child{key, binary.NativeEndian.Uint64(e[8:])})
	}
	if len(children) == 0 {
		return c.bad(p.id, "is a branch without children")
	}
	for i, kid := range children {
		next := high
		if i+1 < len(children) {
			next = children[i+1].key
		}
		if err := c.tree(kid.id, kid.key, next, row); err != nil {
			return err
		}
	}
	return nil
}

// contentAt is where bbolt puts the content of the first element: right behind the last element.
func (p boltPage) contentAt() uint64 { return uint64(boltPageHeader + p.count*boltElement) }

// adjoins: bbolt leaves no gap between the contents of elements, nor before the first. So a count of elements that rot has
// made smaller, which would look like a shorter log, shows: the content of the first is not where the count puts it.
func (c *boltChecker) adjoins(p boltPage, i int, pos uint64, next *uint64, bytes uint64) error {
	if at := uint64(boltPageHeader+i*boltElement) + pos; at != *next {
		return c.bad(p.id, "content of element %d of %d is at %d, should be at %d", i, p.count, at, *next)
	}
	*next += bytes
	return nil
}

// inOrder: the first key of a page may be equal to the one that leads to it.
func (c *boltChecker) inOrder(id uint64, key, low, high []byte, first bool) error {
	least := bytes.Compare(key, low)
	if low != nil && (least < 0 || least == 0 && !first) || high != nil && bytes.Compare(key, high) >= 0 || len(key) == 0 {
		return c.bad(id, "key %x is out of order", key)
	}
	return nil
}

func (c *boltChecker) freelist() error {
	p, err := c.page(c.meta.freelist)
	if err != nil {
		return err
	}
	if p.flags != boltFreelistFlag {
		return c.bad(p.id, "has flags %x, but should be the freelist", p.flags)
	}
	ids, count := p.data[boltPageHeader:], uint64(p.count)
	if count == boltCountInIDs {
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return c.bad(p.id, "freelist of %d pages goes past its page", count)
	}
	last := uint64(0)
	for i := range count {
		id := binary.NativeEndian.Uint64(ids[i*8:])
		if id <= last || id < boltFirstPage || id >= c.meta.highWater || c.seen[id] {
			return c.bad(p.id, "freelist names page %d, which is in use, not there, or out of order", id)
		}
		c.seen[id], last = true, id
	}
	return nil
}

// page reads a page and those that it overflows into, once.
func (c *boltChecker) page(id uint64) (boltPage, error) {
	if id < boltFirstPage || id >= c.meta.highWater {
		return boltPage{}, c.bad(id, "is not there")
	}
	size := uint64(c.meta.pageSize)
	var header [boltPageHeader]byte
	if _, err := c.file.ReadAt(header[:], int64(id*size)); err != nil {
		return boltPage{}, fmt.Errorf("page %d: %w", id, err)
	}
	pages := uint64(binary.NativeEndian.Uint32(header[12:])) + 1
	if got := binary.NativeEndian.Uint64(header[:]); got != id || pages > c.meta.highWater-id {
		return boltPage{}, c.bad(id, "says that it is page %d and %d more", got, pages-1)
	}
	for i := id; i < id+pages; i++ {
		if c.seen[i] {
			return boltPage{}, c.bad(i, "is used twice")
		}
		c.seen[i] = true
	}
	// What a leaf overflows into are values, which are sealed: of it only the first page is read, and keys that lie further.
	read := pages * size
	count := uint64(binary.NativeEndian.Uint16(header[10:]))
	if binary.NativeEndian.Uint16(header[8:]) == boltLeafFlag && boltPageHeader+count*boltElement <= size {
		read = size
	}
	data := make([]byte, read)
	if _, err := c.file.ReadAt(data, int64(id*size)); err != nil {
		return boltPage{}, fmt.Errorf("page %d: %w", id, err)
	}
	p, err := parsePage(id, data)
	p.size = pages * size
	return p, err
}

// content is n bytes of a page, which are within it.
func (c *boltChecker) content(p boltPage, at, n uint64) ([]byte, error) {
	if at+n <= uint64(len(p.data)) {
		return p.data[at : at+n], nil
	}
	b := make([]byte, n)
	if _, err := c.file.ReadAt(b, int64(p.id*uint64(c.meta.pageSize)+at)); err != nil {
		return nil, fmt.Errorf("page %d: %w", p.id, err)
	}
	return b, nil
}

func parsePage(id uint64, data []byte) (boltPage, error) {
	if len(data) < boltPageHeader {
		return boltPage{}, fmt.Errorf("page of %d bytes: %w", len(data), ErrDamaged)
	}
	p := boltPage{id: id, flags: binary.NativeEndian.Uint16(data[8:]), count: int(binary.NativeEndian.Uint16(data[10:])), size: uint64(len(data)), data: data}
	if p.flags != boltFreelistFlag && boltPageHeader+p.count*boltElement > len(data) {
		return boltPage{}, fmt.Errorf("page %d: %d elements do not fit: %w", id, p.count, ErrDamaged)
	}
	return p, nil
}

func (c *boltChecker) bad(id uint64, format string, args ...any) error {
	return fmt.Errorf("page %d at offset %d: %s: %w", id, id*uint64(c.meta.pageSize), fmt.Sprintf(format, args...), ErrDamaged)
}
