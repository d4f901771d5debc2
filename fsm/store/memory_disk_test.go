package store

import (
	"bytes"
	"io"
	"testing"
)

// TestMemoryDiskKeepsWhatWasFlushed, and what was installed, and nothing else.
func TestMemoryDiskKeepsWhatWasFlushed(t *testing.T) {
	disk := &MemoryDisk{}
	open := func(d *MemoryDisk) *Store {
		t.Helper()
		s, err := d.Open()
		if err != nil {
			t.Fatal(err)
		}
		return closing(t, s)
	}
	commit := func(s *Store, applied uint64) {
		t.Helper()
		b := s.Begin()
		b.System().Applied = applied
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	found := func() uint64 {
		t.Helper()
		return open(disk.Cut()).System().Applied
	}
	s := open(disk)
	commit(s, 1)
	if got := found(); got != 0 {
		t.Errorf("nothing was flushed: found entry %d", got)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	commit(s, 2)
	durable, _ := s.DurableApplied()
	if got := found(); got != 1 || durable != 1 {
		t.Errorf("found entry %d, durable %d, want 1", got, durable)
	}

	source := closing(t, OpenMemory())
	commit(source, 40)
	c, err := source.OpenCheckpoint()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	staged, err := s.Stage(bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	if got := found(); got != 1 {
		t.Errorf("staged and not installed: found entry %d", got)
	}
	if err := s.Install(staged, 50, 3); err != nil {
		t.Fatal(err)
	}
	commit(s, 51)
	if got := found(); got != 50 {
		t.Errorf("installed at 50: found entry %d", got)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := found(); got != 51 {
		t.Errorf("flushed at 51: found entry %d", got)
	}
	if got := open(&MemoryDisk{}).System().Applied; got != 0 {
		t.Errorf("a new disk: found entry %d", got)
	}
}
