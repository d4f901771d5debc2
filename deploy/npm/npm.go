// Package npm repairs the published npm client, `@llm-dev-ops/llm-memory-graph-client` 0.1.0.
//
// That client opens a contract beside its own package, which nobody installs, and takes field names in camelCase, which the
// published contract does not have. The package holds the file that belongs there: our contract, the same on the wire, with the
// names that the client uses (memory_graph.proto, made and held by its test); and it finds the place for it. It refuses to touch
// anything else of a project.
package npm

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed memory_graph.proto
var contract string

const (
	// Client is the package that is repaired, Version the one that the file was made for.
	Client  = "@llm-dev-ops/llm-memory-graph-client"
	Version = "0.1.0"

	folder = "proto"
	file   = "memory_graph.proto"
)

// ErrNoClient is wrapped by the error for a project without the client.
var ErrNoClient = errors.New("the client is not installed")

// Contract is the file that the client wants.
func Contract() string { return contract }

// Repaired says what was done.
type Repaired struct {
	// Path is the file that was put in place.
	Path string `json:"path"`
	// Version of the client, and whether it is the one that the file was made for.
	Version string `json:"version"`
	Known   bool   `json:"known"`
	// Changed is false when the file was there already.
	Changed bool `json:"changed"`
}

// Repair puts the file in place for the client that a project, the folder or one above it, has installed. Doing it again changes
// nothing.
func Repair(project string) (Repaired, error) {
	client, err := find(project)
	if err != nil {
		return Repaired{}, err
	}
	version, err := versionOf(client)
	if err != nil {
		return Repaired{}, err
	}
	// The client goes two folders up from its own dist.
	path := filepath.Join(filepath.Dir(client), folder, file)
	done := Repaired{Path: path, Version: version, Known: version == Version}
	if was, err := os.ReadFile(path); err == nil && string(was) == contract {
		return done, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return done, fmt.Errorf("repair: %w", err)
	}
	if err := os.WriteFile(path, []byte(contract), 0o644); err != nil {
		return done, fmt.Errorf("repair: %w", err)
	}
	done.Changed = true
	return done, nil
}

// find looks for the client as node does: in node_modules of the folder and of those above it.
func find(project string) (string, error) {
	start, err := filepath.Abs(project)
	if err != nil {
		return "", fmt.Errorf("repair: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		client := filepath.Join(dir, "node_modules", filepath.FromSlash(Client))
		if info, err := os.Stat(client); err == nil && info.IsDir() {
			return client, nil
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("repair: %w", err)
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s: no node_modules/%s here nor above: run npm install %s@%s first: %w", start, Client, Client, Version, ErrNoClient)
		}
	}
}

func versionOf(client string) (string, error) {
	text, err := os.ReadFile(filepath.Join(client, "package.json"))
	if err != nil {
		return "", fmt.Errorf("repair: %w", err)
	}
	var manifest struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		return "", fmt.Errorf("repair: %s: %w", filepath.Join(client, "package.json"), err)
	}
	return manifest.Version, nil
}
