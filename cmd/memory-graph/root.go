package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// A program is one run of memory-graph with its surroundings.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	// self is how this program was called.
	self string
	now  func() time.Time
	// started is set when a command's own work begins: errors before are errors of usage.
	started bool
}

// Groups of commands in the help.
const (
	groupServer = "server"
	groupClient = "client"
)

// commands lists every command; its help and completion come from cobra.
func (p *program) commands() []*cobra.Command {
	return []*cobra.Command{
		p.newDevCommand(),
		p.newServerCommand(),
		p.newClusterCommand(),
		p.newCheckCommand(),
		p.newSessionCommand(),
		p.newNodeCommand(),
		p.newEdgeCommand(),
		p.newQueryCommand(),
		p.newEventsCommand(),
		p.newTemplateCommand(),
		p.newImportCommand(),
		p.newExportCommand(),
		p.newBackupCommand(),
		p.newBenchCommand(),
		p.newStatsCommand(),
		p.newHealthCommand(),
		p.newNPMRepairCommand(),
		p.newVersionCommand(),
	}
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "memory-graph",
		Short: "A durable graph of what LLM applications said, saw and did",
		Long: `memory-graph records sessions, prompts, responses, tool calls, agents and templates, and the edges between them.

The same program is the server and its client. Client commands take --address, else MEMORY_GRAPH_ADDRESS, else ` + defaultAddress + `.
Exit codes: 0 done, 1 failed, 2 wrong usage.`,
		Example: `  memory-graph dev
  memory-graph import chats/*.jsonl
  memory-graph session list
  memory-graph session show 0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          p.chooseSubcommand,
	}
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.AddGroup(&cobra.Group{ID: groupServer, Title: "Server:"}, &cobra.Group{ID: groupClient, Title: "Client:"})
	for _, c := range p.commands() {
		root.AddCommand(c)
	}
	return root
}

// chooseSubcommand is what a command does that only holds others: it shows its help, and fails, because nothing was done.
func (p *program) chooseSubcommand(cmd *cobra.Command, _ []string) error {
	cmd.SetOut(p.stderr)
	if err := cmd.Help(); err != nil {
		return err
	}
	return usageError{errors.New("choose one of the commands above")}
}

// group makes a command that only holds others.
func (p *program) group(use, short, example string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Example: example, GroupID: groupClient, Args: cobra.NoArgs, RunE: p.chooseSubcommand}
	cmd.AddCommand(verbs...)
	return cmd
}

// A usageError is a mistake in the command line that only shows when the command runs.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func (p *program) run(ctx context.Context, args []string) int {
	root := p.root()
	root.SetArgs(append([]string{}, args...)) // cobra takes nil for the arguments of the process
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	var wrong usageError
	if !p.started || errors.As(err, &wrong) {
		fmt.Fprintf(p.stderr, "memory-graph: %v\nsee: %s --help\n", err, cmd.CommandPath())
		return exitUsage
	}
	fmt.Fprintf(p.stderr, "memory-graph: %s\n", explain(err))
	return exitFailed
}

// terminalWidth is how many columns standard output has, 0 when it is no terminal.
func (p *program) terminalWidth() int {
	f, ok := p.stdout.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// progressOnTerminal says whether standard error is a terminal, where a progress bar makes sense.
func (p *program) progressOnTerminal() bool {
	f, ok := p.stderr.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
