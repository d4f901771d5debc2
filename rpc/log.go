package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
)

// Log is the replicated log in front of the graph, as this room needs it.
type Log interface {
	// Propose puts an encoded command into the log and waits until this node has applied it. A command that breaks a rule
	// is a result, not an error: an error, best a *LogError, means that no result is known. Proposing a command again is
	// safe: its request id makes it take effect once.
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
	// Quarantined: the state of this node is not that of the others. Try again, on another node.
	Quarantined
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

// leaderPause keeps a node that says at once that nobody leads from being asked all the time.
const leaderPause = 20 * time.Millisecond

// insist asks the log until it answers. That nobody leads is an answer only after Config.LeaderTimeout; that the log is
// slow is none: as long as somebody leads, the caller's time is what counts.
func (s *Server) insist(ctx context.Context, ask func(context.Context) error) error {
	notProposed := true
	for leaderless := time.Now(); ; {
		limited, cancel := context.WithDeadline(ctx, leaderless.Add(s.cfg.LeaderTimeout))
		err := ask(limited)
		tired := limited.Err() != nil
		cancel()
		var log *LogError
		if !errors.As(err, &log) {
			return err
		}
		notProposed = notProposed && log.NotProposed
		switch {
		case ctx.Err() != nil:
			return &LogError{Kind: Interrupted, NotProposed: notProposed, Err: fmt.Errorf("%w: %w", ctx.Err(), err)}
		case tired && log.Kind == Interrupted && s.log.Ready() == nil:
			leaderless = time.Now()
		case tired && (log.Kind == NoLeader || log.Kind == Interrupted):
			return &LogError{Kind: NoLeader, NotProposed: notProposed, Err: s.leaderless()}
		case log.Kind == NoLeader:
			pause(ctx, leaderPause)
		default:
			return &LogError{Kind: log.Kind, NotProposed: notProposed, RetryAfter: log.RetryAfter, Err: log.Err}
		}
	}
}

// leaderless says for how long nobody led, and what this node lacks, which may be why.
func (s *Server) leaderless() error {
	if s.cfg.Limit != nil {
		if limit := s.cfg.Limit(); limit != nil {
			return fmt.Errorf("no leader for %v: %w", s.cfg.LeaderTimeout, limit)
		}
	}
	return fmt.Errorf("no leader for %v", s.cfg.LeaderTimeout)
}

// pause waits, but not longer than ctx lives.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
