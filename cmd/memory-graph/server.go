package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// whereSettingsComeFrom is what the help of every server says of its settings.
const whereSettingsComeFrom = `Each setting is taken from its flag, else from the environment variable named with it, else from the file that --config
names, else from its default. The file is YAML; its keys are the names of the flags. --print-config shows what is in
effect and where each value comes from, and starts nothing.`

func (p *program) newServerCommand() *cobra.Command {
	cfg := &serverConfig{}
	cmd := &cobra.Command{
		Use:     "server",
		GroupID: groupServer,
		Short:   "Start a node of a cluster, or a server of one node",
		Long: `server starts a node. With --peer-addr it has peers: nodes that find each other become one cluster, any of them answers
any call, and a majority of them is enough to go on. Without one it is a durable server of one node, as dev is, and opens no
port for peers.

Three nodes that are all told --bootstrap-expect 3 and --join one another form a cluster once, in whatever order they start.
A node that is only told whom to join becomes a member of the cluster that it finds. A node with data goes on where it was.
What a server of one node has stored becomes the first node of a cluster: start server on its folder with --peer-addr.

Peers are one another's by a secret that all share. Make one with: memory-graph cluster secret > cluster.secret
It is read from the file that --cluster-secret-file names, or from CLUSTER_SECRET. One secret a line: the first is used, all
are accepted, and the file is read again when it changes.

` + whereSettingsComeFrom,
		Example: `  memory-graph server --data-dir /var/lib/memory-graph
  memory-graph server --node-id n1 --peer-addr 10.0.0.1 --grpc-host 10.0.0.1 --join 10.0.0.1,10.0.0.2,10.0.0.3 \
    --bootstrap-expect 3 --cluster-secret-file cluster.secret
  memory-graph server --config node.yaml --print-config`,
		Args: cobra.NoArgs,
	}
	cfg.flags(cmd)
	cfg.peers.flags(cmd)
	p.serves(cmd, cfg)
	return cmd
}

// serves makes a command one that runs a server with the configuration that its flags fill.
func (p *program) serves(cmd *cobra.Command, cfg *serverConfig) {
	f := cmd.Flags()
	f.String(flagConfig, "", "file with settings, YAML ("+configVariable+")")
	show := f.Bool(flagPrintConfig, false, "print the effective settings and where each comes from, and stop")
	_ = cmd.MarkFlagFilename(flagConfig, "yaml", "yml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		from, err := p.settle(cmd)
		if mayHavePeers(cmd) {
			cfg.peers.read(p.getenv)
			cfg.peers.derive(from)
		}
		if *show {
			if err := p.printConfig(cmd, cfg, from); err != nil {
				return err
			}
		}
		if err := errors.Join(err, cfg.validate()); err != nil || *show {
			return err
		}
		p.started = true
		return p.serve(cmd.Context(), *cfg)
	}
}

// mayHavePeers says whether a command starts nodes that have peers.
func mayHavePeers(cmd *cobra.Command) bool { return cmd.Flags().Lookup("peer-addr") != nil }
