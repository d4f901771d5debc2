package load

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Requests are written and answers are looked at as bytes. Field numbers are those of the contract.

func appendBytesField(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func appendVarintField(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendIDField(b []byte, field protowire.Number, u id) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = protowire.AppendVarint(b, idTextBytes)
	return u.append(b)
}

// appendTextField appends the content of a seed.
func appendTextField(b []byte, field protowire.Number, seed uint64, size int) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	return appendText(b, seed, size)
}

// appendAddPrompt appends an AddPromptRequest; appendPrompt a PromptNode without an id.
func appendAddPrompt(b []byte, session id, seed uint64, size int) []byte {
	return appendTextField(appendIDField(b, 1, session), 2, seed, size)
}

func appendPrompt(b []byte, session id, seed uint64, size int) []byte {
	return appendTextField(appendIDField(b, 2, session), 3, seed, size)
}

// promptBytes is the length of what appendPrompt appends.
func promptBytes(size int) int {
	return 1 + 1 + idTextBytes + 1 + protowire.SizeBytes(size)
}

// appendNode appends a Node with a prompt, as entry of a list in the given field.
func appendNode(b []byte, field protowire.Number, session id, seed uint64, size int) []byte {
	prompt := promptBytes(size)
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(1+protowire.SizeBytes(prompt)))
	b = protowire.AppendTag(b, 10, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(prompt))
	return appendPrompt(b, session, seed, size)
}

var errMalformed = errors.New("the answer is not of the contract")

// eachField calls f with the bytes of every length-delimited field of a message.
func eachField(m []byte, f func(field protowire.Number, v []byte) error) error {
	for len(m) > 0 {
		number, kind, n := protowire.ConsumeTag(m)
		if n < 0 {
			return errMalformed
		}
		m = m[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, m); n < 0 {
				return errMalformed
			}
			m = m[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(m)
		if n < 0 {
			return errMalformed
		}
		if err := f(number, v); err != nil {
			return err
		}
		m = m[n:]
	}
	return nil
}

// bytesField is the first length-delimited field with the number.
func bytesField(m []byte, field protowire.Number) (found []byte, err error) {
	err = eachField(m, func(number protowire.Number, v []byte) error {
		if number == field && found == nil {
			found = v
		}
		return nil
	})
	return found, err
}

// idField is the id in field 1 of a record.
func idField(m []byte) (id, error) {
	// Of all records it is the first field.
	v := m
	if len(m) >= 2+idTextBytes && m[0] == 1<<3|byte(protowire.BytesType) && m[1] == idTextBytes {
		v = m[2 : 2+idTextBytes]
	} else {
		var err error
		if v, err = bytesField(m, 1); err != nil {
			return id{}, err
		}
	}
	u, ok := parseID(v)
	if !ok {
		return id{}, fmt.Errorf("id %q is no UUID: %w", v, errMalformed)
	}
	return u, nil
}

// promptOf is the content of a node's prompt.
func promptOf(node []byte) ([]byte, error) {
	p, err := bytesField(node, 10)
	if err != nil {
		return nil, err
	}
	return bytesField(p, 3)
}
