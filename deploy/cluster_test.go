package deploy_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const (
	clusterfile = "docker/compose-cluster.yaml"
	manifest    = "kubernetes/memory-graph.yaml"
)

// composeCluster is what of a compose file with several nodes this folder uses; a key that is not here fails the test.
type composeCluster struct {
	Name     string                       `yaml:"name"`
	Node     clusterService               `yaml:"x-node"`
	Services map[string]clusterService    `yaml:"services"`
	Secrets  map[string]map[string]string `yaml:"secrets"`
	Volumes  map[string]struct{}          `yaml:"volumes"`
}

type clusterService struct {
	service `yaml:",inline"`
	Secrets []string `yaml:"secrets"`
}

func TestComposeOfACluster(t *testing.T) {
	text, err := os.ReadFile(clusterfile)
	if err != nil {
		t.Fatal(err)
	}
	var c composeCluster
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil {
		t.Fatal(err)
	}
	known, single := literals(t), onlyService(t)
	if len(c.Services) != 3 {
		t.Errorf("%d nodes, want three", len(c.Services))
	}
	published := map[string]bool{}
	for name, node := range c.Services {
		checkCommand(t, known, node.Command)
		for variable := range node.Environment {
			if !slices.Contains(known, variable) {
				t.Errorf("the program reads no %s", variable)
			}
		}
		if node.Environment["NODE_ID"] != name || node.Environment["PEER_ADDR"] != name || !strings.Contains(strings.Join(node.Command, " "), "n1,n2,n3") {
			t.Errorf("%s: the others do not reach it: %v", name, node.Environment)
		}
		if node.Environment["CLUSTER_SECRET_FILE"] != "/run/secrets/cluster" || !slices.Equal(node.Secrets, []string{"cluster"}) || c.Secrets["cluster"]["file"] == "" {
			t.Errorf("%s has no secret", name)
		}
		if !slices.Equal(node.Volumes, []string{name + ":/data"}) {
			t.Errorf("%s: volumes %v", name, node.Volumes)
		}
		if diff := cmp.Diff(single.Healthcheck.Test, node.Healthcheck.Test); diff != "" || !node.ReadOnly || !slices.Equal(node.CapDrop, []string{"ALL"}) {
			t.Errorf("%s runs otherwise than one node does: %s", name, diff)
		}
		for _, mapping := range node.Ports {
			if !strings.HasPrefix(mapping, "127.0.0.1:") || published[mapping] {
				t.Errorf("%s: port %s is published beyond this machine, or twice", name, mapping)
			}
			published[mapping] = true
		}
	}
}

// checkCommand: the program knows the command and its flags.
func checkCommand(t *testing.T, known, command []string) {
	t.Helper()
	for i, word := range command {
		if flag, ok := strings.CutPrefix(word, "--"); i == 0 && !slices.Contains(known, word) || ok && !slices.Contains(known, flag) {
			t.Errorf("the program does not know %s", word)
		}
	}
}

// object is a part of a manifest.
type object map[string]any

// at walks down by keys and, in lists, by the name of an element.
func (o object) at(t *testing.T, path ...string) any {
	t.Helper()
	var now any = map[string]any(o)
	for _, key := range path {
		switch v := now.(type) {
		case map[string]any:
			now = v[key]
		case []any:
			i := slices.IndexFunc(v, func(e any) bool { return e.(map[string]any)["name"] == key })
			if i < 0 {
				t.Fatalf("%v: there is no %s", path, key)
			}
			now = v[i]
		default:
			t.Fatalf("%v: nothing at %s", path, key)
		}
	}
	return now
}

func readManifest(t *testing.T) map[string]object {
	t.Helper()
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]object{}
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var o map[string]any
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all[o["kind"].(string)+"/"+object(o).at(t, "metadata", "name").(string)] = o
	}
}

// TestTheManifestForms a cluster: what RAFT.md and the code need of Kubernetes.
func TestTheManifestFormsACluster(t *testing.T) {
	all := readManifest(t)
	set, peers := all["StatefulSet/memory-graph"], all["Service/memory-graph-peers"]
	if set == nil || peers == nil || all["PodDisruptionBudget/memory-graph"] == nil || all["Service/memory-graph"] == nil {
		t.Fatalf("objects are missing: %v", all)
	}
	for _, want := range []struct {
		of   object
		path string
		want any
	}{
		{peers, "spec clusterIP", "None"}, {peers, "spec publishNotReadyAddresses", true},
		{set, "spec serviceName", "memory-graph-peers"}, {set, "spec podManagementPolicy", "Parallel"}, {set, "spec replicas", 3},
		{all["PodDisruptionBudget/memory-graph"], "spec maxUnavailable", 1},
		{set, "spec template spec securityContext runAsNonRoot", true}, {set, "spec template spec securityContext runAsUser", 65532},
		{set, "spec template spec containers memory-graph image", onlyService(t).Image},
		{set, "spec template spec containers memory-graph securityContext readOnlyRootFilesystem", true},
		{set, "spec template spec containers memory-graph readinessProbe httpGet path", "/ready"},
		{set, "spec template spec volumes cluster secret secretName", "memory-graph-cluster"},
	} {
		if got := want.of.at(t, strings.Fields(want.path)...); got != want.want {
			t.Errorf("%s is %v, want %v", want.path, got, want.want)
		}
	}
	// Alive is who runs: /health and /ready ask for a leader, and restarting who lacks one makes an outage longer.
	for _, probe := range []string{"livenessProbe", "startupProbe"} {
		if got := set.at(t, "spec", "template", "spec", "containers", "memory-graph", probe, "tcpSocket"); got == nil {
			t.Errorf("%s asks for more than that the process runs", probe)
		}
	}
}

func TestTheManifestIsWhatTheProgramKnows(t *testing.T) {
	known, set := literals(t), readManifest(t)["StatefulSet/memory-graph"]
	container := []string{"spec", "template", "spec", "containers", "memory-graph"}
	var command []string
	for _, word := range set.at(t, append(container, "args")...).([]any) {
		command = append(command, word.(string))
	}
	checkCommand(t, known, command)
	own := []string{"POD_NAMESPACE", "POD_IP"} // for what comes behind them
	seen := map[string]string{}
	for _, e := range set.at(t, append(container, "env")...).([]any) {
		name := e.(map[string]any)["name"].(string)
		seen[name], _ = e.(map[string]any)["value"].(string)
		if !slices.Contains(known, name) && !slices.Contains(own, name) {
			t.Errorf("the program reads no %s", name)
		}
		for _, used := range regexp.MustCompile(`\$\((\w+)\)`).FindAllStringSubmatch(seen[name], -1) {
			if _, before := seen[used[1]]; !before {
				t.Errorf("%s uses %s, which comes after it", name, used[1])
			}
		}
	}
	if !strings.Contains(seen["PEER_ADDR"], ".memory-graph-peers.") || !strings.HasPrefix(seen["JOIN"], "memory-graph-peers.") || seen["CLUSTER_SECRET_FILE"] == "" {
		t.Errorf("nodes do not find each other: %v", seen)
	}
	for _, p := range set.at(t, append(container, "ports")...).([]any) {
		port := p.(map[string]any)["containerPort"]
		if !slices.Contains(known, strings.TrimSpace(strings.ReplaceAll(toText(port), "_", ""))) {
			t.Errorf("the program listens on no port %v unless told to", port)
		}
	}
}

func toText(v any) string {
	text, err := yaml.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
