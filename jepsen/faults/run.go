package faults

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/workload"
)

// Figure is what a number of rounds of one fault showed.
type Figure struct {
	// Fault says what was done, Gaps how long nobody could write in each round.
	Fault string
	Gaps  []time.Duration
	workload.Counts
}

// warmUp is how long the load works before a fault and after it has healed.
const warmUp = 300 * time.Millisecond

// Rounds hurts a rig again and again. After each round all nodes must have the same digest, and after the last everything is compared.
func (r *Rig) Rounds(ctx context.Context, fault string, rounds int, hurt Hurt) (Figure, error) {
	f := Figure{Fault: fault}
	for round := range rounds {
		gap, err := r.round(ctx, hurt)
		if err != nil {
			return f, fmt.Errorf("seed %d, %s, round %d of %d: %w", r.config.Seed, fault, round+1, rounds, err)
		}
		f.Gaps = append(f.Gaps, gap)
		r.logf("%s, round %d of %d: nobody could write for %v", fault, round+1, rounds, gap.Round(time.Millisecond))
	}
	err := r.Settle(ctx)
	f.Counts = r.Load.Counts()
	if err != nil {
		err = fmt.Errorf("seed %d, after %d × %s: %w", r.config.Seed, rounds, fault, err)
	}
	return f, err
}

func (r *Rig) round(ctx context.Context, hurt Hurt) (time.Duration, error) {
	r.Work(ctx)
	if _, err := r.gap(ctx, time.Now()); err != nil {
		return 0, err
	}
	if err := pause(ctx, warmUp); err != nil {
		return 0, err
	}
	gap, err := hurt(ctx, r)
	if err != nil {
		return 0, fmt.Errorf("%w; the load: %w", err, errorOrNone(r.Load.Failed()))
	}
	if err := pause(ctx, warmUp); err != nil {
		return 0, err
	}
	return gap, r.Rest(ctx)
}

// Quantile is the time in which nobody could write of that share of the rounds.
func (f Figure) Quantile(share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(f.Gaps))
	if len(sorted) == 0 {
		return 0
	}
	at := int(share*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(at, 0), len(sorted)-1)]
}

// Row is a figure as a line of the table that `make faults` prints.
func (f Figure) Row() string {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond)) }
	return fmt.Sprintf("| %s | %d | %s | %s | %d | %d | %d | %d | %s |\n", f.Fault, len(f.Gaps), ms(f.Quantile(0.5)), ms(f.Quantile(0.99)),
		f.Writes, f.Reads, f.Events, f.Retried, ms(f.Slowest))
}
