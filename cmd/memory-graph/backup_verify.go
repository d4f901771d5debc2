package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/backup"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/backups"
)

// verifyFlags are what the command's flags are read into.
type verifyFlags struct {
	scratch, format string
	most            int
}

func (p *program) newBackupVerifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify FILE|DIR…",
		Short: "Read backups to the end and check everything in them",
		Long: `Read every block of each file and compare its checksum; of a full backup load every record into an empty store, compute the digest anew,
and hold all of it against each other as check does; of an increment see that every entry could be applied. Of a folder verify
all files, and that they lead from the last full backup to the end. Damage is told with the block and where it lies.

It needs room of about the size of the data, in --scratch or the system's temporary folder. Exit codes: 0 all is well, 1 something
is not.`,
		Example: `  memory-graph backup verify monday.mgb
  memory-graph backup verify ./backups -o json
  memory-graph backup verify monday.mgb --scratch /mnt/large`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			format, err := parseOutput(f.format)
			if err != nil {
				return err
			}
			if f.most < 0 {
				return usagef("--max-findings is %d, at least 0", f.most)
			}
			p.started = true
			restrictFiles()
			return p.verify(cmd.Context(), args, f, &output{w: p.stdout, format: format, width: p.terminalWidth()})
		},
	}
	cmd.Flags().StringVar(&f.scratch, "scratch", "", "folder for the store that a full backup is loaded into; a temporary one if empty")
	cmd.Flags().IntVar(&f.most, "max-findings", defaultFindings, "findings to print of each file; all are counted")
	cmd.Flags().StringVarP(&f.format, "output", "o", string(formatTable), "table, json or yaml")
	_ = cmd.MarkFlagDirname("scratch")
	return cmd
}

// verified is what the command prints of a file.
type verified struct {
	backupFile
	Good     bool            `json:"good"`
	Problem  string          `json:"problem,omitempty"`
	Rows     *store.Checked  `json:"rows,omitempty"`
	Total    int             `json:"total_findings"`
	Findings []store.Finding `json:"findings,omitempty"`
}

func (p *program) verify(ctx context.Context, paths []string, f verifyFlags, out *output) error {
	names, gaps, err := filesOf(paths)
	if err != nil {
		return err
	}
	good := len(gaps) == 0
	for _, gap := range gaps {
		fmt.Fprintln(p.stderr, printable(gap))
	}
	for _, name := range names {
		v, err := p.verifyFile(ctx, name, f)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			v.Problem = err.Error()
		}
		v.File, v.Good = name, err == nil && v.Total == 0
		good = good && v.Good
		if err := out.item(func() ([]byte, error) { return marshalValue(v) }, func() string { return verifiedText(v) }); err != nil {
			return err
		}
	}
	if !good {
		return errDamagedBackup
	}
	return nil
}

// filesOf are the files that are named, and those of folders, in which there must be no gap.
func filesOf(paths []string) (names, gaps []string, err error) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, nil, err
		}
		if !info.IsDir() {
			names = append(names, path)
			continue
		}
		files, damaged, err := backups.Folder(path).Files()
		if err != nil {
			return nil, nil, err
		}
		for _, f := range files {
			names = append(names, f.Name)
		}
		for _, d := range damaged {
			names = append(names, filepath.Join(path, d.Name))
		}
		if _, err := backup.Choose(files, nil, backup.Until{}); err != nil {
			gaps = append(gaps, fmt.Sprintf("%s: %v", path, err))
		}
	}
	return names, gaps, nil
}

// verifyFile reads one file. What it says is kept also when something is wrong with it.
func (p *program) verifyFile(ctx context.Context, name string, f verifyFlags) (v verified, err error) {
	file, err := os.Open(name)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return v, err
	}
	bar, finish := p.byteBar(filepath.Base(name), info.Size())
	defer finish()
	progress := func(bytes int64) error {
		if bar != nil {
			bar(bytes)
		}
		return ctx.Err()
	}
	in, err := backup.NewReader(file)
	if err != nil {
		return v, err
	}
	defer in.Close()
	if look, err := backups.Look(name); err == nil {
		v.backupFile = describeFile(look)
	}
	if v.Kind == "increment" {
		_, err := backup.VerifyEntries(in, progress)
		return v, err
	}
	return v, v.load(in, f, progress)
}

// load verifies a full backup in a store that is thrown away.
func (v *verified) load(in *backup.Reader, f verifyFlags, progress func(int64) error) (err error) {
	dir, err := os.MkdirTemp(f.scratch, "memory-graph-verify-")
	if err != nil {
		return fmt.Errorf("folder for the store: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	rows, err := store.OpenPebble(filepath.Join(dir, "store"), store.Options{CacheBytes: 64 << 20})
	if err != nil {
		return fmt.Errorf("store for the backup: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	checked, err := backup.Verify(in, rows, func(found store.Finding) {
		if v.Total++; v.Total <= f.most {
			v.Findings = append(v.Findings, found)
		}
	}, progress)
	v.Rows = &checked
	return err
}

func verifiedText(v verified) string {
	if v.Problem != "" {
		return fmt.Sprintf("%s: NOT GOOD: %s", printable(v.File), printable(v.Problem))
	}
	text := ""
	for _, found := range v.Findings {
		text += printable(fmt.Sprintf("%s: %s: %s: %s", found.Fault, found.Space, found.Key, found.Problem)) + "\n"
	}
	word := "good"
	if !v.Good {
		word = fmt.Sprintf("NOT GOOD: %d findings", v.Total)
	}
	if v.Kind == "increment" {
		return text + fmt.Sprintf("%s: %s: increment, revisions %d to %d, up to %s, %d commands", printable(v.File), word, v.After+1, v.Revision, v.Instant, v.Commands)
	}
	return text + fmt.Sprintf("%s: %s: full backup of revision %d, of %s: %d nodes, %d edges, %d events, %d outcomes",
		printable(v.File), word, v.Revision, v.Instant, v.Rows.Nodes, v.Rows.Edges, v.Rows.Events, v.Rows.Outcomes)
}
