//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	server "github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
	"github.com/globalbusinessadvisors/llm-memory-graph/rpc/importer"
)

// said is what a conversation says, in order, each kind for itself.
type said struct {
	Prompts, Responses, Parameters, Results []string
}

// dataSet is a published collection of conversations, with what its README counts.
type dataSet struct {
	name string
	want map[string]int64
	// read reads the conversations of a file by other means than the importer, and the system messages in it.
	read func(t *testing.T, path string) (all []said, system []string)
}

func realConversations(t *testing.T, binary string) {
	for _, set := range []dataSet{
		{"tau-bench", map[string]int64{"sessions": 200, "prompts": 1490, "responses": 2454, "tool_invocations": 1164, "tool_invocations_failed": 73, "templates": 1}, readTauBench},
		{"kdconv-zh", map[string]int64{"sessions": 150, "prompts": 1346, "responses": 1345, "tool_invocations": 0, "tool_invocations_failed": 0, "templates": 0}, readKdConv},
		// The README counts prompts and results by message_type alone; rpc/importer shows how its 24 prompts arise.
		{"swe-agent", map[string]int64{"sessions": 10, "prompts": 10, "responses": 105, "tool_invocations": 105, "templates": 9, "agents": 2}, readSWEAgent},
	} {
		t.Run(set.name, func(t *testing.T) {
			t.Parallel()
			set.roundTrip(t, binary)
		})
	}
}

// dataFolder is where a data set lies. The test is skipped where there is none.
func dataFolder(t *testing.T, name string) string {
	t.Helper()
	root := os.Getenv("MEMORY_GRAPH_DATA")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "data")
	}
	folder := filepath.Join(root, name)
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("the data set %s is not here (set MEMORY_GRAPH_DATA): %v", name, err)
	}
	return folder
}

// roundTrip imports a data set twice into a server process and reads every text back.
func (set dataSet) roundTrip(t *testing.T, binary string) {
	folder := dataFolder(t, set.name)
	n := startProcess(t, server.Options{Binary: binary, DataDir: t.TempDir()})
	first := importedCounts(t, n.Address(), folder)
	for key, want := range set.want {
		if first[key] != want {
			t.Errorf("%s: %d, want %d", key, first[key], want)
		}
	}
	if first["skipped"] != 0 || first["unchanged"] != 0 || first["created"] == 0 {
		t.Errorf("first import: %v", first)
	}
	again := importedCounts(t, n.Address(), folder)
	if again["created"] != 0 || again["unchanged"] != first["created"] {
		t.Errorf("second import: %v, first: %v", again, first)
	}
	again["created"], again["unchanged"] = first["created"], first["unchanged"]
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("counts of the second import (-first +second):\n%s", diff)
	}

	stopProcess(t, n) // what is read back has gone through a restart
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ids := set.sameTexts(t, n.Address(), folder)
	tree := mustAt(t, n.Address(), "session", "show", ids[0])
	if !strings.Contains(tree, ids[0]) || strings.Count(tree, "prompt ") < 1 || strings.Count(tree, "response ") < 1 {
		t.Errorf("tree:\n%s", tree)
	}
	// Ends by itself, with an event for each record at least.
	if events := strings.Count(mustAt(t, n.Address(), "events", "-o", "json"), "\n"); int64(events) < first["created"] {
		t.Errorf("%d events of %d records", events, first["created"])
	}
	stopProcess(t, n)
}

func importedCounts(t *testing.T, address, folder string) (counts map[string]int64) {
	t.Helper()
	if err := json.Unmarshal([]byte(mustAt(t, address, "import", folder, "-o", "json")), &counts); err != nil {
		t.Fatal(err)
	}
	return counts
}

// sameTexts compares every content, parameter and result, byte by byte, and returns the ids of the sessions.
func (set dataSet) sameTexts(t *testing.T, address, folder string) (ids []string) {
	t.Helper()
	sources, done, err := importer.Sources([]string{folder}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var want []said
	var system []string
	for _, s := range sources {
		all, texts := set.read(t, s.Name)
		want, system = append(want, all...), append(system, texts...)
	}
	// A dry run tells the ids in the order of the files.
	_, err = importer.Import(t.Context(), nil, sources, importer.Options{DryRun: true, Session: func(id string) { ids = append(ids, id) }})
	if err := errors.Join(err, done()); err != nil {
		t.Fatal(err)
	}
	if len(ids) != len(want) {
		t.Fatalf("%d sessions, %d conversations", len(ids), len(want))
	}
	graph := graphgrpc.NewMemoryGraphServiceClient(connect(t, address))
	for i, id := range ids {
		if diff := cmp.Diff(want[i], conversation(t, graph, id)); diff != "" {
			t.Errorf("session %s (-file +server):\n%s", id, diff)
		}
	}
	var stored []string
	for _, node := range queried(t, graph, &pb.QueryRequest{NodeType: pb.NodeType_NODE_TYPE_TEMPLATE.Enum()}) {
		stored = append(stored, node.GetTemplate().GetTemplateText())
	}
	slices.Sort(stored)
	slices.Sort(system)
	if diff := cmp.Diff(slices.Compact(system), stored); diff != "" {
		t.Errorf("system messages (-file +server):\n%s", diff)
	}
	return ids
}

// conversation reads a session back.
func conversation(t *testing.T, graph graphgrpc.MemoryGraphServiceClient, id string) (s said) {
	t.Helper()
	all := queried(t, graph, &pb.QueryRequest{SessionId: &id})
	for _, node := range slices.Backward(all) { // the newest comes first
		switch node.Type {
		case pb.NodeType_NODE_TYPE_PROMPT:
			s.Prompts = append(s.Prompts, node.GetPrompt().Content)
		case pb.NodeType_NODE_TYPE_RESPONSE:
			s.Responses = append(s.Responses, node.GetResponse().Content)
		case pb.NodeType_NODE_TYPE_TOOL_INVOCATION:
			v := node.GetToolInvocation()
			s.Parameters, s.Results = append(s.Parameters, v.Parameters), append(s.Results, v.GetResult()+v.GetError())
		}
	}
	return s
}

func queried(t *testing.T, graph graphgrpc.MemoryGraphServiceClient, req *pb.QueryRequest) (nodes []*pb.Node) {
	t.Helper()
	stream, err := graph.StreamQuery(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for {
		node, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nodes
		}
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, node)
	}
}

func decodeFile(t *testing.T, path string, v any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatal(err)
	}
}

// chatMessage is what the tests look at of a message.
type chatMessage struct {
	Role, Content, Action string
	Calls                 []struct {
		Function struct{ Arguments string }
	} `json:"tool_calls"`
}

func readTauBench(t *testing.T, path string) (all []said, system []string) {
	var items []struct{ Traj []chatMessage }
	decodeFile(t, path, &items)
	for _, item := range items {
		var s said
		for _, m := range item.Traj {
			switch m.Role {
			case "system":
				system = append(system, m.Content)
			case "user":
				s.Prompts = append(s.Prompts, m.Content)
			case "assistant":
				s.Responses = append(s.Responses, m.Content)
			case "tool":
				s.Results = append(s.Results, m.Content)
			}
			for _, c := range m.Calls {
				s.Parameters = append(s.Parameters, c.Function.Arguments)
			}
		}
		all = append(all, s)
	}
	return all, system
}

func readKdConv(t *testing.T, path string) (all []said, system []string) {
	var items []struct{ Messages []struct{ Message string } }
	decodeFile(t, path, &items)
	for _, item := range items {
		var s said
		for i, m := range item.Messages {
			if i%2 == 0 {
				s.Prompts = append(s.Prompts, m.Message)
			} else {
				s.Responses = append(s.Responses, m.Message)
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// readSWEAgent: the second message is the prompt, later ones of the user are what tools gave. What the last call gave stands
// in the trajectory when no message follows it.
func readSWEAgent(t *testing.T, path string) (all []said, system []string) {
	var item struct {
		History    []chatMessage
		Trajectory []struct{ Observation string }
	}
	decodeFile(t, path, &item)
	var s said
	for i, m := range item.History {
		switch {
		case m.Role == "system":
			system = append(system, m.Content)
		case m.Role == "assistant":
			s.Responses = append(s.Responses, m.Content)
			if len(m.Calls) == 0 {
				s.Parameters = append(s.Parameters, m.Action)
			}
			for _, c := range m.Calls {
				s.Parameters = append(s.Parameters, c.Function.Arguments)
			}
		case i == 1:
			s.Prompts = append(s.Prompts, m.Content)
		default:
			s.Results = append(s.Results, m.Content)
		}
	}
	if len(s.Results) < len(s.Parameters) {
		s.Results = append(s.Results, item.Trajectory[len(item.Trajectory)-1].Observation)
	}
	return []said{s}, system
}
