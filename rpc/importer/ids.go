package importer

import (
	"strings"

	"github.com/google/uuid"
)

// sharedMapping is the mapping version of what is known by its content whatever format it came from: system texts, agents
// of which only the name is known, and edges, which are known by their ends.
const sharedMapping = "1"

// derive returns the UUIDv5 of something that is known by its kind and the parts that identify it, under one version of
// the mapping from files to records.
func derive(mapping, kind string, parts ...string) string {
	namespace := uuid.NewSHA1(uuid.NameSpaceURL, []byte("urn:llm-memory-graph:importer"))
	name := mapping + "\x00" + kind + "\x00" + strings.Join(parts, "\x00")
	return uuid.NewSHA1(namespace, []byte(name)).String()
}

// uuidText returns a UUID of the hyphenated form in lower case.
func uuidText(s string) (string, bool) {
	if len(s) != 36 {
		return "", false
	}
	id, err := uuid.Parse(s)
	return id.String(), err == nil
}
