// Command figures measures what docs/BENCHMARKS.md says and writes it there, between marks, with the command beside each
// number.
//
// It runs `memory-graph bench` and pgbench, and the nodes of clusters, ours and etcd's, as processes of their own, and reads the
// JSON that the former print. It decides whether a target is met and nothing else: what a figure is, and that all acknowledged
// writes were read back, is theirs.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	var b bench
	var only string
	flag.StringVar(&b.binary, "binary", "bin/memory-graph", "the program to measure")
	flag.StringVar(&b.pgbench, "pgbench", "bin/pgbench", "the program that measures PostgreSQL")
	flag.StringVar(&b.etcd, "etcd", "etcd", "the etcd to compare with: a path, or a name on PATH")
	flag.StringVar(&b.docs, "docs", "docs/BENCHMARKS.md", "the file whose tables are written")
	flag.StringVar(&b.dataDir, "data-dir", "", "folder in which servers get theirs; none: that for temporary files")
	flag.StringVar(&only, "only", "figures,postgres", "which tables: figures, postgres, large, cluster")
	flag.StringVar(&b.row, "row", "", "measure only rows whose name has this in it, print them, and write nothing")
	flag.DurationVar(&b.duration, "duration", 8*time.Second, "how long each run is measured")
	flag.Int64Var(&b.nodes, "nodes", 0, "prompts of the large graph (10 million unless told), and of the one that a new follower fetches (1 million)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx, strings.Split(only, ",")); err != nil {
		log.Fatal(err)
	}
}

// Nodes of the graphs that are filled for a row.
const manyNodes, someNodes = 10_000_000, 1_000_000

// A bench is where things are and how long to measure.
type bench struct {
	binary, pgbench, etcd, docs, dataDir, row string

	duration time.Duration
	nodes    int64
}

// A line is one line of a table: what was measured, what was wanted, what came out.
type line struct {
	name, target, figure string
	met                  verdict
	load, server         string
	commands             []string
}

type verdict string

const (
	yes  verdict = "yes"
	no   verdict = "**no**"
	open verdict = "–"
)

func judge(met bool) verdict {
	if met {
		return yes
	}
	return no
}

func (b *bench) run(ctx context.Context, tables []string) error {
	for _, name := range tables {
		var rows []row
		switch name {
		case "figures":
			rows = figures()
		case "postgres":
			rows = comparisons()
		case "large":
			rows = large(cmp.Or(b.nodes, manyNodes))
		case "cluster":
			rows = clusterRows(cmp.Or(b.nodes, someNodes))
		default:
			return fmt.Errorf("table %q is unknown: use figures, postgres, large or cluster", name)
		}
		var lines []line
		for _, r := range rows {
			if !strings.Contains(r.name, b.row) {
				continue
			}
			l := b.measure(ctx, r)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			log.Printf("%-44s %-28s %s  %s", l.name, l.target, l.met, l.figure)
			lines = append(lines, l)
		}
		if b.row != "" {
			continue
		}
		if err := rewrite(b.docs, name, document(lines)); err != nil {
			return err
		}
	}
	return nil
}

// measure runs one row. A run that fails has no figure, and says why.
func (b *bench) measure(ctx context.Context, r row) line {
	l := line{name: r.name, target: r.target, met: open, load: loadAverage()}
	run := &session{bench: b, ctx: ctx}
	figure, met, err := r.measure(run)
	l.figure, l.met, l.server, l.commands = figure, met, run.server, run.commands
	if err != nil {
		l.figure, l.met = "no figure: "+firstLine(err.Error()), no
		if errors.Is(err, errSkipped) {
			l.figure, l.met = "not measured: "+firstLine(err.Error()), open
		}
	}
	return l
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}
