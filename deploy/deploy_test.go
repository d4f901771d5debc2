package deploy_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const (
	dockerfile  = "docker/Dockerfile"
	composefile = "docker/compose.yaml"
	sources     = "../cmd/memory-graph"
)

// compose is what of a compose file this folder uses; a key that is not here fails the test.
type compose struct {
	Name     string             `yaml:"name"`
	Services map[string]service `yaml:"services"`
	Volumes  map[string]struct{}
}

type service struct {
	Image string `yaml:"image"`
	Build struct {
		Context    string `yaml:"context"`
		Dockerfile string `yaml:"dockerfile"`
	} `yaml:"build"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
	Healthcheck struct {
		Test        []string `yaml:"test"`
		Interval    string   `yaml:"interval"`
		Timeout     string   `yaml:"timeout"`
		Retries     int      `yaml:"retries"`
		StartPeriod string   `yaml:"start_period"`
	} `yaml:"healthcheck"`
	Restart         string   `yaml:"restart"`
	StopGracePeriod string   `yaml:"stop_grace_period"`
	ReadOnly        bool     `yaml:"read_only"`
	CapDrop         []string `yaml:"cap_drop"`
	SecurityOpt     []string `yaml:"security_opt"`
}

func readCompose(t *testing.T) compose {
	t.Helper()
	text, err := os.ReadFile(composefile)
	if err != nil {
		t.Fatal(err)
	}
	var c compose
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

// instruction is one instruction of a Dockerfile with its continuation lines joined.
type instruction struct{ name, arguments string }

// readDockerfile returns the build stage and the final stage.
func readDockerfile(t *testing.T) (build, final []instruction) {
	t.Helper()
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	var stages [][]instruction
	var pending string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if joined, more := strings.CutSuffix(line, `\`); more {
			pending += joined
			continue
		}
		name, arguments, _ := strings.Cut(pending+line, " ")
		pending = ""
		if name == "FROM" {
			stages = append(stages, nil)
		}
		last := len(stages) - 1
		stages[last] = append(stages[last], instruction{name, strings.TrimSpace(arguments)})
	}
	if len(stages) != 2 {
		t.Fatalf("%d stages, want a build stage and a final one", len(stages))
	}
	return stages[0], stages[1]
}

func only(t *testing.T, stage []instruction, name string) string {
	t.Helper()
	var found []string
	for _, i := range stage {
		if i.name == name {
			found = append(found, i.arguments)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d times %s, want once", len(found), name)
	}
	return found[0]
}

// words reads the exec form of an instruction, the JSON array.
func words(t *testing.T, arguments string) []string {
	t.Helper()
	var list []string
	start := strings.Index(arguments, "[")
	if start < 0 {
		t.Fatalf("%q is not in the exec form: an empty image has no shell", arguments)
	}
	if err := json.Unmarshal([]byte(arguments[start:]), &list); err != nil {
		t.Fatalf("%q: %v", arguments, err)
	}
	return list
}

func TestImageIsBuiltAsTheMakefileBuilds(t *testing.T) {
	build, _ := readDockerfile(t)
	var compile string
	for _, i := range build {
		if i.name == "RUN" && strings.Contains(i.arguments, "go build") {
			compile = i.arguments
		}
	}
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"CGO_ENABLED=0", "-trimpath", "-buildvcs=false", "-X main.version=", "./cmd/memory-graph"} {
		if !strings.Contains(compile, part) || !strings.Contains(string(makefile), part) {
			t.Errorf("%s stands not in both, the Dockerfile's build and the Makefile", part)
		}
	}
	if tag := regexp.MustCompile(`(?m)^TAGS := (\S+)$`).FindSubmatch(makefile); tag == nil || !strings.Contains(compile, "-tags="+string(tag[1])) {
		t.Errorf("the image is not built with the tags of the Makefile, %q", tag)
	}
	module, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	language := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(module)
	if want := "golang:" + string(language[1]) + " AS build"; build[0].arguments != want {
		t.Errorf("FROM %s, want %s as go.mod says", build[0].arguments, want)
	}
}

func TestImageHoldsTheBinaryAloneAndRunsItUnprivileged(t *testing.T) {
	_, final := readDockerfile(t)
	if final[0].arguments != "scratch" {
		t.Errorf("FROM %s, want scratch", final[0].arguments)
	}
	user, _, _ := strings.Cut(only(t, final, "USER"), ":")
	if id, err := strconv.Atoi(user); err != nil || id == 0 {
		t.Errorf("USER %s, want a number that is not root's: an empty image knows no names", user)
	}
	if got := words(t, only(t, final, "ENTRYPOINT")); !slices.Equal(got, []string{"/memory-graph"}) {
		t.Errorf("ENTRYPOINT %q", got)
	}
	if got := words(t, only(t, final, "VOLUME")); !slices.Equal(got, []string{"/data"}) {
		t.Errorf("VOLUME %q", got)
	}
	for _, i := range final {
		if i.name == "RUN" {
			t.Errorf("RUN %s: an empty image has no shell", i.arguments)
		}
	}
}

func TestComposeRunsTheImage(t *testing.T) {
	_, final := readDockerfile(t)
	node := onlyService(t)
	if diff := cmp.Diff(words(t, only(t, final, "CMD")), node.Command); diff != "" {
		t.Errorf("command of the image (-) and of compose (+):\n%s", diff)
	}
	probe := words(t, only(t, final, "HEALTHCHECK"))
	if diff := cmp.Diff(append([]string{"CMD"}, probe...), node.Healthcheck.Test); diff != "" {
		t.Errorf("health check of the image (-) and of compose (+):\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join("docker", node.Build.Context, node.Build.Dockerfile)); err != nil {
		t.Error(err)
	}
	exposed := strings.Fields(only(t, final, "EXPOSE"))
	var published []string
	for _, mapping := range node.Ports {
		at := strings.LastIndex(mapping, ":")
		published = append(published, mapping[at+1:])
		host, _, err := net.SplitHostPort(mapping[:at])
		if err != nil || !net.ParseIP(host).IsLoopback() {
			t.Errorf("port %s is published beyond this machine; there are no credentials yet", mapping)
		}
	}
	if diff := cmp.Diff(exposed, published); diff != "" {
		t.Errorf("ports of the image (-) and of compose (+):\n%s", diff)
	}
}

func TestComposeKeepsTheDataAndLimitsTheProcess(t *testing.T) {
	c, node := readCompose(t), onlyService(t)
	name, folder, _ := strings.Cut(node.Volumes[0], ":")
	if _, declared := c.Volumes[name]; !declared || folder != "/data" || len(node.Volumes) != 1 {
		t.Errorf("volumes %q, want one that is declared, at /data", node.Volumes)
	}
	if !node.ReadOnly || !slices.Equal(node.CapDrop, []string{"ALL"}) || !slices.Contains(node.SecurityOpt, "no-new-privileges:true") {
		t.Error("the container may do more than it needs to")
	}
}

func onlyService(t *testing.T) service {
	t.Helper()
	c := readCompose(t)
	if len(c.Services) != 1 {
		t.Fatalf("%d services, want one", len(c.Services))
	}
	return c.Services["memory-graph"]
}

// TestProgramKnowsWhatIsAskedOfIt: every command, flag, port and environment name used here stands in the sources.
func TestProgramKnowsWhatIsAskedOfIt(t *testing.T) {
	known := literals(t)
	node := onlyService(t)
	for _, command := range [][]string{node.Command, node.Healthcheck.Test[2:]} {
		if !slices.ContainsFunc(known, func(s string) bool { return s == command[0] || strings.HasPrefix(s, command[0]+" ") }) {
			t.Errorf("the program has no command %s", command[0])
		}
		for _, word := range command[1:] {
			if flag, ok := strings.CutPrefix(word, "--"); ok && !slices.Contains(known, flag) {
				t.Errorf("the program has no flag --%s", flag)
			}
		}
	}
	for name := range node.Environment {
		if !slices.Contains(known, name) {
			t.Errorf("the program reads no %s", name)
		}
	}
	_, final := readDockerfile(t)
	for _, port := range strings.Fields(only(t, final, "EXPOSE")) {
		if !slices.Contains(known, port) {
			t.Errorf("the program listens on no port %s unless told to", port)
		}
	}
}

// literals lists the strings and whole numbers in the sources of the program, without its tests.
func literals(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(sources, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok {
				text := literal.Value
				if literal.Kind == token.STRING {
					text, err = strconv.Unquote(text)
				}
				all = append(all, strings.ReplaceAll(text, "_", underscore(literal.Kind)))
			}
			return err == nil
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// underscore is what an underscore stands for: nothing in a number.
func underscore(kind token.Token) string {
	if kind == token.INT {
		return ""
	}
	return "_"
}

func TestNoSecretHasADefault(t *testing.T) {
	pattern := regexp.MustCompile(`(?i)[a-z_]*(password|passwd|secret|api_?key|token)[a-z_]*["']?[ \t]*[:=][ \t]*["']?[^\s"'$?]`)
	// What only says where a secret is.
	place := regexp.MustCompile(`(?i)(secret_file|secrets|secret|secretname)["']?[ \t]*[:=][ \t]*["']?[/\[{a-z]`)
	secret := func(text string) string {
		for _, found := range pattern.FindAllString(text, -1) {
			if named := place.FindString(found); named == "" || strings.Contains(strings.ToUpper(found), "CLUSTER_SECRET=") || strings.Contains(strings.ToUpper(found), "CLUSTER_SECRET:") {
				return found
			}
		}
		return ""
	}
	for text, want := range map[string]bool{
		"GF_SECURITY_ADMIN_PASSWORD: admin":            true,
		"CLUSTER_SECRET=${CLUSTER_SECRET:-abc}":        true,
		"CLUSTER_SECRET: abc":                          true,
		"API_KEY: ${API_KEY:?set it}":                  false,
		"CLUSTER_SECRET_FILE: /run/secrets/cluster":    false,
		"secrets: [cluster]":                           false,
		"secret: { secretName: memory-graph-cluster }": false,
	} {
		if (secret(text) != "") != want {
			t.Errorf("the pattern finds a default in %q: %v, want %v", text, !want, want)
		}
	}
	for _, folder := range []string{"docker", "kubernetes"} {
		err := filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := os.ReadFile(name)
			if found := secret(string(text)); found != "" {
				t.Errorf("%s: %s", name, found)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
