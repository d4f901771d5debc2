package backup

import (
	"encoding/binary"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// Ends reads how a file begins and ends, and nothing between: what it says of itself. A file that was cut has no end.
func Ends(r io.ReaderAt, size int64) (*pb.BackupHeader, *pb.BackupTrailer, error) {
	b, err := NewReader(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, nil, err
	}
	defer b.Close()
	trailer, err := b.jump(r, size)
	return b.header, trailer, err
}

// jump reads the trailer that the end of the file names.
func (b *Reader) jump(r io.ReaderAt, size int64) (*pb.BackupTrailer, error) {
	footer := make([]byte, footerBytes)
	if size < int64(footerBytes) {
		return nil, fmt.Errorf("the file is cut off: %w", ErrDamaged)
	}
	if _, err := r.ReadAt(footer, size-int64(footerBytes)); err != nil {
		return nil, err
	}
	at, number := binary.BigEndian.Uint64(footer), binary.BigEndian.Uint64(footer[8:])
	if string(footer[16:]) != endMagic || at > uint64(size) {
		return nil, fmt.Errorf("the file does not end as it should, it is cut off: %w", ErrDamaged)
	}
	b.r, b.offset, b.next = io.NewSectionReader(r, int64(at), size-int64(at)), int64(at), number
	typ, err := b.block()
	if err != nil {
		return nil, err
	}
	trailer := &pb.BackupTrailer{}
	if typ != blockTrailer {
		return nil, b.fault("block of type %d, the trailer comes last", typ)
	}
	if err := proto.Unmarshal(b.raw, trailer); err != nil {
		return nil, b.fault("trailer: %v", err)
	}
	return trailer, nil
}
