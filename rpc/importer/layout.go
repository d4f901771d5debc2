package importer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// A layout is what the first bytes of a file tell of it.
type layout struct {
	// lines says that the file holds one value a line.
	lines bool
	// json is false for a file whose first character opens neither an object nor an array.
	json bool
	// empty is a file of white space only.
	empty bool
}

// inspect finds out how a file is laid out, in constant memory. It reads up to what follows the first value.
func inspect(s Source) (layout, error) {
	var scan layoutScanner
	if err := s.copyTo(&scan); err != nil && !errors.Is(err, errSeen) {
		return layout{}, fmt.Errorf("read: %w", err)
	}
	return layout{
		lines: hasSuffix(s.Name, lineSuffixes()) || scan.more && !scan.multiline,
		json:  scan.first == '{' || scan.first == '[',
		empty: scan.first == 0,
	}, nil
}

// digest is the SHA-256 of the unzipped text of a file, in hex. With a position it names what is made from the file.
func digest(s Source) (string, error) {
	sum := sha256.New()
	if err := s.copyTo(sum); err != nil {
		return "", fmt.Errorf("read: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// copyTo writes the text of the source.
func (s Source) copyTo(w io.Writer) error {
	r, closer, err := s.text(nil)
	if err != nil {
		return err
	}
	n, err := io.Copy(w, r)
	if err != nil {
		err = fmt.Errorf("after %d bytes: %w", n, err)
	}
	if closed := closer.Close(); err == nil {
		err = closed
	}
	return err
}

// errSeen ends a scan that has seen enough.
var errSeen = errors.New("seen enough")

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

// Write scans p. It fails with errSeen when the rest tells nothing more.
func (s *layoutScanner) Write(p []byte) (int, error) {
	for _, b := range p {
		if s.next(b); s.more || s.first != 0 && s.first != '{' && s.first != '[' {
			return 0, errSeen
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
