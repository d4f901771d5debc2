package jsonl

import (
	"bytes"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// A parser reads JSON from the start of in. Its methods take one value each and stop with errShape at what is not as they
// want it. White space is taken where JSON allows it.
type parser struct {
	in []byte
	at int
}

func (p *parser) space() {
	for p.at < len(p.in) {
		switch p.in[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// take says whether the next character is c, and takes it.
func (p *parser) take(c byte) bool {
	p.space()
	if p.at < len(p.in) && p.in[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *parser) atEnd() bool {
	p.space()
	return p.at == len(p.in)
}

// object takes an object. member is called with each key and takes its value.
func (p *parser) object(member func(key []byte) error) error {
	if !p.take('{') {
		return errShape
	}
	if p.take('}') {
		return nil
	}
	for {
		p.space()
		key, err := p.quoted()
		if err != nil {
			return err
		}
		if !p.take(':') {
			return errShape
		}
		if err := member(key); err != nil {
			return err
		}
		if p.take('}') {
			return nil
		}
		if !p.take(',') {
			return errShape
		}
	}
}

// array takes an array. element takes each of its elements.
func (p *parser) array(element func() error) error {
	if !p.take('[') {
		return errShape
	}
	if p.take(']') {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if p.take(']') {
			return nil
		}
		if !p.take(',') {
			return errShape
		}
	}
}

// quoted takes a string and returns its text, which may be part of the input.
func (p *parser) quoted() ([]byte, error) {
	if !p.take('"') {
		return nil, errShape
	}
	rest := p.in[p.at:]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return nil, errShape
	}
	if s := rest[:end]; plain(s) {
		p.at += end + 1
		return s, nil
	}
	return p.escaped()
}

// plain says that a string holds neither escapes nor control characters.
func plain(s []byte) bool {
	for _, c := range s {
		if c < ' ' || c == '\\' {
			return false
		}
	}
	return true
}

// escaped takes the rest of a string whose opening quote was taken.
func (p *parser) escaped() ([]byte, error) {
	rest := p.in[p.at:]
	text := make([]byte, 0, min(len(rest), 256))
	for i := 0; i < len(rest); {
		switch c := rest[i]; {
		case c == '"':
			p.at += i + 1
			return text, nil
		case c < ' ':
			return nil, errShape
		case c != '\\':
			j := i + 1
			for j < len(rest) && rest[j] >= ' ' && rest[j] != '"' && rest[j] != '\\' {
				j++
			}
			text, i = append(text, rest[i:j]...), j
		default:
			var n int
			if text, n = appendUnescaped(text, rest[i:]); n == 0 {
				return nil, errShape
			}
			i += n
		}
	}
	return nil, errShape
}

// appendUnescaped appends what the escape at the start of in stands for, and returns its length; 0 is none. Half of a
// surrogate pair has no UTF-8 form: it is no escape.
func appendUnescaped(text, in []byte) ([]byte, int) {
	if len(in) < 2 {
		return text, 0
	}
	switch c := in[1]; c {
	case '"', '\\', '/':
		return append(text, c), 2
	case 'n':
		return append(text, '\n'), 2
	case 'r':
		return append(text, '\r'), 2
	case 't':
		return append(text, '\t'), 2
	case 'b':
		return append(text, '\b'), 2
	case 'f':
		return append(text, '\f'), 2
	case 'u':
		r, ok := unicodeEscape(in)
		if !ok {
			return text, 0
		}
		if !utf16.IsSurrogate(r) {
			return utf8.AppendRune(text, r), 6
		}
		low, ok := unicodeEscape(in[6:])
		if pair := utf16.DecodeRune(r, low); ok && pair != utf8.RuneError {
			return utf8.AppendRune(text, pair), 12
		}
	}
	return text, 0
}

func unicodeEscape(in []byte) (rune, bool) {
	if len(in) < 6 || in[0] != '\\' || in[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(in[2:6]), 16, 16)
	return rune(n), err == nil
}

func (p *parser) text(into *string) error {
	s, err := p.quoted()
	*into = string(s)
	return err
}

func (p *parser) optional(into **string) error {
	var s string
	*into = &s
	return p.text(&s)
}

// number takes a number as it stands.
func (p *parser) number() []byte {
	p.space()
	start := p.at
	for p.at < len(p.in) {
		switch c := p.in[p.at]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			p.at++
		default:
			return p.in[start:p.at]
		}
	}
	return p.in[start:p.at]
}

func (p *parser) whole(into *int64) error {
	n, err := strconv.ParseInt(string(p.number()), 10, 64)
	if err != nil {
		return errShape
	}
	*into = n
	return nil
}

func (p *parser) small(into *int32) error {
	n, err := strconv.ParseInt(string(p.number()), 10, 32)
	if err != nil {
		return errShape
	}
	*into = int32(n)
	return nil
}

func (p *parser) unsigned(into *uint64) error {
	n, err := strconv.ParseUint(string(p.number()), 10, 64)
	if err != nil {
		return errShape
	}
	*into = n
	return nil
}

func (p *parser) float(into *float64) error {
	n, err := strconv.ParseFloat(string(p.number()), 64)
	if err != nil {
		return errShape
	}
	*into = n
	return nil
}

func (p *parser) yes(into *bool) error {
	p.space()
	switch rest := p.in[p.at:]; {
	case bytes.HasPrefix(rest, []byte("true")):
		p.at += len("true")
		*into = true
	case bytes.HasPrefix(rest, []byte("false")):
		p.at += len("false")
		*into = false
	default:
		return errShape
	}
	return nil
}

func (p *parser) time(into **timestamppb.Timestamp) error {
	s, err := p.quoted()
	if err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339Nano, string(s))
	if err != nil {
		return errShape
	}
	*into = timestamppb.New(t)
	return nil
}

func (p *parser) texts(into *[]string) error {
	return p.array(func() error {
		var s string
		err := p.text(&s)
		*into = append(*into, s)
		return err
	})
}

func (p *parser) entries(into *map[string]string) error {
	m := make(map[string]string)
	err := p.object(func(key []byte) error {
		name := string(key)
		var v string
		if err := p.text(&v); err != nil {
			return err
		}
		m[name] = v
		return nil
	})
	if len(m) > 0 {
		*into = m
	}
	return err
}

// value takes any value and returns it as it stands. It follows brackets and strings and checks no more.
func (p *parser) value() ([]byte, error) {
	p.space()
	start, depth := p.at, 0
	for p.at < len(p.in) {
		switch p.in[p.at] {
		case '"':
			if _, err := p.quoted(); err != nil {
				return nil, err
			}
			if depth == 0 {
				return p.in[start:p.at], nil
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth <= 0 {
				p.at++
				return p.in[start:p.at], nil
			}
		}
		p.at++
	}
	return nil, errShape
}
