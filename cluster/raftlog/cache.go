package raftlog

import (
	"sync"

	"github.com/hashicorp/raft"
)

// DefaultCacheBytes bounds the cache of recent entries (DECISIONS.md D13).
const DefaultCacheBytes = 64 << 20

// entryOverheadBytes is what an entry costs in memory beside its data, roughly.
const entryOverheadBytes = 128

var _ raft.LogStore = (*Cache)(nil)

// Cache keeps the newest entries in memory, bounded by bytes, in front of a log store. raft.LogCache is bounded by a
// count, and would pin 256 entries of any size.
//
// It holds one run of consecutive indexes. An entry larger than the bound is not kept at all.
type Cache struct {
	inner raft.LogStore
	limit int

	// mu guards the fields below.
	mu    sync.RWMutex
	first uint64
	run   []*raft.Log
	bytes int
}

// NewCache keeps at most limit bytes of what is stored to inner; a limit of 0 or less is [DefaultCacheBytes].
func NewCache(inner raft.LogStore, limit int) *Cache {
	if limit <= 0 {
		limit = DefaultCacheBytes
	}
	return &Cache{inner: inner, limit: limit}
}

// FirstIndex is that of the inner store.
func (c *Cache) FirstIndex() (uint64, error) { return c.inner.FirstIndex() }

// LastIndex is that of the inner store.
func (c *Cache) LastIndex() (uint64, error) { return c.inner.LastIndex() }

// GetLog reads the entry from memory, else from the inner store. Data is shared with the cache: do not change it.
func (c *Cache) GetLog(index uint64, log *raft.Log) error {
	c.mu.RLock()
	if index >= c.first && index-c.first < uint64(len(c.run)) {
		*log = *c.run[index-c.first]
		c.mu.RUnlock()
		return nil
	}
	c.mu.RUnlock()
	return c.inner.GetLog(index, log)
}

// StoreLog stores one entry.
func (c *Cache) StoreLog(log *raft.Log) error { return c.StoreLogs([]*raft.Log{log}) }

// StoreLogs stores the entries, then keeps them. When the inner store fails, nothing at or above the first of them is
// kept, for nobody knows what it stored.
func (c *Cache) StoreLogs(logs []*raft.Log) error {
	err := c.inner.StoreLogs(logs)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, log := range logs {
		c.cutFromLocked(log.Index)
		if err == nil {
			c.addLocked(log)
		}
	}
	return err
}

// DeleteRange forgets the entries from low to high, both included, then deletes them from the inner store.
func (c *Cache) DeleteRange(low, high uint64) error {
	c.mu.Lock()
	if low <= c.first {
		c.cutUpToLocked(high)
	} else {
		c.cutFromLocked(low)
	}
	c.mu.Unlock()
	return c.inner.DeleteRange(low, high)
}

// Purge forgets everything: after an erasure nothing of it may stay in memory.
func (c *Cache) Purge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutFromLocked(0)
}

// Bytes is what the cached entries take.
func (c *Cache) Bytes() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.bytes
}

func (c *Cache) addLocked(log *raft.Log) {
	if len(c.run) > 0 && log.Index != c.first+uint64(len(c.run)) {
		c.cutFromLocked(0)
	}
	if len(c.run) == 0 {
		c.first = log.Index
	}
	// A copy, because raft hands out a pointer into its future, and a kept future would keep the answer too.
	kept := *log
	c.run = append(c.run, &kept)
	c.bytes += size(&kept)
	drop := 0
	for over := c.bytes - c.limit; over > 0; drop++ {
		over -= size(c.run[drop])
	}
	if drop > 0 {
		c.cutUpToLocked(c.first + uint64(drop) - 1)
	}
}

// cutFromLocked forgets every entry at or above index.
func (c *Cache) cutFromLocked(index uint64) {
	keep := 0
	if index > c.first {
		keep = int(min(index-c.first, uint64(len(c.run))))
	}
	for i := keep; i < len(c.run); i++ {
		c.bytes -= size(c.run[i])
		c.run[i] = nil
	}
	c.run = c.run[:keep]
}

// cutUpToLocked forgets every entry at or below index.
func (c *Cache) cutUpToLocked(index uint64) {
	if index < c.first {
		return
	}
	drop := int(min(index-c.first+1, uint64(len(c.run))))
	for i := range drop {
		c.bytes -= size(c.run[i])
		c.run[i] = nil
	}
	// append moves the rest to a new array once this one is used up, so the dropped front does not pile up.
	c.run = c.run[drop:]
	c.first += uint64(drop)
}

func size(log *raft.Log) int { return len(log.Data) + len(log.Extensions) + entryOverheadBytes }
