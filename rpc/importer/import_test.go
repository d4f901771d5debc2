package importer

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeTransfer keeps imported records in maps. It does not fill in times, check fields or rules beside those of the
// stream, or write events.
type fakeTransfer struct {
	graphgrpc.UnimplementedGraphTransferServiceServer
	t      *testing.T
	client graphgrpc.GraphTransferServiceClient
	nodes  map[string]*pb.Node
	edges  map[string]*pb.Edge
	chunks int
	refuse error
}

func (f *fakeTransfer) Import(stream grpc.ClientStreamingServer[pb.ImportRequest, pb.ImportResponse]) error {
	answer, chunks := &pb.ImportResponse{}, 0
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(answer)
		}
		if err != nil {
			return err
		}
		if f.refuse != nil {
			return f.refuse
		}
		f.chunks++
		if n := len(chunk.Nodes) + len(chunk.Edges); n > graph.MaxImportRecords || proto.Size(chunk) > maxChunkBytes+16<<10 {
			f.t.Errorf("chunk of %d records and %d bytes", n, proto.Size(chunk))
		}
		if err := f.take(chunk, answer); err != nil {
			return noted(err, chunks, answer)
		}
		chunks++
	}
}

// noted adds what the server notes beside an error.
func noted(refusal *status.Status, chunks int, done *pb.ImportResponse) error {
	if chunks == 0 {
		return refusal.Err()
	}
	with, err := refusal.WithDetails(&errdetails.ErrorInfo{Metadata: map[string]string{
		"chunks": fmt.Sprint(chunks), "nodes_created": fmt.Sprint(done.NodesCreated), "nodes_unchanged": fmt.Sprint(done.NodesUnchanged),
		"edges_created": fmt.Sprint(done.EdgesCreated), "edges_unchanged": fmt.Sprint(done.EdgesUnchanged),
	}})
	if err != nil {
		return err
	}
	return with.Err()
}

func missing(label, id string) *status.Status {
	with, err := status.Newf(codes.NotFound, "%s not found: %s", label, id).WithDetails(&errdetails.ResourceInfo{ResourceName: id})
	if err != nil {
		panic(err)
	}
	return with
}

// take takes all of a chunk or nothing.
func (f *fakeTransfer) take(chunk *pb.ImportRequest, answer *pb.ImportResponse) *status.Status {
	nodes, edges, done := maps.Clone(f.nodes), maps.Clone(f.edges), proto.CloneOf(answer)
	for _, n := range chunk.Nodes {
		old, ok := nodes[n.Id]
		switch {
		case ok && !proto.Equal(old, n):
			return status.Newf(codes.AlreadyExists, "node %s differs", n.Id)
		case ok:
			done.NodesUnchanged++
		default:
			if n.SessionId != "" && n.SessionId != n.Id && nodes[n.SessionId] == nil {
				return missing("Session", n.SessionId)
			}
			done.NodesCreated++
			nodes[n.Id] = n
		}
	}
	for _, e := range chunk.Edges {
		for _, end := range []string{e.FromNodeId, e.ToNodeId} {
			if nodes[end] == nil {
				return missing("Node", end)
			}
		}
		old, ok := edges[e.Id]
		switch {
		case ok && !proto.Equal(old, e):
			return status.Newf(codes.AlreadyExists, "edge %s differs", e.Id)
		case ok:
			done.EdgesUnchanged++
		default:
			done.EdgesCreated++
			edges[e.Id] = e
		}
	}
	f.nodes, f.edges = nodes, edges
	answer.NodesCreated, answer.NodesUnchanged, answer.EdgesCreated, answer.EdgesUnchanged = done.NodesCreated, done.NodesUnchanged, done.EdgesCreated, done.EdgesUnchanged
	return nil
}

func serve(t *testing.T) (*fakeTransfer, graphgrpc.GraphTransferServiceClient) {
	t.Helper()
	fake := &fakeTransfer{t: t, nodes: make(map[string]*pb.Node), edges: make(map[string]*pb.Edge)}
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	graphgrpc.RegisterGraphTransferServiceServer(server, fake)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	dial := func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }
	conn, err := grpc.NewClient("passthrough:///fake", grpc.WithContextDialer(dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	fake.client = graphgrpc.NewGraphTransferServiceClient(conn)
	return fake, fake.client
}

func sample(t *testing.T, name string) Source {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "shapes", name))
	if err != nil {
		t.Fatal(err)
	}
	return textSource(name, string(raw))
}

func TestImportTwiceChangesNothing(t *testing.T) {
	fake, client := serve(t)
	first, err := Import(t.Context(), client, []Source{sample(t, "bare.json"), sample(t, "text.traj")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := Summary{Sessions: 2, Prompts: 5, Responses: 6, ToolInvocations: 4, FailedToolInvocations: 1, Templates: 2, Agents: 2,
		// BELONGS_TO, RESPONDS_TO, FOLLOWS, INVOKES, INSTANTIATES, HANDLED_BY
		Edges: 15 + 6 + 3 + 4 + 2 + 6, Files: 2}
	want.Created = int64(len(fake.nodes) + len(fake.edges))
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("first import (-want +got):\n%s", diff)
	}

	// The same files once more, in another order, under other names, in streams of their own.
	var again Summary
	for _, s := range []Source{sample(t, "text.traj"), sample(t, "bare.json")} {
		s.Name = "elsewhere/" + s.Name + ".copy"
		part, err := Import(t.Context(), client, []Source{s}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		again.Created += part.Created
		again.Unchanged += part.Unchanged
		again.Edges += part.Edges
	}
	if again.Created != 0 || again.Unchanged != first.Created || again.Edges != first.Edges {
		t.Errorf("second import %+v; the first was %+v", again, first)
	}
}

func TestEqualConversationsAreSeparateSessions(t *testing.T) {
	fake, client := serve(t)
	got, err := Import(t.Context(), client, []Source{sample(t, "nested.json")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	sessions := 0
	for _, n := range fake.nodes {
		if n.Type == pb.NodeType_NODE_TYPE_SESSION {
			sessions++
		}
	}
	if got.Sessions != 3 || sessions != 3 || got.Skipped != 1 {
		t.Errorf("read %d sessions, stored %d, skipped %d; want 3, 3, 1", got.Sessions, sessions, got.Skipped)
	}
}

func TestLargeImportIsCutIntoChunks(t *testing.T) {
	fake, client := serve(t)
	var b strings.Builder
	fmt.Fprintf(&b, `[{"role":"user","content":"%s"}`, strings.Repeat("a", graph.MaxContentBytes))
	for i := range 3000 {
		fmt.Fprintf(&b, `,{"role":"assistant","content":"answer %d"}`, i)
	}
	for range 3 {
		fmt.Fprintf(&b, `,{"role":"assistant","content":"%s"}`, strings.Repeat("b", graph.MaxContentBytes))
	}
	b.WriteString("]")
	got, err := Import(t.Context(), client, []Source{textSource("large.json", b.String())}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Responses != 3003 || got.Skipped != 0 || got.Created != int64(len(fake.nodes)+len(fake.edges)) {
		t.Errorf("got %+v", got)
	}
	if fake.chunks < 10 {
		t.Errorf("%d chunks, want 10 or more for 9000 records", fake.chunks)
	}
}

func TestRefusalOfTheServerIsReturned(t *testing.T) {
	fake, client := serve(t)
	fake.refuse = status.Error(codes.PermissionDenied, "not for you")
	_, err := Import(t.Context(), client, []Source{sample(t, "bare.json")}, Options{})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("got %v, want PermissionDenied", err)
	}
	// So many chunks that sending runs into the ended stream.
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, `{"role":"user","content":"%d"}`+"\n", i)
	}
	_, err = Import(t.Context(), client, []Source{textSource("many.jsonl", b.String())}, Options{})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("got %v, want PermissionDenied", err)
	}
}

func TestImportStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, name := range []string{"kdconv.json", "lines.jsonl", "sharegpt.json"} {
		_, err := Import(ctx, nil, []Source{sample(t, name)}, Options{DryRun: true})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want canceled", name, err)
		}
	}
}

func TestSources(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"b.json": "[]", "a/x.jsonl": "{}", "a/y.TRAJ": "{}", "c.ndjson.gz": "", "README.md": "no", "z.txt": "named",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	found, done, err := Sources([]string{dir, filepath.Join(dir, "z.txt"), Stdin}, strings.NewReader("typed"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range found {
		rel, err := filepath.Rel(dir, s.Name)
		if err != nil {
			rel = s.Name
		}
		names = append(names, rel)
	}
	if diff := cmp.Diff([]string{"a/x.jsonl", "a/y.TRAJ", "b.json", "c.ndjson.gz", "z.txt", "-"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if last := found[len(found)-1]; last.Size != 5 {
		t.Errorf("standard input has size %d, want 5", last.Size)
	}
	if err := done(); err != nil {
		t.Error(err)
	}
	if _, err := found[len(found)-1].Open(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy of standard input is still there: %v", err)
	}
	if _, _, err := Sources([]string{filepath.Join(dir, "absent")}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent path: %v", err)
	}
	_, done, err = Sources([]string{Stdin}, brokenReader{})
	if err == nil {
		t.Error("a standard input that breaks off is accepted")
	}
	if err := done(); err != nil {
		t.Error(err)
	}
}

// brokenReader is a reader that fails.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("unplugged") }

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestZippedFileWithByteOrderMarkIsTheSameFile(t *testing.T) {
	plain := `[{"role":"user","content":"hi"}]`
	want := story(t, textSource("x.json", plain), FormatAuto)
	for name, text := range map[string]string{"zipped": zipped(t, plain), "marked": "\ufeff" + plain, "both": zipped(t, "\ufeff"+plain)} {
		if diff := cmp.Diff(want, story(t, textSource("x.json", text), FormatAuto)); diff != "" {
			t.Errorf("%s (-plain +got):\n%s", name, diff)
		}
	}
	progress := 0
	z := zipped(t, plain)
	_, err := Import(t.Context(), nil, []Source{textSource("x.json.gz", z)}, Options{DryRun: true, Progress: func(n int) { progress += n }})
	if err != nil || progress != len(z) {
		t.Errorf("progress %d of %d bytes, %v", progress, len(z), err)
	}
}
