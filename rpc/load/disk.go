package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
)

// A Disk is what the disk asks of every write, measured without a server.
type Disk struct {
	// Log is what it takes the log store of a node to make one entry durable, alone; Sync what it takes to append as many
	// bytes to a file and sync it. Milliseconds.
	Log  Latency `json:"log_store_ms"`
	Sync Latency `json:"append_and_sync_ms"`
}

// entryOverheadBytes is about what a log entry has besides the content of its one prompt: ids, session, request.
const entryOverheadBytes = 200

// MeasureDisk takes the time of the log store of a node, and of a file, in a folder that it makes under parent and removes. The
// entries are as large as those of prompts of the given size. It takes twice as long as it is told.
func MeasureDisk(ctx context.Context, parent string, size int, each time.Duration) (d Disk, err error) {
	folder, err := os.MkdirTemp(parent, "memory-graph-disk-")
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	entry := appendText(nil, 1, size+entryOverheadBytes)
	if d.Sync, err = measureSync(ctx, filepath.Join(folder, "sync"), entry, each); err != nil {
		return d, fmt.Errorf("measure the disk: %w", err)
	}
	if d.Log, err = measureLog(ctx, folder, entry, each); err != nil {
		return d, fmt.Errorf("measure the log store: %w", err)
	}
	return d, nil
}

func measureLog(ctx context.Context, folder string, entry []byte, d time.Duration) (_ Latency, err error) {
	logs, stable, err := raftlog.CreateBolt(folder, nil)
	if err != nil {
		return Latency{}, err
	}
	defer func() { err = errors.Join(err, logs.Close(), stable.Close()) }()
	index := uint64(0)
	return repeat(ctx, d, func() error {
		index++
		return logs.StoreLog(&raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: entry, AppendedAt: time.Now()})
	})
}

func measureSync(ctx context.Context, path string, entry []byte, d time.Duration) (_ Latency, err error) {
	file, err := os.Create(path)
	if err != nil {
		return Latency{}, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return repeat(ctx, d, func() error {
		_, err := file.Write(entry)
		return errors.Join(err, file.Sync())
	})
}

// repeat takes the time of what is done over and over.
func repeat(ctx context.Context, d time.Duration, do func() error) (Latency, error) {
	t := newTally()
	end := time.Now().Add(d)
	for start, again := time.Now(), true; again; { // once at least
		if err := do(); err != nil {
			return Latency{}, err
		}
		now := time.Now()
		t.call(now.Sub(start), 1)
		start, again = now, now.Before(end) && ctx.Err() == nil
	}
	return t.percentiles(), ctx.Err()
}
