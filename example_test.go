package memorygraph_test

import (
	"context"
	"fmt"
	"log"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// The README shows this program; a test holds the two together, so that what people copy compiles.
func Example() {
	conn, err := grpc.NewClient("127.0.0.1:50051", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	graph := graphgrpc.NewMemoryGraphServiceClient(conn)
	ctx := context.Background()

	session, err := graph.CreateSession(ctx, &graphpb.CreateSessionRequest{Metadata: map[string]string{"user": "ada"}})
	if err != nil {
		log.Fatal(err)
	}
	prompt, err := graph.AddPrompt(ctx, &graphpb.AddPromptRequest{SessionId: session.Id, Content: "Is it raining in Paris?"})
	if err != nil {
		log.Fatal(err)
	}
	answer, err := graph.AddResponse(ctx, &graphpb.AddResponseRequest{
		PromptId:   prompt.Id,
		Content:    "Let me look.",
		TokenUsage: &graphpb.TokenUsage{PromptTokens: 12, CompletionTokens: 4},
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = graph.AddToolInvocation(ctx, &graphpb.AddToolInvocationRequest{ToolInvocation: &graphpb.ToolInvocationNode{
		ResponseId: answer.Id, ToolName: "weather", Parameters: `{"city":"Paris"}`, Status: "success", DurationMs: 450,
	}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("see it: memory-graph session show", session.Id)
}
