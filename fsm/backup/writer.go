package backup

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// A Writer writes one file: its header, records or entries, and its trailer, which says that it is whole. It needs a memory of a few
// blocks. One goroutine uses it.
type Writer struct {
	w       io.Writer
	zstd    *zstd.Encoder
	all     hash.Hash
	offset  int64
	number  uint64
	content byte // type of the blocks between header and trailer
	raw     []byte
	packed  []byte
	// count is what the trailer says of what was written.
	count pb.BackupTrailer
}

// NewWriter begins a file.
func NewWriter(w io.Writer, h *pb.BackupHeader) (*Writer, error) {
	content := byte(blockRecords)
	switch h.GetKind() {
	case pb.BackupKind_BACKUP_KIND_FULL:
	case pb.BackupKind_BACKUP_KIND_INCREMENT:
		content = blockEntries
	default:
		return nil, fmt.Errorf("backup of kind %v", h.GetKind())
	}
	enc, err := newEncoder()
	if err != nil {
		return nil, err
	}
	header, err := proto.MarshalOptions{Deterministic: true}.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("header of a backup: %w", err)
	}
	b := &Writer{w: w, zstd: enc, all: sha256.New(), content: content}
	b.count.Revision, b.count.Instant, b.count.Digest = h.Revision, h.Instant, h.Digest
	if err := b.write(binary.BigEndian.AppendUint32([]byte(magic), Version)); err != nil {
		return nil, err
	}
	return b, b.block(blockHeader, header)
}

// Bytes is how much was written.
func (b *Writer) Bytes() int64 { return b.offset }

// Pending is how much was gathered and not written.
func (b *Writer) Pending() int { return len(b.raw) }

// record appends a record of a full backup.
func (b *Writer) record(r *logpb.StateRecord) error {
	count(&b.count, r)
	return b.item(r)
}

// item appends a record or an entry.
func (b *Writer) item(m proto.Message) error {
	size := proto.Size(m)
	if size > maxItem {
		return fmt.Errorf("%T of %d bytes, at most %d", m, size, maxItem)
	}
	b.raw = binary.AppendUvarint(b.raw, uint64(size))
	var err error
	if b.raw, err = (proto.MarshalOptions{Deterministic: true, UseCachedSize: true}).MarshalAppend(b.raw, m); err != nil {
		return fmt.Errorf("%T: %w", m, err)
	}
	if len(b.raw) < fullBlock {
		return nil
	}
	return b.flush()
}

// Entry appends an entry of an increment.
func (b *Writer) Entry(e *pb.BackupEntry) error {
	if b.content != blockEntries {
		return errors.New("a full backup holds records, not entries")
	}
	if e.Revision != b.count.Revision+1 {
		return fmt.Errorf("entry at revision %d does not follow %d", e.Revision, b.count.Revision)
	}
	if err := tally(&b.count, e); err != nil {
		return err
	}
	return b.item(e)
}

// Close ends the file and returns its trailer. What it is written to is the caller's to close.
func (b *Writer) Close() (*pb.BackupTrailer, error) {
	if err := b.flush(); err != nil {
		return nil, err
	}
	at, number := b.offset, b.number
	b.count.Sha256 = b.all.Sum(nil)
	trailer, err := proto.MarshalOptions{Deterministic: true}.Marshal(&b.count)
	if err != nil {
		return nil, fmt.Errorf("trailer of a backup: %w", err)
	}
	if err := b.block(blockTrailer, trailer); err != nil {
		return nil, err
	}
	end := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(at)), number)
	return proto.CloneOf(&b.count), b.write(append(end, endMagic...))
}

func (b *Writer) flush() error {
	if len(b.raw) == 0 {
		return nil
	}
	err := b.block(b.content, b.raw)
	if b.raw = b.raw[:0]; cap(b.raw) > 2*fullBlock {
		b.raw = nil // one large row must not stay
	}
	return err
}

// block writes a block, compressed where that makes it smaller.
func (b *Writer) block(typ byte, raw []byte) error {
	stored, codec := raw, byte(codecPlain)
	if typ == blockRecords || typ == blockEntries {
		b.packed = b.zstd.EncodeAll(raw, b.packed[:0])
		if len(b.packed) < len(raw) {
			stored, codec = b.packed, codecZstd
		}
	}
	head := binary.BigEndian.AppendUint32([]byte{typ, codec}, uint32(len(raw)))
	head = binary.BigEndian.AppendUint32(head, uint32(len(stored)))
	sum := binary.BigEndian.AppendUint32(nil, blockSum(b.number, head, stored))
	b.number++
	for _, part := range [][]byte{head, stored, sum} {
		if err := b.write(part); err != nil {
			return err
		}
	}
	return nil
}

func (b *Writer) write(p []byte) error {
	n, err := b.w.Write(p)
	b.offset += int64(n)
	b.all.Write(p[:n])
	if err != nil {
		return fmt.Errorf("write of a backup: %w", err)
	}
	return nil
}
