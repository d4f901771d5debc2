//go:build nextlevel

package fsm

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
)

// FeatureLevel is one more than that of this release: the program built with the tag nextlevel plays the release after it, which
// brings a command. It is for tests of upgrades and shipped to nobody.
const FeatureLevel = 2

const (
	// probeLevel is the feature level from which the command is proposed.
	probeLevel = 2
	// probeField is a number that no field of a command has, probeEvery how many commands come between two probes.
	probeField protowire.Number = 100_000
	probeEvery                  = 16
)

// isProbe reports whether a command is the one that this release brings. It has no effect but to count as a command. A release
// without the tag finds no operation in it, and stops.
func isProbe(c *logpb.Command) bool {
	if c.Operation != nil {
		return false
	}
	number, _, n := protowire.ConsumeTag(c.ProtoReflect().GetUnknown())
	return n > 0 && number == probeField
}

// probe is the command when it is due, as a chore is: never before the level is in force.
func probe(s store.System) *logpb.Command {
	if s.FeatureLevel < probeLevel || s.Commands%probeEvery != 0 {
		return nil
	}
	c := &logpb.Command{}
	c.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, probeField, protowire.VarintType), 1))
	return c
}
