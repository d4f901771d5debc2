package conformance

import (
	"slices"
	"testing"

	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// Case is one claim about a server.
type Case struct {
	// Name reads as the claim, with underscores, and is unique.
	Name string
	// Section is the part of COMPATIBILITY.md that it proves, or the decision, such as D17.
	Section string
	// Calls are the full method names that the case covers. One that it does not really make fails the suite.
	Calls []string
	// Durable cases need a server that keeps its data over a restart.
	Durable bool
	// OneNode cases ask a node about itself, so all their calls go to one.
	OneNode bool
	// Run proves the claim.
	Run func(t *testing.T, e *Env)
}

// Full method names, as short as a table needs them.
const (
	createSession     = graphgrpc.MemoryGraphService_CreateSession_FullMethodName
	getSession        = graphgrpc.MemoryGraphService_GetSession_FullMethodName
	deleteSession     = graphgrpc.MemoryGraphService_DeleteSession_FullMethodName
	listSessions      = graphgrpc.MemoryGraphService_ListSessions_FullMethodName
	closeSession      = graphgrpc.MemoryGraphService_CloseSession_FullMethodName
	createNode        = graphgrpc.MemoryGraphService_CreateNode_FullMethodName
	getNode           = graphgrpc.MemoryGraphService_GetNode_FullMethodName
	updateNode        = graphgrpc.MemoryGraphService_UpdateNode_FullMethodName
	deleteNode        = graphgrpc.MemoryGraphService_DeleteNode_FullMethodName
	batchCreateNodes  = graphgrpc.MemoryGraphService_BatchCreateNodes_FullMethodName
	batchGetNodes     = graphgrpc.MemoryGraphService_BatchGetNodes_FullMethodName
	createEdge        = graphgrpc.MemoryGraphService_CreateEdge_FullMethodName
	getEdges          = graphgrpc.MemoryGraphService_GetEdges_FullMethodName
	deleteEdge        = graphgrpc.MemoryGraphService_DeleteEdge_FullMethodName
	query             = graphgrpc.MemoryGraphService_Query_FullMethodName
	streamQuery       = graphgrpc.MemoryGraphService_StreamQuery_FullMethodName
	addPrompt         = graphgrpc.MemoryGraphService_AddPrompt_FullMethodName
	addResponse       = graphgrpc.MemoryGraphService_AddResponse_FullMethodName
	addToolInvocation = graphgrpc.MemoryGraphService_AddToolInvocation_FullMethodName
	createTemplate    = graphgrpc.MemoryGraphService_CreateTemplate_FullMethodName
	instantiate       = graphgrpc.MemoryGraphService_InstantiateTemplate_FullMethodName
	streamEvents      = graphgrpc.MemoryGraphService_StreamEvents_FullMethodName
	subscribe         = graphgrpc.MemoryGraphService_SubscribeToSession_FullMethodName
	health            = graphgrpc.MemoryGraphService_Health_FullMethodName
	getMetrics        = graphgrpc.MemoryGraphService_GetMetrics_FullMethodName
	importRecords     = graphgrpc.GraphTransferService_Import_FullMethodName
	exportRecords     = graphgrpc.GraphTransferService_Export_FullMethodName

	healthCheck     = "/grpc.health.v1.Health/Check"
	healthList      = "/grpc.health.v1.Health/List"
	healthWatch     = "/grpc.health.v1.Health/Watch"
	reflection      = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
	reflectionAlpha = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
)

// Cases is the whole table.
func Cases() []Case {
	return slices.Concat(
		idCases(),
		errorCases(),
		metadataCases(),
		idempotencyCases(),
		sessionCases(),
		deletionCases(),
		nodeCases(),
		updateCases(),
		batchCases(),
		edgeCases(),
		templateCases(),
		recordCases(),
		queryCases(),
		filterCases(),
		pagingCases(),
		eventCases(),
		subscriptionCases(),
		resumeDeletedCases(),
		serviceCases(),
		publishedClientCases(),
		httpCases(),
		meterCases(),
		transferCases(),
		memberCases(),
		backupCases(),
		restartCases(),
		hostileCases(),
		concurrencyCases(),
		exampleCases(),
	)
}
