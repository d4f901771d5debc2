package importer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

const (
	// MaxConversationBytes bounds what is held in memory at a time: a line, an element of an array, a document that is an
	// object, or the values of a file that make one session.
	MaxConversationBytes = 64 << 20
	readBufferBytes      = 64 << 10
)

// A splitter yields the JSON values of one text, one after the other: the lines, or the documents, of which an array
// gives its elements. It knows nothing of formats. What it cannot read it reports; after a syntax error inside one
// document nothing behind it can be read, while lines are independent.
type splitter struct {
	ctx     context.Context
	source  Source
	problem func(where, format string, args ...any)
	limit   int // of one value, in bytes
	lines   bool

	text   *bufio.Reader
	number int // of the line, the document or the element

	budget  *budget
	decoder *json.Decoder
	inArray bool
	ended   bool
}

func newSplitter(text *bufio.Reader, s splitter) *splitter {
	s.text = text
	if !s.lines {
		s.budget = &budget{Reader: text, limit: s.limit}
		s.decoder = json.NewDecoder(s.budget)
	}
	return &s
}

// next returns the next value, io.EOF after the last one.
func (s *splitter) next() (*item, error) {
	for {
		if err := s.ctx.Err(); err != nil {
			return nil, err
		}
		raw, where, err := s.nextRaw()
		if err != nil {
			return nil, err
		}
		if raw == nil {
			continue
		}
		if !utf8.Valid(raw) {
			s.problem(where, "is not valid UTF-8")
			continue
		}
		it, err := newItem(raw, where, s.source)
		if err != nil {
			s.problem(where, "%v", err)
			continue
		}
		return it, nil
	}
}

// nextRaw returns the text of the next value; nil text is a value that was reported, or none.
func (s *splitter) nextRaw() (raw json.RawMessage, where string, err error) {
	if s.ended {
		return nil, "", io.EOF
	}
	if s.lines {
		return s.line()
	}
	raw, where, err = s.document()
	if err != nil && !errors.Is(err, io.EOF) {
		s.ended = true
		err = s.unreadable(err)
	}
	return raw, where, err
}

// line reads one line. One that is too long or no JSON is a problem of its own.
func (s *splitter) line() (json.RawMessage, string, error) {
	s.number++
	line, tooLong, err := readLine(s.text, s.limit)
	s.ended = err != nil
	where := fmt.Sprintf("line %d", s.number)
	if err != nil && !errors.Is(err, io.EOF) {
		s.problem(where, cutOff, err)
		return nil, "", io.EOF
	}
	switch trimmed := bytes.TrimSpace(line); {
	case tooLong:
		s.problem(where, "is longer than %d bytes", s.limit)
	case len(trimmed) == 0:
	case !json.Valid(trimmed):
		s.problem(where, "is not JSON")
	default:
		return trimmed, where, nil
	}
	return nil, "", nil
}

// cutOff is the report of a file that cannot be read to its end.
const cutOff = "%v; nothing from here on can be read"

// readLine returns the next line; of one longer than limit bytes it reads on to the end and keeps nothing.
func readLine(text *bufio.Reader, limit int) (line []byte, tooLong bool, err error) {
	for {
		part, err := text.ReadSlice('\n')
		if len(line)+len(part) > limit {
			line, tooLong = nil, true
		}
		if !tooLong {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, tooLong, err
		}
	}
}

// errTooLarge is the error of a budget that is used up.
var errTooLarge = errors.New("the conversation is too large")

// A budget lets a bounded number of bytes through, until it is renewed.
type budget struct {
	io.Reader
	limit, left int
}

func (b *budget) renew() { b.left = b.limit }

func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.Reader.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// document reads the next document, or the next element of the array that is open.
func (s *splitter) document() (json.RawMessage, string, error) {
	if s.inArray {
		if s.decoder.More() {
			s.number++
			return s.decode("element")
		}
		if _, err := s.decoder.Token(); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, "", readError{err}
		}
		s.inArray, s.number = false, 0
	}
	first, err := s.peek()
	if err != nil {
		if !errors.Is(err, io.EOF) {
			err = readError{err}
		}
		return nil, "", err
	}
	if first == '[' {
		if _, err := s.decoder.Token(); err != nil {
			return nil, "", readError{err}
		}
		s.inArray, s.number = true, 0
		return nil, "", nil
	}
	s.number++
	return s.decode("document")
}

func (s *splitter) decode(kind string) (json.RawMessage, string, error) {
	var raw json.RawMessage
	s.budget.renew()
	if err := s.decoder.Decode(&raw); err != nil {
		return nil, "", readError{err}
	}
	return raw, fmt.Sprintf("%s %d", kind, s.number), nil
}

// peek returns the first character of the next value, io.EOF when there is none.
func (s *splitter) peek() (byte, error) {
	s.budget.renew()
	s.decoder.More() // reads on to the next character that is not white space; a stray bracket makes it false, too
	buffered, err := io.ReadAll(s.decoder.Buffered())
	if err != nil {
		return 0, err
	}
	if trimmed := bytes.TrimLeft(buffered, " \t\r\n"); len(trimmed) > 0 {
		return trimmed[0], nil
	}
	return 0, io.EOF
}

// A readError marks an error of the text, or in reading it, after which nothing more of it can be read.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

// unreadable reports a fault of the text or of the disk, which ends the values.
func (s *splitter) unreadable(err error) error {
	var bad readError
	if !errors.As(err, &bad) {
		return err
	}
	s.problem(fmt.Sprintf("byte %d", s.decoder.InputOffset()), "%v; nothing after it can be read", bad.error)
	return io.EOF
}
