// Command jepsen judges histories of clusters that were hurt, and hands them on to other judges.
//
// It holds command lines and nothing else: what a history is stands in jepsen/history, what it must be in jepsen/check. It promises that results go
// to standard output and everything else to standard error, and that the exit code is 0 when every promise was kept, 1 when one was not or could
// not be judged, and 2 for a command line that makes no sense. It refuses to know the server.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `jepsen judges histories of clusters that were hurt.

  jepsen check [flags] FILE    ask every checker that the history concerns
  jepsen export-edn FILE       write the history as Jepsen and Elle read it

Flags of check:
  -json             write the verdicts as JSON, one a line
  -pictures FOLDER  where pictures of what went wrong go; beside FILE by default
  -search DURATION  how long the order of one record's operations is sought (1m0s)

The exit code is 0 when all promises were kept, 1 when one was broken or could not be judged, 2 for a wrong command line.
`

var (
	// errUsage is a command line that makes no sense.
	errUsage = errors.New("see jepsen help")
	// errVerdict is a history that did not pass; the verdicts say why.
	errVerdict = errors.New("the history did not pass")
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes one command line and returns its exit code. Tests call it as main does.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	err := dispatch(ctx, args, out)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errVerdict):
		return 1
	}
	_, _ = fmt.Fprintf(errs, "jepsen: %v\n", err)
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

func dispatch(_ context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("no command: %w", errUsage)
	}
	switch args[0] {
	case "check":
		return checkFile(args[1:], out)
	case "export-edn":
		return exportEDN(args[1:], out)
	case "help", "-h", "-help", "--help":
		_, err := io.WriteString(out, usage)
		return err
	}
	return fmt.Errorf("no command %q: %w", args[0], errUsage)
}
