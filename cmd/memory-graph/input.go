package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// maxInputBytes bounds what is read from a file or standard input: more than a request may have.
const maxInputBytes = 8 << 20

// standardInput is the file name, and the text, that stands for standard input.
const standardInput = "-"

// readInput reads a file, or standard input.
func (p *program) readInput(name string) (raw []byte, err error) {
	in := p.stdin
	if name != standardInput {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		in = f
	}
	raw, err = io.ReadAll(io.LimitReader(in, maxInputBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(raw) > maxInputBytes {
		return nil, fmt.Errorf("read %s: more than %d bytes", name, maxInputBytes)
	}
	return raw, nil
}

// textOrInput is the value of a text flag; "-" reads it from standard input.
func (p *program) textOrInput(value string) (string, error) {
	if value == standardInput {
		raw, err := p.readInput(standardInput)
		if err != nil {
			return "", err
		}
		value = string(raw)
	}
	if !utf8.ValidString(value) {
		return "", usagef("the text is not valid UTF-8")
	}
	return value, nil
}

// readMessages reads one JSON object, or an array of them, as messages of the contract. list tells which it was.
func readMessages[M proto.Message](p *program, file string, fresh func() M) (messages []M, list bool, err error) {
	raw, err := p.readInput(file)
	if err != nil {
		return nil, false, err
	}
	raw = bytes.TrimSpace(raw)
	parts := []json.RawMessage{raw}
	if list = bytes.HasPrefix(raw, []byte("[")); list {
		if err := json.Unmarshal(raw, &parts); err != nil {
			return nil, true, usagef("%s: %w", file, err)
		}
	}
	for i, part := range parts {
		m := fresh()
		if err := protojson.Unmarshal(part, m); err != nil {
			if list {
				return nil, true, usagef("%s: element %d: %w", file, i+1, err)
			}
			return nil, false, usagef("%s: %w", file, err)
		}
		messages = append(messages, m)
	}
	return messages, list, nil
}

// readOne is readMessages for exactly one.
func readOne[M proto.Message](p *program, file string, fresh func() M) (M, error) {
	messages, _, err := readMessages(p, file, fresh)
	if err == nil && len(messages) != 1 {
		err = usagef("%s: want one JSON object, got %d", file, len(messages))
	}
	if err != nil {
		var none M
		return none, err
	}
	return messages[0], nil
}

// addFileFlag adds --file.
func addFileFlag(cmd *cobra.Command, file *string, what string) {
	cmd.Flags().StringVarP(file, "file", "f", standardInput, "JSON of "+what+"; - is standard input")
}

// require marks flags that a command cannot do without.
func require(cmd *cobra.Command, names ...string) {
	for _, n := range names {
		if err := cmd.MarkFlagRequired(n); err != nil {
			panic(fmt.Sprintf("%s: %v", cmd.Use, err))
		}
	}
}
