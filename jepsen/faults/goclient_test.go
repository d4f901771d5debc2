package faults_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/client"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/faults"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/workload"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	goclient "github.com/globalbusinessadvisors/llm-memory-graph/rpc/client"
)

// once makes each call one time with the Go client, which does all else by itself. What fails there, fails.
type once struct {
	client *goclient.Client
	calls  atomic.Int64
}

func (o *once) Call(
	ctx context.Context, call func(context.Context, graphgrpc.MemoryGraphServiceClient) error,
) (client.Outcome, error) {
	o.calls.Add(1)
	began := time.Now()
	err := call(ctx, o.client.Graph())
	return client.Outcome{Began: began, Sent: began, Ended: time.Now(), Attempts: 1}, err
}

func (o *once) To(string) (graphgrpc.MemoryGraphServiceClient, error) { return o.client.Graph(), nil }

// TestTheGoClientNoticesNothing: of a rolling restart, and of kills of the leader. No call fails.
func TestTheGoClientNoticesNothing(t *testing.T) {
	f := formOf(t)
	for fault, h := range map[string]faults.Hurt{
		"SIGTERM and start of each node in turn, Go client": faults.RollingRestart, "kill -9 of the leader, Go client": faults.KillLeader,
	} {
		t.Run(fault, func(t *testing.T) {
			f.parallel(t)
			made := &once{}
			r := rig(t, f, faults.Config{Caller: func(addresses []string) (caller workload.Caller, err error) {
				made.client, err = goclient.Dial(addresses...)
				return made, err
			}})
			t.Cleanup(func() {
				if err := made.client.Close(); err != nil {
					t.Error(err)
				}
			})
			hurt(t, r, fault, 1, h)
			if made.calls.Load() == 0 {
				t.Error("the Go client made no call")
			}
		})
	}
}
