package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// A checkpoint is a stream (numbers big-endian):
//
//	header   magic, version u32, engine u8, files u32, bytes of all files u64, System u32 + bytes, CRC-32C of the header
//	file     name u16 + bytes, size u64, content, CRC-32C of all that
//	trailer  magic, SHA-256 of everything before the sum
const (
	checkpointMagic   = "MGCHKPT\x00"
	checkpointEnd     = "MGCHKEND"
	checkpointVersion = 1
	checksumBytes     = 4
)

// Bounds of what a checkpoint may claim.
const (
	maxSystemBytes   = 16 << 20
	maxFiles         = 1 << 20
	maxFileNameBytes = 255
	maxContentBytes  = 1 << 48
)

// copyBytes is the size of a buffer for copying.
const copyBytes = 1 << 20

// frozenFile is a file of a frozen engine.
type frozenFile struct {
	name string
	size int64
	open func() (io.ReadCloser, error)
}

// Checkpoint is a state of the store, frozen, to be read once as a stream of a size that is known before. One goroutine
// reads it.
type Checkpoint struct {
	store  *Store
	frozen frozen
	system System
	size   int64
	pieces []piece       // what is still to be read
	now    io.ReadCloser // pieces[0], once it is open
	left   int64         // bytes of now
	sums   sums
}

// piece is a part of the stream. A seal is a checksum of what came before and not part of the next one.
type piece struct {
	name string
	size int64
	open func() (io.ReadCloser, error)
	seal bool
}

// sums are the running checksums of a stream: since the last seal, and of all of it.
type sums struct {
	part hash.Hash32
	all  hash.Hash
}

func newSums() sums {
	return sums{crc32.New(crc32.MakeTable(crc32.Castagnoli)), sha256.New()}
}

// OpenCheckpoint flushes and freezes the store; with hard links, so it is cheap. Commits go on meanwhile, and it may hold
// more than was committed before the call, never less. Close it: it keeps files.
func (s *Store) OpenCheckpoint() (*Checkpoint, error) {
	c, err := s.openCheckpoint()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	return c, nil
}

func (s *Store) openCheckpoint() (*Checkpoint, error) {
	g, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer s.release(g)
	if err := s.flush(g); err != nil {
		return nil, err
	}
	frozen, err := g.engine.checkpoint(s.home.scratch())
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{store: s, frozen: frozen, sums: newSums()}
	if err := c.plan(); err != nil {
		return nil, errors.Join(err, frozen.close())
	}
	return c, nil
}

// plan lays out the stream.
func (c *Checkpoint) plan() error {
	var err error
	if c.system, err = c.frozen.system(); err != nil {
		return err
	}
	files, err := c.frozen.files()
	if err != nil {
		return err
	}
	var content int64
	for _, f := range files {
		content += f.size
	}
	h := checkpointHeader{c.store.home.kind(), uint32(len(files)), content, c.system.encode()}
	c.bytes(h.encode())
	c.seal()
	for _, f := range files {
		c.bytes(encodeFileHead(f.name, f.size))
		c.add(piece{name: f.name, size: f.size, open: f.open})
		c.seal()
	}
	c.bytes([]byte(checkpointEnd))
	c.add(piece{size: sha256.Size, seal: true, open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(c.sums.all.Sum(nil))), nil
	}})
	return nil
}

type checkpointHeader struct {
	engine  byte
	files   uint32
	content int64 // bytes of all files
	system  []byte
}

func (h checkpointHeader) encode() []byte {
	b := append([]byte(nil), checkpointMagic...)
	b = be32(b, checkpointVersion)
	b = append(b, h.engine)
	b = be32(b, h.files)
	b = be64(b, uint64(h.content))
	b = be32(b, uint32(len(h.system)))
	return append(b, h.system...)
}

func encodeFileHead(name string, size int64) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(name)))
	return be64(append(b, name...), uint64(size))
}

func (c *Checkpoint) add(p piece) {
	c.pieces = append(c.pieces, p)
	c.size += p.size
}

func (c *Checkpoint) bytes(b []byte) {
	c.add(piece{size: int64(len(b)), open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}})
}

func (c *Checkpoint) seal() {
	c.add(piece{size: checksumBytes, seal: true, open: func() (io.ReadCloser, error) {
		b := be32(nil, c.sums.part.Sum32())
		c.sums.part.Reset()
		return io.NopCloser(bytes.NewReader(b)), nil
	}})
}

// System is as of the checkpoint.
func (c *Checkpoint) System() System { return c.system }

// Size is the length of the stream, bytes.
func (c *Checkpoint) Size() int64 { return c.size }

// Read reads the stream.
func (c *Checkpoint) Read(p []byte) (int, error) {
	for c.now == nil {
		if len(c.pieces) == 0 {
			return 0, io.EOF
		}
		if err := c.advance(); err != nil {
			return 0, fmt.Errorf("checkpoint: file %q: %w", c.pieces[0].name, err)
		}
	}
	n, err := c.now.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	c.sums.all.Write(p[:n])
	if !c.pieces[0].seal {
		c.sums.part.Write(p[:n])
	}
	switch {
	case c.left == 0:
		err = c.now.Close()
		c.now, c.pieces = nil, c.pieces[1:]
		return n, err
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return n, fmt.Errorf("checkpoint: file %q: %w", c.pieces[0].name, err)
	}
	return n, nil
}

// advance opens the next piece; an empty one is passed over.
func (c *Checkpoint) advance() error {
	if c.pieces[0].size == 0 {
		c.pieces = c.pieces[1:]
		return nil
	}
	now, err := c.pieces[0].open()
	if err != nil {
		return err
	}
	c.now, c.left = now, c.pieces[0].size
	return nil
}

// WriteTo writes what is left of the stream.
func (c *Checkpoint) WriteTo(w io.Writer) (int64, error) {
	return io.CopyBuffer(w, struct{ io.Reader }{c}, make([]byte, copyBytes))
}

// Close removes the frozen state.
func (c *Checkpoint) Close() error {
	if c.frozen == nil {
		return nil
	}
	var err error
	if c.now != nil {
		err = c.now.Close()
	}
	err = errors.Join(err, c.frozen.close())
	c.frozen, c.now, c.pieces = nil, nil, nil
	if err != nil {
		return fmt.Errorf("close of a checkpoint: %w", err)
	}
	return nil
}

// WriteCheckpoint writes a checkpoint and says what it is of.
func (s *Store) WriteCheckpoint(w io.Writer) (System, error) {
	c, err := s.OpenCheckpoint()
	if err != nil {
		return System{}, err
	}
	_, err = c.WriteTo(w)
	if err = errors.Join(err, c.Close()); err != nil {
		return System{}, err
	}
	return c.System(), nil
}
