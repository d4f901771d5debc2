package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxConfigBytes bounds a file with settings.
const maxConfigBytes = 1 << 20

// An entry is one key of a file with settings.
type entry struct {
	key string
	// values are one, or those of a list.
	values []string
	// place is the file and the line.
	place string
}

// readConfigFile reads the keys of a file, in their order. It returns those that it can read beside every problem.
func readConfigFile(path string) ([]entry, error) {
	text, err := readBounded(path, maxConfigBytes)
	if err != nil {
		return nil, fmt.Errorf("file with settings: %w", err)
	}
	var document yaml.Node
	in := yaml.NewDecoder(strings.NewReader(text))
	if err := in.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil // nothing but comments
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := in.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one document", path)
	}
	return configEntries(path, document.Content[0])
}

func configEntries(path string, settings *yaml.Node) (entries []entry, err error) {
	if settings.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: want lines of the form `key: value`", path, settings.Line)
	}
	var problems []error
	seen := map[string]int{}
	for i := 0; i < len(settings.Content); i += 2 {
		key, value := settings.Content[i], settings.Content[i+1]
		e := entry{key: key.Value, place: fmt.Sprintf("%s:%d", path, key.Line)}
		if line, twice := seen[e.key]; twice {
			problems = append(problems, fmt.Errorf("%s: %s: is set in line %d, too", e.place, e.key, line))
			continue
		}
		seen[e.key] = key.Line
		if e.values, err = configValues(value); err != nil {
			problems = append(problems, fmt.Errorf("%s: %s: %w", e.place, e.key, err))
			continue
		}
		entries = append(entries, e)
	}
	return entries, errors.Join(problems...)
}

// configValues are the texts of a value: one, or those of a list.
func configValues(n *yaml.Node) ([]string, error) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return nil, errors.New("has no value")
	case n.Kind == yaml.ScalarNode:
		return []string{n.Value}, nil
	case n.Kind == yaml.SequenceNode:
		var all []string
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
				return nil, errors.New("want a list of plain values")
			}
			all = append(all, item.Value)
		}
		return all, nil
	}
	return nil, errors.New("want a value or a list of values")
}

// readBounded reads a file that must not have more than so many bytes.
func readBounded(path string, most int64) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if int64(len(text)) > most {
		return "", fmt.Errorf("%s: has more than %d bytes", path, most)
	}
	return string(text), nil
}
