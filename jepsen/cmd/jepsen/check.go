package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/check"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/history"
)

// maxShown is how much of an operation is shown, in bytes: some hold a whole graph.
const maxShown = 240

// checkFile judges a file.
func checkFile(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	asJSON := flags.Bool("json", false, "")
	pictures := flags.String("pictures", "", "")
	limits := check.DefaultLimits()
	flags.DurationVar(&limits.Search, "search", limits.Search, "")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("check: %w: %w", err, errUsage)
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("check: %d files, want one: %w", flags.NArg(), errUsage)
	}
	name := flags.Arg(0)
	ops, err := history.ReadFile(name)
	if err != nil {
		return err
	}
	verdicts := check.All(ops, limits)
	if len(verdicts) == 0 {
		return fmt.Errorf("%s: none of its %d operations is one that a checker knows", name, len(ops))
	}
	passed := true
	for _, v := range verdicts {
		passed = passed && v.Passed()
		if *asJSON {
			err = json.NewEncoder(out).Encode(v)
		} else {
			err = show(out, v, ops)
		}
		if err != nil {
			return fmt.Errorf("write the verdicts: %w", err)
		}
		if err := draw(v.Pictures, name, *pictures); err != nil {
			return err
		}
	}
	if !passed {
		return errVerdict
	}
	return nil
}

// show prints a verdict with the operations that prove it.
func show(out io.Writer, v check.Verdict, ops []history.Op) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", printable(v.String()))
	for _, a := range v.Anomalies {
		fmt.Fprintf(&b, "  %s: %s\n", a.Rule, printable(a.What))
		for _, index := range a.Proof {
			line, err := json.Marshal(ops[index])
			if err != nil {
				return err
			}
			if len(line) > maxShown {
				line = append(line[:maxShown:maxShown], "…"...)
			}
			fmt.Fprintf(&b, "    %s\n", printable(string(line)))
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// printable takes out what could steer a terminal: values in a history are whatever clients wrote.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// draw writes the pictures of a verdict, by default beside the history.
func draw(pictures []check.Picture, name, dir string) error {
	if dir == "" {
		dir = filepath.Dir(name)
	}
	for _, p := range pictures {
		file := filepath.Join(dir, filepath.Base(name)+"."+p.Name+".html")
		if err := os.WriteFile(file, p.HTML, 0o600); err != nil {
			return fmt.Errorf("write a picture: %w", err)
		}
	}
	return nil
}

// exportEDN writes a file in another form.
func exportEDN(args []string, out io.Writer) error {
	if len(args) != 1 || strings.HasPrefix(args[0], "-") {
		return fmt.Errorf("export-edn: want one file: %w", errUsage)
	}
	ops, err := history.ReadFile(args[0])
	if err != nil {
		return err
	}
	if err := history.WriteEDN(out, ops); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}
