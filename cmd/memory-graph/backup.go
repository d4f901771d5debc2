package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/backup"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/backups"
)

func (p *program) newBackupCommand() *cobra.Command {
	cmd := p.group("backup", "Back a running cluster up, and make a new one of a backup",
		`  memory-graph backup create -o monday.mgb
  memory-graph backup verify monday.mgb
  memory-graph backup restore monday.mgb --data-dir ./restored
  memory-graph backup follow --dir ./backups
  memory-graph backup restore --follow ./backups --until 2026-03-01T09:00:00Z --data-dir ./restored`,
		p.newBackupCreateCommand(), p.newBackupVerifyCommand(), p.newBackupRestoreCommand(), p.newBackupFollowCommand(), p.newBackupListCommand())
	cmd.Long = `backup copies the graph out of a running cluster, from any node, while it is written to, and makes the data folder of a new cluster of
that. create takes all of it as of one revision; follow keeps a folder up to date with all that comes after, so that restore can
go back to any moment or revision.

A backup holds what everybody ever said, and the secret key of the cluster: keep it as you keep the data.`
	return cmd
}

func (p *program) newBackupCreateCommand() *cobra.Command {
	var file string
	return p.client(verb{
		use: "create", short: "Write a full backup", args: cobra.NoArgs, kind: download,
		long: `Write all of the graph as of one revision, whatever is written meanwhile: sessions, nodes, edges, events, templates, counts, what is
remembered of requests. It is compressed, and each block has a checksum. A file appears under its name when it is whole and on
the disk. What is written to standard output is as long as it is only when the command succeeds; a reader that stops for a minute is
cut off. With --consistency local, any node answers from what it has, also one that is cut off from the others.`,
		example: `  memory-graph backup create -o monday.mgb
  memory-graph backup create --address n2:50051 | ssh vault 'cat >monday.mgb'
  memory-graph backup create --consistency local -o what-n3-has.mgb --address n3:50051`,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVarP(&file, "output", "o", "-", "write to this file; - is standard output")
			_ = cmd.MarkFlagFilename("output", "mgb")
		},
		run: func(ctx context.Context, c *call, _ []string) error { return c.backupCreate(ctx, file) },
	})
}

func (c *call) backupCreate(ctx context.Context, file string) error {
	restrictFiles()
	bar, finish := c.byteBar("backup", -1)
	var done backup.File
	var err error
	if file == "-" || file == "" {
		if c.terminalWidth() > 0 {
			return usagef("a backup is nothing for a terminal: name a file with -o FILE, or send it into a pipe")
		}
		file = "backup"
		done, err = backups.Create(ctx, c.backup, c.stdout, bar)
	} else {
		done, err = backups.CreateFile(ctx, c.backup, file, bar)
	}
	finish()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "%s: %s\n", printable(file), contents(done))
	return nil
}

// byteBar returns a report that moves a bar on a terminal, and what ends it. A total of -1 is not known.
func (p *program) byteBar(what string, total int64) (report func(bytes int64), finish func()) {
	if !p.progressOnTerminal() {
		return nil, func() {}
	}
	bar := progressbar.NewOptions64(total, progressbar.OptionSetWriter(p.stderr), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(barWidth))
	// A bar that cannot be drawn is no reason to stop.
	return func(bytes int64) { _ = bar.Set64(bytes) }, func() { _ = bar.Finish() }
}

// contents tells what is in a file.
func contents(f backup.File) string {
	t := f.Trailer
	if f.Header.GetKind() == pb.BackupKind_BACKUP_KIND_INCREMENT {
		return fmt.Sprintf("revisions %d to %d, up to %s: %d entries, %d commands",
			f.Header.GetRevision()+1, t.GetRevision(), instantText(t.GetInstant()), t.GetEntries(), t.GetCommands())
	}
	return fmt.Sprintf("revision %d, of %s: %d nodes, %d of them sessions, %d edges, %d events",
		t.GetRevision(), instantText(t.GetInstant()), t.GetNodes(), t.GetSessions(), t.GetEdges(), t.GetEvents())
}

func instantText(t *timestamppb.Timestamp) string { return t.AsTime().UTC().Format(time.RFC3339Nano) }

// backupFile is what `backup list -o json` prints of a file.
type backupFile struct {
	File string `json:"file"`
	Kind string `json:"kind"`
	// After is the revision that an increment begins after; Revision where a file ends, Instant the moment of that.
	After     uint64 `json:"after,omitempty"`
	Revision  uint64 `json:"revision"`
	Instant   string `json:"instant,omitempty"`
	ClusterID string `json:"cluster_id,omitempty"`
	Lineage   string `json:"lineage,omitempty"`
	Nodes     uint64 `json:"nodes,omitempty"`
	Edges     uint64 `json:"edges,omitempty"`
	Commands  uint64 `json:"commands,omitempty"`
	Created   string `json:"created,omitempty"`
	// Damage is why nothing else is known.
	Damage string `json:"damage,omitempty"`
}

func describeFile(f backup.File) backupFile {
	b := backupFile{
		File: filepath.Base(f.Name), Kind: "full", Revision: f.Trailer.GetRevision(), Instant: instantText(f.Trailer.GetInstant()),
		ClusterID: f.Header.GetClusterId(), Lineage: f.Header.GetLineage(), Nodes: f.Trailer.GetNodes(), Edges: f.Trailer.GetEdges(),
		Commands: f.Trailer.GetCommands(), Created: instantText(f.Header.GetCreated()),
	}
	if f.Header.GetKind() == pb.BackupKind_BACKUP_KIND_INCREMENT {
		b.Kind, b.After = "increment", f.Header.GetRevision()
	}
	return b
}

// backupList is what `backup list -o json` prints.
type backupList struct {
	Files []backupFile `json:"files"`
	// Gap says why a restore cannot go from the last full backup to the end; empty when it can.
	Gap string `json:"gap,omitempty"`
}

func (p *program) newBackupListCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "list DIR", Short: "Tell what backups a folder has", Args: cobra.ExactArgs(1),
		Long: `Tell what each file of a folder says of itself, by its beginning and its end; verify reads all of it. A gap between the last full
backup and what follows it is told.`,
		Example: "  memory-graph backup list ./backups\n  memory-graph backup list ./backups -o json",
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := parseOutput(format)
			if err != nil {
				return err
			}
			p.started = true
			list, err := listBackups(backups.Folder(args[0]))
			if err != nil {
				return err
			}
			out := &output{w: p.stdout, format: f, width: p.terminalWidth()}
			return out.showValue(list, func() string { return listText(list) })
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", string(formatTable), "table, json or yaml")
	return cmd
}

func listBackups(dir backups.Folder) (backupList, error) {
	list := backupList{Files: []backupFile{}}
	files, damaged, err := dir.Files()
	if err != nil {
		return list, err
	}
	for _, f := range files {
		list.Files = append(list.Files, describeFile(f))
	}
	for _, d := range damaged {
		list.Files = append(list.Files, backupFile{File: d.Name, Kind: "damaged", Damage: d.Err.Error()})
	}
	if _, err := backup.Choose(files, nil, backup.Until{}); err != nil && len(files) > 0 {
		list.Gap = err.Error()
	}
	return list, nil
}

func listText(list backupList) string {
	if len(list.Files) == 0 {
		return "no backups\n"
	}
	var rows [][]string
	for _, f := range list.Files {
		if f.Damage != "" {
			rows = append(rows, []string{f.File, f.Kind, "", "", f.Damage})
			continue
		}
		what := fmt.Sprintf("%d nodes, %d edges", f.Nodes, f.Edges)
		revisions := strconv.FormatUint(f.Revision, 10)
		if f.Kind == "increment" {
			what, revisions = fmt.Sprintf("%d commands", f.Commands), fmt.Sprintf("%d to %d", f.After+1, f.Revision)
		}
		rows = append(rows, []string{f.File, f.Kind, revisions, f.Instant, what})
	}
	text := gridOf([]string{"file", "kind", "revision", "moment", "holds"}, rows, maxCell) + "\n"
	if list.Gap != "" {
		text += "gap: " + printable(list.Gap) + "\n"
	}
	return text
}

// errDamagedBackup ends commands that have told what is wrong.
var errDamagedBackup = errors.New("something is wrong with the backups; what is named above was not read or is not whole")
