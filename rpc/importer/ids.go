package importer

import (
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// mapping is the version of the mapping from files to records. It is part of every id: a later version that makes other
// records of the same file makes them under other ids, instead of clashing with what an earlier one stored.
const mapping = "1"

// derive returns the UUIDv5 of something that is known by its kind and the parts that identify it.
func derive(kind string, parts ...string) string {
	namespace := uuid.NewSHA1(uuid.NameSpaceURL, []byte("urn:llm-memory-graph:importer"))
	name := mapping + "\x00" + kind + "\x00" + strings.Join(parts, "\x00")
	return uuid.NewSHA1(namespace, []byte(name)).String()
}

// id names a thing by its place in the conversation.
func (c conversation) id(kind string, place ...int) string {
	parts := []string{c.digest, strconv.Itoa(c.index)}
	for _, p := range place {
		parts = append(parts, strconv.Itoa(p))
	}
	return derive(kind, parts...)
}
