package sim

import (
	"context"
	"errors"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc"
)

// road is what the API of a node writes through, as the program has it.
type road struct{ node *cluster.Node }

func (r road) Propose(ctx context.Context, command []byte) (fsm.Result, error) {
	result, err := r.node.Propose(ctx, command)
	return result, logError(err)
}

func (r road) Barrier(ctx context.Context, staleness time.Duration) error {
	return logError(r.node.Barrier(ctx, staleness))
}

func (r road) Ready() error { return logError(r.node.Ready()) }

func logError(err error) error {
	var failed *cluster.Error
	if !errors.As(err, &failed) {
		return err
	}
	kinds := map[cluster.Kind]rpc.LogKind{
		cluster.NoLeader: rpc.NoLeader, cluster.Overloaded: rpc.Overloaded, cluster.NoRoom: rpc.DiskReserve,
		cluster.Stopping: rpc.Stopping, cluster.Failed: rpc.Stopping, cluster.Interrupted: rpc.Interrupted,
	}
	return &rpc.LogError{Kind: kinds[failed.Kind], NotProposed: failed.NotProposed, Err: err}
}
