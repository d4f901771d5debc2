package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	peergrpc "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/peer/v1/graphgrpc"
)

// MaxMessageBytes bounds one message of the peer service.
const MaxMessageBytes = 32 << 20

const (
	pingAfter      = 10 * time.Second
	pingTimeout    = 5 * time.Second
	minPingPause   = 5 * time.Second
	maxPeerStreams = 4096
	firstRedial    = 50 * time.Millisecond
	lastRedial     = time.Second
)

// Every call says these, as a stream of Raft does in its greeting; a refusal comes in the trailers.
const (
	clusterKey        = "mg-cluster"
	fromKey           = "mg-from"
	wantedKey         = "mg-wanted"
	refusedKey        = "mg-refused"
	refusedNodeKey    = "mg-refused-node"
	refusedClusterKey = "mg-refused-cluster"
)

// isOpen: a call that may be made by and to nodes of no cluster. How else would they come to be of one.
func isOpen(method string) bool {
	switch method {
	case peergrpc.PeerService_Status_FullMethodName,
		peergrpc.MembershipService_Report_FullMethodName, peergrpc.MembershipService_Pledge_FullMethodName, peergrpc.MembershipService_TakeIn_FullMethodName:
		return true
	}
	return false
}

// ServerOptions make a gRPC server accept the connections of Listener, and those calls alone that want this node in this cluster.
// What is open is answered to nodes of no cluster, too, and by one.
func (p *Port) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(handshaken{}),
		grpc.MaxRecvMsgSize(MaxMessageBytes), grpc.MaxSendMsgSize(MaxMessageBytes), grpc.MaxConcurrentStreams(maxPeerStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPingPause, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if err := p.check(ctx, info.FullMethod); err != nil {
				_ = grpc.SetTrailer(ctx, err.trailer())
				return nil, err
			}
			return next(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if err := p.check(s.Context(), info.FullMethod); err != nil {
				s.SetTrailer(err.trailer())
				return err
			}
			return next(srv, s)
		}),
	}
}

// Caller is the node that makes a call, as it names itself; empty outside of a call through a port.
func Caller(ctx context.Context) string {
	return first(metadata.ValueFromIncomingContext(ctx, fromKey))
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// check judges the sender's metadata.
func (p *Port) check(ctx context.Context, method string) *RefusedError {
	g := greeting{
		clusterID: first(metadata.ValueFromIncomingContext(ctx, clusterKey)), from: Caller(ctx),
		wanted: first(metadata.ValueFromIncomingContext(ctx, wantedKey)),
	}
	clusterID, nodeID := p.clusterID(), p.config.NodeID
	a := judge(g, clusterID, nodeID)
	if isOpen(method) {
		a = judgeOpen(g, clusterID, nodeID)
	}
	if a.reason == 0 {
		return nil
	}
	refused := a.refusal(g.wanted)
	p.logger.refused("call refused", fmt.Errorf("%s from %s of cluster %q: %w", method, g.from, g.clusterID, refused))
	if p.config.Events.Refused != nil {
		p.config.Events.Refused(refused)
	}
	return refused
}

// judgeOpen is for calls between nodes of which one may be of no cluster, or does not know whom it will find.
func judgeOpen(g greeting, clusterID, nodeID string) answer {
	a := answer{clusterID: clusterID, nodeID: nodeID}
	switch {
	case g.clusterID != "" && clusterID != "" && g.clusterID != clusterID:
		a.reason = OtherCluster
	case g.wanted != "" && g.wanted != nodeID:
		a.reason = OtherNode
	}
	return a
}

// GRPCStatus makes the error one of gRPC: FAILED_PRECONDITION.
func (e *RefusedError) GRPCStatus() *status.Status {
	return status.New(codes.FailedPrecondition, e.Error())
}

func (e *RefusedError) trailer() metadata.MD {
	return metadata.Pairs(refusedKey, strconv.Itoa(int(e.Reason)), refusedNodeKey, e.NodeID, refusedClusterKey, e.ClusterID)
}

// refusalIn finds the refusal in the trailers of a call that failed.
func refusalIn(trailer metadata.MD, wanted string, err error) error {
	n, parseErr := strconv.ParseUint(first(trailer.Get(refusedKey)), 10, 8)
	if err == nil || parseErr != nil || n == 0 {
		return err
	}
	return &RefusedError{
		Reason: Reason(n), NodeID: first(trailer.Get(refusedNodeKey)), ClusterID: first(trailer.Get(refusedClusterKey)), Wanted: wanted,
	}
}

// Connect makes a connection to the peer service of a node, or of whoever is at the address when the id is empty. It dials when
// it is used, and again when it breaks. A node that refuses a call answers with a [*RefusedError]. The caller closes it.
func (p *Port) Connect(nodeID, address string) (*grpc.ClientConn, error) {
	_, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("connect to node %s: %w", nodeID, err)
	}
	redial := backoff.Config{BaseDelay: firstRedial, Multiplier: 1.6, Jitter: 0.2, MaxDelay: lastRedial}
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(handshaken{}), grpc.WithAuthority("peer"), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return p.dialGRPC(ctx, address)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: redial, MinConnectTimeout: HandshakeTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessageBytes), grpc.MaxCallSendMsgSize(MaxMessageBytes)),
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			var trailer metadata.MD
			err := call(p.outgoing(ctx, nodeID), method, req, reply, cc, append(slices.Clone(opts), grpc.Trailer(&trailer))...)
			return refusalIn(trailer, nodeID, err)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := open(p.outgoing(ctx, nodeID), desc, cc, method, opts...)
			if err != nil {
				return nil, err
			}
			return &clientStream{s, nodeID}, nil
		}))
	if err != nil {
		return nil, fmt.Errorf("connect to node %s: %w", nodeID, err)
	}
	return conn, nil
}

func (p *Port) dialGRPC(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, HandshakeTimeout)
	defer cancel()
	c, err := p.dial(ctx, address, grpcProtocol)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (p *Port) outgoing(ctx context.Context, wanted string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, clusterKey, p.clusterID(), fromKey, p.config.NodeID, wantedKey, wanted)
}

// clientStream knows a refusal when it sees one.
type clientStream struct {
	grpc.ClientStream
	wanted string
}

func (s *clientStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil {
		return nil
	}
	return refusalIn(s.Trailer(), s.wanted, err)
}

// handshaken are the credentials of connections that come from a port and have been authenticated there.
type handshaken struct{}

var errForeign = errors.New("the connection does not come from a peer port")

func (handshaken) info(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, ok := conn.(*connection)
	if !ok {
		return nil, nil, errForeign
	}
	common := credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}
	return c, credentials.TLSInfo{State: c.ConnectionState(), CommonAuthInfo: common}, nil
}

func (h handshaken) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return h.info(conn)
}

func (h handshaken) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return h.info(conn)
}

func (handshaken) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (h handshaken) Clone() credentials.TransportCredentials { return h }

func (handshaken) OverrideServerName(string) error { return nil }
