package hostile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// method is one call of the contract.
type method struct {
	desc  protoreflect.MethodDescriptor
	path  string
	input protoreflect.MessageDescriptor
}

// methods are the calls of both services.
func methods() []method {
	var all []method
	for _, file := range []protoreflect.FileDescriptor{
		graphpb.File_llm_memory_graph_v1_memory_graph_proto, graphpb.File_llm_memory_graph_v1_transfer_proto,
	} {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				all = append(all, method{desc: m, path: fmt.Sprintf("/%s/%s", service.FullName(), m.Name()), input: m.Input()})
			}
		}
	}
	return all
}

func (m method) name() string { return string(m.desc.Name()) }

// follows tells the streams that say nothing until something happens.
func (m method) follows() bool { return m.name() == "StreamEvents" || m.name() == "SubscribeToSession" }

func (m method) streams() bool { return m.desc.IsStreamingClient() || m.desc.IsStreamingServer() }

// answer is what became of a message.
type answer struct {
	err error
	// header and trailer together.
	told metadata.MD
}

func (a answer) code() codes.Code { return status.Code(a.err) }

// answerWithin is how long a message may take when it sets no deadline itself.
const answerWithin = 5 * time.Minute

// send sends bytes as the messages of a call, and waits for what becomes of it. A stream of events that is accepted counts as
// answered with its headers.
func (m method) send(ctx context.Context, conn *grpc.ClientConn, bodies ...[]byte) answer {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if !m.streams() {
		var header, trailer metadata.MD
		err := conn.Invoke(ctx, m.path, &bodies[0], new([]byte), grpc.ForceCodec(bare{}), grpc.Header(&header), grpc.Trailer(&trailer))
		return answer{err, metadata.Join(header, trailer)}
	}
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := conn.NewStream(ctx, desc, m.path, grpc.ForceCodec(bare{}))
	if err != nil {
		return answer{err: err}
	}
	for _, body := range bodies {
		if stream.SendMsg(&body) != nil {
			break // it has ended; receiving says how
		}
	}
	_ = stream.CloseSend() // fails only when the stream has ended
	err = m.receive(stream)
	header, _ := stream.Header() // the error is that of the stream
	return answer{err, metadata.Join(header, stream.Trailer())}
}

func (m method) receive(stream grpc.ClientStream) error {
	if m.follows() {
		header, err := stream.Header()
		if err != nil || len(header.Get("memory-graph-last-event")) > 0 {
			return err
		}
	}
	for range maxReceived {
		err := stream.RecvMsg(new([]byte))
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil || m.follows():
			return err
		}
	}
	return nil
}

// maxReceived is after how many messages a stream is left alone: it has been accepted.
const maxReceived = 100

// bare sends and receives bytes as they are.
type bare struct{}

// Marshal implements encoding.Codec.
func (bare) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("send bytes: %T is none", v)
	}
	return *b, nil
}

// Unmarshal implements encoding.Codec.
func (bare) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("receive bytes: %T is none", v)
	}
	*b = slices.Clone(data)
	return nil
}

// Name implements encoding.Codec.
func (bare) Name() string { return "proto" }
