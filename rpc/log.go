package rpc

import (
	"context"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
)

// Log is the replicated log in front of the graph, as this room needs it.
type Log interface {
	// Propose puts an encoded command into the log and waits until this node has applied it. A command that breaks a rule
	// is a result, not an error: an error, best a *LogError, means that no result is known.
	Propose(ctx context.Context, command []byte) (fsm.Result, error)
	// Barrier waits until the state of this node is fresh: it holds every write that was acknowledged anywhere before the
	// call when staleness is 0, else before that long ago.
	Barrier(ctx context.Context, staleness time.Duration) error
	// Ready is nil when this node can serve its role, else it says why not.
	Ready() error
}

// LogKind classes why the log gave no result.
type LogKind int

// The kinds.
const (
	// NoLeader: nobody leads, or whoever led has gone. Try again.
	NoLeader LogKind = iota + 1
	// Overloaded: too many proposals wait. Try again, later.
	Overloaded
	// DiskReserve: the node has no room left and takes no writes.
	DiskReserve
	// Stopping: this node is going down.
	Stopping
	// Interrupted: the caller's time ran out, or the caller went away; Err wraps the error of its context.
	Interrupted
)

// LogError says why the log gave no result.
type LogError struct {
	Kind LogKind
	// NotProposed: the command is surely not in the log and never will be. Else it may take effect.
	NotProposed bool
	// RetryAfter is when a retry makes sense; 0 leaves it to this room.
	RetryAfter time.Duration
	Err        error
}

func (e *LogError) Error() string { return e.Err.Error() }

func (e *LogError) Unwrap() error { return e.Err }
