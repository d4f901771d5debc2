package main

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func address(t *testing.T, s string) net.Addr {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestReachable(t *testing.T) {
	for in, want := range map[string]string{
		"0.0.0.0:7": "127.0.0.1:7", "[::]:7": "[::1]:7", "127.0.0.1:7": "127.0.0.1:7", "192.0.2.1:7": "192.0.2.1:7", "[::1]:7": "[::1]:7",
	} {
		if got := reachable(address(t, in)); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
	if got := reachable(&net.UnixAddr{Name: "/tmp/x", Net: "unix"}); got != "/tmp/x" {
		t.Errorf("got %s", got)
	}
}

func TestQuoted(t *testing.T) {
	for in, want := range map[string]string{
		"./data": "./data", "/srv/dätå": "/srv/dätå", "": `""`, "my data": `"my data"`, "a\nready grpc=evil": `"a\nready grpc=evil"`,
		`say "hi"`: `"say \"hi\""`, "a\x1b[2Jb": `"a\x1b[2Jb"`, `C:\data`: `C:\data`,
	} {
		if got := quoted(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{
		"bin/memory-graph": "bin/memory-graph", "/opt/my tools/mg": "'/opt/my tools/mg'", "it's": `'it'\''s'`, "": "''", "$(reboot)": "'$(reboot)'",
	} {
		if got := shellWord(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestNextSteps(t *testing.T) {
	onDisk, inMemory := serverConfig{dataDir: "./data"}, serverConfig{dataDir: "./data", inMemory: true}
	tests := []struct {
		cfg             serverConfig
		self, env, api  string
		want, wantNever string
	}{
		{onDisk, "memory-graph", "", defaultAddress, "\n  memory-graph session list\n", "--address"},
		{onDisk, "memory-graph", "", "127.0.0.1:7", "\n  memory-graph session list --address 127.0.0.1:7\n", "gone"},
		// The commands that follow would go to where the variable points.
		{onDisk, "memory-graph", "elsewhere:1", defaultAddress, "session list --address " + defaultAddress + "\n", "elsewhere"},
		{onDisk, "my tools/mg", "", defaultAddress, "\n  'my tools/mg' session list\n", "memory-graph"},
		{onDisk, "mg", "", defaultAddress, "the data stays in ./data.\n", "goes with it"},
		{inMemory, "mg", "", defaultAddress, "the data goes with it.\n", "stays"},
	}
	for _, tt := range tests {
		p := surroundings(map[string]string{addressVariable: tt.env}, nil, nil)
		p.self = tt.self
		if got := p.nextSteps(tt.cfg, tt.api, "127.0.0.1:9"); !strings.Contains(got, tt.want) || strings.Contains(got, tt.wantNever) {
			t.Errorf("%+v: want %q and not %q in\n%s", tt, tt.want, tt.wantNever, got)
		}
	}
}

func TestWelcomeWarnsOfOpenAddresses(t *testing.T) {
	for _, tt := range []struct {
		api, metrics string
		want         int
	}{
		{"127.0.0.1:1", "127.0.0.1:2", 0}, {"[::1]:1", "127.0.0.2:2", 0}, {"0.0.0.0:1", "127.0.0.1:2", 1}, {"[::]:1", "192.0.2.1:2", 2},
	} {
		var out, log bytes.Buffer
		p := surroundings(nil, &out, nil)
		err := p.welcome(t.Context(), serverConfig{dataDir: "my data"}, hclog.New(&hclog.LoggerOptions{Output: &log}), address(t, tt.api), address(t, tt.metrics), "")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(log.String(), "nothing is encrypted"); got != tt.want {
			t.Errorf("%+v: %d warnings\n%s", tt, got, &log)
		}
		if want := "ready grpc=" + tt.api + " metrics=" + tt.metrics + " data=\"my data\"\n"; out.String() != want {
			t.Errorf("got %q, want %q", out.String(), want)
		}
	}
}

// TestSampleThatCannotBeLoaded: the server does not claim to be ready with it, and says what it tried.
func TestSampleThatCannotBeLoaded(t *testing.T) {
	cfg := serverConfig{sample: true}
	for method, want := range map[string]string{
		"GetMetrics": "look whether the graph is empty: broken (Internal)", "Import": "load the sample: import: broken (Internal)", "GetSession": "show the sample: broken (Internal)",
	} {
		f := startFake(t)
		f.refusing(method, status.Error(codes.Internal, "broken"))
		var out bytes.Buffer
		err := surroundings(nil, &out, nil).welcome(t.Context(), cfg, hclog.NewNullLogger(), address(t, f.address), address(t, f.address), "")
		if err == nil || !strings.HasPrefix(explain(err), want) || strings.Contains(out.String(), "ready") {
			t.Errorf("%s: got %v, want %s; output:\n%s", method, err, want, &out)
		}
	}
}

// TestPortThatFailsEndsTheServer: a listener that breaks is a failure, and both goroutines end.
func TestPortThatFailsEndsTheServer(t *testing.T) {
	for i := range 2 {
		listeners := []net.Listener{}
		for range 2 {
			l, err := listen("grpc", defaultHost, 0)
			if err != nil {
				t.Fatal(err)
			}
			listeners = append(listeners, l)
		}
		if err := listeners[i].Close(); err != nil {
			t.Fatal(err)
		}
		s := openServer(t)
		err := supervise(t.Context(), func(ctx context.Context, failed *failure) error {
			running := start(s, &ports{api: listeners[0], metrics: listeners[1]}, failed)
			<-ctx.Done()
			running.shutDown(hclog.NewNullLogger(), failed)
			running.wait()
			return nil
		})
		if want := []string{"serve the API: ", "serve metrics: "}[i]; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
