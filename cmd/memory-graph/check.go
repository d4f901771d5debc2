package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/inspect"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
)

// checkFlags are what the command's flags are read into.
type checkFlags struct {
	dataDir, scratch, format string
	replay                   bool
	most                     int
}

// defaultFindings is how many findings are printed; all are counted.
const defaultFindings = 100

func (p *program) newCheckCommand() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:     "check",
		GroupID: groupServer,
		Short:   "Verify the data folder of a stopped server",
		Long: `check reads everything in a data folder and holds it against each other: meta.json, every page and entry of the Raft log,
every block of every file of the store, every record, index entry, edge, counter and event. It changes nothing. The server
must not run.

With --replay it also applies the log to an empty store, compares the digest of that state with the one in the folder, and
checks the state in which the server would start. That works while the log still begins with its first entry.

Exit codes: 0 nothing is wrong, 1 something is, 2 nothing was checked: the folder is in use or is none.`,
		Example: `  memory-graph check --data-dir ./data
  memory-graph check --data-dir ./data --replay -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if v := p.getenv("DB_PATH"); v != "" && !cmd.Flags().Changed("data-dir") {
				f.dataDir = v
			}
			format, err := parseOutput(f.format)
			if err != nil {
				return err
			}
			if f.most < 0 {
				return usagef("--max-findings is %d, at least 0", f.most)
			}
			p.started = true
			return p.check(cmd, f, &output{w: p.stdout, format: format, width: p.terminalWidth()})
		},
	}
	cmd.Flags().StringVar(&f.dataDir, "data-dir", defaultDataDir, "folder to check (DB_PATH)")
	cmd.Flags().BoolVar(&f.replay, "replay", false, "apply the log to an empty store too, and compare")
	cmd.Flags().StringVar(&f.scratch, "scratch", "", "folder for that store, of about the size of the data; a temporary one if empty")
	cmd.Flags().IntVar(&f.most, "max-findings", defaultFindings, "findings to print; all are counted")
	cmd.Flags().StringVarP(&f.format, "output", "o", string(formatTable), "table, json or yaml")
	_ = cmd.MarkFlagDirname("data-dir")
	_ = cmd.MarkFlagDirname("scratch")
	return cmd
}

// checkResult is what the command prints.
type checkResult struct {
	inspect.Report
	// Total counts all findings, Findings are the first.
	Total    int             `json:"total_findings"`
	Findings []store.Finding `json:"findings"`
}

func (p *program) check(cmd *cobra.Command, f checkFlags, out *output) error {
	result := checkResult{Findings: []store.Finding{}}
	var printing error
	progress, finish := p.checkProgress(cmd)
	report, err := inspect.Folder(f.dataDir, inspect.Options{
		Replay: f.replay, Scratch: f.scratch, Progress: progress,
		Report: func(found store.Finding) {
			if result.Total++; result.Total > f.most {
				return
			}
			if out.format != formatTable {
				result.Findings = append(result.Findings, found)
				return
			}
			line := fmt.Sprintf("%s: %s: %s: %s", found.Fault, found.Space, found.Key, found.Problem)
			printing = errors.Join(printing, out.text(printable(line)))
		},
	})
	finish()
	result.Report = report
	switch {
	case errors.Is(err, inspect.ErrNotChecked):
		return usageError{err}
	case err != nil:
		return err
	}
	if err := errors.Join(printing, out.showValue(result, func() string { return checkText(result, f.most) })); err != nil {
		return err
	}
	if result.Total > 0 || result.Rows.Unnamed > 0 {
		return fmt.Errorf("%s: %d findings: something in the folder is wrong; docs/CHECK.md says what each means and what to do", f.dataDir, result.Total)
	}
	return nil
}

// checkProgress returns a report that moves a bar on a terminal, one for each stage, and what ends it. An interrupt ends the
// check.
func (p *program) checkProgress(cmd *cobra.Command) (report func(stage string, done, total uint64) error, finish func()) {
	ctx := cmd.Context()
	if !p.progressOnTerminal() {
		return func(string, uint64, uint64) error { return ctx.Err() }, func() {}
	}
	var bar *progressbar.ProgressBar
	at := ""
	finish = func() {
		if bar != nil {
			_ = bar.Finish() // a bar that cannot be drawn is no reason to stop
		}
	}
	return func(stage string, done, total uint64) error {
		if stage != at {
			finish()
			at = stage
			limit := int64(total)
			if total == 0 {
				limit = -1
			}
			bar = progressbar.NewOptions64(limit, progressbar.OptionSetWriter(p.stderr), progressbar.OptionSetDescription("checking "+stage),
				progressbar.OptionShowBytes(stage == inspect.StageFiles), progressbar.OptionShowCount(),
				progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(barWidth))
		}
		_ = bar.Set64(int64(done))
		return ctx.Err()
	}, finish
}

func checkText(r checkResult, most int) string {
	findings := strconv.Itoa(r.Total)
	if r.Total > most {
		findings += fmt.Sprintf(" (%d printed)", most)
	}
	if r.Rows.Unnamed > 0 {
		findings += fmt.Sprintf(", and %d groups of rows that differ and were not looked at", r.Rows.Unnamed)
	}
	if !r.Rows.Whole {
		findings += "; rows that follow from each other were not compared, because not all can be read"
	}
	log := "empty"
	if r.Log.First > 0 {
		log = fmt.Sprintf("entries %d to %d, %d bytes", r.Log.First, r.Log.Last, r.Log.Bytes)
	}
	applied := "entry " + whole(r.Applied)
	if r.Log.Last > r.Applied {
		applied += fmt.Sprintf(", %d more are applied at the start", r.Log.Last-r.Applied)
	}
	replay := string(r.Replay)
	if r.Replayed > 0 {
		replay += fmt.Sprintf("; at entry %d the digest is %s", r.Replayed, r.ReplayedDigest)
	}
	text := facts("folder", r.Folder, "node", r.NodeID, "cluster", r.ClusterID, "log", log, "store ends at", applied,
		"files", fmt.Sprintf("%d, %d bytes", r.Files, r.Bytes),
		"rows", fmt.Sprintf("%d: %d nodes, %d edges, %d sessions, %d events, %d outcomes",
			r.Rows.Rows, r.Rows.Nodes, r.Rows.Edges, r.Rows.Sessions, r.Rows.Events, r.Rows.Outcomes),
		"digest", r.Digest, "replay", replay, "findings", findings)
	for _, l := range r.Leftovers {
		text += facts("leftover", l)
	}
	return text
}
