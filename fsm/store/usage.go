//go:build !wasip1

package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// SpaceUsage is what the rows of a keyspace take on disk.
type SpaceUsage struct {
	// Space is its name, as [Space] gives it.
	Space string
	// Graph says that it belongs to the graph: records, the ids and indexes that find them, counters. The feed, what is
	// remembered of requests, what waits to be swept and the system's own row do not.
	Graph bool
	// Bytes are those of the blocks in which its rows lie; where two keyspaces meet in a block each has a part of it.
	Bytes uint64
}

// CompactAll rewrites the whole store, so that it has no row twice and none that was deleted. It takes as long as reading and
// writing everything, and needs a store that Open has opened on disk.
func (s *Store) CompactAll(ctx context.Context) error {
	return s.withPebble(func(e *pebbleEngine) error {
		if err := e.flush(); err != nil {
			return fmt.Errorf("compact: %w", err)
		}
		if err := e.db.Compact(ctx, []byte{0}, []byte{0xff}, true); err != nil {
			return fmt.Errorf("compact: %w", err)
		}
		return nil
	})
}

// DiskUsage tells what every keyspace takes on disk, those of one tenant in the tenants' part. What was not flushed has no
// bytes yet.
func (s *Store) DiskUsage(t graph.Tenant) (all []SpaceUsage, err error) {
	err = s.withPebble(func(e *pebbleEngine) error {
		for _, prefix := range spacePrefixes(t) {
			bytes, err := e.db.EstimateDiskUsage(prefix, successor(prefix))
			if err != nil {
				return fmt.Errorf("disk usage: %w", err)
			}
			all = append(all, SpaceUsage{Space: Space(prefix), Graph: prefix[0] == spaceTenant, Bytes: bytes})
		}
		return nil
	})
	return all, err
}

// spacePrefixes are the beginnings of the keys of all keyspaces, in order.
func spacePrefixes(t graph.Tenant) [][]byte {
	var all [][]byte
	for _, space := range []byte{spaceSystem, spaceFeed, spaceTenantFeed, spaceOutcome, spaceExpiry, spaceDoomed} {
		all = append(all, []byte{space})
	}
	for kind := byte(kindNode); kind <= kindInvocations; kind++ {
		all = append(all, slices.Clip(tenantKey(t, kind, 0)))
	}
	return all
}

// errNoDisk refuses what only a store on disk can do.
var errNoDisk = errors.New("the store is in memory")

func (s *Store) withPebble(do func(*pebbleEngine) error) error {
	g, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release(g)
	if e, ok := g.engine.(*pebbleEngine); ok {
		return do(e)
	}
	return errNoDisk
}
