package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Flags that are about the settings and no settings themselves.
const (
	flagConfig      = "config"
	flagPrintConfig = "print-config"
	flagHelp        = "help"
)

// configVariable stands in for --config.
const configVariable = "MEMORY_GRAPH_CONFIG"

// isSetting says whether a flag is a setting of the server.
func isSetting(flag string) bool {
	return flag != flagConfig && flag != flagPrintConfig && flag != flagHelp
}

// origins say where the value of a flag comes from; defaults are not in it.
type origins map[string]string

// settle fills the flags that were not given on the command line from the environment, else from the file, and says where each
// value comes from. It reports every problem at once.
func (p *program) settle(cmd *cobra.Command) (origins, error) {
	from := origins{}
	cmd.Flags().Visit(func(f *pflag.Flag) { from[f.Name] = "flag --" + f.Name })
	environment := p.fromEnvironment(cmd, from)
	return from, errors.Join(environment, p.fromFile(cmd, from))
}

// fromFile fills flags that nobody has filled from the file that --config names, if one is named.
func (p *program) fromFile(cmd *cobra.Command, from origins) error {
	path, err := cmd.Flags().GetString(flagConfig)
	if err != nil {
		return err
	}
	if path == "" {
		path = p.getenv(configVariable)
	}
	if path == "" {
		return nil
	}
	entries, err := readConfigFile(path)
	problems := []error{err}
	for _, e := range entries {
		flag := cmd.Flags().Lookup(e.key)
		switch {
		case flag == nil || !isSetting(e.key):
			problems = append(problems, fmt.Errorf("%s: %s: unknown key%s", e.place, e.key, hint(cmd, e.key)))
			continue
		case from[e.key] != "":
			continue
		}
		if err := setAll(flag, e.values); err != nil {
			problems = append(problems, fmt.Errorf("%s: %s: %w", e.place, e.key, err))
		}
		from[e.key] = e.place
	}
	return errors.Join(problems...)
}

// setAll gives a flag its values; only a list takes more than one, or none.
func setAll(flag *pflag.Flag, values []string) error {
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		return list.Replace(values)
	}
	if len(values) != 1 {
		return errors.New("want one value, not a list")
	}
	return flag.Value.Set(values[0])
}

// hint is what an unknown key may have been meant to be.
func hint(cmd *cobra.Command, key string) string {
	plain := func(s string) string { return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s)) }
	meant := ""
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if isSetting(f.Name) && plain(f.Name) == plain(key) {
			meant = "; did you mean " + f.Name + "?"
		}
	})
	if meant == "" && strings.Contains(plain(key), "secret") {
		return "; a secret has a file of its own: cluster-secret-file"
	}
	if meant == "" {
		return "; the keys are the names of the flags in: " + cmd.CommandPath() + " --help"
	}
	return meant
}

// printConfig prints the settings in effect as a file that --config would take, with the origin of each.
func (p *program) printConfig(cmd *cobra.Command, cfg *serverConfig, from origins) error {
	var b strings.Builder
	var problem error
	line := func(text, origin string) { fmt.Fprintf(&b, "%-46s # %s\n", text, printable(origin)) }
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !isSetting(f.Name) {
			return
		}
		text, err := settingLine(f)
		problem = errors.Join(problem, err)
		line(text, cmp.Or(from[f.Name], "default"))
	})
	if cfg.peers.secretsFromEnv {
		line("# "+clusterSecret+": [redacted]", "environment "+clusterSecret)
	}
	if problem != nil {
		return problem
	}
	_, err := fmt.Fprint(p.stdout, b.String())
	return err
}

// settingLine writes a flag and its value as YAML, in one line.
func settingLine(f *pflag.Flag) (string, error) {
	name := &yaml.Node{Kind: yaml.ScalarNode, Value: f.Name}
	var value *yaml.Node
	if list, ok := f.Value.(pflag.SliceValue); ok {
		value = &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, v := range list.GetSlice() {
			value.Content = append(value.Content, yamlText(v))
		}
	} else if t := f.Value.Type(); t == "bool" || strings.Contains(t, "int") {
		value = &yaml.Node{Kind: yaml.ScalarNode, Value: f.Value.String()}
	} else {
		value = yamlText(f.Value.String())
	}
	text, err := yaml.Marshal(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{name, value}})
	if err != nil {
		return "", fmt.Errorf("setting %s: %w", f.Name, err)
	}
	return strings.TrimSuffix(string(escapeUnsafeYAML(text)), "\n"), nil
}

// yamlText is a text in YAML: in quotes unless it is plain.
func yamlText(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if strings.ContainsFunc(s, unsafe) || oldBoolean(s) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}
