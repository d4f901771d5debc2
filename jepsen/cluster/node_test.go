package cluster_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"go.uber.org/goleak"
)

// pretend makes this test binary act as a server that only prints, waits and ends; it serves nothing.
const pretend = "JEPSEN_PRETEND"

func TestMain(m *testing.M) {
	if how := os.Getenv(pretend); how != "" {
		os.Exit(act(how))
	}
	goleak.VerifyTestMain(m)
}

func act(how string) int {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	fmt.Println("started with", strings.Join(os.Args[1:], " ")) // where the ready line comes, so before it
	switch how {
	case "fails":
		return 3
	case "ends":
		return 0
	case "finds its port taken once":
		if mark := filepath.Join(filepath.Dir(os.Args[3]), "taken"); os.Mkdir(mark, 0o700) == nil {
			fmt.Fprintln(os.Stderr, "listen: address already in use")
			return 1
		}
	case "tells the time":
		return tellTheTime(stop)
	}
	fmt.Println("getting ready")
	fmt.Print("ready grpc=127.0.0.1:1 metrics=127.0.0")
	fmt.Println(".1:2 data=" + os.Args[3])
	<-stop
	if how == "stops badly" {
		return 1
	}
	return 0
}

// tellTheTime answers HTTP where a server has its metrics: every answer is dated.
func tellTheTime(stop <-chan os.Signal) int {
	after := func(flag string) string { return os.Args[slices.Index(os.Args, flag)+1] }
	at, err := net.Listen("tcp", net.JoinHostPort(after("--metrics-host"), after("--metrics-port")))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("ready metrics=%s\n", at.Addr())
	go func() {
		<-stop
		_ = at.Close() // ends Serve
	}()
	_ = http.Serve(at, http.NotFoundHandler())
	return 0
}

func newNode(t *testing.T, how string) *cluster.Node {
	t.Helper()
	t.Setenv(pretend, how)
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	node := cluster.New(cluster.Options{
		Binary: binary, DataDir: filepath.Join(t.TempDir(), "data"), InMemory: true, Args: []string{"--extra", "1"},
	})
	t.Cleanup(func() {
		if err := node.Kill(); err != nil {
			t.Error(err)
		}
	})
	return node
}

func TestANodeStartsStopsAndStartsAgain(t *testing.T) {
	node := newNode(t, "serves")
	for range 2 {
		if err := node.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if node.Address() != "127.0.0.1:1" || node.MetricsAddress() != "127.0.0.1:2" {
			t.Errorf("addresses are %q and %q", node.Address(), node.MetricsAddress())
		}
		if err := node.Start(t.Context()); !errors.Is(err, cluster.ErrRunning) {
			t.Errorf("second start: %v, want %v", err, cluster.ErrRunning)
		}
		if err := node.Wipe(); !errors.Is(err, cluster.ErrRunning) {
			t.Errorf("wipe while it runs: %v, want %v", err, cluster.ErrRunning)
		}
		if err := node.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if node.Address() != "" {
			t.Errorf("a stopped node is at %q", node.Address())
		}
	}
	logs := node.Logs()
	if strings.Count(logs, "getting ready") != 2 || !strings.Contains(logs, "dev --data-dir "+node.DataDir()) ||
		!strings.Contains(logs, "--in-memory --extra 1") {
		t.Errorf("logs are %s", logs)
	}
}

func TestANodeIsKilled(t *testing.T) {
	node := newNode(t, "serves")
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	exited := node.Exited()
	if err := node.Kill(); err != nil {
		t.Fatal(err)
	}
	<-exited
	if err := node.Kill(); err != nil {
		t.Errorf("kill of what does not run: %v", err)
	}
	if node.Exited() != nil {
		t.Error("a killed node still has a process")
	}
}

func TestANodeThatEndsBeforeItIsReadySaysWhatItPrinted(t *testing.T) {
	for _, how := range []string{"fails", "ends"} {
		node := newNode(t, how)
		err := node.Start(t.Context())
		if !errors.Is(err, cluster.ErrExited) || !strings.Contains(err.Error(), "started with dev") {
			t.Errorf("start: %v, want %v and the output", err, cluster.ErrExited)
		}
	}
}

func TestABadExitIsAnError(t *testing.T) {
	node := newNode(t, "stops badly")
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := node.Stop(t.Context()); err == nil {
		t.Error("stop of a process that exits with 1 is no error")
	}
}

func TestWipeEmptiesTheFolder(t *testing.T) {
	node := newNode(t, "serves")
	if err := os.MkdirAll(filepath.Join(node.DataDir(), "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := node.Wipe(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(node.DataDir()); len(left) > 0 || err != nil {
		t.Errorf("data folder after the wipe has %v, %v", left, err)
	}
}

func TestWhatDoesNotRun(t *testing.T) {
	node := newNode(t, "serves")
	if err := node.AwaitReady(t.Context()); !errors.Is(err, cluster.ErrNotRunning) {
		t.Errorf("wait: %v, want %v", err, cluster.ErrNotRunning)
	}
	if err := node.Stop(t.Context()); err != nil {
		t.Errorf("stop of what does not run: %v", err)
	}
	missing := cluster.New(cluster.Options{Binary: filepath.Join(t.TempDir(), "nothing")})
	if err := missing.Start(t.Context()); err == nil {
		t.Error("a program that is not there was started")
	}
}

func TestTheBinaryOfTheEnvironmentIsUsed(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(cluster.BinaryVariable, path)
	if got, err := cluster.Binary(t.Context(), t.TempDir()); err != nil || got != path {
		t.Errorf("binary is %q, %v; want %q", got, err, path)
	}
	t.Setenv(cluster.BinaryVariable, filepath.Join(t.TempDir(), "nothing"))
	if got, err := cluster.Binary(t.Context(), t.TempDir()); err == nil {
		t.Errorf("a binary that is not there is %q", got)
	}
}
