package importer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// maxRecordBytes bounds a record of a CSV file. What is longer is reported, and the next record is read.
const maxRecordBytes = 8 << 20

// A csvReader reads records of RFC 4180. It keeps every byte of a field, line breaks of either kind too, which the reader
// of the standard library changes, and it holds no more than one record of bounded size. A quote inside a field that does
// not begin with one is text.
type csvReader struct {
	in    *bufio.Reader
	lines int // that were begun

	record []string
	field  []byte
	size   int
	fault  string
}

// next returns the next record that is not empty and the line that it begins in. An error that is a csvFault spoils only
// this record; io.EOF comes after the last one.
func (c *csvReader) next() (record []string, line int, err error) {
	for {
		c.record, c.field, c.size, c.fault = nil, nil, 0, ""
		line = c.lines + 1
		err := c.read()
		switch {
		case c.fault != "":
			return nil, line, csvFault(c.fault)
		case err != nil && !errors.Is(err, io.EOF):
			return nil, line, err
		case len(c.record) == 1 && c.record[0] == "":
			if err == nil {
				continue // an empty line
			}
			fallthrough
		case len(c.record) == 0:
			return nil, line, io.EOF
		}
		return c.record, line, nil
	}
}

// A csvFault is what is wrong with one record.
type csvFault string

func (f csvFault) Error() string { return string(f) }

// Where in a field the reader is.
type csvState int

const (
	csvBegin  csvState = iota // before its first character
	csvPlain                  // in a field without quotes
	csvQuoted                 // between quotes
	csvClosed                 // after a quote that closes it, or the first of two
)

// read reads up to the end of the record.
func (c *csvReader) read() error {
	state := csvBegin
	for {
		b, err := c.in.ReadByte()
		if err != nil {
			if state == csvQuoted && errors.Is(err, io.EOF) {
				c.fault = "a quoted field does not end"
			}
			if state != csvBegin || len(c.record) > 0 {
				c.endField()
			}
			return err
		}
		switch {
		case b == '\n' && state != csvQuoted:
			c.lines++
			if n := len(c.field); state == csvPlain && n > 0 && c.field[n-1] == '\r' {
				c.field = c.field[:n-1]
			}
			c.endField()
			return nil
		case b == ',' && state != csvQuoted:
			c.endField()
			state = csvBegin
		default:
			state = c.character(state, b)
		}
	}
}

// character takes a character of a field.
func (c *csvReader) character(state csvState, b byte) csvState {
	if b == '\n' {
		c.lines++
	}
	switch {
	case state == csvQuoted && b == '"':
		return csvClosed
	case state == csvQuoted:
	case state == csvBegin && b == '"', state == csvClosed && b == '"':
		if state == csvClosed {
			c.keep(b)
		}
		return csvQuoted
	case state == csvClosed && b == '\r':
		if next, err := c.in.Peek(1); err == nil && next[0] == '\n' {
			return csvClosed
		}
		fallthrough
	case state == csvClosed:
		c.fault = "text follows a quoted field"
		return csvPlain
	default:
		state = csvPlain
	}
	c.keep(b)
	return state
}

func (c *csvReader) keep(b byte) {
	if c.size++; c.size > maxRecordBytes {
		c.field, c.record = nil, nil
		c.fault = fmt.Sprintf("the record is longer than %d bytes", maxRecordBytes)
		return
	}
	c.field = append(c.field, b)
}

// fieldBytes is what a field takes in memory besides its text.
const fieldBytes = 16

// endField puts the field down.
func (c *csvReader) endField() {
	if c.size += fieldBytes; c.size <= maxRecordBytes {
		c.record = append(c.record, string(c.field))
	} else if c.fault == "" {
		c.fault = fmt.Sprintf("the record is longer than %d bytes", maxRecordBytes)
	}
	c.field = nil
}
