package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// digestTries is how often the digests of members are taken until they are of one revision.
const digestTries = 20

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
		long: `digest takes the digest of every member's state at the same revision and compares them. Under many writes members rarely
stand at the same revision: it takes them again, up to 20 times.`,
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
	newest := uint64(0)
	for range digestTries {
		result = clusterDigest{}
		for _, m := range members {
			if m.GetState() == pb.ClusterMember_STATE_JOINING {
				continue
			}
			if m.GetState() == pb.ClusterMember_STATE_UNREACHABLE {
				result.Members = append(result.Members, memberDigest{ID: m.GetId(), Problem: m.GetProblem()})
				continue
			}
			d, err := c.cluster.Digest(ctx, &pb.ClusterDigestRequest{NodeId: m.GetId(), MinRevision: newest})
			if ctx.Err() != nil {
				return result, err
			}
			one := memberDigest{ID: m.GetId(), Revision: d.GetRevision(), Digest: d.GetDigest()}
			if err != nil {
				one.Problem = explain(err)
			}
			newest = max(newest, one.Revision)
			result.Members = append(result.Members, one)
		}
		if result.compare(newest) {
			return result, nil
		}
	}
	return result, nil
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
		return fmt.Errorf("in %d tries the members never stood at the same revision: try again when less is written", digestTries)
	case r.silent():
		return errors.New("not every member has told its digest")
	}
	return fmt.Errorf("members have different states at revision %d: stop the one that differs from the others, and see docs/CHECK.md", r.Revision)
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
