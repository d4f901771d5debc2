package importer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/importer/jsonl"
)

// ownExport reads what `memory-graph export` writes: records as they are stored, which are passed on as they stand.
type ownExport struct{}

func (ownExport) claims(h head) claim { return claimIf(bytes.HasPrefix(h.text, []byte(jsonl.Prefix))) }

// read takes line by line. It makes no ids, so it needs neither digest nor memory.
func (ownExport) read(it *item, out *scribe) error {
	own := &ownReader{out: out, text: bufio.NewReaderSize(it.text, readBufferBytes)}
	for number := 1; ; number++ {
		line, tooLong, err := own.readLine()
		own.number = number
		if err != nil && !errors.Is(err, io.EOF) {
			own.problem(cutOff, err)
			return own.pass()
		}
		switch trimmed := bytes.TrimSpace(line); {
		case tooLong:
			own.problem("is longer than %d bytes", MaxConversationBytes)
		case len(trimmed) == 0:
		default:
			more, failed := own.line(trimmed)
			if failed != nil || !more {
				return failed
			}
		}
		if err != nil {
			return own.end()
		}
	}
}

// ownBatch is how many records are passed on at a time.
const ownBatch = 1000

// An ownReader reads an export.
type ownReader struct {
	out    *scribe
	text   *bufio.Reader
	buffer []byte
	number int // of the line

	seen    jsonl.Trailer // counts what was read
	trailer *jsonl.Trailer
	faults  int64 // lines that could not be read
	batch   Graph
}

func (r *ownReader) problem(format string, args ...any) {
	r.faults++
	r.out.problem(fmt.Sprintf("line %d", r.number), format, args...)
}

// readLine is readLine into a buffer that the next line overwrites.
func (r *ownReader) readLine() (line []byte, tooLong bool, err error) {
	line, err = r.text.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, false, err
	}
	r.buffer = append(r.buffer[:0], line...)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = r.text.ReadSlice('\n')
		if len(r.buffer)+len(line) > MaxConversationBytes {
			tooLong, r.buffer = true, r.buffer[:0]
		}
		r.buffer = append(r.buffer, line...)
	}
	return r.buffer, tooLong, err
}

// line takes one line. It answers false when nothing behind it may be read.
func (r *ownReader) line(line []byte) (more bool, err error) {
	if !utf8.Valid(line) {
		r.problem("is not valid UTF-8")
		return true, nil
	}
	l, err := jsonl.Decode(line)
	if err != nil {
		r.problem("%v", err)
		return true, nil
	}
	switch {
	case l.Header != nil:
		if l.Header.Version > jsonl.Version {
			r.problem("is version %d of the format, and this program reads up to %d; use a later one", l.Header.Version, jsonl.Version)
			return false, nil
		}
		// Files that were put behind each other are read as one.
		r.seen, r.trailer, r.faults = jsonl.Trailer{}, nil, 0
		return true, nil
	case l.Trailer != nil:
		r.trailer = l.Trailer
		r.checkTrailer()
		return true, nil
	case r.trailer != nil:
		r.problem("stands behind the end of the export")
		return true, nil
	case l.Node != nil:
		return true, r.node(l.Node)
	default:
		return true, r.edge(l.Edge)
	}
}

func (r *ownReader) node(n *pb.Node) error {
	r.seen.Nodes++
	if err := graph.CheckImport("node", n); err != nil {
		r.problem("%v", err)
		return nil
	}
	// A batch gives its nodes before its edges.
	if len(r.batch.Edges) > 0 {
		if err := r.pass(); err != nil {
			return err
		}
	}
	r.batch.Nodes = append(r.batch.Nodes, n)
	return r.took()
}

func (r *ownReader) edge(e *pb.Edge) error {
	r.seen.Edges++
	if err := graph.CheckImportEdge("edge", e); err != nil {
		r.problem("%v", err)
		return nil
	}
	r.batch.Edges = append(r.batch.Edges, e)
	return r.took()
}

// took passes the batch on when it is full.
func (r *ownReader) took() error {
	r.batch.Lines = append(r.batch.Lines, r.number)
	if len(r.batch.Lines) < ownBatch {
		return nil
	}
	return r.pass()
}

func (r *ownReader) pass() error {
	batch := r.batch
	r.batch = Graph{}
	if len(batch.Lines) == 0 {
		return nil
	}
	return r.out.verbatim(batch)
}

// checkTrailer reports what is missing from the file.
func (r *ownReader) checkTrailer() {
	if r.seen != *r.trailer && r.faults == 0 {
		r.problem("counts %d nodes and %d edges, but %d and %d came before it", r.trailer.Nodes, r.trailer.Edges, r.seen.Nodes, r.seen.Edges)
	}
}

func (r *ownReader) end() error {
	if r.trailer == nil {
		r.problem("is the last one, but an export ends with a line that counts its records: the file was cut off")
	}
	return r.pass()
}
