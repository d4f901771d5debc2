package store

// CacheStats is how the cache of blocks has fared since the store was opened.
type CacheStats struct {
	// Hits are the blocks that were found in it, Misses those that had to be read.
	Hits, Misses int64
	// Bytes is what it holds now.
	Bytes int64
}

// Cache tells how the cache of blocks fares. An engine in memory has none: all zero.
func (s *Store) Cache() CacheStats {
	g, err := s.acquire()
	if err != nil {
		return CacheStats{}
	}
	defer s.release(g)
	if cached, ok := g.engine.(interface{ cache() CacheStats }); ok {
		return cached.cache()
	}
	return CacheStats{}
}
