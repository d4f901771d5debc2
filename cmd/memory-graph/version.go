package main

import (
	"cmp"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionInfo is what the version command prints.
type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func currentVersion() versionInfo {
	v := versionInfo{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	v.Commit = cmp.Or(v.Commit, "unknown")
	return v
}

func (p *program) newVersionCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "version", Short: "Print the program's version", Args: cobra.NoArgs, Example: "  memory-graph version -o json",
		RunE: func(*cobra.Command, []string) error {
			f, err := parseOutput(format)
			if err != nil {
				return err
			}
			p.started = true
			v := currentVersion()
			out := &output{w: p.stdout, format: f}
			return out.showValue(v, func() string {
				return facts("memory-graph", v.Version, "commit", v.Commit, "go", v.Go, "platform", v.OS+"/"+v.Arch)
			})
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", string(formatTable), "table, json or yaml")
	return cmd
}
