package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/importer/jsonl"
)

// exportFlags are what the command's flags are read into.
type exportFlags struct {
	sessions []string
	since    string
	file     string
}

func (p *program) newExportCommand() *cobra.Command {
	var f exportFlags
	cmd := p.client(verb{
		use: "export", short: "Write the graph as JSON Lines", args: cobra.NoArgs, kind: download,
		long: `Write sessions, nodes and edges, with their ids, times and counts, as one JSON value a line: a header, agents and templates,
session by session, and at the end how many there were. memory-graph import makes the same graph of it. All of it is the state at
one moment, whatever is written meanwhile. A file whose name ends in .gz is gzipped; it appears when it is complete. What goes to a
pipe or a terminal is kept in a temporary file first (in TMPDIR, with room for all of it), so that the reader may be as slow as it is.`,
		example: `  memory-graph export -o graph.jsonl.gz
  memory-graph export --session 0196fd1e-8c2f-7a3b-9c55-0d2f4b1c7e11
  memory-graph export --since 24h | ssh backup 'cat >today.jsonl'`,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringSliceVar(&f.sessions, "session", nil, "only this session, with the agents and templates that it uses; repeat for several")
			cmd.Flags().StringVar(&f.since, "since", "", "only sessions written to since then: RFC 3339, a date, or a duration such as 24h")
			cmd.Flags().StringVarP(&f.file, "output", "o", "", "write to this file (default: standard output)")
		},
		run: func(ctx context.Context, c *call, _ []string) error { return c.export(ctx, f) },
	})
	cmd.GroupID = groupClient
	return cmd
}

func (c *call) export(ctx context.Context, f exportFlags) error {
	since, err := parseTime("since", f.since, c.now())
	if err != nil {
		return err
	}
	req := &pb.ExportRequest{SessionIds: f.sessions, UpdatedSince: since, SelfContained: true}
	if f.file == "" || f.file == "-" {
		return c.exportToStdout(ctx, req)
	}
	var done jsonl.Trailer
	err = writeWhole(f.file, func(w io.Writer) error {
		done, err = c.exportTo(ctx, req, w)
		return err
	})
	if err == nil {
		fmt.Fprintf(c.stderr, "%s: %d nodes, %d edges\n", f.file, done.Nodes, done.Edges)
	}
	return err
}

// exportToStdout writes an export to standard output. The server ends an export that is read too slowly, and an export cannot
// go on where it ended; so what goes to anything but a file is first read as fast as the server sends it.
func (c *call) exportToStdout(ctx context.Context, req *pb.ExportRequest) (err error) {
	if f, ok := c.stdout.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			_, err := c.exportTo(ctx, req, f)
			return err
		}
	}
	spool, remove, err := temporaryFile("memory-graph-export-*")
	if err != nil {
		return fmt.Errorf("keep the export until it is read (-o FILE needs no room for that): %w", err)
	}
	defer func() { err = errors.Join(err, remove()) }()
	if _, err := c.exportTo(ctx, req, spool); err != nil {
		return err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(c.stdout, spool); err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	return nil
}

// temporaryFile opens a new file. Where the system allows it, it has no name any more, so that nothing is left of it however
// the program ends.
func temporaryFile(pattern string) (f *os.File, remove func() error, err error) {
	f, err = os.CreateTemp("", pattern)
	if err != nil {
		return nil, nil, err
	}
	if os.Remove(f.Name()) == nil {
		return f, f.Close, nil
	}
	return f, func() error { return errors.Join(f.Close(), os.Remove(f.Name())) }, nil
}

// exportBufferBytes is how much is gathered before it is written.
const exportBufferBytes = 1 << 20

// exportTo writes an export and answers what its trailer says.
func (c *call) exportTo(ctx context.Context, req *pb.ExportRequest, w io.Writer) (jsonl.Trailer, error) {
	var done jsonl.Trailer
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.transfer.Export(ctx, req)
	if err != nil {
		return done, err
	}
	out := bufio.NewWriterSize(w, exportBufferBytes)
	var line []byte
	for first := true; ; first = false {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return done, err
		}
		line = line[:0]
		if first {
			header, err := stream.Header()
			if err != nil {
				return done, err
			}
			lineage := strings.Join(header.Get(keyLineage), "")
			line = jsonl.AppendHeader(line, jsonl.Header{Version: jsonl.Version, Lineage: lineage, Revision: m.Revision})
		}
		for _, n := range m.Nodes {
			line = jsonl.AppendNode(line, n)
		}
		for _, e := range m.Edges {
			line = jsonl.AppendEdge(line, e)
		}
		done.Nodes, done.Edges = done.Nodes+int64(len(m.Nodes)), done.Edges+int64(len(m.Edges))
		if _, err := out.Write(line); err != nil {
			return done, fmt.Errorf("write the export: %w", err)
		}
		if m.EdgesLeftOut > 0 {
			fmt.Fprintf(c.stderr, "left out: %d edges to what is not exported\n", m.EdgesLeftOut)
		}
	}
	if _, err := out.Write(jsonl.AppendTrailer(line[:0], done)); err != nil {
		return done, fmt.Errorf("write the export: %w", err)
	}
	if err := out.Flush(); err != nil {
		return done, fmt.Errorf("write the export: %w", err)
	}
	return done, nil
}

// writeWhole writes a file that appears under its name when it is complete and on the disk; a name that ends in .gz makes it
// gzipped. An error leaves what stood there before.
func writeWhole(name string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(writeZipped(f, strings.HasSuffix(name, ".gz"), write), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func writeZipped(f *os.File, zip bool, write func(io.Writer) error) error {
	if !zip {
		if err := write(f); err != nil {
			return err
		}
		return f.Sync()
	}
	z := gzip.NewWriter(f)
	if err := write(z); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.Sync()
}
