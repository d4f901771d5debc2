package workload_test

import (
	"errors"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/client"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/workload"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestEveryLieIsNoticed: each check can fail, on what it is there for.
func TestEveryLieIsNoticed(t *testing.T) {
	for lie, want := range map[lie][]error{
		honest:       nil,
		forgets:      {workload.ErrLost, workload.ErrStale, workload.ErrRefused},
		changes:      {workload.ErrLost},
		repeats:      {workload.ErrSurplus},
		resurrects:   {workload.ErrSurplus, workload.ErrStale},
		readsOld:     {workload.ErrStale},
		inventsNode:  {workload.ErrSurplus},
		losesEvent:   {workload.ErrEvents},
		doublesEvent: {workload.ErrEvents},
		swapsEvents:  {workload.ErrEvents},
		forksChain:   {workload.ErrEvents},
		refuses:      {workload.ErrRefused},
	} {
		t.Run(string(lie), func(t *testing.T) {
			t.Parallel()
			f := &fake{lie: lie}
			err := work(t, f)
			if len(want) == 0 {
				if err != nil {
					t.Errorf("an honest server is accused: %v", err)
				}
				return
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if !f.lied {
				t.Fatal("the fake had no occasion")
			}
			for _, kind := range want {
				if errors.Is(err, kind) {
					return
				}
			}
			t.Errorf("a server that %s: %v, want one of %v", lie, err, want)
		})
	}
}

// work lets a load work until there were enough writes and reads, and verifies.
func work(t *testing.T, f *fake) error {
	t.Helper()
	addresses := func() func() []string {
		address := f.serve(t)
		return func() []string { return []string{address} }
	}()
	c := client.New(client.Config{
		Addresses: addresses, Dial: cluster.Dial, Attempt: 10 * time.Second, Deadline: time.Minute,
	})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	load, err := workload.Open(t.Context(), workload.Config{
		Writing: c, Reading: c, Watching: c, Addresses: addresses, Seed: 1, Writers: 3, Readers: 3, Watchers: 2, Pace: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer load.Close()
	stop := load.Start(t.Context())
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		<-tick.C
		n := load.Counts()
		if load.Failed() != nil {
			break
		}
		// Only what reads old values must be noticed by a reader; of everything else Verify finds what is left.
		if n.Writes > 200 && n.Reads > 200 && n.Events > 200 && (f.lie == honest || f.hasLied()) && f.lie != readsOld {
			break
		}
	}
	if err := stop(); err != nil {
		return err
	}
	return load.Verify(t.Context())
}
