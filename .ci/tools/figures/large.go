package main

import (
	"fmt"
	"strconv"
	"strings"
)

// A growth is what `memory-graph bench grow` prints of one server at two sizes.
type growth struct {
	Small, Large int64
	Costs        []cost `json:"costs"`
	// RSS is the server's, bytes; Restart how long until it serves again, milliseconds.
	RSS     int64   `json:"server_rss_bytes"`
	Restart float64 `json:"restart_to_ready_ms"`
	// Content and IDs are the bytes of contents and of ids of nodes and edges, GraphBytes those of the graph's keyspaces on disk.
	Content    int64            `json:"content_bytes"`
	IDs        int64            `json:"id_bytes"`
	GraphBytes int64            `json:"graph_disk_bytes"`
	Spaces     map[string]int64 `json:"disk_bytes"`
	Loaded     float64          `json:"loaded_nodes_per_second"`
}

// A cost is the time of one call, by one client, at both sizes, milliseconds.
type cost struct {
	Call  string  `json:"call"`
	Small latency `json:"small_ms"`
	Large latency `json:"large_ms"`
}

// What a large graph may cost.
const (
	mostTimes   = 2
	mostRSS     = 1 << 30
	mostRestart = 3000
	mostOnDisk  = 1.5
)

func large(nodes int64) []row {
	return []row{{
		whole(float64(nodes)) + " nodes", "calls ≤ 2 × their cost at 10,000; RSS < 1 GB; ready in < 3 s; ≤ 1.5 × content and ids on disk",
		func(s *session) (string, verdict, error) { return grow(s, nodes) },
	}}
}

func grow(s *session, nodes int64) (string, verdict, error) {
	r, err := s.ours("grow", "--nodes", strconv.FormatInt(nodes, 10))
	if err != nil {
		return "", no, err
	}
	g := r.Large
	met := g.RSS < mostRSS && g.Restart < mostRestart
	var calls []string
	for _, c := range g.Costs {
		times := c.Large.P50 / c.Small.P50
		met = met && times <= mostTimes
		calls = append(calls, fmt.Sprintf("%s %.2f × (%s → %s ms)", c.Call, times, short(c.Small.P50), short(c.Large.P50)))
	}
	disk := float64(g.GraphBytes) / float64(g.Content+g.IDs)
	met = met && disk <= mostOnDisk
	var spaces []string
	for _, name := range sortedBySize(g.Spaces) {
		spaces = append(spaces, fmt.Sprintf("%s %d", name, g.Spaces[name]>>20))
	}
	return fmt.Sprintf("p50: %s; RSS %d MiB; ready after %.0f ms; graph on disk %d MiB, %.2f × content %d MiB + ids %d MiB (MiB: %s); loaded at %s nodes/s",
		strings.Join(calls, ", "), g.RSS>>20, g.Restart, g.GraphBytes>>20, disk, g.Content>>20, g.IDs>>20, strings.Join(spaces, ", "), whole(g.Loaded)), judge(met), nil
}
