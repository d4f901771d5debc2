package main

import (
	"github.com/spf13/cobra"
)

func (p *program) newDevCommand() *cobra.Command {
	cfg := &serverConfig{autoFinalize: true, peers: peersConfig{nodeID: "dev"}}
	cmd := &cobra.Command{
		Use:     "dev",
		GroupID: groupServer,
		Short:   "Start a single-node server",
		Long: `dev starts a durable server of one node. It takes the same road as a cluster: every write is in the Raft log, synced,
before it is acknowledged. Its folder can become the first node of a cluster: see memory-graph server.

It listens on loopback, asks for no credentials and encrypts nothing. Once it serves it prints a line that begins with
"ready" and names its addresses. It stops cleanly on an interrupt: calls that have begun finish first; a second interrupt
stops it at once, and what was acknowledged stays.

` + whereSettingsComeFrom,
		Example: `  memory-graph dev
  memory-graph dev --sample
  memory-graph dev --data-dir /var/lib/memory-graph --grpc-port 0 --metrics-port 0
  memory-graph dev --in-memory`,
		Args: cobra.NoArgs,
	}
	cfg.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&cfg.inMemory, "in-memory", false, "keep everything in memory; nothing survives the process")
	f.BoolVar(&cfg.sample, "sample", false, "load a small sample when the graph is empty, and show it")
	p.serves(cmd, cfg)
	return cmd
}
