package conformance

import (
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

const (
	backupCreate = graphgrpc.BackupService_Create_FullMethodName
	backupFollow = graphgrpc.BackupService_Follow_FullMethodName
)

// backupCases take copies out of a running cluster; what is in them is read by the tests of rpc/backups.
func backupCases() []Case {
	return []Case{
		{Name: "a_backup_is_followed_by_what_came_after_it", Section: "D9", Run: backupIsFollowed, Calls: []string{backupCreate, backupFollow}},
		{Name: "what_cannot_be_followed_says_why", Section: "D9", Run: unfollowable, Calls: []string{backupCreate, backupFollow}},
	}
}

// received is all that a stream has.
func received[M any](t *testing.T, stream grpc.ServerStreamingClient[M]) (all []*M) {
	t.Helper()
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("stream ended after %d messages: %v", len(all), err)
		}
		all = append(all, m)
	}
}

// backedUp takes a backup and returns what it begins with.
func backedUp(t *testing.T, client graphgrpc.BackupServiceClient) *graphpb.BackupHeader {
	t.Helper()
	chunks := received(t, must(client.Create(t.Context(), &graphpb.CreateBackupRequest{}))(t))
	size := 0
	for _, c := range chunks {
		size += len(c.GetChunk())
	}
	header := chunks[0].GetHeader()
	if size == 0 || header.GetKind() != graphpb.BackupKind_BACKUP_KIND_FULL || header.GetRevision() == 0 || header.GetClusterId() == "" {
		t.Fatalf("backup of %d bytes begins with %v", size, header)
	}
	return header
}

func backupIsFollowed(t *testing.T, e *Env) {
	client := graphgrpc.NewBackupServiceClient(e.Conn)
	_ = e.session(t)
	header := backedUp(t, client)
	_ = e.session(t)
	after := header.GetRevision()
	var commands int
	for _, m := range received(t, must(client.Follow(t.Context(), &graphpb.FollowBackupRequest{
		ClusterId: header.GetClusterId(), Lineage: header.GetLineage(), AfterRevision: after, UntilNow: true,
	}))(t)) {
		for _, entry := range m.GetEntries() {
			if entry.GetRevision() <= after {
				t.Errorf("entry %d comes after %d", entry.GetRevision(), after)
			}
			after = entry.GetRevision()
			if len(entry.GetData()) > 0 {
				commands++
			}
		}
	}
	if commands == 0 {
		t.Error("a session was made, and no entry says so")
	}
}

func unfollowable(t *testing.T, e *Env) {
	client := graphgrpc.NewBackupServiceClient(e.Conn)
	header := backedUp(t, client)
	follow := func(change func(*graphpb.FollowBackupRequest)) (*graphpb.FollowBackupResponse, error) {
		request := &graphpb.FollowBackupRequest{ClusterId: header.GetClusterId(), Lineage: header.GetLineage(), AfterRevision: header.GetRevision(), UntilNow: true}
		change(request)
		return must(client.Follow(t.Context(), request))(t).Recv()
	}
	wantReason(t, refusal(follow(func(r *graphpb.FollowBackupRequest) { r.AfterRevision += 1 << 32 }))(t, codes.OutOfRange), "REVISION_NOT_YET")
	wantReason(t, refusal(follow(func(r *graphpb.FollowBackupRequest) { r.Lineage = "00000001" }))(t, codes.FailedPrecondition), "LINEAGE_CHANGED")
	wantReason(t, refusal(follow(func(r *graphpb.FollowBackupRequest) { r.ClusterId = "00000000-0000-4000-8000-000000000001" }))(t, codes.FailedPrecondition), "OTHER_CLUSTER")
}
