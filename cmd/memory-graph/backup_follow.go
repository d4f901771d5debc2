package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/backup"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/backups"
)

// followFlags are what the command's flags are read into.
type followFlags struct {
	dir              string
	every, fullEvery time.Duration
	bytes            size
	once             bool
}

func (p *program) newBackupFollowCommand() *cobra.Command {
	f := followFlags{bytes: backups.DefaultBytes}
	return p.client(verb{
		use: "follow", short: "Keep a folder up to date with full backups and increments", args: cobra.NoArgs, kind: download,
		long: `Take a full backup into the folder, unless one is there that the log leads on from, and then write what the cluster commits into
increments, a file at a time, until it is stopped. Each file appears when it is whole; what has come by then is written when it is
stopped by a signal. Killed, it goes on where the folder ends. It tries the addresses again when no server answers.

When the log no longer leads on from where the folder ends, it says so and takes a full backup. A folder belongs to one cluster: after
a restore, follow into another one. Nothing is ever deleted: older files may be removed from the oldest on, up to a full backup.`,
		example: `  memory-graph backup follow --dir ./backups --address n1:50051,n2:50051,n3:50051
  memory-graph backup follow --dir ./backups --full-every 24h
  memory-graph backup follow --dir ./backups --once   # up to now, for cron`,
		flags: func(cmd *cobra.Command) {
			fl := cmd.Flags()
			fl.StringVar(&f.dir, "dir", "", "folder of the backups, made when it is not there; required")
			fl.DurationVar(&f.every, "every", backups.DefaultEvery, "how long an increment gathers: what the loss of the whole cluster may cost")
			fl.Var(&f.bytes, "bytes", "how large an increment grows before that")
			fl.DurationVar(&f.fullEvery, "full-every", 0, "take another full backup when the last one is that old; 0 for never")
			fl.BoolVar(&f.once, "once", false, "end when all is there that was acknowledged before")
			_ = cmd.MarkFlagRequired("dir")
			_ = cmd.MarkFlagDirname("dir")
		},
		run: func(ctx context.Context, c *call, _ []string) error { return c.backupFollow(ctx, f) },
	})
}

func (c *call) backupFollow(ctx context.Context, f followFlags) error {
	if f.every < time.Millisecond || f.fullEvery < 0 || f.bytes < 1 {
		return usagef("--every is at least 1ms, --bytes at least 1, --full-every at least 0")
	}
	restrictFiles()
	follower := &backups.Follower{
		Client: c.backup, Folder: backups.Folder(f.dir), Every: f.every, Bytes: int64(f.bytes), FullEvery: f.fullEvery, Once: f.once, Version: version,
		Report: func(text string) { fmt.Fprintln(c.stderr, printable(text)) },
		Took: func(file backup.File) {
			fmt.Fprintf(c.stdout, "%s: %s\n", printable(filepath.Base(file.Name)), contents(file))
		},
	}
	return follower.Run(ctx)
}
