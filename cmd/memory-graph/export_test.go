package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// fakeExport streams an export of messages of 1,000 agents and then ends, with fault when that is set. It exports nothing
// but agents, and imports nothing.
type fakeExport struct {
	graphgrpc.GraphTransferServiceClient
	grpc.ServerStreamingClient[pb.ExportResponse]
	messages int
	fault    error
	ended    bool
}

func (f *fakeExport) Export(context.Context, *pb.ExportRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[pb.ExportResponse], error) {
	return f, nil
}

func (f *fakeExport) Header() (metadata.MD, error) { return metadata.MD{}, nil }

func (f *fakeExport) Recv() (*pb.ExportResponse, error) {
	if f.messages == 0 {
		f.ended = true
		if f.fault != nil {
			return nil, f.fault
		}
		return nil, io.EOF
	}
	f.messages--
	m := &pb.ExportResponse{}
	for range 1000 {
		m.Nodes = append(m.Nodes, &pb.Node{Id: "a", Type: pb.NodeType_NODE_TYPE_AGENT, NodeData: &pb.Node_Agent{Agent: &pb.AgentNode{Name: strings.Repeat("x", 500)}}})
	}
	return m, nil
}

// A lateReader is a pipe whose reader must not hold up the server: what is written to it while the export goes on is a fault.
type lateReader struct {
	t    *testing.T
	from *fakeExport
	bytes.Buffer
}

func (r *lateReader) Write(p []byte) (int, error) {
	if !r.from.ended {
		r.t.Error("written before the server has sent everything: a slow reader would hold it up")
	}
	return r.Buffer.Write(p)
}

// exportInto exports to standard output, with an empty folder for temporary files, which must be empty again.
func exportInto(t *testing.T, from *fakeExport, stdout io.Writer) error {
	t.Helper()
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	c := &call{program: &program{stdout: stdout, stderr: io.Discard, now: nil}, transfer: from}
	err := c.exportToStdout(t.Context(), &pb.ExportRequest{})
	left, listed := os.ReadDir(temporary)
	if listed != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, listed)
	}
	return err
}

// TestASlowPipeHoldsNothingUp: more is exported than any buffer on the way takes.
func TestASlowPipeHoldsNothingUp(t *testing.T) {
	from := &fakeExport{messages: 8}
	out := &lateReader{t: t, from: from}
	if err := exportInto(t, from, out); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); len(text) < 3*exportBufferBytes || !strings.HasSuffix(text, `{"end":{"nodes":8000,"edges":0}}`+"\n") {
		t.Errorf("%d bytes, which end with %.100q", len(text), text[max(0, len(text)-100):])
	}
}

// TestABrokenExportWritesNothing to a pipe, so that nobody takes it for whole.
func TestABrokenExportWritesNothing(t *testing.T) {
	broken := errors.New("broken")
	from := &fakeExport{messages: 8, fault: broken}
	out := &lateReader{t: t, from: from}
	if err := exportInto(t, from, out); !errors.Is(err, broken) || out.Len() > 0 {
		t.Errorf("%d bytes, %v", out.Len(), err)
	}
}

// TestAFileIsWrittenDirectly needs no room for a copy.
func TestAFileIsWrittenDirectly(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	broken := errors.New("broken")
	if err := exportInto(t, &fakeExport{messages: 8, fault: broken}, f); !errors.Is(err, broken) {
		t.Error(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() == 0 {
		t.Errorf("%v, %v: nothing was written before the fault", info, err)
	}
}
