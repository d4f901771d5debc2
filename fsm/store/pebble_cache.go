//go:build !wasip1

package store

func (e *pebbleEngine) cache() CacheStats {
	c := e.db.Metrics().BlockCache
	return CacheStats{Hits: c.Hits, Misses: c.Misses, Bytes: c.Size}
}
