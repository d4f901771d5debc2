package cluster

import (
	"context"
	"sync/atomic"
	"testing"
)

// BenchmarkPropose creates sessions on a node on disk, from 1 caller and from 64 for each core.
func BenchmarkPropose(b *testing.B) {
	for name, callers := range map[string]int{"alone": 0, "together": 64} {
		b.Run(name, func(b *testing.B) {
			n := start(b, diskConfig(b))
			var next atomic.Int64
			one := func() {
				r, err := n.Propose(context.Background(), createSession(b, sessionID(int(next.Add(1)))))
				if err != nil || r.Err != nil {
					b.Error(err, r.Err)
				}
			}
			b.ResetTimer()
			if callers == 0 {
				for range b.N {
					one()
				}
				return
			}
			b.SetParallelism(callers)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					one()
				}
			})
		})
	}
}
