package backup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// A file is (numbers big-endian):
//
//	magic, version u32
//	blocks: type u8, codec u8, bytes u32, bytes as stored u32, content, CRC-32C of the block's number u64 and all that
//	where the last block begins u64, its number u64, magic of the end
//
// The first block is the header, the last the trailer, which has a SHA-256 of all before it. Those between hold items, each a length
// as a varint and an encoded message: a StateRecord in a full backup, a BackupEntry in an increment. Each block is compressed on its
// own, so that an error can name one.
const (
	magic    = "MGBACKUP"
	endMagic = "MGBACKND"
	// Version is that of the files that this release writes, and the last that it reads.
	Version = 1

	preambleBytes = len(magic) + 4
	headBytes     = 1 + 1 + 4 + 4
	sumBytes      = 4
	footerBytes   = 8 + 8 + len(endMagic)
)

// The types of blocks. Stored: never renumber.
const (
	blockHeader  = 1
	blockRecords = 2
	blockEntries = 3
	blockTrailer = 4
)

// The codecs of blocks. Stored: never renumber.
const (
	codecPlain = 0
	codecZstd  = 1
)

// Bounds of a file, bytes.
const (
	// fullBlock is what a block gathers before it is written.
	fullBlock = 1 << 20
	// maxBlock is the largest block, maxItem the largest item: one alone may be larger than fullBlock.
	maxBlock = 32 << 20
	maxItem  = 24 << 20
)

var (
	// ErrDamaged is wrapped by errors that mean that a file is not what was written.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrVersion is wrapped by errors about a file that a later release wrote.
	ErrVersion = errors.New("written by a later release")
)

// castagnoli is the table of the checksums of blocks.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// blockSum is the checksum of a block: its number is in it, so that a block in another's place shows.
func blockSum(number uint64, head, stored []byte) uint32 {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], number)
	table := castagnoli()
	return crc32.Update(crc32.Update(crc32.Checksum(n[:], table), table, head), table, stored)
}

// newEncoder compresses blocks one at a time, in the calling goroutine.
func newEncoder() (*zstd.Encoder, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithWindowSize(fullBlock), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return e, nil
}

// newDecoder decompresses into what it is given and no further.
func newDecoder() (*zstd.Decoder, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(maxBlock))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return d, nil
}
