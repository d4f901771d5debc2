package importer

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxNesting is how deep lists of items may stand inside each other.
const maxNesting = 4

// A reader finds the format of a source, or of each item in it, and yields the records that the formats tell of.
type reader struct {
	source  Source
	format  Format
	problem func(where, format string, args ...any)
	// note, when set, is told of what was left out on purpose.
	note     func(where, format string, args ...any)
	progress func(int)
	// reads, when set, is told the format of each item.
	reads func(Format)
	// limit is how many bytes may be held in memory at a time; 0 means MaxConversationBytes.
	limit int

	out *scribe
	// parts are values that stand by themselves and are one item of partsRow together; partsBytes is their size.
	parts      []json.RawMessage
	partsRow   formatRow
	partsBytes int
}

// each calls yield for every session that is read, in order, and stops at its first error.
func (r *reader) each(ctx context.Context, yield func(Graph) error) error {
	l, err := inspect(r.source)
	if err != nil {
		return err
	}
	r.limit = cmp.Or(r.limit, MaxConversationBytes)
	r.out = newScribe(r.source, r.problem, yield)
	r.out.noted = r.note
	if l.empty {
		r.problem("", "is empty")
		return nil
	}
	text, closer, err := r.source.text(r.progress)
	if err != nil {
		return err
	}
	err = r.file(ctx, text, l)
	if err == nil {
		err = r.out.finish()
	}
	if closed := closer.Close(); err == nil {
		err = closed
	}
	return err
}

func (r *reader) file(ctx context.Context, text *bufio.Reader, l layout) error {
	if r.format == FormatOpenAILines {
		r.format, l.lines = FormatOpenAI, true
	}
	begin, failed := text.Peek(headBytes)
	if errors.Is(failed, io.EOF) {
		failed = nil
	}
	if failed != nil && len(begin) == 0 {
		return failed
	}
	for _, row := range append(r.rows(unitStream), r.rows(unitText)...) {
		if r.format == row.name || (!l.json || row.unit == unitStream) && row.format.claims(head{text: begin}) == claimWhole {
			return r.read(row, &item{text: text, source: r.source})
		}
	}
	if !l.json && !l.lines {
		if failed != nil {
			return failed
		}
		r.problem("", "is not JSON")
		return nil
	}
	return r.values(newSplitter(text, splitter{ctx: ctx, source: r.source, problem: r.problem, limit: r.limit, lines: l.lines}))
}

// rows are the formats of a unit that may read this file: all of them, or the one that was named.
func (r *reader) rows(u unit) []formatRow {
	if r.format == "" || r.format == FormatAuto {
		return rowsOf(u)
	}
	return slices.DeleteFunc(rowsOf(u), func(row formatRow) bool { return row.name != r.format })
}

func rowsOf(u unit) []formatRow {
	return slices.DeleteFunc(formatTable(), func(row formatRow) bool { return row.unit != u })
}

// values reads a file of JSON values: by a format of whole files when one claims its beginning, else item by item.
func (r *reader) values(in *splitter) error {
	first := &lookahead{in: in, problem: r.problem}
	begin, err := first.peek(r.limit)
	if err != nil {
		return err
	}
	if len(begin) > 0 {
		for _, row := range r.rows(unitFile) {
			if r.format == row.name || row.format.claims(head{values: begin}) == claimWhole {
				return r.read(row, &item{next: r.bounded(first.next), source: r.source})
			}
		}
	}
	for {
		it, err := first.next()
		if errors.Is(err, io.EOF) {
			return r.flush()
		}
		if err == nil {
			err = r.value(it, 0)
		}
		if err != nil {
			return err
		}
	}
}

// bounded ends a file when more of it was read than may be held, without a release between.
func (r *reader) bounded(next func() (*item, error)) func() (*item, error) {
	return func() (*item, error) {
		it, err := next()
		if err != nil {
			return nil, err
		}
		if r.out.held += len(it.raw); r.out.held > r.limit {
			r.problem(it.where, "the session is larger than %d bytes; nothing from here on is read", r.limit)
			return nil, io.EOF
		}
		return it, nil
	}
}

// A lookahead shows the first values of a file before they are read. Problems with them are told in their place.
type lookahead struct {
	in      *splitter
	problem func(where, format string, args ...any)
	queue   []func() *item // nil is a problem, which the call tells
}

// peek returns as many values as formats of whole files may look at, and not much more than fits the limit.
func (l *lookahead) peek(limit int) (begin []*item, err error) {
	l.in.problem = func(where, format string, args ...any) {
		l.queue = append(l.queue, func() *item { l.problem(where, format, args...); return nil })
	}
	defer func() { l.in.problem = l.problem }()
	for size := 0; len(begin) < headValues && size < limit/headValues; {
		it, err := l.in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		begin, size = append(begin, it), size+len(it.raw)
		l.queue = append(l.queue, func() *item { return it })
	}
	return begin, nil
}

func (l *lookahead) next() (*item, error) {
	for len(l.queue) > 0 {
		it := l.queue[0]()
		l.queue = l.queue[1:]
		if it != nil {
			return it, nil
		}
	}
	return l.in.next()
}

// choose finds the format of an item.
func choose(rows []formatRow, it *item) (formatRow, claim) {
	for _, row := range rows {
		if c := row.format.claims(head{values: []*item{it}}); c != claimNone {
			return row, c
		}
	}
	return formatRow{}, claimNone
}

// value takes one value: an item, a list of items, or a part of the item that the whole file is.
func (r *reader) value(it *item, depth int) error {
	if depth > maxNesting {
		r.problem(it.where, "lists of conversations are nested more than %d deep", maxNesting)
		return nil
	}
	row, c := choose(r.rows(unitValue), it)
	switch c {
	case claimWhole:
		return r.read(row, it)
	case claimPart:
		return r.part(row, it)
	}
	if other, c := choose(rowsOf(unitValue), it); c != claimNone {
		r.problem(it.where, "is %s, not %s", other.name, r.format)
		return nil
	}
	if it.list != nil {
		return r.list(it.list, it.where, depth)
	}
	for _, key := range listKeys() {
		if list := elements(it.fields[key]); list != nil {
			return r.list(list, it.where, depth)
		}
	}
	if it.fields == nil && len(r.parts) > 0 {
		return r.part(r.partsRow, it) // its format says what is wrong with it
	}
	r.unclaimed(it)
	return nil
}

// unclaimed reports a value that no format reads.
func (r *reader) unclaimed(it *item) {
	if it.fields == nil {
		r.problem(it.where, "is no conversation: %v", errNoObject)
		return
	}
	r.problem(it.where, "is of no known format: it has none of the keys %s with a list of messages", strings.Join(listKeys(), ", "))
}

// list takes a list of items. It is one when the first element that tells anything is an item or a list.
func (r *reader) list(list []json.RawMessage, where string, depth int) error {
	for _, raw := range list {
		it, err := newItem(raw, where, r.source)
		if err != nil {
			continue
		}
		if _, c := choose(rowsOf(unitValue), it); c == claimNone && it.list == nil {
			continue
		}
		return r.elements(list, where, depth)
	}
	r.problem(where, "is no conversation: its list holds no messages")
	return nil
}

func (r *reader) elements(list []json.RawMessage, where string, depth int) error {
	for i, raw := range list {
		it, err := newItem(raw, fmt.Sprintf("%s, element %d", where, i+1), r.source)
		if err == nil {
			err = r.value(it, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// part keeps a value that is one item together with others.
func (r *reader) part(row formatRow, it *item) error {
	if r.partsBytes+len(it.raw) > r.limit {
		r.problem(it.where, "the conversation is larger than %d bytes", r.limit)
		return nil
	}
	if len(r.parts) == 0 {
		r.partsRow = row
	}
	r.parts = append(r.parts, bytes.Clone(it.raw))
	r.partsBytes += len(it.raw)
	return nil
}

// flush reads the values that stood by themselves as one item.
func (r *reader) flush() error {
	if len(r.parts) == 0 {
		return nil
	}
	parts := r.parts
	r.parts, r.partsBytes = nil, 0
	return r.read(r.partsRow, &item{list: parts, source: r.source})
}

func (r *reader) read(row formatRow, it *item) error {
	if r.reads != nil {
		r.reads(row.name)
	}
	r.out.begin(row, it)
	if err := row.format.read(it, r.out); err != nil {
		return err
	}
	return r.out.end()
}
