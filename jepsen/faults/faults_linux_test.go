//go:build linux

package faults_test

import (
	"errors"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/faults"
)

func TestPartitions(t *testing.T) {
	f := formOf(t)
	for _, c := range []struct {
		fault     string
		partition faults.Partition
	}{
		{"the leader cut off", faults.IsolateLeader},
		{"what the leader sends lost", faults.MuteLeader},
		{"what the leader is sent lost", faults.DeafLeader},
		{"a follower cut off", faults.IsolateFollower},
	} {
		t.Run(c.fault, func(t *testing.T) {
			f.parallel(t)
			network, err := cluster.NewNamespaces(3)
			if errors.Is(err, cluster.ErrNoNamespaces) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := network.Close(); err != nil {
					t.Error(err)
				}
			})
			hurt(t, rig(t, f, faults.Config{Network: network}), c.fault, 1, faults.Cut(c.partition, f.hold))
		})
	}
}
