// Command memory-graph is the server of a memory graph and its client.
//
// It holds the wiring: flags, environment and defaults become calls of the rooms below, and their answers become text. It
// promises that every command says what it does with an example, that results go to standard output and everything
// else to standard error, that nothing a stored text contains can steer the terminal, and that the exit code is 0 for
// success, 1 for failure and 2 for a command line that makes no sense. It refuses to know the rules of the graph.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// version is the program's version. The linker writes it (-X main.version=…); nothing else does.
var version = "dev"

func main() {
	signals, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, stop := context.WithCancel(context.Background())
	// The first signal asks to stop. Whoever hears of it may be sure that a second one ends the process at once.
	context.AfterFunc(signals, func() {
		release()
		stop()
	})
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns its exit code. Tests call it as main does.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr, getenv: os.Getenv, self: os.Args[0], now: time.Now}
	return p.run(ctx, args)
}
