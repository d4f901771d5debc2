package cluster

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// BinaryVariable names the environment variable with the path of a server that is already built.
const BinaryVariable = "MEMORY_GRAPH_BINARY"

// coverVariable is where instrumented programs write their counters; the processes inherit it.
const coverVariable = "GOCOVERDIR"

const modulePath = "github.com/globalbusinessadvisors/llm-memory-graph"

// Binary returns the server to test: the one that BinaryVariable names, else one built into dir. With GOCOVERDIR set it is
// built with coverage counters, which a process writes when it stops gracefully.
func Binary(ctx context.Context, dir string) (string, error) {
	if path := os.Getenv(BinaryVariable); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("server of %s: %w", BinaryVariable, err)
		}
		return filepath.Abs(path)
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	if err := touchSources(root); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "memory-graph")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	arguments := []string{"build", "-buildvcs=false", "-tags=hashicorpmetrics", "-o", path}
	if os.Getenv(coverVariable) != "" {
		arguments = append(arguments, "-cover", "-coverpkg="+modulePath+"/...")
	}
	build := exec.CommandContext(ctx, "go", append(arguments, "./cmd/memory-graph")...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return path, nil
}

// moduleRoot walks up from the working folder to the go.mod of this module.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.Contains(string(text), "module "+modulePath+"\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("find the module: no go.mod of %s above the working folder", modulePath)
		}
		dir = parent
	}
}

// touchSources looks at every source of the server. The go command remembers what a test looked at and runs it anew when
// that has changed; it cannot see what the build in a child process read.
func touchSources(root string) error {
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "bin" || name == "data") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(name, ".go") || name == "go.mod" {
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("look at the sources: %w", err)
	}
	return nil
}
