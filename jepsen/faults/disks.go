package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
)

// filler is the file that takes the room of a node.
const filler = "filler"

// FillLeader fills the leader's disk. It must hand leadership to a node with room and go on serving.
func FillLeader(ctx context.Context, r *Rig) (time.Duration, error) {
	node, err := r.leader(ctx)
	if err != nil {
		return 0, err
	}
	return r.fill(ctx, node, func() error {
		return r.awaitOther(ctx, node)
	})
}

// FillFollower fills a follower's disk. Writes go on.
func FillFollower(ctx context.Context, r *Rig) (time.Duration, error) {
	node, err := r.follower(ctx)
	if err != nil {
		return 0, err
	}
	return r.fill(ctx, node, func() error { return nil })
}

// fill takes the room of a node, looks that it says so, writes on, and gives the room back.
func (r *Rig) fill(ctx context.Context, node *cluster.Node, holds func() error) (time.Duration, error) {
	at := time.Now()
	file := filepath.Join(node.DataDir(), filler)
	if err := fillDisk(node.DataDir(), file); err != nil {
		return 0, err
	}
	err := r.awaitMetric(ctx, node, "memory_graph_disk_refusing 1\n")
	if err == nil {
		err = holds()
	}
	full := time.Now()
	if err == nil {
		_, err = r.gap(ctx, full)
	}
	if err == nil {
		err = pause(ctx, time.Second)
	}
	if removed := os.Remove(file); err != nil || removed != nil {
		return 0, errors.Join(err, removed)
	}
	gap, err := r.longestGap(ctx, at, time.Now())
	if err != nil {
		return 0, err
	}
	if err := r.awaitMetric(ctx, node, "memory_graph_disk_refusing 0\n"); err != nil {
		return 0, err
	}
	return gap, r.whole(ctx)
}

// left is what stays free: less than the reserve of the rig, more than what a node needs to go on following for a while.
const left = 12 << 20

func fillDisk(dir, file string) error {
	free, err := room(dir)
	if err != nil {
		return err
	}
	if free < left {
		return fmt.Errorf("%w: %d bytes are free at first", ErrNotInForce, free)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, zeros{}, free-left)
	return errors.Join(err, f.Close())
}

// zeros are as many as are read.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// awaitMetric waits until the metrics of a node have a line.
func (r *Rig) awaitMetric(ctx context.Context, node *cluster.Node, line string) error {
	return r.ask(ctx, node.Name()+" says "+strings.TrimSpace(line), func(ctx context.Context) (bool, error) {
		text, err := r.Cluster.Get(ctx, node, "/metrics")
		return strings.Contains(string(text), line), err
	})
}
