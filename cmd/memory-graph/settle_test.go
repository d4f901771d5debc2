package main

import (
	"bytes"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// serverRun runs `memory-graph server` to its end, which must come by itself.
func serverRun(t *testing.T, env map[string]string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := surroundings(env, &out, &errs).run(t.Context(), append([]string{"server"}, args...))
	return result{code, out.String(), errs.String()}
}

// settled are the settings that --print-config shows, and where each comes from.
func settled(t *testing.T, env map[string]string, args ...string) (values, from map[string]string) {
	t.Helper()
	r := serverRun(t, env, append(args, "--print-config")...)
	if r.code != exitOK {
		t.Fatalf("%q: %+v", args, r)
	}
	values, from = map[string]string{}, map[string]string{}
	for line := range strings.Lines(r.out) {
		setting, origin, _ := strings.Cut(strings.TrimSpace(line), " # ")
		key, value, _ := strings.Cut(strings.TrimSpace(setting), ": ")
		values[key], from[key] = value, strings.TrimSpace(origin)
	}
	return values, from
}

func TestFlagThenEnvironmentThenFileThenDefault(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node.yaml")
	writeFile(t, file, "# a node\ngrpc-port: 1\nmetrics-port: 2\nlog-level: debug\nlog-json: true\njoin: [a, b:7]\nmax-log-bytes: 1GiB\nrequest-timeout: 5s\n")
	env := map[string]string{"METRICS_PORT": "3", "LOG_LEVEL": "warn", configVariable: file, clusterSecret: strings.Repeat("s", 32), "PEER_ADDR": "n1"}
	values, from := settled(t, env, "--log-level", "error")
	want := map[string][2]string{
		"log-level": {"error", "flag --log-level"}, "metrics-port": {"3", "environment METRICS_PORT"}, "grpc-port": {"1", file + ":2"},
		"log-json": {"true", file + ":5"}, "join": {"['a:50053', 'b:7']", file + ":6"}, "max-log-bytes": {"1GiB", file + ":7"},
		"request-timeout": {"5s", file + ":8"}, "grpc-host": {"127.0.0.1", "default"}, "raft-timing": {"lan", "default"},
		"peer-addr": {"n1:50052", "environment PEER_ADDR"}, "gossip-addr": {"n1:50053", "default, from peer-addr"},
		"# CLUSTER_SECRET": {"[redacted]", "environment CLUSTER_SECRET"},
	}
	for key, w := range want {
		if got := [2]string{values[key], from[key]}; got != w {
			t.Errorf("%s: got %q, want %q", key, got, w)
		}
	}
	if len(values["node-id"]) == 0 || from["node-id"] != "default, from the name of this host" {
		t.Errorf("node-id %q from %q", values["node-id"], from["node-id"])
	}
}

// TestWhatIsPrintedIsAFile: the print of the settings, taken as a file, gives the same settings.
func TestWhatIsPrintedIsAFile(t *testing.T) {
	r := serverRun(t, nil, "--print-config", "--node-id", "n1", "--data-dir", "it's \"here\": #1\u202e", "--event-retention-age", "90m", "--disk-reserve", "0")
	if r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	file := filepath.Join(t.TempDir(), "node.yaml")
	writeFile(t, file, r.out)
	again, from := settled(t, nil, "--config", file)
	first := map[string]string{}
	for line := range strings.Lines(r.out) {
		setting, _, _ := strings.Cut(strings.TrimSpace(line), " # ")
		key, value, _ := strings.Cut(strings.TrimSpace(setting), ": ")
		first[key] = value
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("(-printed +read):\n%s", diff)
	}
	for key, origin := range from {
		if !strings.HasPrefix(origin, file+":") {
			t.Errorf("%s is from %s", key, origin)
		}
	}
}

func TestEveryFlagOfAServerIsPrinted(t *testing.T) {
	values, from := settled(t, nil)
	var want []string
	(&program{}).newServerCommand().Flags().VisitAll(func(f *pflag.Flag) {
		if isSetting(f.Name) {
			want = append(want, f.Name)
		}
	})
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(values))); diff != "" {
		t.Errorf("(-flags +printed):\n%s", diff)
	}
	for key, origin := range from {
		if !strings.HasPrefix(origin, "default") {
			t.Errorf("%s is from %q", key, origin)
		}
	}
}

func TestWrongFilesNameLineAndKey(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{"grpc_port: 3", []string{":1: grpc_port: unknown key; did you mean grpc-port?"}},
		{"a: 1\nb: 2\ngrpc-port: x", []string{":1: a: unknown key; the keys are the names of the flags", ":2: b: unknown key", ":3: grpc-port: "}},
		{"cluster-secret: x", []string{":1: cluster-secret: unknown key; a secret has a file of its own: cluster-secret-file"}},
		{"config: other.yaml", []string{":1: config: unknown key"}},
		{"in-memory: true", []string{":1: in-memory: unknown key"}},
		{"grpc-port: 1\ngrpc-port: 2", []string{":2: grpc-port: is set in line 1, too"}},
		{"node-id:", []string{":1: node-id: has no value"}},
		{"node-id: {a: b}", []string{":1: node-id: want a value or a list"}},
		{"join: [[a]]", []string{":1: join: want a list of plain values"}},
		{"grpc-port: [1, 2]", []string{":1: grpc-port: want one value"}},
		{"- a", []string{":1: want lines of the form"}},
		{"a: b: c", []string{"node.yaml: yaml: "}},
		{"grpc-port: 1\n---\ngrpc-port: 2", []string{"more than one document"}},
		{strings.Repeat("#", maxConfigBytes+1), []string{"more than 1048576 bytes"}},
	}
	for _, tt := range tests {
		file := filepath.Join(t.TempDir(), "node.yaml")
		writeFile(t, file, tt.text)
		r := serverRun(t, nil, "--config", file, "--print-config")
		for _, want := range tt.want {
			if r.code != exitUsage || !strings.Contains(r.err, want) {
				t.Errorf("%.40q: exit code %d, %q is missing in\n%s", tt.text, r.code, want, r.err)
			}
		}
	}
	if r := serverRun(t, nil, "--config", filepath.Join(t.TempDir(), "none")); r.code != exitUsage || !strings.Contains(r.err, "no such file") {
		t.Errorf("%+v", r)
	}
	file := filepath.Join(t.TempDir(), "node.yaml")
	writeFile(t, file, "# nothing\n")
	if r := serverRun(t, nil, "--config", file, "--print-config"); r.code != exitOK {
		t.Errorf("%+v", r)
	}
}

// TestDevReadsTheFileToo: it is a server with other defaults.
func TestDevReadsTheFileToo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dev.yaml")
	writeFile(t, file, "in-memory: true\n")
	r := dev(t, nil, "--config", file, "--print-config")
	if r.code != exitOK || !strings.Contains(r.out, "in-memory: true") || !strings.Contains(r.out, file+":1") || strings.Contains(r.out, "peer-addr") {
		t.Errorf("%+v", r)
	}
}
