package raftlog

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
)

// BenchmarkOpen is what a start costs: the structure of the log, and every entry.
func BenchmarkOpen(b *testing.B) {
	folder := b.TempDir()
	logs, stable, err := CreateBolt(folder, nil)
	if err != nil {
		b.Fatal(err)
	}
	const entries, size = 4096, 128 << 10
	for i := uint64(1); i <= entries; i += 16 {
		var batch []*raft.Log
		for j := i; j < i+16; j++ {
			batch = append(batch, &raft.Log{Index: j, Term: 1, Data: bytes.Repeat([]byte{byte(j)}, size)})
		}
		if err := logs.StoreLogs(batch); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(logs.Close(), stable.Close()); err != nil {
		b.Fatal(err)
	}
	b.Run("structure", func(b *testing.B) {
		b.SetBytes(entries * size)
		for b.Loop() {
			if err := checkFile(filepath.Join(folder, FirstLog)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("entries", func(b *testing.B) {
		b.SetBytes(entries * size)
		for b.Loop() {
			logs, stable, err := OpenBolt(folder, nil)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := logs.Verify(0); err != nil {
				b.Fatal(err)
			}
			if err := errors.Join(logs.Close(), stable.Close()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
