package conformance

import (
	"context"
	"regexp"
	"testing"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

const (
	clusterStatus   = graphgrpc.ClusterService_Status_FullMethodName
	clusterMembers  = graphgrpc.ClusterService_Members_FullMethodName
	clusterHealth   = graphgrpc.ClusterService_Health_FullMethodName
	clusterRemove   = graphgrpc.ClusterService_Remove_FullMethodName
	clusterPromote  = graphgrpc.ClusterService_Promote_FullMethodName
	clusterDemote   = graphgrpc.ClusterService_Demote_FullMethodName
	transferLeader  = graphgrpc.ClusterService_TransferLeader_FullMethodName
	clusterSnapshot = graphgrpc.ClusterService_Snapshot_FullMethodName
	clusterDigest   = graphgrpc.ClusterService_Digest_FullMethodName
	clusterFinalize = graphgrpc.ClusterService_Finalize_FullMethodName
	clusterJobs     = graphgrpc.ClusterService_Jobs_FullMethodName
)

var digestShape = regexp.MustCompile(`^[0-9a-f]{64}$`)

// memberCases hold for a cluster of any number of nodes, and leave its members as they are.
func memberCases() []Case {
	return []Case{
		{Name: "the_leader_is_a_member_that_votes", Section: "issue 4", Run: leaderIsAVoter, Calls: []string{clusterStatus, clusterMembers, clusterHealth}},
		{Name: "every_member_tells_its_digest", Section: "D16", Run: membersTellDigests, Calls: []string{clusterMembers, clusterDigest}},
		{Name: "a_snapshot_of_a_member_reaches_what_was_written", Section: "issue 4", Run: snapshotReaches, Calls: []string{clusterSnapshot}},
		{Name: "the_leader_runs_the_jobs", Section: "D22", Run: leaderRunsJobs, Calls: []string{clusterJobs, clusterStatus}},
		{Name: "finalizing_twice_changes_nothing", Section: "D1", Run: finalizeTwice, Calls: []string{clusterFinalize}},
		{Name: "who_is_no_member_cannot_be_changed", Section: "issue 4", Run: strangersAreNoMembers,
			Calls: []string{clusterRemove, clusterPromote, clusterDemote, transferLeader, clusterSnapshot, clusterDigest}},
	}
}

// patiently asks until there is an answer: members ask each other, and on a busy machine one may not answer in time, or nobody leads.
func patiently[Q, A any](t *testing.T, method func(context.Context, Q, ...grpc.CallOption) (A, error), question Q) (answer A) {
	t.Helper()
	eventually(t, "the members answer", func() bool {
		var err error
		if answer, err = method(t.Context(), question); err != nil {
			t.Logf("%T: %v", question, err)
		}
		return err == nil
	})
	return answer
}

func leaderIsAVoter(t *testing.T, e *Env) {
	client := graphgrpc.NewClusterServiceClient(e.Conn)
	var status *graphpb.ClusterStatusResponse
	eventually(t, "somebody leads", func() bool {
		status = patiently(t, client.Status, &graphpb.ClusterStatusRequest{})
		return status.GetLeader() != ""
	})
	if status.GetClusterId() == "" || status.GetTerm() == 0 || status.GetRevision() == 0 || status.GetAnsweredBy() == "" {
		t.Errorf("status is %v", status)
	}
	found := false
	for _, m := range patiently(t, client.Members, &graphpb.ClusterMembersRequest{}).GetMembers() {
		if m.GetId() == status.GetLeader() {
			found = true
			wantEqual(t, "role of the leader", graphpb.ClusterMember_ROLE_VOTER, m.GetRole())
		}
	}
	if !found {
		t.Errorf("leader %q is none of the members %v", status.GetLeader(), status.GetMembers())
	}
	if h := patiently(t, client.Health, &graphpb.ClusterHealthRequest{}); h.GetVoters() < 1 || h.GetVotersWell() < 1 {
		t.Errorf("health is %v", h)
	}
}

func membersTellDigests(t *testing.T, e *Env) {
	client := graphgrpc.NewClusterServiceClient(e.Conn)
	for _, m := range patiently(t, client.Members, &graphpb.ClusterMembersRequest{}).GetMembers() {
		d := patiently(t, client.Digest, &graphpb.ClusterDigestRequest{NodeId: m.GetId(), MinRevision: 1})
		if !digestShape.MatchString(d.GetDigest()) || d.GetRevision() == 0 || d.GetNodeId() != m.GetId() {
			t.Errorf("digest of %s is %v", m.GetId(), d)
		}
	}
}

func snapshotReaches(t *testing.T, e *Env) {
	_ = must(e.Graph.CreateSession(t.Context(), &graphpb.CreateSessionRequest{}))(t)
	client := graphgrpc.NewClusterServiceClient(e.Conn)
	s := patiently(t, client.Snapshot, &graphpb.ClusterSnapshotRequest{})
	if s.GetIndex() == 0 || s.GetFirstLogIndex() > s.GetIndex()+1 {
		t.Errorf("snapshot is %v", s)
	}
}

func leaderRunsJobs(t *testing.T, e *Env) {
	client := graphgrpc.NewClusterServiceClient(e.Conn)
	jobs := patiently(t, client.Jobs, &graphpb.ClusterJobsRequest{})
	if len(jobs.GetJobs()) == 0 || jobs.GetJobs()[0].GetName() == "" || jobs.GetJobs()[0].GetNodeId() == "" {
		t.Errorf("jobs are %v", jobs)
	}
	_ = patiently(t, client.Status, &graphpb.ClusterStatusRequest{})
}

func finalizeTwice(t *testing.T, e *Env) {
	client := graphgrpc.NewClusterServiceClient(e.Conn)
	first := patiently(t, client.Finalize, &graphpb.ClusterFinalizeRequest{})
	second := patiently(t, client.Finalize, &graphpb.ClusterFinalizeRequest{})
	wantEqual(t, "feature level", first.GetFeatureLevel(), second.GetFeatureLevelBefore())
	wantEqual(t, "feature level", first.GetFeatureLevel(), second.GetFeatureLevel())
}

func strangersAreNoMembers(t *testing.T, e *Env) {
	const nobody = "nobody-00000000"
	client := graphgrpc.NewClusterServiceClient(e.Conn)
	refusal(client.Remove(t.Context(), &graphpb.ClusterRemoveRequest{NodeId: nobody}))(t, codes.NotFound)
	refusal(client.Promote(t.Context(), &graphpb.ClusterPromoteRequest{NodeId: nobody}))(t, codes.NotFound)
	refusal(client.Demote(t.Context(), &graphpb.ClusterDemoteRequest{NodeId: nobody}))(t, codes.NotFound)
	refusal(client.TransferLeader(t.Context(), &graphpb.ClusterTransferLeaderRequest{NodeId: nobody}))(t, codes.NotFound)
	refusal(client.Snapshot(t.Context(), &graphpb.ClusterSnapshotRequest{NodeId: nobody}))(t, codes.NotFound)
	refusal(client.Digest(t.Context(), &graphpb.ClusterDigestRequest{NodeId: nobody}))(t, codes.NotFound)
	refusal(client.Remove(t.Context(), &graphpb.ClusterRemoveRequest{}))(t, codes.InvalidArgument)
}
