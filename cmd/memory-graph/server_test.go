package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc"
)

// devServer is `memory-graph dev` running in this process.
type devServer struct {
	// The addresses of the ready line; the last two are empty without peers.
	api, metrics, peer, gossip string
	out, err                   *watchedBuffer
	ask                        context.CancelFunc
	code                       chan int
}

// watchedBuffer keeps what is written and closes ready behind the line that begins with that word.
type watchedBuffer struct {
	mu    sync.Mutex
	text  bytes.Buffer
	ready chan struct{}
}

func newWatchedBuffer() *watchedBuffer { return &watchedBuffer{ready: make(chan struct{})} }

func (b *watchedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Write(p)
	select {
	case <-b.ready:
	default:
		if readyLine(b.text.String()) != "" {
			close(b.ready)
		}
	}
	return len(p), nil
}

func (b *watchedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// readyLine is the whole line that begins with ready, or nothing.
func readyLine(text string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "ready ") && strings.HasSuffix(line, "\n") {
			return strings.TrimSuffix(line, "\n")
		}
	}
	return ""
}

// readyFields are the values of a ready line without quoted ones.
func readyFields(line string) map[string]string {
	fields := map[string]string{}
	for _, word := range strings.Fields(line) {
		if k, v, ok := strings.Cut(word, "="); ok {
			fields[k] = v
		}
	}
	return fields
}

// surroundings makes a program whose environment is a map.
func surroundings(env map[string]string, stdout, stderr io.Writer) *program {
	return &program{
		stdin: strings.NewReader(""), stdout: stdout, stderr: stderr, self: "bin/memory-graph",
		getenv: func(name string) string { return env[name] },
	}
}

// dev runs `memory-graph dev` to its end, which must come by itself.
func dev(t *testing.T, env map[string]string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := surroundings(env, &out, &errs).run(t.Context(), append([]string{"dev"}, args...))
	return result{code, out.String(), errs.String()}
}

// free lets a server take ports that are free.
var free = []string{"--grpc-port", "0", "--metrics-port", "0"}

// on are the flags of a server on free ports and on the folder.
func on(folder string, more ...string) []string {
	return append(append([]string{"--data-dir", folder}, free...), more...)
}

// startDev starts a server, waits until it is ready, and stops it when the test ends.
func startDev(t *testing.T, args ...string) *devServer {
	t.Helper()
	return startDevWith(t, nil, args...)
}

func startDevWith(t *testing.T, env map[string]string, args ...string) *devServer {
	t.Helper()
	return startHere(t, env, "dev", args...)
}

// startHere runs a command that serves in this process until the test ends, and waits until it is ready.
func startHere(t *testing.T, env map[string]string, name string, args ...string) *devServer {
	t.Helper()
	ctx, ask := context.WithCancel(context.Background())
	s := &devServer{out: newWatchedBuffer(), err: newWatchedBuffer(), ask: ask, code: make(chan int, 1)}
	p := surroundings(env, s.out, s.err)
	go func() {
		s.code <- p.run(ctx, append([]string{name}, args...))
		close(s.code)
	}()
	t.Cleanup(func() { s.stop(t) })
	select {
	case <-s.out.ready:
	case code := <-s.code:
		t.Fatalf("%s %q ended with exit code %d before it was ready:\n%s%s", name, args, code, s.out, s.err)
	}
	fields := readyFields(readyLine(s.out.String()))
	s.api, s.metrics, s.peer, s.gossip = fields["grpc"], fields["metrics"], fields["peer"], fields["gossip"]
	return s
}

// stop asks the server to stop; it must do so cleanly. Stopping it twice does nothing.
func (s *devServer) stop(t *testing.T) {
	t.Helper()
	s.ask()
	if code := <-s.code; code != exitOK {
		t.Errorf("exit code %d after a request to stop:\n%s", code, s.err)
	}
}

// must runs a client command that has to succeed against the server.
func (s *devServer) must(t *testing.T, args ...string) string {
	t.Helper()
	return mustAt(t, s.api, args...)
}

// mustAt runs a client command that has to succeed against the server at the address.
func mustAt(t *testing.T, address string, args ...string) string {
	t.Helper()
	r := execute(t, "", append(args, "--address", address)...)
	if r.code != exitOK {
		t.Fatalf("%q: exit code %d\n%s%s", args, r.code, r.out, r.err)
	}
	return r.out
}

// get fetches a page of a metrics port.
func get(t *testing.T, address, path string) (code int, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	reply, err := client.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply.StatusCode, string(text)
}

// connect opens a connection that ends with the test.
func connect(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// openServer makes a server of a node in memory that listens nowhere.
func openServer(t *testing.T) *rpc.Server {
	t.Helper()
	cfg := &serverConfig{
		inMemory: true, grpcHost: defaultHost, metricsHost: defaultHost, logLevel: "off", limits: defaultLimits(), peers: peersConfig{nodeID: "dev"},
		snapshotThreshold: cluster.DefaultSnapshotThreshold, trailingLogs: cluster.DefaultTrailingLogs,
	}
	node, err := cluster.Open(cfg.node(hclog.NewNullLogger(), func(err error) { t.Error(err) }))
	if err != nil {
		t.Fatal(err)
	}
	server, err := rpc.New(cfg.api(hclog.NewNullLogger()), &road{node: node}, node.Machine())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(server.Close(), node.Close()); err != nil {
			t.Error(err)
		}
	})
	return server
}
