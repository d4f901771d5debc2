package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/load"
)

// A benchServer is what a figure has to say of its server. Empty fields are unknown.
type benchServer struct {
	Version string `json:"version,omitempty"`
	Fsync   string `json:"fsync,omitempty"`
	Log     string `json:"log_store,omitempty"`
	Timing  string `json:"raft_timing,omitempty"`
	Flags   string `json:"flags,omitempty"`
}

// String is one line.
func (s benchServer) String() string {
	if s.Fsync == "" {
		return "not started here"
	}
	text := fmt.Sprintf("%s, fsync %s, log %s, Raft timing %s", s.Version, s.Fsync, s.Log, s.Timing)
	if s.Flags != "" {
		text += ", " + s.Flags
	}
	return text
}

// A startedServer is a server in a process of its own.
type startedServer struct {
	benchServer
	address string
	process load.Process
	command *exec.Cmd
	folder  string
	// output is closed when the process has closed its own.
	output chan struct{}
}

// startServer starts this program as a server in a new folder and waits until it is ready.
func (p *program) startServer(ctx context.Context, parent string, flags []string) (*startedServer, error) {
	folder, err := os.MkdirTemp(parent, "memory-graph-bench-")
	if err != nil {
		return nil, err
	}
	s, err := p.startServerOn(ctx, folder, flags)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return s, nil
}

// startServerOn starts this program as a server on a folder and waits until it is ready.
func (p *program) startServerOn(ctx context.Context, folder string, flags []string) (*startedServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := append([]string{"dev", "--data-dir", folder, "--grpc-port", "0", "--metrics-port", "0", "--log-level", "error"}, flags...)
	s := &startedServer{folder: folder, command: exec.Command(self, args...), output: make(chan struct{}), benchServer: describeServer(flags)}
	s.command.Stderr = p.stderr
	bindServer(s.command)
	stdout, err := s.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("start a server: %w", err)
	}
	s.process = load.Process(s.command.Process.Pid)
	if s.address, err = s.awaitReady(ctx, stdout); err != nil {
		_ = s.kill()
		return nil, err
	}
	return s, nil
}

// describeServer says what the flags make of a server.
func describeServer(flags []string) benchServer {
	t := cluster.LAN()
	s := benchServer{
		Version: version, Fsync: "on", Log: "boltdb", Flags: strings.Join(flags, " "),
		Timing: fmt.Sprintf("%d/%d/%d ms", t.Heartbeat.Milliseconds(), t.Election.Milliseconds(), t.Lease.Milliseconds()),
	}
	if slices.Contains(flags, "--in-memory") {
		s.Fsync, s.Log = "off", "memory"
	}
	return s
}

// awaitReady reads the address from the line that the server prints when it serves.
func (s *startedServer) awaitReady(ctx context.Context, stdout io.Reader) (string, error) {
	addresses := make(chan string, 1)
	go func() {
		defer close(s.output)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			rest, ready := strings.CutPrefix(lines.Text(), "ready grpc=")
			if address, _, _ := strings.Cut(rest, " "); ready && len(addresses) == 0 {
				addresses <- address
			}
		}
	}()
	select {
	case address := <-addresses:
		return address, nil
	case <-s.output:
		return "", errors.New("the server that was started ended before it was ready")
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// stopTimeout is how long a server may take to end before it is killed.
const stopTimeout = 30 * time.Second

// stop ends the process and removes its folder.
func (s *startedServer) stop() error { return errors.Join(s.end(), os.RemoveAll(s.folder)) }

// end asks the process to stop and waits until it has.
func (s *startedServer) end() error {
	err := s.command.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(stopTimeout, func() { _ = s.command.Process.Kill() })
	<-s.output
	err = errors.Join(err, s.command.Wait())
	kill.Stop()
	if err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	return nil
}

// kill ends the process at once, as a crash does.
func (s *startedServer) kill() error {
	err := s.command.Process.Kill()
	<-s.output
	_ = s.command.Wait() // it was killed
	return err
}
