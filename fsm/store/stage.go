package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Staged is a checkpoint that came in whole, on disk and checked, but not in use. Install it or Close it.
type Staged struct {
	store   *Store
	landing landing
	engine  engine // nil once installed or closed
	system  System
}

// System is as the checkpoint says.
func (st *Staged) System() System { return st.system }

// SetConfig makes the members as of an entry part of what is staged, in the place of those of its source.
func (st *Staged) SetConfig(index uint64, config []byte) {
	st.system.ConfigIndex, st.system.Config = index, config
}

// Close removes what was staged. After Install it does nothing.
func (st *Staged) Close() error {
	if st.engine == nil {
		return nil
	}
	err := errors.Join(st.engine.close(), st.store.home.discard(st.landing.name()))
	st.engine = nil
	if err != nil {
		return fmt.Errorf("close of a staged checkpoint: %w", err)
	}
	return nil
}

// Stage reads a checkpoint into a place of its own and checks it. One that is cut off or changed wraps ErrDamaged, one of
// a later version ErrVersion. The store is not touched.
func (s *Store) Stage(r io.Reader) (*Staged, error) {
	st, err := s.stage(r)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	return st, nil
}

func (s *Store) stage(r io.Reader) (*Staged, error) {
	g, err := s.acquire() // keeps the home open
	if err != nil {
		return nil, err
	}
	defer s.release(g)
	in := &incoming{r: r, sums: newSums()}
	h, err := in.header(s.home.kind())
	if err != nil {
		return nil, err
	}
	sys, err := decodeSystem(h.system)
	if err != nil {
		return nil, err
	}
	land, err := s.home.land()
	if err != nil {
		return nil, err
	}
	st := &Staged{store: s, landing: land, system: sys}
	if err = in.files(h, land); err == nil {
		err = in.trailer()
	}
	if err == nil {
		st.engine, err = openLanded(land, sys)
	}
	if err != nil {
		return nil, errors.Join(err, s.home.discard(land.name()))
	}
	return st, nil
}

// openLanded opens what came in and sees that it is what the header said.
func openLanded(land landing, want System) (engine, error) {
	e, err := land.open()
	if err != nil {
		return nil, err
	}
	row, ok, err := e.durable(systemKey)
	if err == nil && (!ok && want.Applied != 0 || ok && !bytes.Equal(row, want.encode())) {
		err = fmt.Errorf("its rows are not of the state that its header names: %w", ErrDamaged)
	}
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

// incoming reads a checkpoint and keeps its checksums.
type incoming struct {
	r    io.Reader
	sums sums
}

func (in *incoming) Read(p []byte) (int, error) {
	n, err := in.r.Read(p)
	in.sums.part.Write(p[:n])
	in.sums.all.Write(p[:n])
	return n, err
}

// take reads n bytes; n must be bounded by the caller.
func (in *incoming) take(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(in, b)
	return b, cutOff(err)
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("cut off: %w", ErrDamaged)
	}
	return err
}

// seal compares the checksum of what came since the last one.
func (in *incoming) seal(what string) error {
	want := in.sums.part.Sum32()
	b, err := in.take(checksumBytes)
	if err != nil {
		return err
	}
	in.sums.part.Reset()
	if binary.BigEndian.Uint32(b) != want {
		return fmt.Errorf("%s: wrong checksum: %w", what, ErrDamaged)
	}
	return nil
}

func (in *incoming) header(kind byte) (checkpointHeader, error) {
	var h checkpointHeader
	b, err := in.take(len(checkpointMagic) + 4)
	if err != nil {
		return h, err
	}
	if string(b[:len(checkpointMagic)]) != checkpointMagic {
		return h, fmt.Errorf("not a checkpoint: %w", ErrDamaged)
	}
	switch v := binary.BigEndian.Uint32(b[len(checkpointMagic):]); {
	case v > checkpointVersion:
		return h, fmt.Errorf("version %d, at most %d is known: %w", v, checkpointVersion, ErrVersion)
	case v != checkpointVersion:
		return h, fmt.Errorf("version %d: %w", v, ErrDamaged)
	}
	if b, err = in.take(1 + 4 + 8 + 4); err != nil {
		return h, err
	}
	h.engine, h.files = b[0], binary.BigEndian.Uint32(b[1:])
	content, system := binary.BigEndian.Uint64(b[5:]), binary.BigEndian.Uint32(b[13:])
	if h.files > maxFiles || content > maxContentBytes || system > maxSystemBytes {
		return h, fmt.Errorf("sizes out of bounds: %w", ErrDamaged)
	}
	h.content = int64(content)
	if h.system, err = in.take(int(system)); err != nil {
		return h, err
	}
	if err := in.seal("header"); err != nil {
		return h, err
	}
	if h.engine != kind {
		return h, fmt.Errorf("of an engine of kind %d, this store has kind %d", h.engine, kind)
	}
	return h, nil
}

// files hands each file to where it lands. Names are used once and are checked there.
func (in *incoming) files(h checkpointHeader, land landing) error {
	seen := map[string]bool{}
	left := h.content
	for range h.files {
		b, err := in.take(2)
		if err != nil {
			return err
		}
		n := binary.BigEndian.Uint16(b)
		if n > maxFileNameBytes {
			return fmt.Errorf("file name of %d bytes: %w", n, ErrDamaged)
		}
		if b, err = in.take(int(n) + 8); err != nil {
			return err
		}
		name, size := string(b[:n]), binary.BigEndian.Uint64(b[n:])
		if seen[name] || size > uint64(left) {
			return fmt.Errorf("file %q of %d bytes, %d are left: %w", name, size, left, ErrDamaged)
		}
		seen[name] = true
		left -= int64(size)
		if err := in.file(land, name, int64(size)); err != nil {
			return fmt.Errorf("file %q: %w", name, err)
		}
	}
	if left != 0 {
		return fmt.Errorf("%d bytes of files are missing: %w", left, ErrDamaged)
	}
	return nil
}

func (in *incoming) file(land landing, name string, size int64) error {
	body := &io.LimitedReader{R: in, N: size}
	if err := land.accept(name, size, body); err != nil {
		return cutOff(err)
	}
	if body.N != 0 {
		return fmt.Errorf("cut off: %w", ErrDamaged)
	}
	return in.seal("content")
}

func (in *incoming) trailer() error {
	b, err := in.take(len(checkpointEnd))
	if err != nil {
		return err
	}
	want := in.sums.all.Sum(nil)
	sum, err := in.take(sha256.Size)
	if err != nil {
		return err
	}
	if string(b) != checkpointEnd || !bytes.Equal(sum, want) {
		return fmt.Errorf("wrong checksum: %w", ErrDamaged)
	}
	if n, err := io.CopyN(io.Discard, in.r, 1); n != 0 || !errors.Is(err, io.EOF) {
		return errors.Join(fmt.Errorf("goes on after its end: %w", ErrDamaged), err)
	}
	return nil
}
