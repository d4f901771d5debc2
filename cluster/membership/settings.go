package membership

import (
	"errors"
	"fmt"
	"time"
)

// Defaults of [Settings] (RAFT.md 5.4).
const (
	DefaultInterval             = 2 * time.Second
	DefaultAskTimeout           = 2 * time.Second
	DefaultChangeTimeout        = 10 * time.Second
	DefaultLastContactThreshold = time.Second
	DefaultMaxTrailingLogs      = 1000
	DefaultMinQuorum            = 3
	DefaultStabilization        = 10 * time.Second
	DefaultGrace                = time.Minute
	DefaultPledgeFor            = 30 * time.Second
)

// maxAsked is how many nodes are asked at a time.
const maxAsked = 16

// Settings are what decides who votes. Zero fields have the defaults that they name.
type Settings struct {
	// Interval is how often the leader looks at the members when gossip tells of no change.
	Interval time.Duration
	// AskTimeout is how long a node has to answer a question, ChangeTimeout how long a change of the configuration may take.
	AskTimeout, ChangeTimeout time.Duration
	// LastContactThreshold is how long ago a healthy server has heard from the leader at most, MaxTrailingLogs how many entries
	// it lacks at most.
	LastContactThreshold time.Duration
	MaxTrailingLogs      uint64
	// MinQuorum is how many voters there are at least after one was removed by the leader itself. Operators may go below.
	MinQuorum int
	// Stabilization is how long a server has to be healthy before it votes.
	Stabilization time.Duration
	// Grace is how long a server has to be gone before the leader removes it, if enough voters remain. One that comes back later is
	// taken in again.
	Grace time.Duration
	// PledgeFor is how long a node keeps its word to make a cluster with nobody else.
	PledgeFor time.Duration
	// AutoFinalize raises the feature level as soon as every member can apply the next one (DECISIONS.md D1).
	AutoFinalize bool
}

func (s Settings) withDefaults() Settings {
	setDefault(&s.Interval, DefaultInterval)
	setDefault(&s.AskTimeout, DefaultAskTimeout)
	setDefault(&s.ChangeTimeout, DefaultChangeTimeout)
	setDefault(&s.LastContactThreshold, DefaultLastContactThreshold)
	setDefault(&s.MaxTrailingLogs, DefaultMaxTrailingLogs)
	setDefault(&s.MinQuorum, DefaultMinQuorum)
	setDefault(&s.Stabilization, DefaultStabilization)
	setDefault(&s.Grace, DefaultGrace)
	setDefault(&s.PledgeFor, DefaultPledgeFor)
	return s
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports every problem at once, of the settings with their defaults.
func (s Settings) Validate() error {
	s = s.withDefaults()
	var problems []error
	for name, d := range map[string]time.Duration{
		"interval": s.Interval, "ask timeout": s.AskTimeout, "change timeout": s.ChangeTimeout,
		"last contact threshold": s.LastContactThreshold, "grace": s.Grace, "pledge": s.PledgeFor,
	} {
		if d < time.Millisecond {
			problems = append(problems, fmt.Errorf("membership: %s is %v, at least 1ms", name, d))
		}
	}
	if s.Stabilization < 0 {
		problems = append(problems, fmt.Errorf("membership: stabilization is %v", s.Stabilization))
	}
	if s.MinQuorum < 1 {
		problems = append(problems, fmt.Errorf("membership: min quorum is %d, at least 1", s.MinQuorum))
	}
	return errors.Join(problems...)
}
