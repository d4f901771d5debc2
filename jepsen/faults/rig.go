package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/client"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/workload"
)

const (
	// startWithin bounds the founding of a cluster, healWithin how long it may take until it is whole again after a fault.
	startWithin, healWithin = 5 * time.Minute, 5 * time.Minute
	// writeWithin is how soon after a fault somebody must be able to write, at the very most.
	writeWithin = 3 * time.Minute
	// askAgain is how often what has no event is asked for.
	askAgain = 50 * time.Millisecond
)

// ErrNotInForce says that a fault was meant and did not happen, so that the run proves nothing.
var ErrNotInForce = errors.New("the fault was not in force")

// Hurt is one fault from beginning to end. It returns the longest time in which nobody could write.
type Hurt func(context.Context, *Rig) (time.Duration, error)

// Config says what to hurt, and under which load.
type Config struct {
	// Binary is the server, Dir an empty folder for the nodes.
	Binary, Dir string
	// Seed decides on the load.
	Seed uint64
	// Load are the workers.
	Writers, Readers, Watchers int
	Pace                       time.Duration
	// Caller makes the client of writers and readers, for those addresses; nil for jepsen/client.
	Caller func(addresses []string) (workload.Caller, error)
	// Network, Args and Skewed are those of the cluster.
	Network cluster.Network
	Args    []string
	Skewed  bool
	// SmallDisks gives each node a file system of its own, small enough to be filled. Where that cannot be, Start says ErrNoMount.
	SmallDisks bool
	// Logf tells what happens; it may be nil.
	Logf func(format string, args ...any)
}

// Rig is a cluster under load.
type Rig struct {
	Cluster *cluster.Cluster
	Load    *workload.Load

	config Config
	// writing leaves nodes alone that do not answer, as clients do that want to get on; reading asks them all the same.
	writing, reading *client.Client
	stop             func() error
	// mounted are folders that are file systems of the rig.
	mounted []string
}

// size is the number of nodes.
const size = 3

// Start founds a cluster and opens a load, which does not work yet.
func Start(ctx context.Context, config Config) (*Rig, error) {
	c, err := cluster.NewCluster(cluster.Config{
		Binary: config.Binary, Dir: config.Dir, Size: size, Network: config.Network, Skewed: config.Skewed,
		Args: append([]string{"--log-level", "info", "--disk-reserve", "16MiB"}, config.Args...),
	})
	if err != nil {
		return nil, err
	}
	r := &Rig{Cluster: c, config: config}
	calls := client.Config{Addresses: c.Addresses, Dial: c.Dial, Attempt: 2 * time.Second, Deadline: 5 * time.Minute}
	r.reading = client.New(calls)
	calls.Attempt, calls.Shun = time.Second, 3*time.Second
	r.writing = client.New(calls)
	if err := r.found(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Rig) found(ctx context.Context) (err error) {
	begin := time.Now()
	within, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for _, node := range r.Cluster.Nodes {
		if !r.config.SmallDisks {
			break
		}
		if err := mount(node.DataDir()); err != nil {
			return err
		}
		r.mounted = append(r.mounted, node.DataDir())
	}
	if err := r.Cluster.Found(within); err != nil {
		return err
	}
	r.logf("founded after %v", time.Since(begin).Round(time.Millisecond))
	var writing, reading workload.Caller = r.writing, r.reading
	if r.config.Caller != nil {
		caller, err := r.config.Caller(r.Cluster.Addresses())
		if err != nil {
			return err
		}
		writing, reading = caller, caller
	}
	r.Load, err = workload.Open(ctx, workload.Config{
		Writing: writing, Reading: reading, Watching: r.reading, Addresses: r.Cluster.Addresses, Seed: r.config.Seed,
		Writers: r.config.Writers, Readers: r.config.Readers, Watchers: r.config.Watchers, Pace: r.config.Pace,
	})
	return err
}

// Work lets the load work until the next Settle.
func (r *Rig) Work(ctx context.Context) { r.stop = r.Load.Start(ctx) }

// Settle ends the load, waits until the cluster is whole, and compares everything on all nodes.
func (r *Rig) Settle(ctx context.Context) error {
	if err := r.Rest(ctx); err != nil {
		return err
	}
	return r.Load.Verify(ctx)
}

// Rest ends the load, waits until the cluster is whole, and compares the digests of all nodes.
func (r *Rig) Rest(ctx context.Context) error {
	if r.stop != nil {
		err := r.stop()
		r.stop = nil
		if err != nil {
			return err
		}
	}
	if err := r.whole(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	return r.Cluster.AwaitSameDigest(ctx)
}

// Close kills what is left. A load that works still is ended; what it has to say is for Settle.
func (r *Rig) Close() error {
	if r.stop != nil {
		_ = r.stop()
	}
	if r.Load != nil {
		r.Load.Close()
	}
	errs := []error{r.writing.Close(), r.reading.Close(), r.Cluster.Kill()}
	for _, folder := range r.mounted {
		errs = append(errs, unmount(folder))
	}
	return errors.Join(errs...)
}

// Keep writes what the nodes printed into the rig's folder.
func (r *Rig) Keep() error { return r.Cluster.KeepLogs() }

func (r *Rig) logf(format string, args ...any) {
	if r.config.Logf != nil {
		r.config.Logf(format, args...)
	}
}

// gap waits for the first write after the moment and says how long that took.
func (r *Rig) gap(ctx context.Context, since time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	return r.Load.Gap(ctx, since)
}

// whole waits until the cluster has healed.
func (r *Rig) whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	begin := time.Now()
	err := r.Cluster.AwaitWhole(ctx)
	if took := time.Since(begin); took > time.Second {
		r.logf("whole after %v", took.Round(time.Millisecond))
	}
	return err
}

// leader waits for one that the nodes agree on, all that run when none are named.
func (r *Rig) leader(ctx context.Context, among ...*cluster.Node) (*cluster.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	return r.Cluster.AwaitLeader(ctx, among...)
}

// awaitOther waits until a node no longer leads.
func (r *Rig) awaitOther(ctx context.Context, node *cluster.Node) error {
	return r.ask(ctx, "another node leads than "+node.Name(), func(ctx context.Context) (bool, error) {
		now, err := r.Cluster.AwaitLeader(ctx)
		return now != node && err == nil, err
	})
}

// follower is one node that does not lead.
func (r *Rig) follower(ctx context.Context) (*cluster.Node, error) {
	leader, err := r.leader(ctx)
	if err != nil {
		return nil, err
	}
	return r.Cluster.Others(leader)[0], nil
}

// idOf is the id that a node has now, as it says itself.
func (r *Rig) idOf(ctx context.Context, node *cluster.Node) (id string, err error) {
	err = r.ask(ctx, node.Name()+" says who it is", func(ctx context.Context) (bool, error) {
		s, err := r.Cluster.Status(ctx, node)
		id = s.GetAnsweredBy()
		return true, err
	})
	return id, err
}

// ask asks until the claim holds.
func (r *Rig) ask(ctx context.Context, claim string, holds func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	for {
		yes, err := holds(ctx)
		if yes && err == nil {
			return nil
		}
		if ended := pause(ctx, askAgain); ended != nil {
			return fmt.Errorf("wait until %s: %w", claim, errors.Join(ended, err))
		}
	}
}

// ErrNoMount says why a test that fills disks cannot run on this machine.
var ErrNoMount = errors.New("a small file system can be mounted only by root, on Linux")

var errNone = errors.New("nothing wrong was seen")

func errorOrNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// pause waits for a while.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// processState is the state of a process as the kernel tells it: R, S, T and so on.
func processState(pid int) (string, error) {
	text, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "stat"))
	if err != nil {
		return "", err
	}
	var id int
	var name, state string
	if _, err := fmt.Sscan(string(text), &id, &name, &state); err != nil {
		return "", fmt.Errorf("state of process %d: %w", pid, err)
	}
	return state, nil
}
