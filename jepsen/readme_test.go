package jepsen_test

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
)

// TestTheReadmeRuns runs the client commands of the README, as they stand there, against what `make run` starts.
func TestTheReadmeRuns(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash on this machine")
	}
	binary, err := cluster.Binary(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	node := cluster.New(cluster.Options{Binary: binary, DataDir: t.TempDir(), Args: []string{"--sample"}})
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bash, "-euo", "pipefail", "-c", script(t, binary))
	cmd.Dir = ".." // the README speaks of paths in the repository
	cmd.Env = append(os.Environ(), "MEMORY_GRAPH_ADDRESS="+node.Address())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"start_generator", "3 prompts, 6 responses, 4 tool calls (1 failed)", "Is it raining in Paris?", "NODE_CREATED"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the commands of the README do not print %q but\n%s", want, out)
		}
	}
}

// script is the block of the README that calls the program.
func script(t *testing.T, binary string) string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		if strings.Contains(block[1], "bin/memory-graph") {
			return strings.ReplaceAll(block[1], "bin/memory-graph", "'"+binary+"'")
		}
	}
	t.Fatal("README.md has no commands")
	return ""
}
