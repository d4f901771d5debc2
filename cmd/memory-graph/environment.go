package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// A setting is an environment variable that stands in for a flag of the server.
type setting struct {
	name, flag string
	// convert turns the variable's value into the flag's; nil takes it as it is.
	convert func(string) (string, error)
}

// settings are all of them. Where two name one flag, the later wins.
var settings = [...]setting{
	{name: "DB_PATH", flag: "data-dir"},
	{name: "GRPC_HOST", flag: "grpc-host"},
	{name: "GRPC_PORT", flag: "grpc-port"},
	{name: "METRICS_PORT", flag: "metrics-port"},
	{name: "RUST_LOG", flag: "log-level", convert: rustLog},
	{name: "LOG_LEVEL", flag: "log-level"},
	{name: "GRPC_MAX_CONNECTIONS", flag: "max-connections"},
	{name: "GRPC_MAX_CONNECTIONS_PER_ADDRESS", flag: "max-connections-per-address"},
	{name: "GRPC_MAX_CONNECTION_IDLE_MS", flag: "max-connection-idle", convert: millisecondsOrNever},
	{name: "GRPC_MAX_CONNECTION_AGE_MS", flag: "max-connection-age", convert: millisecondsOrNever},
	{name: "GRPC_MAX_CALLS", flag: "max-calls"},
	{name: "REQUEST_TIMEOUT_MS", flag: "request-timeout", convert: milliseconds},
	{name: "GRPC_STALL_TIMEOUT_MS", flag: "stall-timeout", convert: milliseconds},
	{name: "GRPC_MAX_SNAPSHOTS", flag: "max-snapshots"},
	{name: "GRPC_REQUEST_MEMORY", flag: "request-memory"},
	{name: "GRPC_PARTIAL_REQUEST_MEMORY", flag: "partial-request-memory"},
	{name: "RAFT_MAX_LOG_BYTES", flag: "max-log-bytes"},
	{name: "ENABLE_REFLECTION", flag: "reflection"},
	{name: "ENABLE_HEALTH", flag: "health"},
	{name: "DISK_RESERVE", flag: "disk-reserve"},
	{name: "NODE_ID", flag: "node-id"},
	{name: "PEER_ADDR", flag: "peer-addr"},
	{name: "PEER_LISTEN", flag: "peer-listen"},
	{name: "GOSSIP_ADDR", flag: "gossip-addr"},
	{name: "GOSSIP_LISTEN", flag: "gossip-listen"},
	{name: "JOIN", flag: "join"},
	{name: "BOOTSTRAP_EXPECT", flag: "bootstrap-expect"},
	{name: "READ_REPLICA", flag: "read-replica"},
	{name: "RAFT_TIMING", flag: "raft-timing"},
	{name: clusterSecretFile, flag: "cluster-secret-file"},
	{name: "PEER_CERT_PATH", flag: "peer-cert"},
	{name: "PEER_KEY_PATH", flag: "peer-key"},
	{name: "PEER_CA_CERT_PATH", flag: "peer-ca"},
	{name: "PEER_ROLE", flag: "peer-role"},
}

// unsupported are variables of features that this version does not have. Starting without what they ask for would be
// worse than not starting: a server believed to be protected, or to archive, that does not.
var unsupported = [...]string{
	"TLS_CERT_PATH", "TLS_KEY_PATH", "TLS_CA_CERT_PATH", apiKeyRequired, "API_KEYS",
	"PLUGIN_DIRS", "REGISTRY_URL", "REGISTRY_API_KEY", "VAULT_URL", "VAULT_API_KEY",
}

// apiKeyRequired is the one of them that can ask for what there is: no keys.
const apiKeyRequired = "API_KEY_REQUIRED"

// fromEnvironment fills flags that nobody has filled from variables that are not empty, and reports every problem at once. No
// value of an unsupported variable is printed: it may be a secret. A command that lacks a flag is not asked for it.
func (p *program) fromEnvironment(cmd *cobra.Command, from origins) error {
	problems := p.refusedVariables(cmd)
	given := map[string]bool{}
	for flag := range from {
		given[flag] = true
	}
	for _, s := range settings {
		v := p.getenv(s.name)
		if v == "" || given[s.flag] || cmd.Flags().Lookup(s.flag) == nil {
			continue
		}
		from[s.flag] = "environment " + s.name
		if err := s.set(cmd, v); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	return errors.Join(problems...)
}

// refusedVariables are a problem for each variable that asks for protection, or for a feature, that the command does not have.
func (p *program) refusedVariables(cmd *cobra.Command) (problems []error) {
	for _, name := range unsupported {
		v := p.getenv(name)
		if wanted, err := strconv.ParseBool(v); name == apiKeyRequired && err == nil && !wanted {
			continue
		}
		if v != "" {
			problems = append(problems, fmt.Errorf("%s is set, but this version has no such feature: unset it to start without", name))
		}
	}
	for _, name := range []string{clusterSecret, clusterSecretFile} {
		if p.getenv(name) != "" && !mayHavePeers(cmd) {
			problems = append(problems, fmt.Errorf("%s is set, but this node has no peers: unset it, or start a node that has with: memory-graph server", name))
		}
	}
	return problems
}

func (s setting) set(cmd *cobra.Command, v string) (err error) {
	if s.convert != nil {
		if v, err = s.convert(v); err != nil {
			return err
		}
	}
	return cmd.Flags().Set(s.flag, v)
}

// rustLog understands a level alone; a directive for a module is refused rather than ignored.
func rustLog(v string) (string, error) {
	if _, err := parseLevel(v); err != nil {
		return "", fmt.Errorf("%q is not understood: use one of trace, debug, info, warn, error, off, for the whole program", v)
	}
	return strings.TrimSpace(v), nil
}

// millisecondsOrNever takes 0 too.
func millisecondsOrNever(v string) (string, error) {
	if v == "0" {
		return "0s", nil
	}
	return milliseconds(v)
}

func milliseconds(v string) (string, error) {
	ms, err := strconv.ParseInt(v, 10, 64)
	if err != nil || ms < 1 || ms > math.MaxInt64/int64(time.Millisecond) {
		return "", fmt.Errorf("%q is no number of milliseconds above 0", v)
	}
	return (time.Duration(ms) * time.Millisecond).String(), nil
}
