package importer

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Format names a shape of file.
type Format string

// FormatAuto recognises each file, and each item in it, by its content.
const FormatAuto Format = "auto"

// A format reads one shape of file. Its value has no state: one serves all files. It stands in a row of formatTable,
// which says how the format is called and what an item of it is.
type format interface {
	// claims says whether what begins like this is an item of the format. It looks at no more than it needs, and keeps
	// nothing.
	claims(head) claim
	// read tells the scribe what the item says. What is wrong in the item goes to the scribe's problem, and reading goes
	// on; an error means that the file itself cannot be read any further.
	read(*item, *scribe) error
}

// A unit is what an item of a format is.
type unit int

const (
	// unitValue is one JSON value: a document, an element of an array, or a line. It is held in memory.
	unitValue unit = iota
	// unitFile is the whole file as a sequence of JSON values, read one after the other: a log whose lines are the events
	// of one session, or a file whose lines need each other.
	unitFile
	// unitText is the whole file as text, for what is no JSON.
	unitText
	// unitStream is unitText for a format that reads JSON by itself, since it knows better how.
	unitStream
)

// A claim is what a format says about an item.
type claim int

const (
	claimNone claim = iota
	// claimWhole is an item of the format.
	claimWhole
	// claimPart is a message that stands by itself. All those of a file are together one item, read at the end of it.
	claimPart
)

func claimIf(yes bool) claim {
	if yes {
		return claimWhole
	}
	return claimNone
}

// A head is how an item begins.
type head struct {
	// values is the item for unitValue, and for unitFile the first values of the file, at least one and at most headValues.
	values []*item
	// text is the first headBytes of the file, for unitText and unitStream.
	text []byte
}

// first is the value that the file begins with, or the item.
func (h head) first() *item { return h.values[0] }

const (
	headValues = 8
	headBytes  = 4 << 10
)

// An item is what a format reads at a time.
type item struct {
	// where is the position in the file, for people ("line 3"); empty for a whole file.
	where string
	// raw is the value as it stands in the file. It is valid JSON and valid UTF-8.
	raw json.RawMessage
	// fields are its members when it is an object, else nil.
	fields fields
	// list are its elements when it is an array, and the messages that stood by themselves; else nil.
	list []json.RawMessage

	// next returns the next value of a unitFile; io.EOF after the last one. Values that cannot be read are reported and
	// left out.
	next func() (*item, error)
	// text is the whole file of a unitText or unitStream, without a byte order mark.
	text io.Reader
	// source is the file.
	source Source
}

// newItem takes a JSON value apart as far as formats need it to recognise it.
func newItem(raw json.RawMessage, where string, source Source) (*item, error) {
	it := &item{where: where, raw: raw, source: source}
	switch raw[0] {
	case '{':
		return it, json.Unmarshal(raw, &it.fields)
	case '[':
		return it, json.Unmarshal(raw, &it.list)
	}
	return it, nil
}

// A formatRow is one line of formatTable.
type formatRow struct {
	name   Format
	format format
	unit   unit
	// mapping is the version of the mapping from this format to records. It is part of every id that the format derives:
	// a later mapping makes other records under other ids, instead of clashing with what an earlier one stored.
	mapping string
}

// Formats lists the names of all formats, FormatAuto first.
func Formats() []Format {
	names := []Format{FormatAuto}
	for _, row := range formatTable() {
		names = append(names, row.name)
	}
	return append(names, FormatOpenAILines)
}

// ParseFormat returns the format of that name; empty is FormatAuto.
func ParseFormat(name string) (Format, error) {
	if name == "" {
		return FormatAuto, nil
	}
	var known []string
	for _, f := range Formats() {
		if string(f) == name {
			return f, nil
		}
		known = append(known, string(f))
	}
	return "", fmt.Errorf("format %q is unknown; use one of %s", name, strings.Join(known, ", "))
}
