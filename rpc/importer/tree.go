package importer

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Bounds of a tree. What lies beyond them is reported and left out.
const (
	maxTreeDepth    = 1000
	maxTreeBranches = 100_000
)

// A branch is an object of a file in which objects of the same kind hang below each other.
type branch struct {
	// where is its path from the root, by place among its siblings: "0.2.1".
	where string
	// fields are its members but for those below it.
	fields fields
	below  []*branch
}

// readTree reads the object raw and the objects below it, which hang in lists under key. It goes through the text once
// however deep the tree is. What hangs there and is no object is reported.
func readTree(raw json.RawMessage, key string, problem func(where, format string, args ...any)) (*branch, error) {
	t := &treeReader{in: json.NewDecoder(bytes.NewReader(raw)), key: key, left: maxTreeBranches, problem: problem}
	if first, err := t.in.Token(); err != nil || first != json.Delim('{') {
		return nil, errNoObject
	}
	return t.branch("0", 1)
}

type treeReader struct {
	in      *json.Decoder
	key     string
	left    int // branches that may still be read
	problem func(where, format string, args ...any)
}

// branch reads what follows an opening brace up to the closing one.
func (t *treeReader) branch(where string, depth int) (*branch, error) {
	t.left--
	b := &branch{where: where, fields: make(fields)}
	for t.in.More() {
		key, err := t.in.Token()
		if err != nil {
			return nil, err
		}
		if key == t.key {
			err = t.below(b, depth)
		} else {
			var raw json.RawMessage
			err = t.in.Decode(&raw)
			b.fields[key.(string)] = raw
		}
		if err != nil {
			return nil, err
		}
	}
	_, err := t.in.Token()
	return b, err
}

// below reads the list of what hangs below b.
func (t *treeReader) below(b *branch, depth int) error {
	opening, err := t.in.Token()
	if err != nil || opening == nil {
		return err
	}
	if opening != json.Delim('[') {
		t.problem(b.where, "%s is no list", t.key)
		return t.skip(opening)
	}
	for i := 0; t.in.More(); i++ {
		where := fmt.Sprintf("%s.%d", b.where, i)
		first, err := t.in.Token()
		if err != nil {
			return err
		}
		if reason := t.refuses(first, depth); reason != "" {
			t.problem(where, "%s; what hangs below is left out", reason)
			if err := t.skip(first); err != nil {
				return err
			}
			continue
		}
		one, err := t.branch(where, depth+1)
		if err != nil {
			return err
		}
		b.below = append(b.below, one)
	}
	_, err = t.in.Token()
	return err
}

func (t *treeReader) refuses(first json.Token, depth int) string {
	switch {
	case first != json.Delim('{'):
		return errNoObject.Error()
	case depth >= maxTreeDepth:
		return fmt.Sprintf("the tree is more than %d deep", maxTreeDepth)
	case t.left <= 0:
		return fmt.Sprintf("the tree has more than %d nodes", maxTreeBranches)
	}
	return ""
}

// skip reads on to the end of the value that first begins.
func (t *treeReader) skip(first json.Token) error {
	for depth, token := 0, first; ; {
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
		var err error
		if token, err = t.in.Token(); err != nil {
			return err
		}
	}
}

// size counts a branch and what hangs below it.
func (b *branch) size() int {
	n := 1
	for _, one := range b.below {
		n += one.size()
	}
	return n
}
