package importer

import (
	"bufio"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var table = flag.String("table", "", "write the table of the data sets to this file")

// dataRoot is the folder of the real data sets. The test is skipped where there is none.
func dataRoot(t *testing.T) string {
	t.Helper()
	root := os.Getenv("MEMORY_GRAPH_DATA")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "data")
	}
	if _, err := os.Stat(root); err != nil {
		t.Skipf("the data sets are not here (set MEMORY_GRAPH_DATA): %v", err)
	}
	return root
}

// countNames are the counts of the data sets' README, in the order of its columns.
func countNames() []string {
	return []string{"sessions", "prompts", "responses", "tool calls", "templates"}
}

func countsOf(s Summary) []int64 {
	return []int64{s.Sessions, s.Prompts, s.Responses, s.ToolInvocations, s.Templates}
}

// readmeCounts reads the table of all data sets.
func readmeCounts(t *testing.T) map[string][]int64 {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dataRoot(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	sets := make(map[string][]int64)
	for _, line := range strings.Split(string(raw), "\n") {
		columns := strings.Split(line, "|")
		if len(columns) < 8 {
			continue
		}
		var counts []int64
		for _, c := range columns[2:7] {
			n, err := strconv.ParseInt(strings.TrimSpace(c), 10, 64)
			if err != nil {
				break
			}
			counts = append(counts, n)
		}
		if len(counts) == len(countNames()) {
			sets[strings.TrimSpace(columns[1])] = counts
		}
	}
	return sets
}

// explanations reads testdata/datasets.txt: the sets, the formats that read them, and why a count differs from the README.
func explanations(t *testing.T) (formats map[string]string, why map[string]string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "datasets.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	formats, why = make(map[string]string), make(map[string]string)
	set := ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "  "):
			count, text, ok := strings.Cut(strings.TrimSpace(line), ": ")
			if !ok || text == "" || set == "" {
				t.Fatalf("%q is no explanation", line)
			}
			why[set+"/"+count] = text
		default:
			var format string
			set, format, _ = strings.Cut(line, " ")
			formats[set] = strings.TrimSpace(format)
		}
	}
	return formats, why
}

// TestDataSets imports every data set and holds its counts against the README: each difference is explained by one line in
// testdata/datasets.txt, and each line explains a difference. With -table it writes the table that `make datasets` prints.
func TestDataSets(t *testing.T) {
	readme := readmeCounts(t)
	formats, why := explanations(t)
	var out strings.Builder
	fmt.Fprintf(&out, "%-30s %-24s %9s %9s %9s %11s %10s %8s\n", "data set", "format", "sessions", "prompts", "responses", "tool calls", "templates", "skipped")
	for _, set := range slices.Sorted(maps.Keys(readme)) {
		if _, held := formats[set]; !held {
			t.Errorf("%s has no row in testdata/datasets.txt", set)
			continue
		}
		t.Run(set, func(t *testing.T) {
			got, read := dryRun(t, set)
			if read != formats[set] {
				t.Errorf("read by %q, want %q", read, formats[set])
			}
			fmt.Fprintf(&out, "%-30s %-24s", set, read)
			var lines []string
			counts, want := append(countsOf(got), got.Skipped), append(readme[set], 0)
			for i, name := range append(countNames(), "skipped") {
				text := fmt.Sprint(counts[i])
				key := set + "/" + name
				switch {
				case counts[i] != want[i] && why[key] == "":
					t.Errorf("%s: %d, and the README says %d: explain it in testdata/datasets.txt", name, counts[i], want[i])
				case counts[i] != want[i]:
					text += "*"
					lines = append(lines, fmt.Sprintf("    * %s: %d, README %d: %s\n", name, counts[i], want[i], why[key]))
				case why[key] != "":
					t.Errorf("%s: %d as the README says; the explanation explains nothing: %s", name, counts[i], why[key])
				}
				delete(why, key)
				fmt.Fprintf(&out, " %*s", []int{9, 9, 9, 11, 10, 8}[i], text)
			}
			fmt.Fprintf(&out, "\n%s", strings.Join(lines, ""))
		})
	}
	for key := range why {
		t.Errorf("the explanation of %s belongs to nothing", key)
	}
	if *table != "" {
		if err := os.WriteFile(*table, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// dryRun reads a data set, and tells the formats that read it, the busiest first.
func dryRun(t *testing.T, set string) (Summary, string) {
	t.Helper()
	sources, done, err := Sources([]string{filepath.Join(dataRoot(t), set)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = done() }()
	items := make(map[Format]int)
	got, err := Import(t.Context(), nil, sources, Options{DryRun: true,
		Item:    func(_ string, f Format) { items[f]++ },
		Problem: func(p Problem) { t.Logf("skipped: %s", p) },
	})
	if err != nil {
		t.Fatal(err)
	}
	names := slices.SortedFunc(maps.Keys(items), func(a, b Format) int {
		return cmp.Or(items[b]-items[a], strings.Compare(string(a), string(b)))
	})
	var read []string
	for _, f := range names {
		read = append(read, string(f))
	}
	return got, strings.Join(read, ", ")
}
