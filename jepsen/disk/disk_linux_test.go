package disk_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/jepsen/disk"
)

const (
	roundsVariable = "MEMORY_GRAPH_DISK_ROUNDS"
	seedVariable   = "MEMORY_GRAPH_DISK_SEED"
)

// small mounts a file system of 256 MiB in memory. Only root may, so without that the test is skipped.
func small(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=256m"); err != nil {
		t.Skipf("a small file system cannot be mounted here, so no disk is filled: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Error(err)
		}
	})
	return folder
}

// TestDisk fills a small disk twice, or as often as MEMORY_GRAPH_DISK_ROUNDS says, from the seed MEMORY_GRAPH_DISK_SEED or
// a new one: under a server with a reserve; under one without whose store is written all the time, so that it has to end; and
// under one whose log is the first to find no room, so that it must not.
func TestDisk(t *testing.T) {
	binary, err := cluster.Binary(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		reserve uint64
		args    []string
		mayEnd  bool
	}{
		"with a reserve":    {32 << 20, cluster.Compacting(), false},
		"no room for rows":  {0, cluster.Compacting(), true},
		"no room for a log": {0, []string{"--snapshot-interval", "1h"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			folder := small(t)
			rounds, seed := int(number(t, roundsVariable, 2)), number(t, seedVariable, rand.Uint64())
			t.Logf("seed %d", seed)
			report, err := disk.Run(t.Context(), disk.Config{
				Binary: binary, Folder: folder, Reserve: c.reserve, Args: c.args, Seed: seed, Rounds: rounds, Writers: 6,
				Free: func() (uint64, error) {
					var s syscall.Statfs_t
					err := syscall.Statfs(folder, &s)
					return s.Bavail * uint64(s.Bsize), err
				},
			})
			t.Logf("%+v", report)
			if err != nil {
				t.Fatal(err)
			}
			if report.Filled != rounds || report.Acknowledged == 0 || report.Refused == 0 && report.Ended == 0 || report.Ended > 0 && !c.mayEnd {
				t.Errorf("the run proved nothing: %+v", report)
			}
		})
	}
}

func number(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}
