package graph

import (
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// A keeper carries fields that an update cannot change over to the replacement. Empty means unchanged.
type keeper struct{ err error }

func (k *keeper) fail(field string) {
	if k.err == nil {
		k.err = invalid(field, "cannot be changed")
	}
}

func (k *keeper) id(field, was string, now *string) {
	if *now != "" && *now != was {
		k.fail(field)
	}
	*now = was
}

func (k *keeper) time(field string, was *timestamppb.Timestamp, now **timestamppb.Timestamp) {
	if !unset(*now) && nanos(*now) != nanos(was) {
		k.fail(field)
	}
	*now = was
}

func (k *keeper) parent(was, now *pb.TemplateNode) {
	before, had := was.Metadata[ParentKey]
	after, has := now.Metadata[ParentKey]
	switch {
	case has && (!had || after != before):
		k.fail("node.template.metadata." + ParentKey)
	case had && !has && len(now.Metadata) >= MaxMetadataEntries:
		if k.err == nil {
			k.err = invalid("node.template.metadata", "has %d entries, at most %d with %s", len(now.Metadata), MaxMetadataEntries-1, ParentKey)
		}
	case had && !has:
		if now.Metadata == nil {
			now.Metadata = map[string]string{}
		}
		now.Metadata[ParentKey] = before
	}
}

// damagedf is an error that no input causes: records contradict each other.
func damagedf(format string, args ...any) error {
	return fmt.Errorf("graph damaged: "+format, args...)
}
