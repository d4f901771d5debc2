package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/status"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// digestTries is how often members are asked anew when one does not know its digest at the revision of the others: a snapshot has come in
// there, or its release is too old to be asked for one.
const digestTries = 5

// digestColumns has room for a digest in hex, and for a problem.
const digestColumns = 100

// clusterDigest is what `cluster digest` prints.
type clusterDigest struct {
	// Equal: all members have the same digest at Revision, which is 0 when they never stood at the same.
	Equal    bool           `json:"equal"`
	Revision uint64         `json:"revision"`
	Members  []memberDigest `json:"members"`
}

type memberDigest struct {
	ID       string `json:"id"`
	Revision uint64 `json:"revision"`
	Digest   string `json:"digest"`
	// Problem is why there is none.
	Problem string `json:"problem,omitempty"`
}

func (p *program) newClusterDigestCommand() *cobra.Command {
	return p.client(verb{
		use: "digest", short: "Compare the state of all members: exit code 0 when it is the same, else 1", args: cobra.NoArgs, kind: plain,
		long: `digest has the leader make a revision at which every member takes the digest of its state, and compares these. Writes go on meanwhile.
Members compare their states by themselves, too, every half a minute; one that differs from the majority serves nothing any more: docs/CHECK.md.`,
		example: "  memory-graph cluster digest\n  memory-graph cluster digest -o json",
		run: func(ctx context.Context, c *call, _ []string) error {
			members, err := c.cluster.Members(ctx, &pb.ClusterMembersRequest{})
			if err != nil {
				return err
			}
			result, err := c.digests(ctx, members.GetMembers())
			if err != nil {
				return err
			}
			return errors.Join(c.out.showValue(result, func() string { return digestText(result) }), result.problem())
		},
	})
}

// digests takes those of all members until they are of one revision, or often enough.
func (c *call) digests(ctx context.Context, members []*pb.ClusterMember) (clusterDigest, error) {
	var result clusterDigest
	for range digestTries {
		mark, err := c.cluster.Digest(ctx, &pb.ClusterDigestRequest{Mark: true})
		if err != nil {
			return result, err
		}
		result = clusterDigest{}
		for _, m := range members {
			if m.GetState() == pb.ClusterMember_STATE_JOINING {
				continue
			}
			one, err := c.digestOf(ctx, m, mark.GetRevision())
			if ctx.Err() != nil {
				return result, err
			}
			result.Members = append(result.Members, one)
		}
		if result.compare(mark.GetRevision()) {
			return result, nil
		}
	}
	return result, nil
}

// digestOf is that of one member at a revision. The error is also told as its problem.
func (c *call) digestOf(ctx context.Context, m *pb.ClusterMember, revision uint64) (memberDigest, error) {
	if m.GetState() == pb.ClusterMember_STATE_UNREACHABLE {
		return memberDigest{ID: m.GetId(), Problem: m.GetProblem()}, nil
	}
	// A member of a release before this one does not know about a revision, but waits for one at least.
	d, err := c.cluster.Digest(ctx, &pb.ClusterDigestRequest{NodeId: m.GetId(), Revision: revision, MinRevision: revision})
	if s, _ := status.FromError(err); err != nil && reasonOf(s) == "MEMBER_STATE" {
		return memberDigest{ID: m.GetId()}, nil // it is asked again, for another
	}
	one := memberDigest{ID: m.GetId(), Revision: d.GetRevision(), Digest: d.GetDigest()}
	if err != nil {
		one.Problem = explain(err)
	}
	return one, err
}

// compare reports whether all that have a digest are at the revision, and notes whether they are equal.
func (r *clusterDigest) compare(revision uint64) bool {
	digest := ""
	r.Equal = true
	for _, m := range r.Members {
		switch {
		case m.Problem != "":
			r.Equal = false
		case m.Revision != revision:
			r.Equal = false
			return false
		case digest != "" && m.Digest != digest:
			r.Equal = false
		default:
			digest = m.Digest
		}
	}
	r.Revision = revision
	return true
}

// silent says whether a member has told none.
func (r *clusterDigest) silent() bool {
	return slices.ContainsFunc(r.Members, func(m memberDigest) bool { return m.Problem != "" })
}

// problem is why the digests are no proof that all have the same state.
func (r *clusterDigest) problem() error {
	switch {
	case r.Equal:
		return nil
	case r.Revision == 0:
		return fmt.Errorf("in %d tries not all members knew their digest at one revision: a snapshot comes in, or one has an older release; try again", digestTries)
	case r.silent():
		return errors.New("not every member has told its digest")
	}
	return fmt.Errorf("members have different states at revision %d: one that differs from the majority puts itself into quarantine; see docs/CHECK.md", r.Revision)
}

func digestText(r clusterDigest) string {
	var rows [][]string
	for _, m := range r.Members {
		rows = append(rows, []string{m.ID, whole(m.Revision), m.Digest, m.Problem})
	}
	verdict := "differ"
	switch {
	case r.Equal:
		verdict = "equal"
	case r.Revision == 0:
		verdict = "not comparable"
	case r.silent():
		verdict = "not all there"
	}
	return facts("digests", verdict) + "\n" + gridOf([]string{"id", "revision", "digest", "problem"}, rows, digestColumns)
}
