package backup

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// A File is what a file says of itself.
type File struct {
	Name    string
	Header  *pb.BackupHeader
	Trailer *pb.BackupTrailer
}

// full reports a full backup.
func (f File) full() bool { return f.Header.GetKind() == pb.BackupKind_BACKUP_KIND_FULL }

// fits reports a full backup that a restore until then may begin with.
func (f File) fits(until Until) bool {
	return f.full() && (until.Revision == 0 || f.Header.Revision <= uint64(until.Revision)) && (until.Instant == 0 || nanos(f.Header.Instant) <= until.Instant)
}

// ErrNoFull is wrapped by the error of [Choose] when there is no full backup to begin with.
var ErrNoFull = errors.New("no full backup fits")

// A Choice is what a restore reads.
type Choice struct {
	Full File
	// Increments follow it, in order.
	Increments []File
	// Issued is the highest revision that any of the files knows of.
	Issued graph.Revision
}

// Choose finds the latest full backup that is not past the end, and the increments that lead from there to it. With from set that
// is the full backup. Files of several clusters or lineages, and entries that are missing before the end, are errors.
func Choose(files []File, from *File, until Until) (Choice, error) {
	var c Choice
	if from != nil {
		c.Full = *from
		if !from.fits(until) {
			return c, fmt.Errorf("%s is no full backup of a state before that end: %w", from.Name, ErrNoFull)
		}
	}
	found := from != nil
	for _, f := range files {
		if from == nil && f.fits(until) && (!found || f.Header.Revision > c.Full.Header.Revision) {
			c.Full, found = f, true
		}
	}
	if !found {
		return c, fmt.Errorf("%w: there is none of a state before that end", ErrNoFull)
	}
	c.Issued = graph.Revision(c.Full.Header.Revision)
	var increments []File
	for _, f := range files {
		if f.Header.ClusterId != c.Full.Header.ClusterId || f.Header.Lineage != c.Full.Header.Lineage {
			return c, fmt.Errorf("%s is of cluster %s and lineage %s, %s of %s and %s: keep them in folders of their own",
				f.Name, f.Header.ClusterId, f.Header.Lineage, c.Full.Name, c.Full.Header.ClusterId, c.Full.Header.Lineage)
		}
		c.Issued = max(c.Issued, graph.Revision(f.Header.Revision), graph.Revision(f.Trailer.GetRevision()))
		if !f.full() {
			increments = append(increments, f)
		}
	}
	return c, c.follow(increments, until)
}

// follow chains increments to the full backup.
func (c *Choice) follow(increments []File, until Until) error {
	slices.SortFunc(increments, func(a, b File) int {
		return cmp.Or(cmp.Compare(a.Header.Revision, b.Header.Revision), cmp.Compare(b.Trailer.GetRevision(), a.Trailer.GetRevision()))
	})
	last, instant := c.Full.Header.Revision, nanos(c.Full.Header.Instant)
	for _, f := range increments {
		reached := until.Revision != 0 && last >= uint64(until.Revision) || until.Instant != 0 && instant > until.Instant
		if reached || f.Trailer.GetRevision() <= last {
			continue
		}
		if f.Header.Revision > last {
			return fmt.Errorf("entries after revision %d and up to %d are missing before %s: restore up to revision %d with --until, or from a later full backup",
				last, f.Header.Revision, f.Name, last)
		}
		c.Increments = append(c.Increments, f)
		last, instant = f.Trailer.GetRevision(), max(instant, nanos(f.Trailer.GetInstant()))
	}
	if until.Revision != 0 && last < uint64(until.Revision) {
		return fmt.Errorf("the backup ends at revision %d, before %d", last, until.Revision)
	}
	return nil
}
