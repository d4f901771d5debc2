package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// listenFor is how long an accepted stream of events is listened to.
const listenFor = 300 * time.Millisecond

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

// call sends one request, a message or raw bytes, and returns what became of it. A stream that is accepted and then says
// nothing counts as answered with OK.
func (m method) call(ctx context.Context, conn *grpc.ClientConn, request any, reply func() any, opts ...grpc.CallOption) error {
	if !m.desc.ServerStreams && !m.desc.ClientStreams {
		return conn.Invoke(ctx, m.name, request, reply(), opts...)
	}
	if m.name == streamEvents || m.name == subscribe {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, listenFor)
		defer cancel()
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
	for {
		err := stream.RecvMsg(reply())
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			if header, headerErr := stream.Header(); headerErr == nil && len(header) > 0 && status.Code(err) == codes.DeadlineExceeded {
				return nil
			}
			return err
		case m.name == streamEvents || m.name == subscribe:
			return nil
		}
		if !m.desc.ServerStreams {
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
