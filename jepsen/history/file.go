package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// ReadFile reads a history. Errors name file and line.
func ReadFile(name string) (ops []Op, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read a history: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return Read(f, name)
}

// Read reads a history of one JSON object a line, of any length. Errors name the line, with the given name of the file. A history that
// is not well formed is ErrForm.
func Read(in io.Reader, name string) ([]Op, error) {
	var ops []Op
	shape := newForm()
	lines := bufio.NewReaderSize(in, 1<<16)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return ops, nil
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("%s:%d: the line is cut short: whoever wrote the history did not end it", name, n)
		case err != nil:
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		o, err := parse(line)
		if err == nil {
			err = shape.add(o)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		ops = append(ops, o)
	}
}

// Write writes a history as Read reads it.
func Write(out io.Writer, ops []Op) error {
	encoder := json.NewEncoder(out)
	for _, o := range ops {
		if err := encoder.Encode(o); err != nil {
			return fmt.Errorf("write operation %d: %w", o.Index, err)
		}
	}
	return nil
}

func parse(line []byte) (Op, error) {
	var o Op
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		return Op{}, fmt.Errorf("%w: %w", ErrForm, err)
	}
	if rest, err := d.Token(); !errors.Is(err, io.EOF) {
		return Op{}, fmt.Errorf("%w: %v after the object", ErrForm, rest)
	}
	if o.Value == nil {
		o.Value = json.RawMessage("null")
	}
	return o, nil
}
