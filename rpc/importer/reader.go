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
	"unicode/utf8"
)

const (
	// MaxConversationBytes bounds one conversation, which is held in memory: a line, an element of an array, or a
	// document that is an object.
	MaxConversationBytes = 64 << 20
	readBufferBytes      = 64 << 10
	// maxNesting is how deep lists of conversations may stand inside each other.
	maxNesting = 4
)

// A conversation is one item of a file, not yet understood.
type conversation struct {
	digest string
	// index counts the conversations of the file from 0. With digest it is the conversation's identity.
	index int
	// fields are those of the item, without its messages; nil for a bare list of messages.
	fields   fields
	messages []json.RawMessage
	format   Format
}

func (c conversation) where() string { return fmt.Sprintf("conversation %d", c.index+1) }

// A reader yields the conversations of one source.
type reader struct {
	source   Source
	format   Format
	problem  func(where, format string, args ...any)
	progress func(int)
	// limit is how large a conversation may be, in bytes; 0 means MaxConversationBytes.
	limit int

	layout layout
	yield  func(conversation) error
	index  int
	// loose are messages that stand by themselves, as elements of an array or one a line; together they are one
	// conversation. looseBytes is their size.
	loose      []json.RawMessage
	looseBytes int
}

// each calls yield for every conversation, in order, and stops at its first error.
func (r *reader) each(ctx context.Context, yield func(conversation) error) error {
	l, err := inspect(r.source)
	if err != nil {
		return err
	}
	if r.format == FormatOpenAILines {
		l.lines = true
	}
	r.layout, r.yield, r.limit = l, yield, cmp.Or(r.limit, MaxConversationBytes)
	switch {
	case l.empty:
		r.problem("", "is empty")
		return nil
	case !l.json && !l.lines:
		r.problem("", "is not JSON")
		return nil
	}
	text, closer, err := r.source.text(r.progress)
	if err != nil {
		return err
	}
	if l.lines {
		err = r.lines(ctx, text)
	} else {
		err = r.documents(ctx, text)
	}
	if err == nil {
		err = r.flush()
	}
	if closed := closer.Close(); err == nil {
		err = closed
	}
	return err
}

// lines reads one value a line. A line that is too long or no JSON is a problem of its own; the next one is read.
func (r *reader) lines(ctx context.Context, text *bufio.Reader) error {
	for number := 1; ; number++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, tooLong, err := readLine(text, r.limit)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("line %d: %w", number, err)
		}
		where := fmt.Sprintf("line %d", number)
		switch trimmed := bytes.TrimSpace(line); {
		case tooLong:
			r.problem(where, "is longer than %d bytes", r.limit)
		case len(trimmed) == 0:
		case !json.Valid(trimmed):
			r.problem(where, "is not JSON")
		default:
			if err := r.value(trimmed, where, 0); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

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

// documents reads JSON values one after the other; of an array it holds one element at a time.
func (r *reader) documents(ctx context.Context, text *bufio.Reader) error {
	limit := &budget{Reader: text, limit: r.limit}
	in := json.NewDecoder(limit)
	for ordinal := 1; ; ordinal++ {
		first, err := peek(limit, in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return r.unreadable("", in, err)
		}
		if first == '[' {
			err = r.array(ctx, limit, in)
		} else {
			err = r.document(limit, in, fmt.Sprintf("document %d", ordinal))
		}
		if err != nil {
			return r.unreadable("", in, err)
		}
	}
}

// peek returns the first character of the next value, io.EOF when there is none.
func peek(limit *budget, in *json.Decoder) (byte, error) {
	limit.renew()
	in.More() // reads on to the next character that is not white space; a stray bracket makes it false, too
	buffered, err := io.ReadAll(in.Buffered())
	if err != nil {
		return 0, err
	}
	if trimmed := bytes.TrimLeft(buffered, " \t\r\n"); len(trimmed) > 0 {
		return trimmed[0], nil
	}
	return 0, io.EOF
}

// A readError marks an error that stems from the text, after which nothing more of it can be read.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

func (r *reader) unreadable(where string, in *json.Decoder, err error) error {
	var bad readError
	if !errors.As(err, &bad) {
		return err
	}
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, errTooLarge) {
		return bad.error
	}
	if where == "" {
		where = fmt.Sprintf("byte %d", in.InputOffset())
	}
	r.problem(where, "%v; nothing after it can be read", bad.error)
	return nil
}

func (r *reader) document(limit *budget, in *json.Decoder, where string) error {
	var raw json.RawMessage
	limit.renew()
	if err := in.Decode(&raw); err != nil {
		return readError{err}
	}
	return r.value(raw, where, 0)
}

func (r *reader) array(ctx context.Context, limit *budget, in *json.Decoder) error {
	if _, err := in.Token(); err != nil {
		return readError{err}
	}
	for n := 1; in.More(); n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.document(limit, in, fmt.Sprintf("element %d", n)); err != nil {
			return err
		}
	}
	if _, err := in.Token(); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return readError{err}
	}
	return nil
}

// value takes one JSON value: a conversation, a list of conversations, or a message that stands by itself.
func (r *reader) value(raw json.RawMessage, where string, depth int) error {
	switch {
	case !utf8.Valid(raw):
		r.problem(where, "is not valid UTF-8")
		return nil
	case depth > maxNesting:
		r.problem(where, "lists of conversations are nested more than %d deep", maxNesting)
		return nil
	}
	if raw[0] == '[' {
		return r.list(raw, nil, "", where, depth)
	}
	f, err := parseFields(raw)
	if err != nil {
		if len(r.loose) > 0 {
			return r.message(raw, where)
		}
		r.problem(where, "is no conversation: %v", err)
		return nil
	}
	for _, key := range conversationKeys() {
		if list := f[key]; len(list) > 0 && list[0] == '[' {
			delete(f, key)
			return r.list(list, f, key, where, depth)
		}
	}
	if f.isChat() {
		return r.message(raw, where)
	}
	r.problem(where, "is no conversation: it has none of the keys messages, conversations, traj, history with a list")
	return nil
}

// conversationKeys are the keys under which an item keeps its messages, the most telling first.
func conversationKeys() []string {
	return []string{"messages", "conversations", "conversation", "traj", "history"}
}

// list takes a list of messages, or a list of conversations. It is the one or the other by its first element that tells.
func (r *reader) list(raw json.RawMessage, f fields, key, where string, depth int) error {
	var elements []json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil {
		r.problem(where, "%v", err)
		return nil
	}
	for _, e := range elements {
		switch kindOf(e) {
		case kindMessage:
			return r.emit(conversation{fields: f, messages: elements, format: recogniseFormat(f, key, elements)}, where)
		case kindConversation:
			for i, e := range elements {
				if err := r.value(e, fmt.Sprintf("%s, element %d", where, i+1), depth+1); err != nil {
					return err
				}
			}
			return nil
		}
	}
	r.problem(where, "is no conversation: its list holds no messages")
	return nil
}

func (r *reader) message(raw json.RawMessage, where string) error {
	if r.looseBytes+len(raw) > r.limit {
		r.problem(where, "the conversation is larger than %d bytes", r.limit)
		return nil
	}
	r.loose = append(r.loose, bytes.Clone(raw))
	r.looseBytes += len(raw)
	return nil
}

// flush yields the messages that stood by themselves as one conversation.
func (r *reader) flush() error {
	if len(r.loose) == 0 {
		return nil
	}
	messages := r.loose
	r.loose, r.looseBytes = nil, 0
	return r.emit(conversation{messages: messages, format: recogniseFormat(nil, "", messages)}, "")
}

func (r *reader) emit(c conversation, where string) error {
	want := r.format
	if want == FormatOpenAILines {
		want = FormatOpenAI
	}
	if want != "" && want != FormatAuto && want != c.format {
		r.problem(where, "is %s, not %s", c.format, want)
		return nil
	}
	c.digest, c.index = r.layout.digest, r.index
	r.index++
	return r.yield(c)
}
