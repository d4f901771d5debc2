package client

import (
	"slices"
	"strings"

	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// A kind of call decides what may be repeated.
type kind int

const (
	// other calls are unknown here, or uploads: they are repeated only when they surely did not happen.
	other kind = iota
	// reads change nothing.
	reads
	// writes take an idempotency key.
	writes
	// feeds are streams of events: resumable after any event.
	feeds
	// readStreams change nothing, but are of one snapshot: they can be begun again, not resumed.
	readStreams
)

// The services for operators. What changes a cluster has no key, and is repeated only when it surely was not done.
const (
	clusterService = "llm.memory.graph.v1.ClusterService"
	backupService  = "llm.memory.graph.v1.BackupService"
)

// kindOf tells the kind of a call by its full name, `/package.Service/Method`.
func kindOf(fullMethod string) kind {
	service, method, ok := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	if !ok {
		return other
	}
	switch service {
	case graphgrpc.MemoryGraphService_ServiceDesc.ServiceName:
		return graphKind(method)
	case graphgrpc.GraphTransferService_ServiceDesc.ServiceName:
		if method == "Export" {
			return readStreams
		}
	case clusterService:
		if slices.Contains([]string{"Status", "Members", "Health", "Digest", "Jobs"}, method) {
			return reads
		}
	case backupService:
		return readStreams
	case grpc_health_v1.Health_ServiceDesc.ServiceName:
		if method == "Check" || method == "List" {
			return reads
		}
	}
	return other
}

func graphKind(method string) kind {
	switch method {
	case "GetSession", "ListSessions", "GetNode", "BatchGetNodes", "GetEdges", "Query", "Health", "GetMetrics":
		return reads
	case "CreateSession", "CloseSession", "DeleteSession", "CreateNode", "UpdateNode", "DeleteNode", "BatchCreateNodes", "CreateEdge",
		"DeleteEdge", "AddPrompt", "AddResponse", "AddToolInvocation", "CreateTemplate", "InstantiateTemplate":
		return writes
	case "StreamEvents", "SubscribeToSession":
		return feeds
	case "StreamQuery":
		return readStreams
	default:
		return other
	}
}

// shortName is the last part of a full name.
func shortName(fullMethod string) string {
	return fullMethod[strings.LastIndexByte(fullMethod, '/')+1:]
}
