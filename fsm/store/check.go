package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store/ledger"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// Fault says what kind of thing is wrong.
type Fault string

// The faults that a look at the rows alone can find.
const (
	// FaultKey: a key that no row of this store can have.
	FaultKey Fault = "key"
	// FaultValue: a value that does not decode, or not to what its key says.
	FaultValue Fault = "value"
	// FaultForm: a value that means what it should and is not written as it should be.
	FaultForm Fault = "form"
	// FaultMissing: a row that follows from another is not there. FaultStray: one is there and follows from none.
	FaultMissing Fault = "missing"
	FaultStray   Fault = "stray"
	// FaultCount: a counter is not what counting gives.
	FaultCount Fault = "count"
	// FaultPosition: a position that was not handed out yet.
	FaultPosition Fault = "position"
	// FaultFeed: the feed has a gap, or is not as long as the system says.
	FaultFeed Fault = "feed"
	// FaultDigest: the digest that is kept is not that of the rows.
	FaultDigest Fault = "digest"
	// FaultRead: rows cannot be read.
	FaultRead Fault = "read"
)

// Finding is one thing that is wrong.
type Finding struct {
	Fault Fault `json:"fault"`
	// Space is the keyspace, or what kind of file.
	Space string `json:"space"`
	// Key is the row in words, or the file.
	Key string `json:"key"`
	// Raw is the key in hexadecimal, empty for a file.
	Raw string `json:"raw,omitempty"`
	// Problem is what is wrong, in a sentence without its subject.
	Problem string `json:"problem"`
}

// NewFinding is a finding about the row of a key.
func NewFinding(fault Fault, key []byte, format string, args ...any) Finding {
	return Finding{Fault: fault, Space: Space(key), Key: Describe(key), Raw: hex.EncodeToString(key), Problem: fmt.Sprintf(format, args...)}
}

// passes is how often the rows are read at the most. One is enough for a store without faults.
const passes = 6

// progressEvery is how many rows are read between two calls of CheckOptions.Progress.
const progressEvery = 4096

// CheckOptions of a check. The zero value checks what rows alone can tell, and tells nobody.
type CheckOptions struct {
	// Report hears of each finding, once.
	Report func(Finding)
	// Visit is shown each record once a pass; nil for nobody. It judges what they mean, and reports by itself.
	Visit func(Row)
	// Next is asked at the end of each pass whether Visit wants another one; nil never does.
	Next func() bool
	// Progress hears of the rows that were read so far, all passes together; its error ends the check.
	Progress func(rows uint64) error
	// Room is how many keys are kept in memory at the most, about; 0 for ledger.DefaultRoom.
	Room int
}

// Checked is what a check has read.
type Checked struct {
	Rows     uint64 `json:"rows"`
	Nodes    uint64 `json:"nodes"`
	Edges    uint64 `json:"edges"`
	Sessions uint64 `json:"sessions"`
	Events   uint64 `json:"events"`
	Outcomes uint64 `json:"outcomes"`
	// Digest is that of the rows.
	Digest [4]uint64 `json:"-"`
	// Whole is false when rows could not be read, so that the rest could not be judged.
	Whole bool `json:"whole"`
	// Unnamed is how many groups of rows differ from what they should be and were not looked at: there was too much.
	Unnamed int `json:"unnamed_groups"`
}

// Check reads every row, in a memory that does not grow with them, and reports what does not agree: keys and values that are
// not what this program writes, index entries without record and records without index entry, look-ups, counters, the
// feed, the digest. What is doomed counts like everything else until it is swept. The error is that of Progress.
func (sn *Snapshot) Check(o CheckOptions) (Checked, error) {
	if o.Room == 0 {
		o.Room = ledger.DefaultRoom
	}
	if o.Report == nil {
		o.Report = func(Finding) {}
	}
	c := &check{o: o, sn: sn, books: ledger.New(o.Room)}
	for range passes {
		if err := c.pass(); err != nil {
			return c.done, err
		}
		c.books.Differences(c.differs)
		// Both are asked: each chooses what the next pass is about.
		more := c.books.Next()
		theirs := o.Next != nil && o.Next()
		if !c.done.Whole || !more && !theirs {
			break
		}
	}
	if c.done.Whole {
		c.done.Unnamed = c.books.Unseen()
	}
	return c.done, nil
}

// check is a check under way.
type check struct {
	o     CheckOptions
	sn    *Snapshot
	books *ledger.Ledger
	// done is of the first pass; later ones read the same.
	done  Checked
	later bool
	read  uint64
	// last is the newest event so far in this pass.
	last EventKey
	// doomed are the deletions of a tenant so far in this pass.
	doomed map[doomedMark]bool
}

type doomedMark struct {
	tenant   graph.Tenant
	position graph.Position
	session  bool
}

// errStopped wraps the error of Progress, which is no fault of the rows.
var errStopped = errors.New("check was stopped")

func (c *check) pass() error {
	c.last, c.doomed = EventKey{}, map[doomedMark]bool{}
	if !c.later {
		c.done = Checked{Whole: true}
	}
	for space := 0; space < 256; space++ {
		r := keyRange{lower: []byte{byte(space)}, upper: []byte{byte(space) + 1}}
		if space == 255 {
			r.upper = nil
		}
		err := c.space(r)
		if errors.Is(err, errStopped) {
			return errors.Unwrap(err)
		}
		if err != nil {
			c.done.Whole = false
			c.report(Finding{Fault: FaultRead, Space: spaceName(byte(space)), Problem: err.Error()})
		}
	}
	if !c.later && c.done.Whole {
		c.system()
	}
	c.later = true
	return nil
}

// space reads a range of keys.
func (c *check) space(r keyRange) error {
	rows, err := c.sn.reader().open(r, false)
	if err != nil {
		return err
	}
	defer rows.close()
	for ok := rows.first(); ok; ok = rows.next() {
		key := rows.key()
		value, err := rows.value()
		if err != nil {
			return at(key, err)
		}
		if c.read++; c.o.Progress != nil && c.read%progressEvery == 0 {
			if err := c.o.Progress(c.read); err != nil {
				return stopped{err}
			}
		}
		if !c.later {
			c.done.Rows++
			c.sum(key, value)
		}
		c.row(key, value)
	}
	return rows.err()
}

type stopped struct{ error }

func (stopped) Is(target error) bool { return target == errStopped }
func (s stopped) Unwrap() error      { return s.error }

// sum adds a row to the digest.
func (c *check) sum(key, value []byte) {
	if len(key) < tenantPrefixBytes || !covered(key) {
		return
	}
	// What does not decode is told where it is read.
	if h, err := rowHash(key, value); err == nil {
		c.done.Digest = add(c.done.Digest, h)
	}
}

// report tells of a finding in the first pass; what later ones find on the way was told.
func (c *check) report(f Finding) {
	if !c.later {
		c.o.Report(f)
	}
}

func (c *check) fault(fault Fault, key []byte, format string, args ...any) {
	if !c.later {
		c.o.Report(NewFinding(fault, key, format, args...))
	}
}

func (c *check) show(r Row) {
	if c.o.Visit != nil {
		c.o.Visit(r)
	}
}

// Rows that follow from others are entered into the books by key and value, with the length of the value behind it.

func (c *check) stored(key, value []byte) { c.books.Stored(entry(key, value), 1) }
func (c *check) due(key, value []byte)    { c.books.Due(entry(key, value), 1) }

// count enters a counter.
func (c *check) count(key []byte, n uint64) { c.books.Stored(entry(key, nil), int64(n)) }

// counts says that something is to be counted by a counter.
func (c *check) counts(key []byte) { c.books.Due(entry(key, nil), 1) }

func entry(key, value []byte) []byte {
	return append(append(append(make([]byte, 0, len(key)+len(value)+1), key...), value...), byte(len(value)))
}

// differs tells of a row that follows from others and does not agree with them.
func (c *check) differs(e []byte, sides ledger.Entry) {
	n := int(e[len(e)-1])
	key, value := e[:len(e)-1-n], e[len(e)-1-n:len(e)-1]
	switch {
	case isCounter(key):
		c.o.Report(NewFinding(FaultCount, key, "is %d, counting gives %d", sides.Stored, sides.Due))
	case sides.Stored > sides.Due:
		c.o.Report(NewFinding(FaultStray, key, "is there%s, but no record says so", target(key, value)))
	default:
		c.o.Report(NewFinding(FaultMissing, key, "is not there%s, but a record says so", target(key, value)))
	}
}

func isCounter(key []byte) bool {
	return key[0] == spaceTenant && len(key) > tenantPrefixBytes && key[tenantPrefixBytes-1] == kindCounter
}

// target says where a look-up by id leads, and of how many events a row of the feed of a tenant is.
func target(key, value []byte) string {
	if len(value) == 0 {
		return ""
	}
	n, err := decodeNumber(value)
	switch {
	case err != nil:
		return fmt.Sprintf(" with the value %x", value)
	case key[0] == spaceTenantFeed:
		return fmt.Sprintf(" with %d events", n)
	default:
		return fmt.Sprintf(" leading to position %d", n)
	}
}

// system compares what the system says with what was read.
func (c *check) system() {
	sys, read := c.sn.System(), c.done
	if read.Digest != sys.Digest {
		c.fault(FaultDigest, systemKey, "keeps the digest %x, that of the rows is %x", sys.Digest, read.Digest)
	}
	if read.Events != sys.EventRows {
		c.fault(FaultFeed, systemKey, "says that %d events are kept, there are %d", sys.EventRows, read.Events)
	}
	if sys.Events < sys.EventRows {
		c.fault(FaultFeed, systemKey, "says that %d events were ever told and %d of them are kept", sys.Events, sys.EventRows)
	}
	switch {
	case read.Events > 0 && c.last != sys.LastEvent:
		c.fault(FaultFeed, systemKey, "says that the last event is %v, it is %v", sys.LastEvent, c.last)
	case read.Events == 0 && sys.Trimmed != sys.LastEvent:
		c.fault(FaultFeed, systemKey, "says that the last event is %v and %v the last that was trimmed, but none is there", sys.LastEvent, sys.Trimmed)
	}
	if row, ok, err := c.sn.reader().get(systemKey); err == nil && ok && !bytes.Equal(row, sys.encode()) {
		c.fault(FaultForm, systemKey, "is not written as this program writes it")
	}
}
