package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// A Reader reads one file, from its beginning to its end, once. Every error of a file that is not whole names a block and where it
// begins. It needs a memory of a few blocks. One goroutine uses it.
type Reader struct {
	r      io.Reader
	zstd   *zstd.Decoder
	all    hash.Hash
	offset int64
	header *pb.BackupHeader
	// content is the type of the blocks between header and trailer.
	content byte
	// number and begin are of the block at hand, next is the number of the one after it.
	number, next uint64
	begin        int64
	stored, raw  []byte
	count        pb.BackupTrailer
	// skims says that only blocks are looked at.
	skims   bool
	trailer *pb.BackupTrailer
}

// NewReader reads the beginning of a file.
func NewReader(r io.Reader) (*Reader, error) {
	dec, err := newDecoder()
	if err != nil {
		return nil, err
	}
	b := &Reader{r: r, zstd: dec, all: sha256.New()}
	if err := b.preamble(); err != nil {
		dec.Close()
		return nil, err
	}
	return b, nil
}

// Close frees what the reader holds; not what it reads from.
func (b *Reader) Close() { b.zstd.Close() }

// Header is what the file begins with.
func (b *Reader) Header() *pb.BackupHeader { return b.header }

// Offset is how much was read.
func (b *Reader) Offset() int64 { return b.offset }

func (b *Reader) preamble() error {
	begin, err := b.take(preambleBytes)
	if err != nil {
		return fmt.Errorf("beginning of the file: %w", err)
	}
	if string(begin[:len(magic)]) != magic {
		return fmt.Errorf("beginning of the file: this is no backup: %w", ErrDamaged)
	}
	switch v := binary.BigEndian.Uint32(begin[len(magic):]); {
	case v > Version:
		return fmt.Errorf("file of version %d, this release reads up to %d: take the release that wrote it, or a later one: %w", v, Version, ErrVersion)
	case v != Version:
		return fmt.Errorf("beginning of the file: version %d: %w", v, ErrDamaged)
	}
	typ, err := b.block()
	if err != nil {
		return err
	}
	b.header = &pb.BackupHeader{}
	if typ != blockHeader {
		return b.fault("block of type %d, the header comes first", typ)
	}
	if err := proto.Unmarshal(b.raw, b.header); err != nil {
		return b.fault("header: %v", err)
	}
	switch b.header.Kind {
	case pb.BackupKind_BACKUP_KIND_FULL:
		b.content = blockRecords
	case pb.BackupKind_BACKUP_KIND_INCREMENT:
		b.content = blockEntries
	default:
		return b.fault("header: kind %d", b.header.Kind)
	}
	b.count.Revision = b.header.Revision
	return nil
}

// records calls fn with every record, to the end of the file, and returns what the trailer says. An error of fn gets the place.
func (b *Reader) records(fn func(*logpb.StateRecord) error) (*pb.BackupTrailer, error) {
	r := &logpb.StateRecord{}
	return b.items(blockRecords, func(text []byte) error {
		if err := proto.Unmarshal(text, r); err != nil {
			return b.fault("record %d: %v", b.count.Records, err)
		}
		count(&b.count, r)
		return b.placed(fn(r))
	})
}

// Entries calls fn with every entry of an increment, to the end of the file, and returns what the trailer says. Revisions are
// those of the header and on, one after the other. An error of fn is returned as it is.
func (b *Reader) Entries(fn func(*pb.BackupEntry) error) (*pb.BackupTrailer, error) {
	last := b.header.Revision
	return b.items(blockEntries, func(text []byte) error {
		e := &pb.BackupEntry{}
		if err := proto.Unmarshal(text, e); err != nil {
			return b.fault("entry after revision %d: %v", last, err)
		}
		if e.Revision != last+1 {
			return b.fault("entry at revision %d, the one before it is at %d", e.Revision, last)
		}
		last = e.Revision
		if err := tally(&b.count, e); err != nil {
			return b.placed(err)
		}
		return fn(e)
	})
}

// Skim reads to the end of the file and checks that it is what was written, block by block; not what the blocks say.
func (b *Reader) Skim() (*pb.BackupTrailer, error) {
	if b.trailer != nil {
		return nil, errors.New("the file was read before")
	}
	for {
		sum := b.all.Sum(nil)
		h, err := b.read()
		if err != nil {
			return nil, err
		}
		switch {
		case h.typ == blockTrailer && h.codec == codecPlain:
			b.raw, b.stored = b.stored, b.raw
			b.skims = true
			if err := b.end(sum); err != nil {
				return nil, err
			}
			return b.trailer, nil
		case h.typ != b.content:
			return nil, b.fault("block of type %d", h.typ)
		}
	}
}

func (b *Reader) items(content byte, item func([]byte) error) (*pb.BackupTrailer, error) {
	if content != b.content || b.trailer != nil {
		return nil, fmt.Errorf("the file is a %s, and is read once", kindName(b.header.Kind))
	}
	for {
		sum := b.all.Sum(nil) // of what comes before the block
		typ, err := b.block()
		if err != nil {
			return nil, err
		}
		if typ == blockTrailer {
			if err := b.end(sum); err != nil {
				return nil, err
			}
			return b.trailer, nil
		}
		if typ != content {
			return nil, b.fault("block of type %d", typ)
		}
		for rest := b.raw; len(rest) > 0; {
			n, width := binary.Uvarint(rest)
			if width <= 0 || n > maxItem || n > uint64(len(rest)-width) {
				return nil, b.fault("an item of it is cut off")
			}
			text := rest[width : width+int(n)]
			rest = rest[width+int(n):]
			if err := item(text); err != nil {
				return nil, err
			}
		}
	}
}

// end reads the trailer, and sees that the file says of itself what it holds.
func (b *Reader) end(sum []byte) error {
	said := &pb.BackupTrailer{}
	if err := proto.Unmarshal(b.raw, said); err != nil {
		return b.fault("trailer: %v", err)
	}
	switch {
	case !bytes.Equal(said.Sha256, sum):
		return b.fault("trailer: SHA-256 of the file is %x, it says %x", sum, said.Sha256)
	case b.skims: // nothing was counted
	case !sameCounts(said, &b.count):
		return b.fault("trailer: it counts %v, what was read is %v", said, &b.count)
	case said.Revision != b.count.Revision:
		return b.fault("trailer: the last revision is %d, it says %d", b.count.Revision, said.Revision)
	}
	at, number := b.begin, b.number
	footer, err := b.take(footerBytes)
	if err != nil {
		return fmt.Errorf("end of the file at offset %d: %w", b.offset, err)
	}
	if binary.BigEndian.Uint64(footer) != uint64(at) || binary.BigEndian.Uint64(footer[8:]) != number || string(footer[16:]) != endMagic {
		return fmt.Errorf("end of the file at offset %d: it is not what was written: %w", b.offset-int64(footerBytes), ErrDamaged)
	}
	if n, err := io.CopyN(io.Discard, b.r, 1); n != 0 || !errors.Is(err, io.EOF) {
		return errors.Join(fmt.Errorf("the file goes on after its end at offset %d: %w", b.offset, ErrDamaged), notEOF(err))
	}
	b.trailer = said
	return nil
}

// block reads the next block and returns its type; raw is its content until the next one.
func (b *Reader) block() (byte, error) {
	h, err := b.read()
	if err != nil {
		return 0, err
	}
	if h.codec == codecPlain {
		b.raw, b.stored = b.stored, b.raw
		return h.typ, nil
	}
	if cap(b.raw) < h.raw {
		b.raw = make([]byte, 0, h.raw)
	}
	b.raw, err = b.zstd.DecodeAll(b.stored, b.raw[:0:h.raw])
	if err != nil || len(b.raw) != h.raw {
		return 0, b.fault("does not decompress to %d bytes: %v", h.raw, err)
	}
	return h.typ, nil
}

// head is what a block says of itself.
type head struct {
	typ, codec  byte
	raw, stored int
}

// read reads the next block as it is stored.
func (b *Reader) read() (head, error) {
	b.begin, b.number = b.offset, b.next
	b.next++
	text, err := b.take(headBytes)
	if err != nil {
		return head{}, b.placed(err)
	}
	raw, stored := binary.BigEndian.Uint32(text[2:]), binary.BigEndian.Uint32(text[6:])
	if raw > maxBlock || stored > raw {
		return head{}, b.fault("%d bytes in %d, at most %d: its head is damaged", raw, stored, maxBlock)
	}
	if b.stored, err = b.grow(b.stored[:0], int(stored)); err != nil {
		return head{}, b.placed(err)
	}
	sum, err := b.take(sumBytes)
	if err != nil {
		return head{}, b.placed(err)
	}
	if binary.BigEndian.Uint32(sum) != blockSum(b.number, text, b.stored) {
		return head{}, b.fault("wrong checksum")
	}
	h := head{typ: text[0], codec: text[1], raw: int(raw), stored: int(stored)}
	if h.codec != codecZstd && (h.codec != codecPlain || raw != stored) {
		return head{}, b.fault("codec %d", h.codec)
	}
	return h, nil
}

// take reads a few bytes, valid until the next read.
func (b *Reader) take(n int) ([]byte, error) { return b.grow(nil, n) }

// grow appends n bytes of the file. It takes no more memory than there are bytes, about.
func (b *Reader) grow(to []byte, n int) ([]byte, error) {
	for n > 0 {
		part := min(n, fullBlock)
		from := len(to)
		if cap(to)-from < part {
			to = append(make([]byte, 0, from+part), to...)
		}
		to = to[:from+part]
		got, err := io.ReadFull(b.r, to[from:])
		b.offset += int64(got)
		b.all.Write(to[from : from+got])
		if err != nil {
			return to, cutOff(err)
		}
		n -= part
	}
	return to, nil
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the file is cut off: %w", ErrDamaged)
	}
	return err
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (b *Reader) fault(format string, args ...any) error {
	return b.placed(fmt.Errorf(format+": %w", append(args, ErrDamaged)...))
}

// placed adds to an error which block it is about. What the store finds wrong with a record is damage of the file, too.
func (b *Reader) placed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrVersion):
		return fmt.Errorf("block %d at offset %d: %v: %w", b.number, b.begin, err, ErrVersion)
	case errors.Is(err, store.ErrDamaged):
		return fmt.Errorf("block %d at offset %d: %v: %w", b.number, b.begin, err, ErrDamaged)
	default:
		return fmt.Errorf("block %d at offset %d: %w", b.number, b.begin, err)
	}
}

func kindName(k pb.BackupKind) string {
	if k == pb.BackupKind_BACKUP_KIND_INCREMENT {
		return "increment"
	}
	return "full backup"
}
