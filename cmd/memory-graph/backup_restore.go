package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/backup"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/backups"
)

// restoreFlags are what the command's flags are read into.
type restoreFlags struct {
	follow, until, dataDir, node, format string
}

func (p *program) newBackupRestoreCommand() *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore [FILE]",
		Short: "Make the data folder of a new cluster of a backup",
		Long: `Make an empty folder the data folder of a new cluster with the graph of a full backup, and with --follow also what the increments of a
folder have; the last full backup of that folder that fits is taken when no FILE is named. --until ends at a revision, or with the
last command at or before a moment. No server runs meanwhile; then start one in the folder, and others may join it.

Records, ids, times, counts and what is remembered of requests are those of the backup. The cluster id and the lineage are new, and
revisions begin above all that the source has given: page tokens and event ids from before are answered with LINEAGE_CHANGED. A
backup that is not whole is refused; no server starts in a folder that was not finished, and the command begins it anew.`,
		Example: `  memory-graph backup restore monday.mgb --data-dir ./restored
  memory-graph backup restore --follow ./backups --data-dir ./restored
  memory-graph backup restore --follow ./backups --until 2026-03-01T09:00:00Z --data-dir ./restored
  memory-graph backup restore full.mgb --follow ./backups --until 1234 --data-dir ./restored`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			format, err := parseOutput(f.format)
			if err != nil {
				return err
			}
			until, err := parseUntil(f.until, p.now())
			if err != nil {
				return err
			}
			r := backups.Restore{Folder: backups.Folder(f.follow), Until: until}
			if len(args) > 0 {
				r.Full = args[0]
			}
			if r.Full == "" && r.Folder == "" {
				return usagef("name the FILE of a full backup, or a folder with --follow")
			}
			p.started = true
			return p.restore(cmd.Context(), r, f, &output{w: p.stdout, format: format, width: p.terminalWidth()})
		},
	}
	cmd.Flags().StringVar(&f.dataDir, "data-dir", "", "folder to make, empty or not there; required")
	cmd.Flags().StringVar(&f.follow, "follow", "", "folder that backup follow has kept")
	cmd.Flags().StringVar(&f.until, "until", "", "end at a revision, or at a moment: RFC 3339, a date, or a duration ago such as 90m")
	cmd.Flags().StringVar(&f.node, "node-id", "", "what the id of the node begins with: 1 to 63 of a-z, 0-9 and hyphens (default node)")
	cmd.Flags().StringVarP(&f.format, "output", "o", string(formatTable), "table, json or yaml")
	_ = cmd.MarkFlagRequired("data-dir")
	_ = cmd.MarkFlagDirname("data-dir")
	_ = cmd.MarkFlagDirname("follow")
	return cmd
}

// parseUntil reads a revision, a moment, or neither.
func parseUntil(s string, now time.Time) (backup.Until, error) {
	if n, err := strconv.ParseUint(s, 10, 64); err == nil && n > 0 {
		return backup.Until{Revision: graph.Revision(n)}, nil
	}
	t, err := parseTime("until", s, now)
	if err != nil || t == nil {
		return backup.Until{}, err
	}
	return backup.Until{Instant: t.AsTime().UnixNano()}, nil
}

// restoreResult is what the command prints.
type restoreResult struct {
	Folder    string `json:"folder"`
	NodeID    string `json:"node_id"`
	ClusterID string `json:"cluster_id"`
	Lineage   string `json:"lineage"`
	Revision  uint64 `json:"revision"`
	// Source is the state that was restored, as its source had it.
	Source struct {
		ClusterID string `json:"cluster_id"`
		Lineage   string `json:"lineage"`
		Revision  uint64 `json:"revision"`
		Instant   string `json:"instant"`
		Digest    string `json:"digest"`
	} `json:"source"`
	Full       string   `json:"full"`
	Increments []string `json:"increments"`
}

func (p *program) restore(ctx context.Context, r backups.Restore, f restoreFlags, out *output) error {
	restrictFiles()
	name := f.node
	if name == "" {
		name = "node"
	}
	r.Into = cluster.Restore{Folder: f.dataDir, Name: name, Version: version, Random: rand.Reader, Clock: p.now, Store: store.Options{CacheBytes: 64 << 20}}
	r.Report = func(text string) { fmt.Fprintln(p.stderr, printable(text)) }
	var bar func(int64)
	finish := func() {}
	r.Progress = func(done, total int64) error {
		if bar == nil {
			if bar, finish = p.byteBar("restore", total); bar == nil {
				bar = func(int64) {}
			}
		}
		bar(done)
		return ctx.Err()
	}
	done, err := r.Run()
	finish()
	if err != nil {
		return err
	}
	return out.showValue(resultOf(done), func() string { return restoredText(resultOf(done)) })
}

func resultOf(done backups.Restored) restoreResult {
	digest := fsm.Digest(done.Source)
	result := restoreResult{
		Folder: done.Folder, NodeID: done.Identity.NodeID, ClusterID: done.Identity.ClusterID, Lineage: fmt.Sprintf("%08x", done.Identity.Lineage),
		Revision: uint64(fsm.Revision(done.System)), Full: done.Full.Name, Increments: []string{},
	}
	s := &result.Source
	s.ClusterID, s.Lineage, s.Revision = done.Source.ClusterID, fmt.Sprintf("%08x", done.Source.Lineage), uint64(fsm.Revision(done.Source))
	s.Instant, s.Digest = instantText(graph.Timestamp(done.Source.Instant)), hex.EncodeToString(digest[:])
	for _, i := range done.Increments {
		result.Increments = append(result.Increments, i.Name)
	}
	return result
}

func restoredText(r restoreResult) string {
	return facts("folder", r.Folder, "node", r.NodeID, "cluster", r.ClusterID, "lineage", r.Lineage, "begins at", "revision "+strconv.FormatUint(r.Revision, 10),
		"restored", fmt.Sprintf("revision %d, of %s", r.Source.Revision, r.Source.Instant), "of cluster", r.Source.ClusterID, "digest", r.Source.Digest,
		"from", fmt.Sprintf("%s and %d increments", filepath.Base(r.Full), len(r.Increments)),
		"next", "memory-graph dev --data-dir "+quoted(r.Folder))
}
