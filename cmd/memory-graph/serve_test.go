package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc"
)

func TestDevServes(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "not", "there", "yet")
	s := startDev(t, on(folder)...)
	if got, want := readyLine(s.out.String()), "ready grpc="+s.api+" metrics="+s.metrics+" data="+folder; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := s.out.String(); strings.Count(got, "\n") != 1 {
		t.Errorf("more than one line without --sample:\n%s", got)
	}
	for _, a := range []string{s.api, s.metrics} {
		if host, _, err := net.SplitHostPort(a); err != nil || host != defaultHost {
			t.Errorf("listens on %s, want loopback", a)
		}
	}
	var session struct{ ID string }
	if err := json.Unmarshal([]byte(s.must(t, "session", "create", "-o", "json")), &session); err != nil {
		t.Fatal(err)
	}
	s.must(t, "node", "add-prompt", "--session", session.ID, "--content", "Is it raining?")
	if got := s.must(t, "session", "show", session.ID); !strings.Contains(got, "Is it raining?") {
		t.Errorf("tree:\n%s", got)
	}
	for path, want := range map[string]string{
		"/health": `"status":"healthy"`, "/ready": `"status":"ready"`, "/": "/metrics", "/metrics": "memory_graph_total_nodes 2",
	} {
		if code, body := get(t, s.metrics, path); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: status %d, want %q in\n%s", path, code, want, body)
		}
	}
	if got := s.must(t, "health"); !strings.Contains(got, "SERVING") {
		t.Errorf("health: %s", got)
	}
	s.stop(t)
	if r := execute(t, "", "health", "--address", s.api, "--timeout", "5s"); r.code != exitFailed {
		t.Errorf("health of a server that has gone: %+v", r)
	}
	if got := s.err.String(); !strings.Contains(got, "stopping") || strings.Contains(got, "others than this machine") {
		t.Errorf("log:\n%s", got)
	}
}

func TestMemoryForgets(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	for range 2 {
		s := startDev(t, on(folder, "--in-memory")...)
		if got := readyFields(readyLine(s.out.String()))["data"]; got != "memory" {
			t.Errorf("data=%s", got)
		}
		if got := s.must(t, "session", "list", "-o", "json"); strings.Contains(got, `"id"`) {
			t.Errorf("something is there: %s", got)
		}
		s.must(t, "session", "create")
		s.stop(t)
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("a folder was made: %v", err)
	}
}

func TestSampleIsLoadedIntoAnEmptyGraphOnly(t *testing.T) {
	folder := t.TempDir()
	tree, err := os.ReadFile(filepath.Join("testdata", "sample.txt"))
	if err != nil {
		t.Fatal(err)
	}
	s := startDev(t, on(folder, "--sample")...)
	before, after, _ := strings.Cut(s.out.String(), "ready ")
	if before != string(tree) {
		t.Errorf("before the ready line:\n%s\nwant\n%s", before, tree)
	}
	for _, want := range []string{
		"\n  bin/memory-graph session list --address " + s.api + "\n", "events --follow --address", "import PATH --address", "http://" + s.metrics + "/",
		"the data stays in " + folder + ".",
	} {
		if !strings.Contains(after, want) {
			t.Errorf("%q is missing in\n%s", want, after)
		}
	}
	stats := s.must(t, "session", "list")
	s.stop(t)

	s = startDev(t, on(folder, "--sample")...)
	if got := s.out.String(); !strings.HasPrefix(got, "ready ") || !strings.Contains(got, "try, in another terminal") {
		t.Errorf("second start:\n%s", got)
	}
	if got := s.must(t, "session", "list"); got != stats {
		t.Errorf("sessions after the second start:\n%s\nwant\n%s", got, stats)
	}
	s.stop(t)

	other := t.TempDir()
	s = startDev(t, on(other)...)
	s.must(t, "session", "create")
	s.stop(t)
	s = startDev(t, on(other, "--sample")...)
	if got := s.out.String(); !strings.HasPrefix(got, "ready ") {
		t.Errorf("the sample was loaded beside something else:\n%s", got)
	}
}

// TestStopBeforeReady: whoever asks to stop while the server starts gets a clean end.
func TestStopBeforeReady(t *testing.T) {
	folder := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		var out, errs bytes.Buffer
		if code := surroundings(nil, &out, &errs).run(ctx, append([]string{"dev", "--sample"}, on(folder)...)); code != exitOK {
			t.Errorf("exit code %d\n%s", code, errs.String())
		}
		if strings.Contains(out.String(), "ready") {
			t.Errorf("output:\n%s", out.String())
		}
	}
	startDev(t, on(folder)...)
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	folder := t.TempDir()
	for flag, other := range map[string]string{"--grpc-port": "--metrics-port", "--metrics-port": "--grpc-port"} {
		r := dev(t, nil, "--data-dir", folder, flag, port, other, "0")
		if r.code != exitFailed || !strings.Contains(r.err, "address already in use; choose another port with "+flag+", 0 for a free one") || r.out != "" {
			t.Errorf("%s: %+v", flag, r)
		}
	}
	// The node was closed each time: the folder is free, and whole.
	startDev(t, on(folder)...)
}

func TestAddressThatIsNotHere(t *testing.T) {
	for _, flag := range []string{"--grpc-host", "--metrics-host"} {
		// 192.0.2.0/24 is for documentation: no machine has such an address.
		r := dev(t, nil, on(t.TempDir(), "--in-memory", flag, "192.0.2.1")...)
		if r.code != exitFailed || !strings.Contains(r.err, "choose another address with "+flag) {
			t.Errorf("%s: %+v", flag, r)
		}
	}
}

func TestFolderInUse(t *testing.T) {
	folder := t.TempDir()
	s := startDev(t, on(folder)...)
	r := dev(t, nil, on(folder)...)
	for _, want := range []string{folder, "process " + strconv.Itoa(os.Getpid()), "in use", "stop it or choose another"} {
		if r.code != exitFailed || !strings.Contains(r.err, want) {
			t.Errorf("exit code %d, want 1 and %q in: %s", r.code, want, r.err)
		}
	}
	s.must(t, "session", "create")
}

func TestFolderThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "no folder")
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o500); err != nil {
		t.Fatal(err)
	}
	nameless := filepath.Join(t.TempDir(), "\x00")
	// What is asked for, and the part of it that the error names.
	folders := map[string]string{file: file, filepath.Join(file, "below"): file, nameless: nameless}
	if os.Getuid() != 0 { // to root no folder is closed
		folders[closed], folders[filepath.Join(closed, "below")] = closed, closed
	}
	for folder, named := range folders {
		r := dev(t, nil, on(folder)...)
		if r.code != exitFailed || !strings.Contains(r.err, printable(named)) || r.out != "" {
			t.Errorf("%q: %+v", folder, r)
		}
	}
}

func TestDamagedIdentity(t *testing.T) {
	folder := t.TempDir()
	startDev(t, on(folder)...).stop(t)
	meta := filepath.Join(folder, "meta.json")
	whole, err := os.ReadFile(meta)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{", strings.Replace(string(whole), "dev-", "def-", 1), string(whole) + " "} {
		writeFile(t, meta, text)
		if r := dev(t, nil, on(folder)...); r.code != exitFailed || !strings.Contains(r.err, meta) || !strings.Contains(r.err, "damaged") {
			t.Errorf("meta.json is %q: %+v", text, r)
		}
	}
	if err := os.Remove(meta); err != nil {
		t.Fatal(err)
	}
	if r := dev(t, nil, on(folder)...); r.code != exitFailed {
		t.Errorf("without meta.json: %+v", r)
	}
	writeFile(t, meta, string(whole))
	startDev(t, on(folder)...)
}

func TestLogs(t *testing.T) {
	s := startDev(t, on(t.TempDir(), "--in-memory", "--log-json", "--log-level", "debug", "--grpc-host", "0.0.0.0")...)
	if !strings.HasPrefix(s.api, "0.0.0.0:") {
		t.Errorf("listens on %s, want IPv4 alone", s.api)
	}
	s.must(t, "health")
	s.stop(t)
	warned := false
	for line := range strings.Lines(s.err.String()) {
		var entry struct {
			Level   string `json:"@level"`
			Message string `json:"@message"`
			Address string `json:"address"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("%v: %s", err, line)
		}
		warned = warned || entry.Level == "warn" && strings.Contains(entry.Message, "no credentials") && entry.Address == s.api
	}
	if !warned {
		t.Errorf("nobody was warned of the open address:\n%s", s.err)
	}
	s = startDev(t, on(t.TempDir(), "--in-memory", "--log-level", "off", "--grpc-host", "0.0.0.0")...)
	s.stop(t)
	if got := s.err.String(); got != "" {
		t.Errorf("log at level off:\n%s", got)
	}
}

var errTest = errors.New("the disk is gone")

func TestSupervise(t *testing.T) {
	other := errors.New("close node: broken")
	tests := []struct {
		name string
		run  func(ctx context.Context, stop func(), f *failure) error
		want error
	}{
		{"asked to stop", func(ctx context.Context, stop func(), _ *failure) error { stop(); <-ctx.Done(); return nil }, nil},
		{"did not start", func(context.Context, func(), *failure) error { return other }, other},
		{"closed badly", func(ctx context.Context, stop func(), _ *failure) error { stop(); <-ctx.Done(); return other }, other},
		{"failed and closed", func(ctx context.Context, _ func(), f *failure) error { f.report(errTest); <-ctx.Done(); return other }, errTest},
		{"failed while it stopped", func(ctx context.Context, stop func(), f *failure) error {
			stop()
			<-ctx.Done()
			f.report(errTest)
			return other
		}, errTest},
		{"failed for a reason that sounds like a request", func(ctx context.Context, _ func(), f *failure) error {
			f.report(errTest)
			f.report(context.Canceled)
			<-ctx.Done()
			return nil
		}, errTest},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			err := supervise(ctx, func(ctx context.Context, f *failure) error { return tt.run(ctx, stop, f) })
			if !errors.Is(err, tt.want) || (tt.want == errTest && errors.Is(err, other)) {
				t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
			}
		})
	}
}

// TestFailedServerThatHangsIsLeftBehind: closing waits for the disk that made the server fail, also after a request to stop.
func TestFailedServerThatHangsIsLeftBehind(t *testing.T) {
	for _, asked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			disk := make(chan struct{})
			start := time.Now()
			err := supervise(ctx, func(ctx context.Context, f *failure) error {
				if asked {
					stop()
					<-ctx.Done()
				}
				f.report(errTest)
				<-disk
				return nil
			})
			if took := time.Since(start); !errors.Is(err, errTest) || !strings.Contains(err.Error(), "did not close") || took != failedTimeout {
				t.Errorf("asked before %v: %v after %v", asked, err, took)
			}
			close(disk)
		})
	}
}

// slowNode is ready after some time. It does nothing else.
type slowNode struct {
	after time.Duration
	err   error
	limit error
	from  time.Time
}

func (n *slowNode) Limit() error { return n.limit }

func (n *slowNode) WaitReady(ctx context.Context) error {
	select {
	case <-time.After(time.Until(n.from.Add(n.after))):
		return n.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestLongLogIsWaitedFor(t *testing.T) {
	tests := []struct {
		node        slowNode
		limit       time.Duration
		want        error
		wantReports int
	}{
		{slowNode{after: time.Second}, time.Hour, nil, 0},
		{slowNode{after: 2*time.Minute + time.Second}, time.Hour, nil, 24},
		{slowNode{after: time.Hour}, 12 * time.Second, context.DeadlineExceeded, 2},
		{slowNode{after: 7 * time.Second, err: errTest}, time.Hour, errTest, 1},
		{slowNode{after: 7 * time.Second, limit: errTest}, time.Hour, nil, 1},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			tt.node.from = time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), tt.limit)
			defer cancel()
			err := awaitReady(ctx, &tt.node, hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Info}), func() string { return "reading the log" })
			if reports := strings.Count(log.String(), "not ready yet"); !errors.Is(err, tt.want) || reports != tt.wantReports {
				t.Errorf("ready after %v: %v, want %v; %d reports, want %d", tt.node.after, err, tt.want, reports, tt.wantReports)
			}
			if tt.node.limit != nil && (!strings.Contains(log.String(), errTest.Error()) || strings.Contains(log.String(), "reading")) {
				t.Errorf("reports do not name what the node lacks: %s", &log)
			}
		})
	}
}

// TestFailureOfANodeEndsTheServer: the node reports to whoever can end the process, and the process says why it ended.
func TestFailureOfANodeEndsTheServer(t *testing.T) {
	cfg := &serverConfig{}
	err := supervise(t.Context(), func(ctx context.Context, f *failure) error {
		cfg.node(nil, f.report).Fatal(errTest)
		<-ctx.Done()
		return nil
	})
	if !errors.Is(err, errTest) || !strings.Contains(explain(err), "the node failed: the disk is gone") {
		t.Errorf("got %v", err)
	}
}

func TestEveryReasonOfTheLogHasAKind(t *testing.T) {
	for k := cluster.NoLeader; k <= cluster.Failed; k++ {
		var got *rpc.LogError
		err := logError(&cluster.Error{Kind: k, NotProposed: true, Err: errTest})
		if !errors.As(err, &got) || got.Kind == 0 || !got.NotProposed || !errors.Is(err, errTest) {
			t.Errorf("%v became %#v", k, err)
		}
	}
	if err := logError(errTest); err != errTest {
		t.Errorf("another error became %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("an unknown kind was taken for something")
		}
	}()
	logKind(0)
}
