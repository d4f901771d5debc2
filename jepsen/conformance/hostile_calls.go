package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// headerAccepted is a header that only an accepted stream of events has, at once.
const headerAccepted = "memory-graph-last-event"

// method is one call of the contract, ready to be sent anything.
type method struct {
	name   string
	input  protoreflect.MessageDescriptor
	output protoreflect.MessageType
	desc   grpc.StreamDesc
}

// contractMethods are the calls of both services.
func contractMethods() ([]method, error) {
	var all []method
	for _, file := range []protoreflect.FileDescriptor{
		graphpb.File_llm_memory_graph_v1_memory_graph_proto, graphpb.File_llm_memory_graph_v1_transfer_proto,
	} {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				output, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
				if err != nil {
					return nil, fmt.Errorf("reply of %s: %w", m.FullName(), err)
				}
				all = append(all, method{
					name:   fmt.Sprintf("/%s/%s", service.FullName(), m.Name()),
					input:  m.Input(),
					output: output,
					desc: grpc.StreamDesc{
						StreamName: string(m.Name()), ServerStreams: m.IsStreamingServer(), ClientStreams: m.IsStreamingClient(),
					},
				})
			}
		}
	}
	return all, nil
}

// call sends one request, a message or raw bytes, and returns what became of it. A stream of events that is accepted counts as
// answered with OK, whatever it then says.
func (m method) call(ctx context.Context, conn *grpc.ClientConn, request any, reply func() any, opts ...grpc.CallOption) error {
	if !m.desc.ServerStreams && !m.desc.ClientStreams {
		return conn.Invoke(ctx, m.name, request, reply(), opts...)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &m.desc, m.name, opts...)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return m.listen(stream, reply)
}

func (m method) listen(stream grpc.ClientStream, reply func() any) error {
	if m.name == streamEvents || m.name == subscribe {
		if header, err := stream.Header(); err == nil && len(header.Get(headerAccepted)) > 0 {
			return nil
		}
	}
	for {
		err := stream.RecvMsg(reply())
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case !m.desc.ServerStreams:
			return nil
		}
	}
}

func (m method) send(ctx context.Context, conn *grpc.ClientConn, request proto.Message) error {
	return m.call(ctx, conn, request, func() any { return m.output.New().Interface() })
}

// sendRaw sends bytes in place of a message.
func (m method) sendRaw(ctx context.Context, conn *grpc.ClientConn, request []byte) error {
	return m.call(ctx, conn, &request, func() any { return new([]byte) }, grpc.ForceCodec(rawCodec{}))
}

// rawCodec sends and receives bytes as they are.
type rawCodec struct{}

// Marshal implements encoding.Codec.
func (rawCodec) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("send raw: %T is no bytes", v)
	}
	return *b, nil
}

// Unmarshal implements encoding.Codec.
func (rawCodec) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("receive raw: %T is no bytes", v)
	}
	*b = append([]byte(nil), data...)
	return nil
}

// Name implements encoding.Codec.
func (rawCodec) Name() string { return "proto" }
