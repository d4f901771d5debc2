package rpc

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// fakeCluster answers from what a test puts in, and remembers what it was asked. It knows no members.
type fakeCluster struct {
	asked []string
	err   error
}

func (f *fakeCluster) ask(what string) error {
	f.asked = append(f.asked, what)
	return f.err
}

func (f *fakeCluster) Status(context.Context) (*pb.ClusterStatusResponse, error) {
	return &pb.ClusterStatusResponse{ClusterId: "c", Leader: "n1", Term: 3}, f.ask("status")
}

func (f *fakeCluster) Members(context.Context) (*pb.ClusterMembersResponse, error) {
	return &pb.ClusterMembersResponse{Members: []*pb.ClusterMember{{Id: "n1"}}}, f.ask("members")
}

func (f *fakeCluster) Health(context.Context) (*pb.ClusterHealthResponse, error) {
	return &pb.ClusterHealthResponse{Healthy: true}, f.ask("health")
}

func (f *fakeCluster) Remove(_ context.Context, id string) (uint64, error) {
	return 1, f.ask("remove " + id)
}

func (f *fakeCluster) Promote(_ context.Context, id string) (uint64, error) {
	return 2, f.ask("promote " + id)
}

func (f *fakeCluster) Demote(_ context.Context, id string) (uint64, error) {
	return 3, f.ask("demote " + id)
}

func (f *fakeCluster) TransferLeader(_ context.Context, id string) (*pb.ClusterTransferLeaderResponse, error) {
	return &pb.ClusterTransferLeaderResponse{Leader: "n2"}, f.ask("transfer " + id)
}

func (f *fakeCluster) Snapshot(_ context.Context, id string) (*pb.ClusterSnapshotResponse, error) {
	return &pb.ClusterSnapshotResponse{Index: 9}, f.ask("snapshot " + id)
}

func (f *fakeCluster) Digest(_ context.Context, req *pb.ClusterDigestRequest) (*pb.ClusterDigestResponse, error) {
	return &pb.ClusterDigestResponse{Digest: "d"}, f.ask("digest " + req.GetNodeId())
}

func (f *fakeCluster) Finalize(context.Context) (*pb.ClusterFinalizeResponse, error) {
	return &pb.ClusterFinalizeResponse{FeatureLevel: 1}, f.ask("finalize")
}

func (f *fakeCluster) Jobs(context.Context) (*pb.ClusterJobsResponse, error) {
	return &pb.ClusterJobsResponse{}, f.ask("jobs")
}

// clusterCall is one call of ClusterService about a node, which may be none.
type clusterCall struct {
	name string
	// wants a node id.
	wants bool
	call  func(context.Context, graphgrpc.ClusterServiceClient, string) error
}

// clusterCallsOf are all of them.
func clusterCallsOf() []clusterCall {
	type client = graphgrpc.ClusterServiceClient
	return []clusterCall{
		{"status", false, func(ctx context.Context, c client, _ string) error {
			_, err := c.Status(ctx, &pb.ClusterStatusRequest{})
			return err
		}},
		{"members", false, func(ctx context.Context, c client, _ string) error {
			_, err := c.Members(ctx, &pb.ClusterMembersRequest{})
			return err
		}},
		{"health", false, func(ctx context.Context, c client, _ string) error {
			_, err := c.Health(ctx, &pb.ClusterHealthRequest{})
			return err
		}},
		{"remove ", true, func(ctx context.Context, c client, id string) error {
			_, err := c.Remove(ctx, &pb.ClusterRemoveRequest{NodeId: id})
			return err
		}},
		{"promote ", true, func(ctx context.Context, c client, id string) error {
			_, err := c.Promote(ctx, &pb.ClusterPromoteRequest{NodeId: id})
			return err
		}},
		{"demote ", true, func(ctx context.Context, c client, id string) error {
			_, err := c.Demote(ctx, &pb.ClusterDemoteRequest{NodeId: id})
			return err
		}},
		{"transfer ", false, func(ctx context.Context, c client, id string) error {
			_, err := c.TransferLeader(ctx, &pb.ClusterTransferLeaderRequest{NodeId: id})
			return err
		}},
		{"snapshot ", false, func(ctx context.Context, c client, id string) error {
			_, err := c.Snapshot(ctx, &pb.ClusterSnapshotRequest{NodeId: id})
			return err
		}},
		{"digest ", false, func(ctx context.Context, c client, id string) error {
			_, err := c.Digest(ctx, &pb.ClusterDigestRequest{NodeId: id})
			return err
		}},
		{"finalize", false, func(ctx context.Context, c client, _ string) error {
			_, err := c.Finalize(ctx, &pb.ClusterFinalizeRequest{})
			return err
		}},
		{"jobs", false, func(ctx context.Context, c client, _ string) error {
			_, err := c.Jobs(ctx, &pb.ClusterJobsRequest{})
			return err
		}},
	}
}

func TestClusterServiceAsksTheCluster(t *testing.T) {
	fake := &fakeCluster{}
	r := start(t, func(c *Config) { c.Cluster = fake })
	client := graphgrpc.NewClusterServiceClient(r.conn)
	calls := clusterCallsOf()
	if len(calls) != len(graphgrpc.ClusterService_ServiceDesc.Methods) {
		t.Errorf("%d calls are tested, there are %d", len(calls), len(graphgrpc.ClusterService_ServiceDesc.Methods))
	}
	for _, c := range calls {
		if err := c.call(r.ctx(), client, "n1"); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		want := c.name
		if strings.HasSuffix(want, " ") {
			want += "n1"
		}
		if got := fake.asked[len(fake.asked)-1]; got != want {
			t.Errorf("asked for %q, want %q", got, want)
		}
		if err := c.call(r.ctx(), client, strings.Repeat("n", maxNodeIDBytes+1)); strings.HasSuffix(c.name, " ") != (status.Code(err) == codes.InvalidArgument) {
			t.Errorf("%s of a long name: %v", c.name, err)
		}
		if err := c.call(r.ctx(), client, ""); c.wants != (status.Code(err) == codes.InvalidArgument) {
			t.Errorf("%s of nobody: %v", c.name, err)
		}
	}
}

func TestEveryMemberReasonHasACode(t *testing.T) {
	want := map[MemberReason]codes.Code{
		ReasonUnknownMember: codes.NotFound, ReasonUnreachable: codes.Unavailable, ReasonQuorum: codes.FailedPrecondition,
		ReasonMemberState: codes.FailedPrecondition, ReasonChanging: codes.Aborted,
	}
	fake := &fakeCluster{}
	r := start(t, func(c *Config) { c.Cluster = fake })
	text := read(t, "..", "docs", "ERRORS.md")
	for reason, code := range want {
		fake.err = &MemberError{Reason: reason, NodeID: "n1", Err: errors.New("no")}
		_, err := graphgrpc.NewClusterServiceClient(r.conn).Remove(r.ctx(), &pb.ClusterRemoveRequest{NodeId: "n1"})
		st := status.Convert(err)
		var told, resource string
		for _, d := range st.Details() {
			switch d := d.(type) {
			case *errdetails.ErrorInfo:
				told = d.GetReason()
			case *errdetails.ResourceInfo:
				resource = d.GetResourceType() + " " + d.GetResourceName()
			}
		}
		if st.Code() != code || told != string(reason) || resource != "member n1" || st.Message() != "no" {
			t.Errorf("%s: %v, %q, %q", reason, err, told, resource)
		}
		if !strings.Contains(text, "`"+string(reason)+"`") {
			t.Errorf("reason %s is not documented", reason)
		}
	}
}

// TestErrorsAreReadyForThePeerPort, which has no interceptors: the node that passes one on passes on what the other said.
func TestErrorsAreReadyForThePeerPort(t *testing.T) {
	fake := &fakeCluster{err: &MemberError{Reason: ReasonQuorum, NodeID: "n1", Err: errors.New("two of three are down")}}
	service := PeerClusterService(fake)
	calls := map[string]func() error{
		"remove": func() error {
			_, err := service.Remove(t.Context(), &pb.ClusterRemoveRequest{NodeId: "n1"})
			return err
		},
		"promote": func() error {
			_, err := service.Promote(t.Context(), &pb.ClusterPromoteRequest{NodeId: "n1"})
			return err
		},
		"demote": func() error {
			_, err := service.Demote(t.Context(), &pb.ClusterDemoteRequest{NodeId: "n1"})
			return err
		},
		"transfer": func() error {
			_, err := service.TransferLeader(t.Context(), &pb.ClusterTransferLeaderRequest{})
			return err
		},
		"snapshot": func() error { _, err := service.Snapshot(t.Context(), &pb.ClusterSnapshotRequest{}); return err },
		"digest":   func() error { _, err := service.Digest(t.Context(), &pb.ClusterDigestRequest{}); return err },
		"finalize": func() error { _, err := service.Finalize(t.Context(), &pb.ClusterFinalizeRequest{}); return err },
		"jobs":     func() error { _, err := service.Jobs(t.Context(), &pb.ClusterJobsRequest{}); return err },
	}
	for name, call := range calls {
		err := call()
		if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "two of three are down") {
			t.Errorf("%s: %v", name, err)
		}
		// What came from another node goes to the caller as it came.
		if st, _ := asStatus(err); st.Error() != err.Error() {
			t.Errorf("%s: became %v", name, st)
		}
	}
}
