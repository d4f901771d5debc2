// Command fuzz runs every fuzz target of the module for a while, one after the other, and stops at the first finding.
//
// `go test -fuzz` takes one target of one package. And it fails a target at times because its time is up, having found nothing: on a busy
// machine the coordinator may see that before its workers do (https://go.dev/issue/75804, until Go 1.27). That, and nothing else, is told
// and passed over: a finding is written to testdata/fuzz of its package and named, and whatever else goes wrong says something else.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

// A target is one fuzz function, and the folder of its package below the root.
type target struct{ dir, name string }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("fuzz", flag.ContinueOnError)
	root := flags.String("root", ".", "folder of the module")
	command := flags.String("go", "go", "the go command")
	within := flags.String("time", "30s", "how long each target runs, or how often: 1000x")
	match := flags.String("match", "", "run only targets with names that match")
	if err := flags.Parse(args); err != nil {
		return err
	}
	wanted, err := regexp.Compile(*match)
	if err != nil {
		return fmt.Errorf("-match: %w", err)
	}
	all, err := targets(*root)
	if err != nil {
		return err
	}
	ran := 0
	for _, t := range all {
		if !wanted.MatchString(t.name) {
			continue
		}
		ran++
		fmt.Fprintln(out, "==", t.dir, t.name)
		cmd := exec.CommandContext(ctx, *command, slices.Concat(
			// Minimizing every input that reaches something new would take nearly all of so short a time.
			[]string{"test", "-run", "^$", "-fuzz", "^" + t.name + "$", "-fuzztime", *within, "-fuzzminimizetime", "100x"}, flags.Args(), []string{"./" + t.dir},
		)...)
		cmd.Dir = *root
		if err := fuzz(cmd, t.name, out); err != nil {
			return fmt.Errorf("%s %s: %w", t.dir, t.name, err)
		}
	}
	if ran == 0 {
		return fmt.Errorf("no target below %s matches %q", *root, *match)
	}
	return nil
}

// fuzz runs one target to its end.
func fuzz(cmd *exec.Cmd, name string, out io.Writer) error {
	var said bytes.Buffer
	cmd.Stdout = io.MultiWriter(out, &said)
	cmd.Stderr = cmd.Stdout
	err := cmd.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) && timeWasUp(said.String(), name) {
		fmt.Fprintln(out, "nothing was found: the time was up, which go test took for a failure (https://go.dev/issue/75804)")
		return nil
	}
	return err
}

// timeWasUp says whether a target failed with nothing to say but that its time was up.
func timeWasUp(said, name string) bool {
	_, report, failed := strings.Cut(said, "--- FAIL: "+name+" (")
	if !failed || strings.Contains(said, "Failing input written to") || strings.Contains(said, "failure while testing seed corpus entry") {
		return false
	}
	lines := strings.Split(report, "\n")
	return len(lines) > 2 && strings.TrimSpace(lines[1]) == context.DeadlineExceeded.Error() && lines[2] == "FAIL"
}

var fuzzFunction = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(\w+ \*testing\.F\)`)

// targets are the fuzz functions of all packages, in order.
func targets(root string) (all []target, err error) {
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "node_modules") {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		for _, found := range fuzzFunction.FindAllStringSubmatch(string(text), -1) {
			all = append(all, target{filepath.ToSlash(dir), found[1]})
		}
		return err
	})
	return all, err
}
