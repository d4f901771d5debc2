package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	peerpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// fakeMembers answers ClusterService with what a test put in. It has no log, no members that do anything, and passes nothing on.
type fakeMembers struct {
	graphgrpc.UnimplementedClusterServiceServer
	status *pb.ClusterStatusResponse
	health *pb.ClusterHealthResponse
	// digests answers by member and try, counted from 0.
	digests func(member string, try int) (*pb.ClusterDigestResponse, error)
	tries   map[string]int
	refusal error
	asked   []proto.Message
}

func (f *fakeMembers) answer(req proto.Message) error {
	f.asked = append(f.asked, req)
	return f.refusal
}

func (f *fakeMembers) Status(_ context.Context, req *pb.ClusterStatusRequest) (*pb.ClusterStatusResponse, error) {
	return f.status, f.answer(req)
}

func (f *fakeMembers) Members(_ context.Context, req *pb.ClusterMembersRequest) (*pb.ClusterMembersResponse, error) {
	return &pb.ClusterMembersResponse{Members: f.status.GetMembers()}, f.answer(req)
}

func (f *fakeMembers) Health(_ context.Context, req *pb.ClusterHealthRequest) (*pb.ClusterHealthResponse, error) {
	return f.health, f.answer(req)
}

func (f *fakeMembers) Remove(_ context.Context, req *pb.ClusterRemoveRequest) (*pb.ClusterChangeResponse, error) {
	return &pb.ClusterChangeResponse{Index: 17}, f.answer(req)
}

func (f *fakeMembers) Promote(_ context.Context, req *pb.ClusterPromoteRequest) (*pb.ClusterChangeResponse, error) {
	return &pb.ClusterChangeResponse{Index: 18}, f.answer(req)
}

func (f *fakeMembers) Demote(_ context.Context, req *pb.ClusterDemoteRequest) (*pb.ClusterChangeResponse, error) {
	return &pb.ClusterChangeResponse{Index: 19}, f.answer(req)
}

func (f *fakeMembers) TransferLeader(_ context.Context, req *pb.ClusterTransferLeaderRequest) (*pb.ClusterTransferLeaderResponse, error) {
	return &pb.ClusterTransferLeaderResponse{Leader: "n2-00000002", Term: 8}, f.answer(req)
}

func (f *fakeMembers) Snapshot(_ context.Context, req *pb.ClusterSnapshotRequest) (*pb.ClusterSnapshotResponse, error) {
	return &pb.ClusterSnapshotResponse{NodeId: "n1-00000001", Index: 40, FirstLogIndex: 3}, f.answer(req)
}

func (f *fakeMembers) Digest(_ context.Context, req *pb.ClusterDigestRequest) (*pb.ClusterDigestResponse, error) {
	if req.GetMark() {
		return &pb.ClusterDigestResponse{Revision: 7}, f.refusal
	}
	try := f.tries[req.GetNodeId()]
	f.tries[req.GetNodeId()]++
	return f.digests(req.GetNodeId(), try)
}

func (f *fakeMembers) Finalize(_ context.Context, req *pb.ClusterFinalizeRequest) (*pb.ClusterFinalizeResponse, error) {
	return &pb.ClusterFinalizeResponse{FeatureLevelBefore: 1, FeatureLevel: 2}, f.answer(req)
}

func (f *fakeMembers) Jobs(_ context.Context, req *pb.ClusterJobsRequest) (*pb.ClusterJobsResponse, error) {
	return &pb.ClusterJobsResponse{Jobs: []*pb.ClusterJob{
		{Name: "chores", NodeId: "n1-00000001", Due: true, Detail: "sweeps\x1b[1m"}, {Name: "rest", NodeId: "n1-00000001"},
	}}, f.answer(req)
}

// startMembers serves a cluster of three, one of which does not answer, and lets commands find it.
func startMembers(t *testing.T) *fakeMembers {
	t.Helper()
	f := &fakeMembers{tries: map[string]int{}, health: &pb.ClusterHealthResponse{
		Leader: "n1-00000001", Voters: 3, VotersWell: 2, Problems: []string{"n3-00000003 at c:3: it does not answer"},
	}}
	f.status = &pb.ClusterStatusResponse{
		ClusterId: "2b2f4c6e", Leader: "n1-00000001", Term: 7, Revision: 1 << 60, AnsweredBy: "n2-00000002", Lineage: "0a0b0c0d", FeatureLevel: 1,
		Members: []*pb.ClusterMember{
			{Id: "n1-00000001", Address: "a:1", Role: pb.ClusterMember_ROLE_VOTER, State: pb.ClusterMember_STATE_LEADER, Applied: 42, Version: "v1", ApiAddress: "a:9", MaxFeatureLevel: 1, LastContact: &durationpb.Duration{}},
			{Id: "n2-00000002", Address: "b:2", Role: pb.ClusterMember_ROLE_NON_VOTER, State: pb.ClusterMember_STATE_FOLLOWER, Applied: 40, Lag: 2, Version: "v1", ReadReplica: true, LastContact: &durationpb.Duration{Nanos: 5e6}},
			{Id: "n3-00000003", Address: "c:3", Role: pb.ClusterMember_ROLE_VOTER, State: pb.ClusterMember_STATE_UNREACHABLE, Problem: "it does not answer\x1b[1m"},
			{Id: "n4-00000004", Address: "d:4", State: pb.ClusterMember_STATE_JOINING},
		},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	graphgrpc.RegisterClusterServiceServer(server, f)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Setenv(addressVariable, listener.Addr().String())
	return f
}

// TestClusterCommands compares what each prints with a golden file.
func TestClusterCommands(t *testing.T) {
	startMembers(t)
	var b strings.Builder
	for _, line := range []string{
		"status", "status -o json", "status -o yaml", "members", "members -o json", "health", "health -o json", "remove n3-00000003", "remove n3-00000003 -o json",
		"promote n2-00000002", "demote n1-00000001", "transfer-leader", "transfer-leader n2-00000002 -o json", "snapshot", "snapshot n1-00000001 -o yaml", "finalize", "jobs", "jobs -o json",
	} {
		r := execute(t, "", append([]string{"cluster"}, strings.Fields(line)...)...)
		b.WriteString("$ memory-graph cluster " + line + "\n" + r.out + r.err + "\n")
	}
	golden(t, "cluster.txt", b.String())
}

// TestClusterStatusForPrograms: these fields, in this order, and no others.
func TestClusterStatusForPrograms(t *testing.T) {
	f := startMembers(t)
	r := execute(t, "", "cluster", "status", "-o", "json")
	keys := regexp.MustCompile(`"(\w+)":`).FindAllStringSubmatch(r.out, -1)
	var got []string
	for _, k := range keys[:12] {
		got = append(got, k[1])
	}
	want := strings.Fields("cluster_id leader term revision members id address role state applied lag version")
	if diff := cmp.Diff(want, got); diff != "" || r.code != exitOK {
		t.Errorf("exit code %d (-want +got):\n%s", r.code, diff)
	}
	var told clusterStatus
	if err := json.Unmarshal([]byte(r.out), &told); err != nil || told.Revision != 1<<60 || told.Members[1].Role != "non-voter" || told.Members[1].Lag != 2 {
		t.Errorf("%v, %+v", err, told)
	}
	f.status = &pb.ClusterStatusResponse{}
	if r := execute(t, "", "cluster", "status", "-o", "json"); !strings.Contains(r.out, `"members": []`) || !strings.Contains(r.out, `"leader": ""`) {
		t.Errorf("%+v", r)
	}
}

func TestClusterHealthFailsWhenSomethingIsWrong(t *testing.T) {
	f := startMembers(t)
	if r := execute(t, "", "cluster", "health"); r.code != exitFailed || !strings.Contains(r.err, "not healthy") {
		t.Errorf("%+v", r)
	}
	f.health = &pb.ClusterHealthResponse{Healthy: true, Voters: 3, VotersWell: 3, FailureTolerance: 1}
	if r := execute(t, "", "cluster", "health"); r.code != exitOK || !strings.Contains(r.out, "1 more may fail") {
		t.Errorf("%+v", r)
	}
	f.health = &pb.ClusterHealthResponse{Voters: 3, VotersWell: 1, FailureTolerance: -1}
	if r := execute(t, "", "cluster", "health"); r.code != exitFailed || !strings.Contains(r.out, "1 must come back") {
		t.Errorf("%+v", r)
	}
}

func TestClusterCommandsReportRefusals(t *testing.T) {
	f := startMembers(t)
	f.refusal = status.Error(codes.PermissionDenied, "not you")
	f.digests = func(string, int) (*pb.ClusterDigestResponse, error) { return nil, f.refusal }
	for _, line := range []string{"status", "members", "health", "remove x", "promote x", "demote x", "transfer-leader", "snapshot", "digest", "finalize", "jobs"} {
		if r := execute(t, "", append([]string{"cluster"}, strings.Fields(line)...)...); r.code != exitFailed || !strings.Contains(r.err, "not you") {
			t.Errorf("%s: %+v", line, r)
		}
	}
	for _, line := range []string{"remove", "promote", "demote x y", "transfer-leader x y", "status x", "secret x"} {
		if r := execute(t, "", append([]string{"cluster"}, strings.Fields(line)...)...); r.code != exitUsage {
			t.Errorf("%s: %+v", line, r)
		}
	}
}

func TestClusterSecret(t *testing.T) {
	a, b := execute(t, "", "cluster", "secret"), execute(t, "", "cluster", "secret")
	secrets, err := parseSecrets(a.out)
	if err != nil || len(secrets) != 1 || a.out == b.out || a.code != exitOK {
		t.Errorf("%v, %+v", err, a)
	}
}

// unknownThere is the answer of a member that does not know its digest at a revision.
func unknownThere(t *testing.T) error {
	t.Helper()
	s, err := status.New(codes.FailedPrecondition, "not known").WithDetails(&errdetails.ErrorInfo{Reason: "MEMBER_STATE"})
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

func TestClusterDigest(t *testing.T) {
	f := startMembers(t)
	f.status.Members[2].State = pb.ClusterMember_STATE_FOLLOWER
	at := func(revision uint64, digest string) (*pb.ClusterDigestResponse, error) {
		return &pb.ClusterDigestResponse{Revision: revision, Digest: digest}, nil
	}
	tests := []struct {
		name    string
		digests func(member string, try int) (*pb.ClusterDigestResponse, error)
		code    int
		want    string
	}{
		{"equal", func(string, int) (*pb.ClusterDigestResponse, error) { return at(7, "aa") }, exitOK, "digests  equal"},
		{"equal in the end", func(m string, try int) (*pb.ClusterDigestResponse, error) {
			if m == "n1-00000001" && try < 3 {
				return nil, unknownThere(t)
			}
			return at(7, "aa")
		}, exitOK, "digests  equal"},
		{"different", func(m string, _ int) (*pb.ClusterDigestResponse, error) { return at(7, m) }, exitFailed, "digests  differ"},
		{"never at one revision", func(m string, try int) (*pb.ClusterDigestResponse, error) {
			return at(uint64(try*10+len(m)+int(m[1])), "aa")
		}, exitFailed, "digests  not comparable"},
		{"one is silent", func(m string, _ int) (*pb.ClusterDigestResponse, error) {
			if m == "n3-00000003" {
				return nil, status.Error(codes.DataLoss, "it is broken")
			}
			return at(7, "aa")
		}, exitFailed, "it is broken"},
	}
	for _, tt := range tests {
		f.digests, f.tries = tt.digests, map[string]int{}
		if r := execute(t, "", "cluster", "digest"); r.code != tt.code || !strings.Contains(r.out, tt.want) || strings.Contains(r.out, "n4-00000004") {
			t.Errorf("%s: want exit code %d and %q, got %+v", tt.name, tt.code, tt.want, r)
		}
	}
	f.digests = tests[0].digests
	f.status.Members[2].State = pb.ClusterMember_STATE_UNREACHABLE
	if r := execute(t, "", "cluster", "digest"); r.code != exitFailed || !strings.Contains(r.out, "not all there") || !strings.Contains(r.out, `answer\x1b`) || f.tries["n3-00000003"] > len(tests)*digestTries {
		t.Errorf("%+v", r)
	}
	f.status.Members[2].State = pb.ClusterMember_STATE_FOLLOWER
	var told clusterDigest
	if err := json.Unmarshal([]byte(execute(t, "", "cluster", "digest", "-o", "json").out), &told); err != nil || !told.Equal || told.Revision != 7 || len(told.Members) != 3 {
		t.Errorf("%v, %+v", err, told)
	}
}

// TestAClusterOfOne: a server without peers answers for itself.
func TestAClusterOfOne(t *testing.T) {
	s := startDev(t, on(filepath.Join(t.TempDir(), "data"))...)
	var told clusterStatus
	if err := json.Unmarshal([]byte(s.must(t, "cluster", "status", "-o", "json")), &told); err != nil {
		t.Fatal(err)
	}
	if len(told.Members) != 1 || told.Leader != told.Members[0].ID || told.Members[0].Role != "voter" || told.Members[0].State != "leader" ||
		told.Members[0].Lag != 0 || told.Members[0].Version != version || told.Term == 0 || told.Revision == 0 || told.ClusterID == "" {
		t.Errorf("%+v", told)
	}
	_, page := get(t, s.metrics, "/metrics")
	for _, want := range []string{"memory_graph_cluster_leads 1", `memory_graph_cluster_members{role="voter"} 1`, "memory_graph_cluster_leader_contact_seconds 0"} {
		if !strings.Contains(page, want) {
			t.Errorf("metrics do not tell %s", want)
		}
	}
	for line, want := range map[string]string{
		"health": "none may fail", "members": told.Leader, "snapshot": "durable up to", "snapshot " + told.Leader: "durable up to",
		"digest": "digests  equal", "jobs": "nothing to sweep", "finalize": "feature level",
	} {
		if out := s.must(t, append([]string{"cluster"}, strings.Fields(line)...)...); !strings.Contains(out, want) {
			t.Errorf("%s prints %s", line, out)
		}
	}
	for line, want := range map[string]string{
		"transfer-leader": "is the only voter", "transfer-leader nobody": "no member nobody", "remove " + told.Leader: "cluster of one node",
		"promote " + told.Leader: "cluster of one node", "digest --timeout 1ns": "Deadline", "snapshot nobody": "UNKNOWN_MEMBER",
		"transfer-leader " + told.Leader: "leads already",
	} {
		r := execute(t, "", append(append([]string{"cluster"}, strings.Fields(line)...), "--address", s.api)...)
		if r.code != exitFailed || !strings.Contains(r.err, want) {
			t.Errorf("%s: want %q in %+v", line, want, r)
		}
	}
}

func TestHealthOfMembers(t *testing.T) {
	voter := func(id, problem string) *pb.ClusterMember {
		return &pb.ClusterMember{Id: id, Role: pb.ClusterMember_ROLE_VOTER, Problem: problem}
	}
	tests := []struct {
		leader           string
		members          []*pb.ClusterMember
		healthy          bool
		well, tolerance  int32
		firstProblemSays string
	}{
		{"a", []*pb.ClusterMember{voter("a", ""), voter("b", ""), voter("c", "")}, true, 3, 1, ""},
		{"a", []*pb.ClusterMember{voter("a", ""), voter("b", ""), voter("c", "gone")}, false, 2, 0, "gone"},
		{"", []*pb.ClusterMember{voter("a", ""), voter("b", "gone"), voter("c", "gone")}, false, 1, -1, "1 of 3 voters are well, 2 are needed"},
		{"", []*pb.ClusterMember{voter("a", "")}, false, 1, 0, "nobody leads"},
		{"a", []*pb.ClusterMember{voter("a", ""), {Id: "r", Role: pb.ClusterMember_ROLE_NON_VOTER, Problem: "gone"}}, false, 1, 0, "gone"},
	}
	for i, tt := range tests {
		h := healthOf(tt.leader, tt.members)
		first := ""
		if len(h.Problems) > 0 {
			first = h.Problems[0]
		}
		if h.Healthy != tt.healthy || h.VotersWell != tt.well || h.FailureTolerance != tt.tolerance || !strings.Contains(first, tt.firstProblemSays) {
			t.Errorf("%d: %v", i, h)
		}
	}
}

func TestWhatAPeerTells(t *testing.T) {
	good := func(change func(*peerpb.StatusReply)) *peerpb.StatusReply {
		r := &peerpb.StatusReply{State: "Follower", LeaderId: "a", HasRoom: true, LastContact: 1e6, Applied: 5, Version: "v1"}
		change(r)
		return r
	}
	tests := []struct {
		reply *peerpb.StatusReply
		err   error
		state pb.ClusterMember_State
		want  string
	}{
		{good(func(*peerpb.StatusReply) {}), nil, pb.ClusterMember_STATE_FOLLOWER, ""},
		{nil, status.Error(codes.Unavailable, "no route"), pb.ClusterMember_STATE_UNREACHABLE, "it does not answer: no route"},
		{nil, errors.New("plain"), pb.ClusterMember_STATE_UNREACHABLE, "it does not answer: plain"},
		{good(func(r *peerpb.StatusReply) { r.HasRoom = false }), nil, pb.ClusterMember_STATE_FOLLOWER, "disk is too full"},
		{good(func(r *peerpb.StatusReply) { r.LastContact = -1 }), nil, pb.ClusterMember_STATE_FOLLOWER, "has not heard from the leader"},
		{good(func(r *peerpb.StatusReply) { r.LastContact = 6e9 }), nil, pb.ClusterMember_STATE_FOLLOWER, "last heard from the leader 6s ago"},
		{good(func(r *peerpb.StatusReply) { r.LeaderId = "c" }), nil, pb.ClusterMember_STATE_FOLLOWER, "it follows c"},
		{good(func(r *peerpb.StatusReply) { r.State = "Candidate" }), nil, pb.ClusterMember_STATE_CANDIDATE, ""},
		{good(func(r *peerpb.StatusReply) { r.State = "Shutdown" }), nil, pb.ClusterMember_STATE_UNSPECIFIED, ""},
	}
	for i, tt := range tests {
		m := &pb.ClusterMember{Id: "b"}
		tellPeer(m, tt.reply, tt.err, "a")
		if m.State != tt.state || (tt.want == "") != (m.Problem == "") || !strings.Contains(m.Problem, tt.want) {
			t.Errorf("%d: %v", i, m)
		}
	}
}

func TestErrorsOfMembersSayWhatToDo(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{memberError("n1", errors.New("no")), "no"},
		{memberError("n1", &cluster.Error{Kind: cluster.NoLeader, NotProposed: true}), "no leader"},
		{memberError("n1", context.DeadlineExceeded), "deadline"},
	} {
		if !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%v, want %q", tt.err, tt.want)
		}
	}
	for _, reason := range []string{"QUORUM_AT_RISK", "MEMBER_UNREACHABLE", "UNKNOWN_MEMBER", "MEMBER_STATE", "CHANGE_UNDER_WAY", "NO_LEADER"} {
		if memberAdvice(reason) == "" {
			t.Errorf("no advice about %s", reason)
		}
	}
}
