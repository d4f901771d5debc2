package fsm

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
)

// Digest is a digest of the replicated state: graph rows, counters, exactly-once rows, events by their chain, and
// configuration. Replicas at the same revision have the same one. It leaves out the applied index and revisions, so it is
// also the same however the commands were grouped into entries (D16).
func Digest(s store.System) [32]byte {
	h := sha256.New()
	number := func(n uint64) { h.Write(binary.BigEndian.AppendUint64(nil, n)) }
	for _, word := range s.Digest {
		number(word)
	}
	h.Write(s.Chain[:])
	number(s.Events)
	number(s.EventRows)
	number(uint64(s.Instant))
	number(s.Position)
	number(s.Commands)
	number(uint64(s.Lineage))
	number(uint64(s.FeatureLevel))
	h.Write(s.Key[:])
	h.Write([]byte(s.ClusterID))
	return [32]byte(h.Sum(nil))
}
