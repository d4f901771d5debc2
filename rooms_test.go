package memorygraph_test

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// room is one folder that answers one question, with what it may import.
type room struct {
	dir string
	// Folders of this repository whose packages it may import, its own included.
	folders []string
	// Third-party modules that it may use.
	modules []string
	// Standard packages that it must not use.
	forbidden []string
}

const (
	protobuf   = "google.golang.org/protobuf"
	grpcModule = "google.golang.org/grpc"
	googleRPC  = "google.golang.org/genproto/googleapis/rpc"
	raft       = "github.com/hashicorp/raft"
	raftBolt   = "github.com/hashicorp/raft-boltdb/v2"
	bbolt      = "go.etcd.io/bbolt"
	memberlist = "github.com/hashicorp/memberlist"
	goMetrics  = "github.com/hashicorp/go-metrics"
	hclog      = "github.com/hashicorp/go-hclog"
	pebble     = "github.com/cockroachdb/pebble/v2"
	btree      = "github.com/tidwall/btree"
	uuid       = "github.com/google/uuid"
	prometheus = "github.com/prometheus/client_golang"
	promModel  = "github.com/prometheus/client_model"
	promCommon = "github.com/prometheus/common"
	cobra      = "github.com/spf13/cobra"
	pflag      = "github.com/spf13/pflag"
	goPretty   = "github.com/jedib0t/go-pretty/v6"
	progress   = "github.com/schollz/progressbar/v3"
	yaml       = "go.yaml.in/yaml/v3"
	compress   = "github.com/klauspost/compress"
	term       = "golang.org/x/term"
	hdr        = "github.com/HdrHistogram/hdrhistogram-go"
	xnet       = "golang.org/x/net"
	wazero     = "github.com/tetratelabs/wazero"
	porcupine  = "github.com/anishathalye/porcupine"
)

// Where chance, time, the network and the disk come from. They enter at the edge and travel inside the command.
var impure = []string{"os", "os/exec", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "syscall"}

// rooms are the folders of the house; the deepest one that holds a file decides about it.
//
// graph ← fsm ← cluster ← rpc ← cmd: a room may use those before it. The cluster agrees on bytes and knows no kinds of nodes: of
// the messages it may use those of the log and of its own nodes alone.
var rooms = []room{
	{dir: "proto", folders: []string{"proto"}, modules: []string{protobuf}},
	{dir: "proto/llm/memory/graph/v1/graphgrpc", folders: []string{"proto"}, modules: []string{protobuf, grpcModule}},
	{dir: peerMessages + "/v1/graphgrpc", folders: []string{"proto"}, modules: []string{protobuf, grpcModule}},
	{dir: "graph", folders: []string{"graph", "proto"}, modules: []string{protobuf}, forbidden: impure},
	{dir: "graph/samples", folders: []string{"graph/samples"}},
	{dir: "fsm", folders: []string{"fsm", "graph", "proto"}, modules: []string{protobuf}, forbidden: impure},
	{dir: "fsm/backup", folders: []string{"fsm", "graph", "proto"}, modules: []string{protobuf, compress}, forbidden: impure},
	{dir: "fsm/store", folders: []string{"fsm/store", "graph", "proto"}, modules: []string{protobuf, pebble, btree}, forbidden: []string{"net", "net/http"}},
	{
		dir: "cluster", folders: []string{"cluster", "fsm", "graph", logMessages, peerMessages},
		modules:   []string{protobuf, grpcModule, raft, raftBolt, bbolt, goMetrics, hclog, uuid},
		forbidden: []string{"net/http"},
	},
	{dir: "cluster/peer", folders: []string{"cluster/peer", peerMessages}, modules: []string{grpcModule, raft, hclog}, forbidden: []string{"net/http"}},
	{dir: "cluster/peer/secret"},
	{dir: "cluster/peer/memnet"},
	{dir: "cluster/membership", folders: []string{"cluster/membership"}, modules: []string{hclog}, forbidden: impure},
	{dir: "cluster/gossip", folders: []string{"cluster/gossip", "cluster/peer/secret"}, modules: []string{protobuf, memberlist, hclog}, forbidden: []string{"net/http"}},
	{
		dir: "rpc", folders: []string{"rpc", "cluster", "fsm", "graph", "proto"},
		modules: []string{protobuf, grpcModule, googleRPC, prometheus, promModel, goMetrics, hclog, uuid},
	},
	{dir: "rpc/importer", folders: []string{"rpc/importer", "graph", "proto"}, modules: []string{protobuf, grpcModule, googleRPC, uuid, yaml}},
	// The client of callers: it knows the contract and nothing of the server.
	{dir: "rpc/client", folders: []string{"rpc/client", "proto"}, modules: []string{protobuf, grpcModule, googleRPC}},
	// A client that keeps backups, and makes data folders of them.
	{dir: "rpc/backups", folders: []string{"rpc/backups", "cluster", "fsm", "graph", "proto"}, modules: []string{protobuf, grpcModule, googleRPC}},
	// A client that speaks HTTP/2 itself, and the log store alone, for what it costs by itself.
	{dir: "rpc/load", folders: []string{"rpc/load", "cluster/raftlog", "proto"}, modules: []string{protobuf, hdr, xnet, raft}},
	{
		dir: "cmd", folders: []string{"cmd", "rpc", "cluster", "fsm", "graph", "proto", "deploy"},
		modules: []string{protobuf, grpcModule, googleRPC, prometheus, hclog, cobra, pflag, goPretty, progress, yaml, term},
	},
	{dir: "jepsen", folders: []string{"jepsen", "proto"}, modules: []string{protobuf, grpcModule, googleRPC, uuid}},
	// What a history is and whether it keeps the promises: functions of what they are given.
	{dir: "jepsen/history", folders: []string{"jepsen/history"}, modules: []string{grpcModule, googleRPC}, forbidden: impure[1:]},
	{dir: "jepsen/check", folders: []string{"jepsen/check", "jepsen/history"}, modules: []string{porcupine}, forbidden: impure},
	// Whole clusters in one process: the one place of jepsen that knows the code, because it takes what is under it away.
	{
		dir: "jepsen/sim", folders: []string{"jepsen", "cluster", "fsm", "rpc", "proto"},
		modules: []string{protobuf, grpcModule, googleRPC, raft, hclog},
	},
	{dir: "jepsen/sim/replay", modules: []string{wazero}},
	{dir: "deploy"},
	{dir: "docs"},
	{dir: "."},
}

const (
	logMessages  = "proto/llm/memory/graph/log"
	peerMessages = "proto/llm/memory/graph/peer"
)

// What tests may use on top of their room: a test is nobody's dependency, and jepsen is nothing but tests. Black-box tests
// start the program, so those of the upper rooms may share jepsen's way of starting one.
var (
	testModules = []string{"github.com/google/go-cmp", "pgregory.net/rapid", "go.uber.org/goleak", protobuf, hclog, yaml}
	testFolders = map[string][]string{
		"cluster":        {"proto"},
		"cluster/gossip": {"cluster/peer"},
		"rpc":            {"jepsen"},
		"rpc/backups":    {"rpc"},
		"cmd":            {"jepsen"},
		"jepsen":         {"graph", "rpc/importer", "rpc/client"},
		"deploy":         {"proto"},
		".":              {"proto"},
	}
	blackBoxModules = map[string][]string{
		"rpc":      {promCommon},
		"rpc/load": {grpcModule},
		"cmd":      {promCommon, googleRPC, uuid},
		"jepsen":   {promModel, promCommon},
		".":        {grpcModule},
	}
)

func roomOf(dir string) room {
	var best room
	for _, r := range rooms {
		if (r.dir == "." && dir == ".") || (r.dir != "." && within(dir, r.dir) && len(r.dir) > len(best.dir)) {
			best = r
		}
	}
	return best
}

func TestTheHouseIsComplete(t *testing.T) {
	for _, dir := range []string{"graph", "fsm", "cluster", "rpc", "proto", "cmd", "jepsen", "deploy", "docs"} {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			t.Errorf("room %s is missing", dir)
		}
	}
}

func TestEveryRoomHasADesign(t *testing.T) {
	for _, dir := range []string{"graph", "fsm", "fsm/store", "cluster", "cluster/peer", "cluster/gossip", "rpc", "proto", "cmd", "jepsen", "deploy"} {
		text, err := os.ReadFile(dir + "/DESIGN.md")
		if err != nil {
			t.Error(err)
		} else if lines(text) < 10 {
			t.Errorf("%s/DESIGN.md says nothing", dir)
		}
	}
}

func TestImportsGoDownOnly(t *testing.T) {
	for _, f := range goFiles(t) {
		r := roomOf(f.dir)
		if r.dir == "" {
			t.Errorf("%s lies in no room of the house", f.name)
			continue
		}
		folders := r.folders
		if f.test {
			folders = slices.Concat(folders, testFolders[r.dir], []string{r.dir})
		}
		for _, p := range f.imports {
			if !within(p, modulePath) {
				continue
			}
			folder := strings.TrimPrefix(strings.TrimPrefix(p, modulePath), "/")
			if !slices.ContainsFunc(folders, func(allowed string) bool { return within(folder, allowed) }) {
				t.Errorf("%s: room %s must not import %s", f.name, r.dir, folder)
			}
		}
	}
}

func TestRoomsUseOnlyTheirModules(t *testing.T) {
	required := requiredModules(t)
	for _, f := range goFiles(t) {
		r := roomOf(f.dir)
		modules := r.modules
		if f.test || r.dir == "jepsen" {
			modules = slices.Concat(modules, testModules, blackBoxModules[r.dir])
		}
		for _, p := range f.imports {
			if standard(p) || within(p, modulePath) {
				continue
			}
			if m := moduleOf(p, required); !slices.Contains(modules, m) {
				t.Errorf("%s: room %s must not use module %s", f.name, r.dir, m)
			}
		}
	}
}

func TestPureRoomsKeepOutTheWorld(t *testing.T) {
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		r := roomOf(f.dir)
		for _, p := range f.imports {
			if slices.Contains(r.forbidden, p) {
				t.Errorf("%s: room %s must not import %s", f.name, r.dir, p)
			}
		}
		if !slices.Contains([]string{"graph", "fsm", "fsm/backup", "fsm/store", "jepsen/history", "jepsen/check"}, r.dir) {
			continue
		}
		for _, call := range f.calls("time", clock...) {
			t.Errorf("%s: time enters at the edge and travels inside the command", call)
		}
	}
}

// TestOneTableMapsErrorsToCodes: only rpc/status.go chooses the code of an answer. Clients, which read codes, may name them.
func TestOneTableMapsErrorsToCodes(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || f.generated || !f.inside("rpc") || f.inside("rpc/importer") || f.inside("rpc/client") || f.inside("rpc/backups") || f.name == "rpc/status.go" {
			continue
		}
		if slices.Contains(f.imports, grpcModule+"/codes") {
			t.Errorf("%s imports grpc/codes: rpc/status.go is the one table of them", f.name)
		}
	}
}

// leastVersions are those below which a module has a known hole; exactVersions are the one set of Raft that resolves.
var (
	leastVersions = map[string]string{grpcModule: "v1.83.2", "golang.org/x/net": "v0.53.0", bbolt: "v1.5.0"}
	exactVersions = map[string]string{raft: "v1.7.3", raftBolt: "v2.3.1", memberlist: "v0.6.0", goMetrics: "v0.6.1"}
)

func TestModuleVersions(t *testing.T) {
	required := requiredModules(t)
	for m, least := range leastVersions {
		if got := required[m]; !atLeast(got, least) {
			t.Errorf("%s is %q, want at least %s", m, got, least)
		}
	}
	for m, want := range exactVersions {
		if got, ok := required[m]; ok && got != want {
			t.Errorf("%s is %s, want %s: no other set resolves", m, got, want)
		}
	}
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if regexp.MustCompile(`(?m)^replace\b`).Match(text) {
		t.Error("go.mod replaces a module: that breaks go install")
	}
}

func TestAtLeast(t *testing.T) {
	for _, c := range []struct {
		got, least string
		want       bool
	}{
		{"v1.85.0", "v1.83.2", true},
		{"v1.83.2", "v1.83.2", true},
		{"v1.83.1", "v1.83.2", false},
		{"v1.9.0", "v1.83.2", false},
		{"v2.0.0", "v1.83.2", true},
		{"", "v1.83.2", false},
	} {
		if got := atLeast(c.got, c.least); got != c.want {
			t.Errorf("atLeast(%q, %q) = %v", c.got, c.least, got)
		}
	}
}

// requiredModules reads go.mod.
func requiredModules(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	modules := map[string]string{}
	line := regexp.MustCompile(`(?m)^(?:require)?\s+(\S+\.\S+/\S+) (v\S+)`)
	for _, m := range line.FindAllStringSubmatch(string(text), -1) {
		modules[m[1]] = m[2]
	}
	return modules
}

// moduleOf finds the module of a package: the longest required path that it lies in.
func moduleOf(importPath string, required map[string]string) string {
	for p := importPath; p != "."; p = path.Dir(p) {
		if _, ok := required[p]; ok {
			return p
		}
	}
	return importPath
}

func atLeast(got, least string) bool { return slices.Compare(numbers(got), numbers(least)) >= 0 }

// numbers reads MAJOR, MINOR and PATCH of a version.
func numbers(version string) []int {
	var all []int
	for _, digits := range regexp.MustCompile(`\d+`).FindAllString(version, 3) {
		n, err := strconv.Atoi(digits)
		if err != nil {
			return nil
		}
		all = append(all, n)
	}
	return all
}
