package faults_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/faults"
	"go.uber.org/goleak"
)

const (
	// formVariable is "long" for the run of `make faults`.
	formVariable = "MEMORY_GRAPH_FAULTS"
	// roundsVariable is how often the leader is killed, and leadership transferred.
	roundsVariable = "MEMORY_GRAPH_FAULTS_ROUNDS"
	seedVariable   = "MEMORY_GRAPH_FAULTS_SEED"
	// tableVariable names a file that gets a line for each fault.
	tableVariable = "MEMORY_GRAPH_FAULTS_TABLE"
	// artefactsVariable names a folder that keeps data and logs of runs that failed.
	artefactsVariable = "MEMORY_GRAPH_ARTEFACTS"
)

// builds is where the server is built, once for all tests.
var builds = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "memory-graph-faults") })

var binary = sync.OnceValues(func() (string, error) {
	dir, err := builds()
	if err != nil {
		return "", err
	}
	return cluster.Binary(context.Background(), dir)
})

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if dir, err := builds(); err != nil || os.RemoveAll(dir) != nil {
			code = max(code, 1)
		}
		os.Exit(code)
	}))
}

// form is how much is done: little when everybody's tests run, all of it by `make faults`.
type form struct {
	long bool
	// rounds are kills of the leader and transfers of leadership.
	rounds int
	// pause is how long a leader is stopped, hold how long a network is cut.
	pause, hold                time.Duration
	writers, readers, watchers int
	pace                       time.Duration
}

func formOf(t *testing.T) form {
	t.Helper()
	f := form{rounds: 2, pause: 3 * time.Second, hold: 2 * time.Second, writers: 6, readers: 6, watchers: 3, pace: 20 * time.Millisecond}
	if os.Getenv(formVariable) == "long" {
		f = form{
			long: true, rounds: 50, pause: 20 * time.Second, hold: 15 * time.Second, writers: 64, readers: 64, watchers: 8, pace: 100 * time.Millisecond,
		}
	}
	f.rounds = int(number(t, roundsVariable, uint64(f.rounds)))
	f.parallel(t)
	return f
}

// parallel lets faults of the short form be at once: most of their time is waiting. The long one measures.
func (f form) parallel(t *testing.T) {
	t.Helper()
	if !f.long {
		t.Parallel()
	}
}

func number(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// rig starts a cluster under load that ends with the test.
func rig(t *testing.T, f form, config faults.Config) *faults.Rig {
	t.Helper()
	server, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	config.Binary, config.Dir, config.Logf = server, folder(t), t.Logf
	config.Seed = number(t, seedVariable, rand.Uint64())
	config.Writers, config.Readers, config.Watchers, config.Pace = f.writers, f.readers, f.watchers, f.pace
	r, err := faults.Start(t.Context(), config)
	if errors.Is(err, faults.ErrNoMount) || errors.Is(err, cluster.ErrNoSkew) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			if err := r.Keep(); err != nil {
				t.Error(err)
			}
			t.Logf("the last things that the nodes printed:\n%s", r.Cluster.LastLogs(100))
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// folder is empty, and is kept when the test fails and somebody said where.
func folder(t *testing.T) string {
	t.Helper()
	keep := os.Getenv(artefactsVariable)
	if keep == "" {
		return t.TempDir()
	}
	if err := os.MkdirAll(keep, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(keep, filepath.Base(t.Name())+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("data and logs are in %s", dir)
		} else if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// hurt runs rounds of a fault and says what they showed.
func hurt(t *testing.T, r *faults.Rig, fault string, rounds int, h faults.Hurt) {
	t.Helper()
	figure, err := r.Rounds(t.Context(), fault, rounds, h)
	t.Log(figure.Row())
	if err != nil {
		t.Fatal(err)
	}
	// A graceful end is the last that is asked of all of them; it also writes the coverage counters of an instrumented server.
	if err := r.Cluster.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if figure.Writes == 0 || figure.Reads == 0 || figure.Events == 0 {
		t.Errorf("the run proved nothing: %+v", figure)
	}
	tell(t, figure)
}

func tell(t *testing.T, figure faults.Figure) {
	t.Helper()
	name := os.Getenv(tableVariable)
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(figure.Row())
	if err := errors.Join(err, f.Close()); err != nil {
		t.Error(err)
	}
}

func TestKillsOfTheLeader(t *testing.T) {
	f := formOf(t)
	hurt(t, rig(t, f, faults.Config{Args: cluster.Compacting()}), "kill -9 of the leader", f.rounds, faults.KillLeader)
}

func TestKillsOfEachNode(t *testing.T) {
	f := formOf(t)
	hurt(t, rig(t, f, faults.Config{}), "kill -9 of each node in turn", 1, faults.KillEach)
}

func TestAPausedLeader(t *testing.T) {
	f := formOf(t)
	hurt(t, rig(t, f, faults.Config{}), "SIGSTOP of the leader for "+f.pause.String(), 1, faults.PauseLeader(f.pause))
}

func TestAWipedFollower(t *testing.T) {
	f := formOf(t)
	var config faults.Config
	if !f.long { // a new node gets its vote when it was well for ten seconds of one leader, which a busy machine gives no leader of a LAN
		config.Args = []string{"--raft-timing", "wan"}
	}
	hurt(t, rig(t, f, config), "a follower's disk emptied", 1, faults.WipeFollower)
}

func TestLeadershipTransfers(t *testing.T) {
	f := formOf(t)
	hurt(t, rig(t, f, faults.Config{}), "transfer of leadership", f.rounds, faults.Transfer)
}

func TestARollingRestart(t *testing.T) {
	f := formOf(t)
	hurt(t, rig(t, f, faults.Config{}), "SIGTERM and start of each node in turn", 1, faults.RollingRestart)
}

func TestAllKilledAtOnce(t *testing.T) {
	f := formOf(t)
	hurt(t, rig(t, f, faults.Config{}), "kill -9 of all nodes at once, until after their start", 1, faults.KillAll)
}

func TestAllRestartedOnNewAddresses(t *testing.T) {
	f := formOf(t)
	hurt(t, rig(t, f, faults.Config{}), "all nodes started on new addresses", 1, faults.MoveAll)
}

func TestFullDisks(t *testing.T) {
	f := formOf(t)
	for fault, fill := range map[string]faults.Hurt{
		"the leader's disk full": faults.FillLeader, "a follower's disk full": faults.FillFollower,
	} {
		t.Run(fault, func(t *testing.T) {
			f.parallel(t)
			hurt(t, rig(t, f, faults.Config{SmallDisks: true}), fault, 1, fill)
		})
	}
}

// TestJumpsOfTheClock: an hour ahead, a minute and a half back, and twenty seconds ahead, on nodes of which one leads.
func TestJumpsOfTheClock(t *testing.T) {
	f := formOf(t)
	for _, c := range []struct {
		fault string
		jump  faults.Hurt
		long  bool
	}{
		{"the leader's clock an hour ahead", faults.JumpLeader(time.Hour, 10*time.Second), false},
		{"the leader's clock 90 s back", faults.JumpLeader(-90*time.Second, 10*time.Second), true},
		{"the leader's clock 30 s ahead", faults.JumpLeader(30*time.Second, 40*time.Second), true},
		{"a follower's clock an hour ahead", faults.JumpFollower(time.Hour), true},
	} {
		if c.long && !f.long {
			continue
		}
		t.Run(c.fault, func(t *testing.T) {
			f.parallel(t)
			hurt(t, rig(t, f, faults.Config{Skewed: true}), c.fault, 1, c.jump)
		})
	}
}
