package hostile_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/hostile"
)

const (
	messagesVariable = "MEMORY_GRAPH_HOSTILE_MESSAGES"
	seedVariable     = "MEMORY_GRAPH_HOSTILE_SEED"
)

// number is what a variable of the environment says.
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

// start runs a server for a test.
func start(t *testing.T, args ...string) *cluster.Node {
	t.Helper()
	binary, err := cluster.Binary(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOGC", "50") // so that what is allocated is near to what is held
	node := cluster.New(cluster.Options{Binary: binary, DataDir: filepath.Join(t.TempDir(), "data"), Args: args})
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the server said:\n%s", node.Logs())
		}
	})
	return node
}

// calmWithin is how long a server may take to let go. One that is idle collects its garbage every two minutes.
const calmWithin = 5 * time.Minute

// TestHostileMessages sends 2,000 messages of seed 1, or as MEMORY_GRAPH_HOSTILE_MESSAGES and MEMORY_GRAPH_HOSTILE_SEED say.
func TestHostileMessages(t *testing.T) {
	node := start(t)
	conn, err := node.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	report, err := hostile.Run(t.Context(), hostile.Config{
		Conn: conn, Seed: number(t, seedVariable, 1), Messages: int(number(t, messagesVariable, 2000)),
		Report: func(err error) { t.Error(err) },
	})
	t.Logf("%+v", report)
	if err != nil {
		t.Fatal(err)
	}
	if report.Accepted*10 < report.Sent {
		t.Errorf("of %d messages only %d were accepted: they do not come far", report.Sent, report.Accepted)
	}
}

// TestNothingIsLeftBehind lets 24 callers send 120 hostile messages each at once, or MEMORY_GRAPH_HOSTILE_MESSAGES together,
// and looks at what the server holds when they have gone.
func TestNothingIsLeftBehind(t *testing.T) {
	const callers = 24
	node := start(t)
	dial := func() (*grpc.ClientConn, error) { return node.Dial() }
	each := int(number(t, messagesVariable, 120*callers)) / callers
	seed := number(t, seedVariable, 1)
	report := func(err error) { t.Error(err) }
	if err := hostile.Storm(t.Context(), dial, seed+1000, callers, 20, report); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), calmWithin)
	defer cancel()
	before, err := hostile.AwaitCalm(ctx, node.MetricsAddress(), hostile.Vitals{Goroutines: 100, Heap: 256 << 20})
	if err != nil {
		t.Fatalf("after the warm-up: %v", err)
	}
	if err := hostile.Storm(t.Context(), dial, seed, callers, each, report); err != nil {
		t.Fatal(err)
	}
	peak, err := hostile.ReadVitals(t.Context(), node.MetricsAddress())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), calmWithin)
	defer cancel()
	after, err := hostile.AwaitCalm(ctx, node.MetricsAddress(), before)
	t.Logf("before %+v, at the end of the storm %+v, after %+v", before, peak, after)
	if err != nil {
		t.Errorf("the server still holds what the callers left: %v", err)
	}
	if peak.Resident > maxResident {
		t.Errorf("the server takes %.0f bytes, more than %d", peak.Resident, maxResident)
	}
}

// maxResident bounds the server under a storm: its caches, and what the requests under way may take.
const maxResident = 1500 << 20
