package main

import (
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFlagBeforeEnvironmentBeforeDefault walks every variable that stands in for a flag.
func TestFlagBeforeEnvironmentBeforeDefault(t *testing.T) {
	tests := map[string]struct{ env, want, flag, wantFlag string }{
		"DB_PATH":                          {"/from/env", "/from/env", "/from/flag", "/from/flag"},
		"GRPC_HOST":                        {"0.0.0.0", "0.0.0.0", "::1", "::1"},
		"GRPC_PORT":                        {"1234", "1234", "0", "0"},
		"METRICS_PORT":                     {"1235", "1235", "0", "0"},
		"RUST_LOG":                         {"debug", "debug", "info", "info"},
		"LOG_LEVEL":                        {"error", "error", "info", "info"},
		"GRPC_MAX_CONNECTIONS":             {"7", "7", "10000", "10000"},
		"REQUEST_TIMEOUT_MS":               {"1500", "1.5s", "30s", "30s"},
		"GRPC_MAX_CONNECTIONS_PER_ADDRESS": {"8", "8", "0", "0"},
		"GRPC_MAX_CONNECTION_IDLE_MS":      {"60000", "1m0s", "0s", "0s"},
		"GRPC_MAX_CONNECTION_AGE_MS":       {"60000", "1m0s", "1h", "1h0m0s"},
		"GRPC_MAX_CALLS":                   {"9", "9", "20000", "20000"},
		"GRPC_STALL_TIMEOUT_MS":            {"1500", "1.5s", "30s", "30s"},
		"GRPC_MAX_SNAPSHOTS":               {"5", "5", "256", "256"},
		"GRPC_REQUEST_MEMORY":              {"64MiB", "64MiB", "1GiB", "1GiB"},
		"GRPC_PARTIAL_REQUEST_MEMORY":      {"64MiB", "64MiB", "4194304", "4MiB"},
		"RAFT_MAX_LOG_BYTES":               {"2GiB", "2GiB", "1048577", "1048577"},
		"ENABLE_REFLECTION":                {"false", "false", "true", "true"},
		"ENABLE_HEALTH":                    {"0", "false", "true", "true"},
		"DISK_RESERVE":                     {"512MiB", "512MiB", "0", "0"},
		"NODE_ID":                          {"n1", "n1", "n2", "n2"},
		"PEER_ADDR":                        {"a:1", "a:1", "b", "b"},
		"PEER_LISTEN":                      {"a:1", "a:1", "b", "b"},
		"GOSSIP_ADDR":                      {"a:1", "a:1", "b", "b"},
		"GOSSIP_LISTEN":                    {"a:1", "a:1", "b", "b"},
		"JOIN":                             {"a,b:1", "[a,b:1]", "c", "[c]"},
		"BOOTSTRAP_EXPECT":                 {"3", "3", "0", "0"},
		"READ_REPLICA":                     {"true", "true", "false", "false"},
		"RAFT_TIMING":                      {"wan", "wan", "lan", "lan"},
		"CLUSTER_SECRET_FILE":              {"secret", "secret", "other", "other"},
		"PEER_CERT_PATH":                   {"a.pem", "a.pem", "b.pem", "b.pem"},
		"PEER_KEY_PATH":                    {"a.key", "a.key", "b.key", "b.key"},
		"PEER_CA_CERT_PATH":                {"ca", "ca", "other", "other"},
		"PEER_ROLE":                        {"spiffe://a/", "spiffe://a/", "spiffe://b", "spiffe://b"},
	}
	if len(tests) != len(settings) {
		t.Errorf("%d variables are tested, there are %d", len(tests), len(settings))
	}
	for _, s := range settings {
		tt, ok := tests[s.name]
		if !ok {
			t.Errorf("%s is not tested", s.name)
			continue
		}
		value := func(v string, args ...string) string {
			p := surroundings(map[string]string{s.name: v}, io.Discard, io.Discard)
			cmd := p.newServerCommand()
			if err := cmd.ParseFlags(args); err != nil {
				t.Fatal(err)
			}
			if _, err := p.settle(cmd); err != nil {
				t.Fatal(err)
			}
			return cmd.Flags().Lookup(s.flag).Value.String()
		}
		preset := (&program{}).newServerCommand().Flags().Lookup(s.flag)
		if got := value(""); got != preset.DefValue {
			t.Errorf("%s empty: %s is %s, want the default %s", s.name, s.flag, got, preset.DefValue)
		}
		if got := value(tt.env); got != tt.want || got == preset.DefValue {
			t.Errorf("%s=%s: %s is %s, want %s", s.name, tt.env, s.flag, got, tt.want)
		}
		if got := value(tt.env, "--"+s.flag+"="+tt.flag); got != tt.wantFlag {
			t.Errorf("%s=%s beside --%s=%s: got %s", s.name, tt.env, s.flag, tt.flag, got)
		}
		if !strings.Contains(preset.Usage, s.name) {
			t.Errorf("the help of --%s does not name %s: %s", s.flag, s.name, preset.Usage)
		}
	}
}

func TestLogLevelBeforeItsAlias(t *testing.T) {
	p := surroundings(map[string]string{"RUST_LOG": "trace", "LOG_LEVEL": "warn"}, io.Discard, io.Discard)
	cmd := p.newDevCommand()
	if _, err := p.settle(cmd); err != nil {
		t.Fatal(err)
	}
	if got := cmd.Flags().Lookup("log-level").Value.String(); got != "warn" {
		t.Errorf("level %s, want warn", got)
	}
}

func TestZeroMillisecondsAreNever(t *testing.T) {
	for v, want := range map[string]string{"0": "0s", "250": "250ms"} {
		if got, err := millisecondsOrNever(v); err != nil || got != want {
			t.Errorf("%s: %q, %v", v, got, err)
		}
	}
	for _, v := range []string{"-1", "x", "1s"} {
		if _, err := millisecondsOrNever(v); err == nil {
			t.Errorf("%s is taken", v)
		}
	}
	if _, err := milliseconds("0"); err == nil {
		t.Error("a deadline of 0 is taken")
	}
}

func TestRustLog(t *testing.T) {
	for _, v := range []string{"trace", "DEBUG", " info ", "warn", "error", "off"} {
		if got, err := rustLog(v); err != nil || got != strings.TrimSpace(v) {
			t.Errorf("%q: %q, %v", v, got, err)
		}
	}
	for _, v := range []string{"info,hyper=warn", "llm_memory_graph=debug", "verbose", ",", "info/regex", "2"} {
		r := dev(t, map[string]string{"RUST_LOG": v}, on(t.TempDir())...)
		if r.code != exitUsage || !strings.Contains(r.err, "RUST_LOG: ") || !strings.Contains(r.err, "is not understood") {
			t.Errorf("RUST_LOG=%s: %+v", v, r)
		}
	}
}

func TestVariablesOfFeaturesThatAreNotThereRefuse(t *testing.T) {
	all := map[string]string{}
	for _, name := range unsupported {
		all[name] = "canary"
		folder := filepath.Join(t.TempDir(), "data")
		r := dev(t, map[string]string{name: "canary"}, on(folder)...)
		if r.code != exitUsage || !strings.Contains(r.err, name+" is set") || !strings.Contains(r.err, "unset it") {
			t.Errorf("%s: %+v", name, r)
		}
		if strings.Contains(r.err+r.out, "canary") {
			t.Errorf("%s: its value, which may be a secret, is printed: %s", name, r.err)
		}
		if matches, err := filepath.Glob(folder); err != nil || len(matches) > 0 {
			t.Errorf("%s: a folder was made: %v, %v", name, matches, err)
		}
	}
	r := dev(t, all, on(t.TempDir())...)
	for _, name := range unsupported {
		if !strings.Contains(r.err, name+" is set") {
			t.Errorf("not every problem at once: %s is missing in\n%s", name, r.err)
		}
	}
	for v, want := range map[string]int{"false": 0, "0": 0, "F": 0, "": 0, "true": 1, "1": 1, "no": 1} {
		p := surroundings(map[string]string{apiKeyRequired: v}, io.Discard, io.Discard)
		if _, err := p.settle(p.newDevCommand()); (err != nil) != (want == 1) {
			t.Errorf("%s=%q: %v", apiKeyRequired, v, err)
		}
	}
	// A path, or a key, of that name is not a switch.
	if r := dev(t, map[string]string{"TLS_CERT_PATH": "false", "API_KEYS": "0"}, on(t.TempDir())...); r.code != exitUsage {
		t.Errorf("got %+v", r)
	}
}

func TestEveryWrongSettingIsReportedAtOnce(t *testing.T) {
	env := map[string]string{
		"API_KEYS": "secret", "GRPC_PORT": "http", "METRICS_PORT": "-1", "REQUEST_TIMEOUT_MS": "soon", "ENABLE_HEALTH": "perhaps",
	}
	folder := filepath.Join(t.TempDir(), "data")
	r := dev(t, env, "--data-dir", folder, "--log-level", "loud", "--grpc-host", "", "--trailing-logs", "5", "--max-connections", "0",
		"--snapshot-threshold", "0", "--snapshot-interval", "0", "--event-retention-age", "-1h")
	for _, want := range []string{
		"API_KEYS is set", `GRPC_PORT: invalid argument "http"`, "--metrics-port: -1 is no port", `REQUEST_TIMEOUT_MS: "soon"`, "ENABLE_HEALTH: ",
		`--log-level: "loud"`, "--grpc-host is empty", "trailing logs are 5, at least 1024", "max connections is 0", "--snapshot-threshold is 0", "--snapshot-interval is 0",
		"retention of events is -1h", "see: memory-graph dev --help",
	} {
		if !strings.Contains(r.err, want) {
			t.Errorf("%q is missing in\n%s", want, r.err)
		}
	}
	if r.code != exitUsage || r.out != "" {
		t.Errorf("exit code %d, output %q", r.code, r.out)
	}
	if matches, err := filepath.Glob(folder); err != nil || len(matches) > 0 {
		t.Errorf("a folder was made: %v, %v", matches, err)
	}
}

func TestWrongServerFlags(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"--grpc-port", "65536"}, "--grpc-port: 65536 is no port"},
		{[]string{"--grpc-port", "-1"}, "--grpc-port: -1 is no port"},
		{[]string{"--grpc-port", "http"}, "--grpc-port"},
		{[]string{"--metrics-port", "70000"}, "--metrics-port: 70000 is no port"},
		{[]string{"--metrics-host", ""}, "--metrics-host is empty"},
		{[]string{"--grpc-port", "7", "--metrics-port", "7"}, "are both 7"},
		{[]string{"--grpc-port", "7", "--metrics-port", "7", "--grpc-host", "0.0.0.0"}, "are both 7"},
		{[]string{"--data-dir", ""}, "data folder is empty"},
		{[]string{"--request-timeout", "0"}, "request timeout is 0s"},
		{[]string{"--trailing-logs", "0"}, "--trailing-logs is 0"},
		{[]string{"--log-level", ""}, "no log level"},
		{[]string{"--disk-reserve", "5%"}, "is no size: use auto"},
		{[]string{"here"}, "unknown command"},
	}
	for _, tt := range tests {
		if r := dev(t, nil, tt.args...); r.code != exitUsage || !strings.Contains(r.err, tt.want) || r.out != "" {
			t.Errorf("%q: %+v, want %q", tt.args, r, tt.want)
		}
	}
	// Other addresses may have the same port; all that is asked for here is that nothing is said against it.
	c := &serverConfig{
		dataDir: "d", grpcHost: "127.0.0.1", metricsHost: "127.0.0.2", grpcPort: 7, metricsPort: 7, logLevel: "off",
		snapshotThreshold: 1, snapshotInterval: time.Second, trailingLogs: 1024, limits: defaultLimits(), peers: peersConfig{nodeID: "dev"},
	}
	if err := c.validate(); err != nil {
		t.Error(err)
	}
}

func TestMilliseconds(t *testing.T) {
	if got, err := milliseconds("90000"); got != "1m30s" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for _, v := range []string{"0", "-5", "1s", "9223372036855", ""} {
		if got, err := milliseconds(v); err == nil {
			t.Errorf("%q became %q", v, got)
		}
	}
}
