//go:build !nextlevel

package fsm

import (
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
)

// FeatureLevel is the highest level of replicated state that this program can apply (D1).
const FeatureLevel = 1

// isProbe and probe are those of the release that tests of upgrades make up (level_next.go). This one knows no such command.
func isProbe(*logpb.Command) bool { return false }

func probe(store.System) *logpb.Command { return nil }
