package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// errSkipped says that what a row needs is not there.
var errSkipped = errors.New("skipped")

// exitAbsent is how pgbench says that PostgreSQL is not installed.
const exitAbsent = 3

// A session is the runs of one row.
type session struct {
	bench    *bench
	ctx      context.Context
	server   string
	commands []string
}

// A result is what the programs print, as far as rows look at it.
type result struct {
	System string `json:"system"`
	Server struct {
		Version string `json:"version"`
		Fsync   string `json:"fsync"`
		Log     string `json:"log_store"`
		Timing  string `json:"raft_timing"`
	} `json:"server"`
	Disk struct {
		Log  latency `json:"log_store_ms"`
		Sync latency `json:"append_and_sync_ms"`
	} `json:"disk"`
	Seconds      float64   `json:"seconds"`
	Calls        int64     `json:"calls"`
	Operations   int64     `json:"operations"`
	PerSecond    float64   `json:"operations_per_second"`
	Refused      int64     `json:"refused"`
	Latency      latency   `json:"latency_ms"`
	Above        latency   `json:"event_after_write_ms"`
	Acknowledged int64     `json:"acknowledged"`
	ReadBack     int64     `json:"read_back"`
	ServerCores  float64   `json:"server_cpu_cores"`
	ServerCPU    float64   `json:"server_cpu_us_per_operation"`
	NodeCores    []float64 `json:"node_cpu_cores"`
	ServerRSS    int64     `json:"server_rss_bytes"`
	Growth       int64     `json:"server_rss_growth_bytes"`
	ClientCores  float64   `json:"client_cpu_cores"`
	Exported     float64   `json:"exported_nodes_per_second"`
	Imported     float64   `json:"imported_nodes_per_second"`
	Large        *growth   `json:"growth"`
}

type latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
}

// ours runs a workload of memory-graph bench.
func (s *session) ours(args ...string) (result, error) {
	if args[0] != "grow" && args[0] != "transfer" { // which end by themselves
		args = append(args, "--duration", s.bench.duration.String())
	}
	return s.check(s.run(s.bench.binary, append([]string{"bench"}, args...), "--data-dir", "-o", "json"))
}

// check refuses a result that lacks what was acknowledged, and notes whose it is.
func (s *session) check(r result, err error) (result, error) {
	if err != nil {
		return r, err
	}
	if r.ReadBack != r.Acknowledged {
		return r, fmt.Errorf("%d of %d acknowledged writes were read back", r.ReadBack, r.Acknowledged)
	}
	v := r.Server
	s.server = fmt.Sprintf("fsync %s, %s, %s, %s", v.Fsync, v.Log, v.Timing, v.Version)
	if v.Fsync == "" { // it did not start them: start says how they run
		s.server = fmt.Sprintf("fsync on, boltdb, LAN timers, %s", v.Version)
	}
	return r, nil
}

// postgres runs pgbench.
func (s *session) postgres(args ...string) (result, error) {
	r, err := s.run(s.bench.pgbench, append(args, "-duration", s.bench.duration.String()), "-data-dir")
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitAbsent {
		return r, fmt.Errorf("PostgreSQL is not installed (apt-get install postgresql): %w", errSkipped)
	}
	return r, err
}

// run runs a program and reads what it prints. The folder and the output format are not told of: whoever repeats it by hand has
// others.
func (s *session) run(program string, args []string, dataDir string, more ...string) (r result, err error) {
	told := filepath.Base(program) + " " + strings.Join(args, " ")
	if !slices.Contains(s.commands, told) {
		s.commands = append(s.commands, told)
	}
	at := slices.Index(args, "--")
	if at < 0 {
		at = len(args)
	}
	if s.bench.dataDir != "" && dataDir != "" {
		more = append(more, dataDir, s.bench.dataDir)
	}
	args = slices.Insert(slices.Clone(args), at, more...)
	cmd := exec.CommandContext(s.ctx, program, args...)
	// It has a server to stop and a folder to remove.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return r, fmt.Errorf("%s%w", lastLine(errs.String()), err)
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return r, fmt.Errorf("%s: %w", told, err)
	}
	return r, nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	s = s[strings.LastIndexByte(s, '\n')+1:]
	if s != "" {
		s += ": "
	}
	return s
}
