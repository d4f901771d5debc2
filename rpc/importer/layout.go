package importer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// A layout is what the first pass over a file learns of it.
type layout struct {
	// digest is the SHA-256 of the unzipped text, in hex. With a position it names everything that is made from the file.
	digest string
	// lines says that the file holds one value a line.
	lines bool
	// json is false for a file whose first character opens neither an object nor an array.
	json bool
	// empty is a file of white space only.
	empty bool
}

// inspect takes the digest of a file and finds out how it is laid out, in constant memory.
func inspect(s Source) (layout, error) {
	r, closer, err := s.text(nil)
	if err != nil {
		return layout{}, err
	}
	digest := sha256.New()
	var scan layoutScanner
	_, err = io.Copy(io.MultiWriter(digest, &scan), r)
	if closed := closer.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return layout{}, fmt.Errorf("read: %w", err)
	}
	return layout{
		digest: hex.EncodeToString(digest.Sum(nil)),
		lines:  hasSuffix(s.Name, lineSuffixes()) || scan.more && !scan.multiline,
		json:   scan.first == '{' || scan.first == '[',
		empty:  scan.first == 0,
	}, nil
}

// A layoutScanner follows brackets and strings of JSON text up to the end of the first value, to tell a document from
// lines of documents. It does not check the text.
type layoutScanner struct {
	first           byte // the first character that is not white space, or 0
	depth           int
	quoted, escaped bool
	ended           bool // the first value is over
	multiline       bool // the first value has a line break
	more            bool // something follows the first value
}

// Write scans p. It never fails.
func (s *layoutScanner) Write(p []byte) (int, error) {
	if !s.more {
		for _, b := range p {
			s.next(b)
		}
	}
	return len(p), nil
}

func (s *layoutScanner) next(b byte) {
	space := b == ' ' || b == '\t' || b == '\n' || b == '\r'
	switch {
	case s.ended:
		s.more = s.more || !space
	case s.escaped:
		s.escaped = false
	case s.quoted:
		s.escaped, s.quoted = b == '\\', b != '"'
	case space:
		s.multiline = s.multiline || b == '\n' && s.first != 0
	default:
		if s.first == 0 {
			s.first = b
		}
		s.structural(b)
	}
}

func (s *layoutScanner) structural(b byte) {
	switch b {
	case '"':
		s.quoted = true
	case '{', '[':
		s.depth++
	case '}', ']':
		s.depth--
		s.ended = s.depth <= 0
	}
}
