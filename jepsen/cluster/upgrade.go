package cluster

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// NextBinary builds the server of the release that comes after this one into dir: it knows one more feature level, and a command that
// this release does not know.
func NextBinary(ctx context.Context, dir string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	if err := touchSources(root); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "memory-graph-next")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags=hashicorpmetrics,nextlevel", "-o", path, "./cmd/memory-graph")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server of the next release: %w\n%s", err, out)
	}
	return path, nil
}

// Use has the next start of the node run another server.
func (n *Node) Use(binary string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.options.Binary = binary
}
