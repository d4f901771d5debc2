// Command coverage merges coverage profiles and fails below a minimum.
//
// A statement counts as covered when any profile covers it: the tests' own, or that of a server process which they
// started. Generated code does not count.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

func main() {
	log.SetFlags(0)
	least := flag.Float64("min", 0, "percentage of statements that must be covered")
	merged := flag.String("out", "", "file for the merged profile, for go tool cover")
	module := flag.String("module", "", "path of the module, left out of the names of rooms")
	flag.Parse()
	if err := run(*least, *merged, *module, flag.Args(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(least float64, merged, module string, profiles []string, out io.Writer) error {
	blocks := map[string]block{}
	for _, name := range profiles {
		if err := read(blocks, name); err != nil {
			return fmt.Errorf("profile %s: %w", name, err)
		}
	}
	if merged != "" {
		if err := write(blocks, merged); err != nil {
			return fmt.Errorf("merged profile: %w", err)
		}
	}
	rooms := map[string]tally{}
	var total tally
	for place, b := range blocks {
		name := room(place, module)
		rooms[name] = rooms[name].plus(b)
		total = total.plus(b)
	}
	for _, name := range slices.Sorted(maps.Keys(rooms)) {
		fmt.Fprintf(out, "%6.1f %%  %6d statements  %s\n", rooms[name].percent(), rooms[name].all, name)
	}
	fmt.Fprintf(out, "%6.1f %%  %6d statements  total, at least %.1f %% wanted\n", total.percent(), total.all, least)
	if total.percent() < least {
		return fmt.Errorf("coverage is %.1f %%, below %.1f %%", total.percent(), least)
	}
	return nil
}

// block is a run of statements that are executed together.
type block struct {
	statements int
	covered    bool
}

// tally counts statements.
type tally struct{ all, covered int }

func (t tally) plus(b block) tally {
	t.all += b.statements
	if b.covered {
		t.covered += b.statements
	}
	return t
}

func (t tally) percent() float64 {
	if t.all == 0 {
		return 0
	}
	return 100 * float64(t.covered) / float64(t.all)
}

// read adds the blocks of a profile, whose lines are `file:from,to statements count` after one that names the mode.
func read(blocks map[string]block, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 2 && fields[0] == "mode:" {
			continue
		}
		if len(fields) != 3 {
			return fmt.Errorf("line %q: want 3 fields", lines.Text())
		}
		statements, err := strconv.Atoi(fields[1])
		if err != nil {
			return fmt.Errorf("line %q: %w", lines.Text(), err)
		}
		if file, _, _ := strings.Cut(fields[0], ":"); generated(file) {
			continue
		}
		b := blocks[fields[0]]
		blocks[fields[0]] = block{statements: statements, covered: b.covered || fields[2] != "0"}
	}
	return lines.Err()
}

func generated(file string) bool { return strings.HasSuffix(file, ".pb.go") }

// room names the package of a block, relative to the module.
func room(place, module string) string {
	file, _, _ := strings.Cut(place, ":")
	dir := file[:strings.LastIndexByte(file, '/')+1]
	return strings.Trim(strings.TrimPrefix(dir, module), "/")
}

func write(blocks map[string]block, name string) error {
	var text strings.Builder
	text.WriteString("mode: set\n")
	for _, place := range slices.Sorted(maps.Keys(blocks)) {
		count := 0
		if blocks[place].covered {
			count = 1
		}
		fmt.Fprintf(&text, "%s %d %d\n", place, blocks[place].statements, count)
	}
	return os.WriteFile(name, []byte(text.String()), 0o644)
}
