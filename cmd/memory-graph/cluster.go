package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

func (p *program) newClusterCommand() *cobra.Command {
	cmd := p.group("cluster", "See how a cluster is, and change who belongs to it",
		`  memory-graph cluster status
  memory-graph cluster members --address 10.0.0.1,10.0.0.2
  memory-graph cluster transfer-leader n2-1f0c9a7b`,
		p.newClusterStatusCommand(), p.newClusterMembersCommand(), p.newClusterHealthCommand(),
		p.newClusterChangeCommand(removal()), p.newClusterChangeCommand(promotion()), p.newClusterChangeCommand(demotion()),
		p.newTransferLeaderCommand(), p.newClusterSnapshotCommand(), p.newClusterDigestCommand(), p.newClusterFinalizeCommand(),
		p.newClusterJobsCommand(), p.newClusterRecoverCommand(), p.newClusterLocalCommand(), p.newClusterSecretCommand())
	cmd.Long = `cluster looks after a cluster. Any member answers: what only the leader or another member can do is passed on.

A member is named by its id, NAME-8HEX, which status prints.`
	return cmd
}

// clusterStatus is what `cluster status -o json` prints; programs read it.
type clusterStatus struct {
	ClusterID string `json:"cluster_id"`
	// Leader is a node id, empty when nobody is known to lead.
	Leader   string          `json:"leader"`
	Term     uint64          `json:"term"`
	Revision uint64          `json:"revision"`
	Members  []clusterMember `json:"members"`
}

type clusterMember struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Role    string `json:"role"`
	State   string `json:"state"`
	Applied uint64 `json:"applied"`
	Lag     uint64 `json:"lag"`
	Version string `json:"version"`
}

func memberOf(m *pb.ClusterMember) clusterMember {
	return clusterMember{
		ID: m.GetId(), Address: m.GetAddress(), Role: roleWord(m.GetRole()), State: stateWord(m.GetState()),
		Applied: m.GetApplied(), Lag: m.GetLag(), Version: m.GetVersion(),
	}
}

func roleWord(r pb.ClusterMember_Role) string {
	switch r {
	case pb.ClusterMember_ROLE_VOTER:
		return "voter"
	case pb.ClusterMember_ROLE_NON_VOTER:
		return "non-voter"
	}
	return "unknown"
}

func stateWord(s pb.ClusterMember_State) string {
	if s == pb.ClusterMember_STATE_UNSPECIFIED {
		return "unknown"
	}
	return strings.ToLower(strings.TrimPrefix(s.String(), "STATE_"))
}

func (p *program) newClusterStatusCommand() *cobra.Command {
	return p.client(verb{
		use: "status", short: "Tell who leads and who belongs to the cluster", args: cobra.NoArgs, kind: plain,
		example: "  memory-graph cluster status\n  memory-graph cluster status -o json",
		run: func(ctx context.Context, c *call, _ []string) error {
			s, err := c.cluster.Status(ctx, &pb.ClusterStatusRequest{})
			if err != nil {
				return err
			}
			told := clusterStatus{ClusterID: s.GetClusterId(), Leader: s.GetLeader(), Term: s.GetTerm(), Revision: s.GetRevision(), Members: []clusterMember{}}
			for _, m := range s.GetMembers() {
				told.Members = append(told.Members, memberOf(m))
			}
			return c.out.showValue(told, func() string { return statusText(s) })
		},
	})
}

func statusText(s *pb.ClusterStatusResponse) string {
	leader := s.GetLeader()
	if leader == "" {
		leader = "nobody that is known to " + s.GetAnsweredBy()
	}
	text := facts("cluster", s.GetClusterId(), "leader", leader, "term", whole(s.GetTerm()), "revision", whole(s.GetRevision()),
		"lineage", s.GetLineage(), "feature level", whole(uint64(s.GetFeatureLevel())), "answered by", s.GetAnsweredBy())
	rows := make([][]string, 0, len(s.GetMembers()))
	for _, pm := range s.GetMembers() {
		m := memberOf(pm)
		rows = append(rows, []string{m.ID, m.Address, m.Role, m.State, whole(m.Applied), whole(m.Lag), m.Version})
	}
	return text + "\n" + grid([]string{"id", "address", "role", "state", "applied", "lag", "version"}, rows)
}

// whole writes a number.
func whole(n uint64) string { return strconv.FormatUint(n, 10) }

func (p *program) newClusterMembersCommand() *cobra.Command {
	return p.client(verb{
		use: "members", short: "Tell all that is known of each member", args: cobra.NoArgs, kind: plain,
		example: "  memory-graph cluster members -o json",
		run: func(ctx context.Context, c *call, _ []string) error {
			r, err := c.cluster.Members(ctx, &pb.ClusterMembersRequest{})
			if err != nil {
				return err
			}
			return c.out.show(r, func() string {
				var rows [][]string
				for _, m := range r.GetMembers() {
					role := roleWord(m.GetRole())
					if m.GetReadReplica() {
						role += ", read replica"
					}
					heard := "unknown"
					if m.GetLastContact() != nil {
						heard = m.GetLastContact().AsDuration().String()
					}
					if m.GetState() == pb.ClusterMember_STATE_LEADER {
						heard = ""
					}
					rows = append(rows, []string{m.GetId(), role, stateWord(m.GetState()), m.GetAddress(), m.GetApiAddress(),
						whole(m.GetLag()), heard, m.GetVersion(), whole(uint64(m.GetMaxFeatureLevel())), m.GetProblem()})
				}
				return grid([]string{"id", "role", "state", "peers at", "clients at", "lag", "heard from the leader", "version", "level", "problem"}, rows)
			})
		},
	})
}

func (p *program) newClusterHealthCommand() *cobra.Command {
	return p.client(verb{
		use: "health", short: "Say what is wrong with the cluster: exit code 0 when nothing is, else 1", args: cobra.NoArgs, kind: plain,
		example: "  memory-graph cluster health",
		run: func(ctx context.Context, c *call, _ []string) error {
			h, err := c.cluster.Health(ctx, &pb.ClusterHealthRequest{})
			if err != nil {
				return err
			}
			err = c.out.show(h, func() string { return healthText(h) })
			if err == nil && !h.GetHealthy() {
				err = errors.New("the cluster is not healthy")
			}
			return err
		},
	})
}

func healthText(h *pb.ClusterHealthResponse) string {
	tolerance := fmt.Sprintf("%d more may fail", h.GetFailureTolerance())
	if h.GetFailureTolerance() == 0 {
		tolerance = "none may fail"
	} else if h.GetFailureTolerance() < 0 {
		tolerance = fmt.Sprintf("%d must come back before anything is written", -h.GetFailureTolerance())
	}
	health := "healthy"
	if !h.GetHealthy() {
		health = "not healthy"
	}
	return facts("cluster", health, "leader", h.GetLeader(), "voters", fmt.Sprintf("%d of %d are well, %s", h.GetVotersWell(), h.GetVoters(), tolerance),
		"problems", strings.Join(h.GetProblems(), "\n"))
}

// A memberChange is a command that changes one member.
type memberChange struct {
	use, short, long, done string
	ask                    func(context.Context, *call, string) (*pb.ClusterChangeResponse, error)
}

func removal() memberChange {
	return memberChange{
		use: "remove", short: "Take a member out of the cluster", done: "removed",
		long: `remove takes a member out of the cluster, for good: stop it and delete its data folder afterwards; on an empty folder it comes
back as a new member. It is refused when too few voters that are well would be left.`,
		ask: func(ctx context.Context, c *call, id string) (*pb.ClusterChangeResponse, error) {
			return c.cluster.Remove(ctx, &pb.ClusterRemoveRequest{NodeId: id})
		},
	}
}

func promotion() memberChange {
	return memberChange{
		use: "promote", short: "Make a member a voter", done: "votes",
		long: "promote makes a member a voter now, instead of when it has been well for a while. It is refused for a read replica, and for one that lags.",
		ask: func(ctx context.Context, c *call, id string) (*pb.ClusterChangeResponse, error) {
			return c.cluster.Promote(ctx, &pb.ClusterPromoteRequest{NodeId: id})
		},
	}
}

func demotion() memberChange {
	return memberChange{
		use: "demote", short: "Take a member's vote", done: "does not vote",
		long: "demote takes a member's vote: it keeps all data and serves reads. It is refused when too few voters that are well would be left.",
		ask: func(ctx context.Context, c *call, id string) (*pb.ClusterChangeResponse, error) {
			return c.cluster.Demote(ctx, &pb.ClusterDemoteRequest{NodeId: id})
		},
	}
}

func (p *program) newClusterChangeCommand(m memberChange) *cobra.Command {
	return p.client(verb{
		use: m.use + " NODE", short: m.short, long: m.long, args: cobra.ExactArgs(1), kind: plain,
		example: "  memory-graph cluster " + m.use + " n3-1f0c9a7b",
		run: func(ctx context.Context, c *call, args []string) error {
			r, err := m.ask(ctx, c, args[0])
			if err != nil {
				return err
			}
			return c.out.show(r, func() string { return facts("member", args[0], "now", m.done, "log index", whole(r.GetIndex())) })
		},
	})
}

func (p *program) newTransferLeaderCommand() *cobra.Command {
	return p.client(verb{
		use: "transfer-leader [NODE]", short: "Hand leadership to another voter", args: cobra.MaximumNArgs(1), kind: plain,
		example: "  memory-graph cluster transfer-leader\n  memory-graph cluster transfer-leader n2-1f0c9a7b",
		run: func(ctx context.Context, c *call, args []string) error {
			r, err := c.cluster.TransferLeader(ctx, &pb.ClusterTransferLeaderRequest{NodeId: strings.Join(args, "")})
			if err != nil {
				return err
			}
			return c.out.show(r, func() string { return facts("leader", r.GetLeader(), "term", whole(r.GetTerm())) })
		},
	})
}

func (p *program) newClusterSnapshotCommand() *cobra.Command {
	return p.client(verb{
		use: "snapshot [NODE]", short: "Make the rows of a member durable and cut its log", args: cobra.MaximumNArgs(1), kind: plain,
		example: "  memory-graph cluster snapshot\n  memory-graph cluster snapshot n2-1f0c9a7b",
		run: func(ctx context.Context, c *call, args []string) error {
			r, err := c.cluster.Snapshot(ctx, &pb.ClusterSnapshotRequest{NodeId: strings.Join(args, "")})
			if err != nil {
				return err
			}
			return c.out.show(r, func() string {
				return facts("member", r.GetNodeId(), "durable up to", whole(r.GetIndex()), "log begins with", whole(r.GetFirstLogIndex()))
			})
		},
	})
}

func (p *program) newClusterFinalizeCommand() *cobra.Command {
	return p.client(verb{
		use: "finalize", short: "End an upgrade: use what every member can do", args: cobra.NoArgs, kind: plain,
		long: `finalize raises the feature level of the cluster to the highest that every member can do. Until then members may go back to the
release that they came from; afterwards they may not, and an older release cannot join.`,
		example: "  memory-graph cluster finalize",
		run: func(ctx context.Context, c *call, _ []string) error {
			r, err := c.cluster.Finalize(ctx, &pb.ClusterFinalizeRequest{})
			if err != nil {
				return err
			}
			return c.out.show(r, func() string {
				return facts("feature level", whole(uint64(r.GetFeatureLevel())), "before", whole(uint64(r.GetFeatureLevelBefore())))
			})
		},
	})
}

func (p *program) newClusterJobsCommand() *cobra.Command {
	return p.client(verb{
		use: "jobs", short: "Tell what the leader does by itself", args: cobra.NoArgs, kind: plain,
		example: "  memory-graph cluster jobs -o yaml",
		run: func(ctx context.Context, c *call, _ []string) error {
			r, err := c.cluster.Jobs(ctx, &pb.ClusterJobsRequest{})
			if err != nil {
				return err
			}
			return c.out.show(r, func() string {
				var rows [][]string
				for _, j := range r.GetJobs() {
					due := "idle"
					if j.GetDue() {
						due = "at work"
					}
					rows = append(rows, []string{j.GetName(), j.GetNodeId(), due, j.GetDetail()})
				}
				return grid([]string{"job", "runs on", "state", "detail"}, rows)
			})
		},
	})
}

func (p *program) newClusterSecretCommand() *cobra.Command {
	return &cobra.Command{
		Use: "secret", Short: "Make a secret for the nodes of a cluster", Args: cobra.NoArgs,
		Long:    "secret prints a new random secret, for --cluster-secret-file of every node. Whoever has it may read, write and join.",
		Example: "  (umask 077; memory-graph cluster secret > cluster.secret)",
		RunE: func(*cobra.Command, []string) error {
			p.started = true
			secret, err := newSecret()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(p.stdout, secret)
			return err
		},
	}
}
