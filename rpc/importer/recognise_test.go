package importer

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSamplesOfJoinedAndTextFormatsAreTheirOwn reads samples under FormatAuto and names the formats that read them.
func TestSamplesOfJoinedAndTextFormatsAreTheirOwn(t *testing.T) {
	tests := map[string][]Format{
		"oasst.jsonl": {FormatOASST}, "oasst-damaged.jsonl": {FormatOASST}, "toolbench.json": {FormatToolBench}, "toolbench-damaged.json": {FormatToolBench},
		"intercode.json": {FormatInterCode}, "intercode-damaged.json": {FormatInterCode}, "taskmaster.json": {FormatTaskmaster},
		"taskmaster-damaged.json": {FormatTaskmaster}, "prompts.csv": {FormatPromptCSV}, "prompts-damaged.csv": {FormatPromptCSV},
		"templates.yaml": {FormatPromptSource}, "templates-damaged.yaml": {FormatPromptSource}, "templates-bomb.yml": {FormatPromptSource},
		"arena": {FormatArenaHard}, "mtbench": {FormatMTBench}, "vicuna": {FormatVicuna}, "bfcl": {FormatBFCL},
		"answers-alone": {FormatArenaHard, FormatMTBench},
	}
	for name, want := range tests {
		sources, _, err := Sources([]string{filepath.Join("testdata", "shapes", name)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		read := make(map[Format]bool)
		_, err = Import(t.Context(), nil, sources, Options{DryRun: true, Item: func(_ string, f Format) { read[f] = true }})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(read))); diff != "" {
			t.Errorf("%s is read by (-want +got):\n%s", name, diff)
		}
	}
}

// TestFormatsOfWholeFilesDoNotContend asks each format of whole files for each sample, whatever its place in the table: at
// most one claims it.
func TestFormatsOfWholeFilesDoNotContend(t *testing.T) {
	samples, _, err := Sources([]string{filepath.Join("testdata", "shapes")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples {
		if hasSuffix(s.Name, []string{".csv", ".yaml", ".yml"}) {
			continue
		}
		text, closer, err := s.text(nil)
		if err != nil {
			t.Fatal(err)
		}
		l, err := inspect(s)
		if err != nil {
			t.Fatal(err)
		}
		ignore := func(string, string, ...any) {}
		first := &lookahead{in: newSplitter(text, splitter{ctx: t.Context(), source: s, problem: ignore, limit: MaxConversationBytes, lines: l.lines}), problem: ignore}
		begin, err := first.peek(MaxConversationBytes)
		if err := closer.Close(); err != nil {
			t.Fatal(err)
		}
		if err != nil || len(begin) == 0 {
			continue
		}
		var claimed []string
		for _, row := range rowsOf(unitFile) {
			if row.format.claims(head{values: begin}) == claimWhole {
				claimed = append(claimed, string(row.name))
			}
		}
		if len(claimed) > 1 {
			t.Errorf("%s is claimed by %s", s.Name, strings.Join(claimed, ", "))
		}
	}
}

// TestAnImportOfAFolderOrOfItsFilesTellsTheSame imports the files of a benchmark together, each alone, and in the other
// order: no record differs from what another import stored.
func TestAnImportOfAFolderOrOfItsFilesTellsTheSame(t *testing.T) {
	for _, name := range []string{"arena", "mtbench", "vicuna", "bfcl"} {
		t.Run(name, func(t *testing.T) {
			fake, client := serve(t)
			all, _, err := Sources([]string{filepath.Join("testdata", "shapes", name)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			refused := Options{Problem: func(p Problem) {
				if strings.Contains(p.Reason, "differs") {
					t.Error(p)
				}
			}}
			for _, s := range all {
				if _, err := Import(t.Context(), client, []Source{s}, refused); err != nil {
					t.Fatal(err)
				}
			}
			alone := len(fake.nodes)
			slices.Reverse(all)
			again, err := Import(t.Context(), client, all, refused)
			if err != nil {
				t.Fatal(err)
			}
			if again.Created != 0 || len(fake.nodes) != alone {
				t.Errorf("importing the folder after its files made %d records", again.Created)
			}
			without := slices.Clone(all)
			for i := range without {
				without[i].Beside = nil
			}
			if _, err := Import(t.Context(), client, without, refused); err != nil {
				t.Fatal(err)
			}
		})
	}
}
