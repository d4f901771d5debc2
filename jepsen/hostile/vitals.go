package hostile

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Vitals are how a server fares, of its own metrics.
type Vitals struct {
	// Goroutines, and Heap and Resident in bytes: what is allocated, and what the process takes of the machine.
	Goroutines, Heap, Resident float64
	// Connections and Streams that are open.
	Connections, Streams float64
}

// ReadVitals asks the metrics port.
func ReadVitals(ctx context.Context, address string) (v Vitals, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return v, fmt.Errorf("metrics of %s: %w", address, err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return v, fmt.Errorf("metrics of %s: %w", address, err)
	}
	defer res.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(res.Body)
	if err != nil {
		return v, fmt.Errorf("metrics of %s: %w", address, err)
	}
	for name, into := range map[string]*float64{
		"go_goroutines": &v.Goroutines, "go_memstats_heap_alloc_bytes": &v.Heap, "process_resident_memory_bytes": &v.Resident,
		"memory_graph_grpc_active_connections": &v.Connections, "memory_graph_grpc_active_streams": &v.Streams,
	} {
		family := families[name]
		if len(family.GetMetric()) != 1 {
			return v, fmt.Errorf("metrics of %s: no %s", address, name)
		}
		*into = family.Metric[0].GetGauge().GetValue()
	}
	return v, nil
}

// What may be left after a storm of what was there before: the pools and caches of a server that has worked, and what of its
// garbage the collector has not seen yet.
const (
	spareGoroutines = 20
	spareHeap       = 64 << 20
	lookEvery       = 200 * time.Millisecond
)

// AwaitCalm waits until a server has let go of what it held, and says what it still holds when ctx ends first.
func AwaitCalm(ctx context.Context, address string, before Vitals) (Vitals, error) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		now, err := ReadVitals(ctx, address)
		if err != nil {
			return now, err
		}
		calm := now.Goroutines <= before.Goroutines+spareGoroutines && now.Heap <= before.Heap+spareHeap &&
			now.Connections <= before.Connections && now.Streams <= before.Streams
		if calm {
			return now, nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return now, errors.Join(fmt.Errorf("before %+v, now %+v", before, now), ctx.Err())
		}
	}
}
