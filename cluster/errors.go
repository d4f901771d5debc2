package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/reserve"
)

// Kind classes why a call has no result.
type Kind int

// The kinds.
const (
	// NoLeader: nobody leads, or leadership was lost half way. Try again.
	NoLeader Kind = iota + 1
	// Overloaded: the queue is full. Try again, later.
	Overloaded
	// Stopping: the node is closed, or closing.
	Stopping
	// Interrupted: the caller's context ended; the error wraps why.
	Interrupted
	// NoRoom: the disk is too full for writes. Try again when there is room.
	NoRoom
	// Failed: this node's log or store failed; the process is about to end.
	Failed
	// Quarantined: the state of this node is not that of the others, see [Node.Quarantine]. Ask another node.
	Quarantined
)

// Error makes a Kind usable as the target of errors.Is.
func (k Kind) Error() string {
	return [...]string{"", "no leader", "overloaded", "stopping", "interrupted", "no room", "node has failed", "node is in quarantine"}[k]
}

// Error says why a call has no result.
type Error struct {
	Kind Kind
	// NotProposed: the command is surely not in the log and never will be. Else it may have taken effect, or may yet; the
	// same request id tells. Reads have nothing to propose: always true.
	NotProposed bool
	Err         error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Kind.Error()
	}
	return fmt.Sprintf("%v: %v", e.Kind, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the kind of e.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

func surely(kind Kind, err error) error { return &Error{Kind: kind, NotProposed: true, Err: err} }

func perhaps(kind Kind, err error) error { return &Error{Kind: kind, Err: err} }

// notSurely takes back that a command was surely not proposed.
func notSurely(err error) error {
	var e *Error
	if !errors.As(err, &e) || !e.NotProposed {
		return err
	}
	return &Error{Kind: e.Kind, Err: e.Err}
}

func interrupted(ctx context.Context, notProposed bool) error {
	return &Error{Kind: Interrupted, NotProposed: notProposed, Err: ctx.Err()}
}

// applyError classes what raft.Apply answered (RAFT.md 4.6). Whatever is not known to have been turned away at the door
// may be in the log, an error of the log store above all; but not one that says that the append failed whole.
func applyError(err error) error {
	var full *reserve.FullError
	switch {
	case errors.As(err, &full), errors.Is(err, raftlog.ErrFull):
		return surely(NoRoom, err)
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return surely(NoLeader, err)
	case errors.Is(err, raft.ErrRaftShutdown):
		return perhaps(Stopping, err)
	default:
		return perhaps(NoLeader, err)
	}
}
