package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/importer"
)

// maxProblems is how many problems an import tells one by one.
const maxProblems = 20

// importFlags are what the command's flags are read into.
type importFlags struct {
	format string
	dryRun bool
	strict bool
}

func (p *program) newImportCommand() *cobra.Command {
	var f importFlags
	var names []string
	for _, n := range importer.Formats() {
		names = append(names, string(n))
	}
	cmd := p.client(verb{
		use: "import PATH…", short: "Load an export, or what other programs have logged", args: cobra.MinimumNArgs(1), kind: upload,
		long: `Load what memory-graph export wrote, chat files, session logs, trajectories, traces and prompt collections. The format of each file, and of
each item in it, is recognised by its content. A folder gives its .json, .jsonl, .ndjson, .traj, .csv and .yaml files and those below
it, gzipped ones too; - is standard input. Importing the same file again changes nothing, and completes an import that was cut off.
What cannot be read, or is refused because a different record is stored, is told and skipped, and so is a whole file that cannot be read. Links
to files are read; links to folders inside a folder are told and skipped.`,
		example: `  memory-graph import chats.jsonl
  memory-graph import runs/ more.json.gz -o json
  curl -s https://example.com/chat.json | memory-graph import -
  memory-graph import --dry-run runs/`,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&f.format, "format", names[0], "one of "+strings.Join(names, ", "))
			cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "read and count, and send nothing")
			cmd.Flags().BoolVar(&f.strict, "strict", false, "stop at the first record that cannot be read or is refused, and fail")
			_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
		},
		run: func(ctx context.Context, c *call, args []string) error { return c.importPaths(ctx, f, args) },
	})
	cmd.GroupID = groupClient
	return cmd
}

func (c *call) importPaths(ctx context.Context, f importFlags, paths []string) (err error) {
	format, err := importer.ParseFormat(f.format)
	if err != nil {
		return usageError{err}
	}
	sources, done, err := importer.Sources(paths, c.stdin)
	defer func() { err = errors.Join(err, done()) }()
	if err != nil {
		return err
	}
	if len(sources) == 0 { // those that cannot be read are among them
		return fmt.Errorf("%s: no .json, .jsonl, .ndjson, .traj, .csv or .yaml file in it", strings.Join(paths, ", "))
	}
	var first string
	problems, notes, items := 0, 0, 0
	progress, finish := c.progress(sources)
	summary, err := importer.Import(ctx, c.transfer, sources, importer.Options{
		Format: format, DryRun: f.dryRun, Strict: f.strict, Progress: progress,
		Problem: func(p importer.Problem) {
			if problems++; problems <= maxProblems {
				fmt.Fprintf(c.stderr, "skipped: %s\n", printable(p.String()))
			}
		},
		Note: func(n importer.Note) {
			if notes++; notes <= maxProblems {
				fmt.Fprintf(c.stderr, "left out: %s\n", printable(n.String()))
			}
		},
		Item: func(string, importer.Format) { items++ },
		Session: func(id string) {
			if first == "" {
				first = id
			}
		},
	})
	finish()
	if problems > maxProblems {
		fmt.Fprintf(c.stderr, "skipped: %d more\n", problems-maxProblems)
	}
	if notes > maxProblems {
		fmt.Fprintf(c.stderr, "left out: of %d more files\n", notes-maxProblems)
	}
	told := c.out.showValue(summary, func() string { return importText(summary, first, f.dryRun, err == nil) })
	if err != nil {
		return errors.Join(err, told)
	}
	if summary.Records() == 0 && (items == 0 || summary.Skipped > 0) {
		return fmt.Errorf("%s: nothing found; formats are %v", strings.Join(paths, ", "), importer.Formats())
	}
	return told
}

// progress returns a report of bytes that moves a bar on a terminal, and what ends it.
func (c *call) progress(sources []importer.Source) (report func(int), finish func()) {
	if !c.progressOnTerminal() {
		return nil, func() {}
	}
	var total int64
	for _, s := range sources {
		total += s.Size
	}
	bar := progressbar.NewOptions64(total, progressbar.OptionSetWriter(c.stderr), progressbar.OptionSetDescription("importing"),
		progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(barWidth))
	// A bar that cannot be drawn is no reason to stop.
	return func(n int) { _ = bar.Add(n) }, func() { _ = bar.Finish() }
}

// barWidth is how many columns the bar itself has.
const barWidth = 30

func importText(s importer.Summary, first string, dryRun, whole bool) string {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	tools := number(s.ToolInvocations)
	if s.FailedToolInvocations > 0 {
		tools += fmt.Sprintf(" (%d failed)", s.FailedToolInvocations)
	}
	text := facts("files", number(s.Files), "sessions", number(s.Sessions), "prompts", number(s.Prompts), "responses", number(s.Responses),
		"tool invocations", tools, "templates", number(s.Templates), "agents", number(s.Agents), "edges", number(s.Edges), "skipped", number(s.Skipped))
	if dryRun {
		return text + "nothing was sent (--dry-run)"
	}
	text += fmt.Sprintf("%d records created, %d were there already", s.Created, s.Unchanged)
	if !whole {
		return text + ", as far as the server has said; import again to complete it"
	}
	if first != "" {
		text += "\nsee one: memory-graph session show " + first
	}
	return text
}
