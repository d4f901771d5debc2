package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// document draws the table with what it was measured on.
func document(lines []line) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured %s on %s.\n\n", time.Now().UTC().Format("2006-01-02 15:04 MST"), machine())
	b.WriteString("| what | target | met | figure | server | load before | command |\n|---|---|---|---|---|---|---|\n")
	for _, l := range lines {
		commands := make([]string, len(l.commands))
		for i, c := range l.commands {
			commands[i] = "`" + c + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", l.name, l.target, l.met, cell(l.figure), l.server, l.load, strings.Join(commands, "<br>"))
	}
	return b.String()
}

// cell keeps a text inside its cell.
func cell(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s) }

// machine says what was measured on.
func machine() string {
	facts := []string{fmt.Sprintf("%d × %s", runtime.NumCPU(), lineOf("/proc/cpuinfo", "model name"))}
	if kb := lineOf("/proc/meminfo", "MemTotal"); kb != "" {
		facts = append(facts, kb+" of memory")
	}
	if out, err := exec.Command("uname", "-sr").Output(); err == nil {
		facts = append(facts, strings.TrimSpace(string(out)))
	}
	return strings.Join(append(facts, runtime.Version()), ", ")
}

// lineOf is the value of the first line `name : value`.
func lineOf(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// loadAverage is that of the last minute, and of the last five.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return "?"
	}
	return fields[0] + ", " + fields[1]
}

// rewrite puts a text between the marks of a table.
func rewrite(path, table, text string) error {
	begin, end := "<!-- "+table+": begin -->\n", "<!-- "+table+": end -->"
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, found := strings.Cut(string(old), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		return fmt.Errorf("%s has no marks %q and %q", path, strings.TrimSpace(begin), end)
	}
	return os.WriteFile(path, []byte(head+begin+text+end+tail), 0o644)
}
