package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/importer"
)

// sampleFiles are agent runs of our own writing, to look at in an empty store.
//
//go:embed sample/*.json
var sampleFiles embed.FS

// isEmpty says whether a graph has no node.
func isEmpty(ctx context.Context, conn grpc.ClientConnInterface) (bool, error) {
	m, err := graphgrpc.NewMemoryGraphServiceClient(conn).GetMetrics(ctx, &emptypb.Empty{})
	if err != nil {
		return false, fmt.Errorf("look whether the graph is empty: %w", err)
	}
	return m.GetTotalNodes() == 0, nil
}

// loadSample imports the sample runs through the connection and prints the tree of each to out. It returns the ids of
// their sessions. Loading them again changes nothing.
func loadSample(ctx context.Context, conn grpc.ClientConnInterface, out io.Writer) (sessions []string, err error) {
	names, err := fs.Glob(sampleFiles, "sample/*.json")
	if err != nil {
		return nil, err
	}
	var sources []importer.Source
	for _, name := range names {
		sources = append(sources, importer.Source{Name: name, Open: func() (io.ReadCloser, error) { return sampleFiles.Open(name) }})
	}
	var problems []error
	_, err = importer.Import(ctx, graphgrpc.NewGraphTransferServiceClient(conn), sources, importer.Options{
		Problem: func(p importer.Problem) { problems = append(problems, errors.New(p.String())) },
		Session: func(id string) { sessions = append(sessions, id) },
	})
	if err = errors.Join(append(problems, err)...); err != nil {
		return nil, fmt.Errorf("load the sample: %w", err)
	}
	graph := graphgrpc.NewMemoryGraphServiceClient(conn)
	for _, id := range sessions {
		s, err := fetchStory(ctx, graph, id)
		if err != nil {
			return sessions, fmt.Errorf("show the sample: %w", err)
		}
		if _, err := fmt.Fprintln(out, drawStory(s, treeOptions{width: defaultWidth})); err != nil {
			return sessions, err
		}
	}
	return sessions, nil
}
