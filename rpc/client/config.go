package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc"
	backoffs "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

// Defaults of [Config].
const (
	DefaultPort           = "50051"
	DefaultTimeout        = 30 * time.Second
	DefaultConnectTimeout = 5 * time.Second
	DefaultSilence        = 2 * time.Second
	DefaultProbeTimeout   = 3 * time.Second
	DefaultResolve        = 30 * time.Second
	DefaultPatience       = 5 * time.Minute
	// DefaultMaxReplyBytes is a reply of 4 MiB, the most that a server sends, and some framing.
	DefaultMaxReplyBytes = 8 << 20
	// MaxNodes bounds the nodes that a client keeps connections to; addresses and DNS may name more.
	MaxNodes = 64
)

// Config is how a client behaves. The zero value is a good one: plaintext, 30 s a call, linearizable reads.
type Config struct {
	// TLS encrypts, and authenticates the servers by the host names of their addresses unless it names one; nil is plaintext. It
	// is copied.
	TLS *tls.Config
	// APIKey returns the key that is sent with every call, as `authorization: Bearer <key>`; nil sends none. It is asked each
	// time, so a key can be changed while the client runs. It must not block. Dial refuses it without TLS.
	APIKey func() (string, error)
	// PlaintextAPIKey lets APIKey travel without TLS, where the network is trusted.
	PlaintextAPIKey bool

	// Timeout bounds unary calls whose context has no deadline; 0 is 30 s, the server's own bound.
	Timeout time.Duration
	// AttemptTimeout is how long one node may take for a unary call before another one is asked, where that is safe; 0 leaves it
	// all of the call's time. Calls that rightly take longer fail with it.
	AttemptTimeout time.Duration
	// ConnectTimeout bounds one attempt to connect, TLS included; 0 is 5 s.
	ConnectTimeout time.Duration
	// Silence is how long a node with calls under way may say nothing before it is asked whether it lives; 0 is 2 s. When it
	// does not answer within ProbeTimeout (0 is 3 s), its calls go to other nodes.
	Silence, ProbeTimeout time.Duration
	// Resolve is how often host names are looked up again; 0 is 30 s. They also are when a node is lost.
	Resolve time.Duration
	// Patience is how long a stream of events that has lost its node looks for another one before it ends with an error; 0 is 5 min.
	Patience time.Duration
	// FailFast ends a call as soon as every address has refused it, instead of at its deadline: for tools in the hands of
	// people. Streams of events fail fast only until they have begun.
	FailFast bool
	// Reads is how fresh reads must be that do not say so themselves; the zero value leaves it to the server: linearizable.
	Reads Level
	// MaxStaleness goes with Bounded: how old an answer may be; 0 leaves it to the server: 5 s.
	MaxStaleness time.Duration
	// MaxReplyBytes bounds one message from a server; 0 is 8 MiB.
	MaxReplyBytes int
	// UserAgent goes before that of gRPC; optional.
	UserAgent string
	// Watch is told what happens underneath; its functions may be nil and must not block.
	Watch Watch

	// Dialer connects to an address; nil is TCP, or a socket for unix: addresses.
	Dialer func(ctx context.Context, address string) (net.Conn, error)
	// Lookup finds the addresses of a host name, without port; nil asks the system.
	Lookup func(ctx context.Context, host string) ([]string, error)
	// DialOptions are added to those of every connection: stats handlers and interceptors, which then see each attempt.
	DialOptions []grpc.DialOption
}

// Watch hears of what a caller does not see. All functions may be called from several goroutines at once.
type Watch struct {
	// Retry hears that an attempt has failed and the call goes on with another one.
	Retry func(method, address string, err error)
	// Lost hears that a stream of events has lost its node and looks for another one.
	Lost func(method, address string, err error)
	// Resumed hears that it goes on, after which event; "" when none has been delivered yet.
	Resumed func(method, address, after string)
}

func (w Watch) retry(method, address string, err error) {
	if w.Retry != nil {
		w.Retry(method, address, err)
	}
}

func (w Watch) lost(method, address string, err error) {
	if w.Lost != nil {
		w.Lost(method, address, err)
	}
}

func (w Watch) resumed(method, address, after string) {
	if w.Resumed != nil {
		w.Resumed(method, address, after)
	}
}

// withDefaults fills in what was left zero.
func (c Config) withDefaults() Config {
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, DefaultConnectTimeout)
	c.Silence = cmp.Or(c.Silence, DefaultSilence)
	c.ProbeTimeout = cmp.Or(c.ProbeTimeout, DefaultProbeTimeout)
	c.Resolve = cmp.Or(c.Resolve, DefaultResolve)
	c.Patience = cmp.Or(c.Patience, DefaultPatience)
	c.MaxReplyBytes = cmp.Or(c.MaxReplyBytes, DefaultMaxReplyBytes)
	if c.Lookup == nil {
		c.Lookup = net.DefaultResolver.LookupHost
	}
	return c
}

// validate reports every problem at once.
func (c Config) validate() error {
	var all []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"Timeout", c.Timeout}, {"AttemptTimeout", c.AttemptTimeout}, {"ConnectTimeout", c.ConnectTimeout}, {"Silence", c.Silence}, {"ProbeTimeout", c.ProbeTimeout},
		{"Resolve", c.Resolve}, {"Patience", c.Patience}, {"MaxStaleness", c.MaxStaleness},
	} {
		if d.value < 0 {
			all = append(all, errors.New("client: "+d.name+" is negative"))
		}
	}
	if c.APIKey != nil && c.TLS == nil && !c.PlaintextAPIKey {
		all = append(all, errors.New("client: an API key without TLS can be read by others: set TLS, or PlaintextAPIKey where the network is trusted"))
	}
	if c.MaxReplyBytes < 0 {
		all = append(all, errors.New("client: MaxReplyBytes is negative"))
	}
	return errors.Join(all...)
}

// dialOptions are those of every connection; credentialsFor adds what depends on the host.
func (c Config) dialOptions() []grpc.DialOption {
	options := []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(c.MaxReplyBytes)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoffs.Config{BaseDelay: firstEjection, Multiplier: 1.6, Jitter: 0.25, MaxDelay: lastEjection},
			MinConnectTimeout: c.ConnectTimeout,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: c.ProbeTimeout}),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
	}
	if c.Dialer != nil {
		options = append(options, grpc.WithContextDialer(c.Dialer))
	}
	if c.APIKey != nil {
		options = append(options, grpc.WithPerRPCCredentials(apiKey{c.APIKey, c.PlaintextAPIKey}))
	}
	if c.UserAgent != "" {
		options = append(options, grpc.WithUserAgent(c.UserAgent))
	}
	return append(options, c.DialOptions...)
}

// pingAfter is after how long a silent connection is pinged by gRPC, and given up if that is not answered: one whose other end is
// gone without a word would be kept for as long as TCP tries. Servers of ours allow a ping every 10 s.
const pingAfter = 20 * time.Second

func (c Config) credentialsFor(e endpoint) grpc.DialOption {
	if c.TLS == nil {
		return grpc.WithTransportCredentials(insecure.NewCredentials())
	}
	tls := c.TLS.Clone()
	tls.ServerName = cmp.Or(tls.ServerName, e.host)
	return grpc.WithTransportCredentials(credentials.NewTLS(tls))
}

// apiKey sends the key of a Config with each call.
type apiKey struct {
	key       func() (string, error)
	plaintext bool
}

var _ credentials.PerRPCCredentials = apiKey{}

func (k apiKey) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	key, err := k.key()
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + key}, nil
}

func (k apiKey) RequireTransportSecurity() bool { return !k.plaintext }

// A Level is how fresh a read must be.
type Level string

// The levels. The empty one is the server's default, Linearizable.
const (
	// Linearizable reads see every write that was acknowledged anywhere before they began.
	Linearizable Level = "linearizable"
	// Bounded reads see every write older than the bound: MaxStaleness, else 5 s.
	Bounded Level = "bounded"
	// Local reads see what the node has, however old. They go on when the cluster has no quorum.
	Local Level = "local"
)

// Metadata of requests and replies.
const (
	keyIdempotency  = "idempotency-key"
	keyLife         = "memory-graph-key-life"
	keyConsistency  = "memory-graph-consistency"
	keyMaxStaleness = "memory-graph-max-staleness"
	keyMinRevision  = "memory-graph-min-revision"
	keyCascade      = "memory-graph-cascade"

	headerRevision  = "memory-graph-revision"
	headerLineage   = "memory-graph-lineage"
	headerLastEvent = "memory-graph-last-event"

	// lifeRetry says that a key serves the retries of one call.
	lifeRetry = "retry"
)

// only is the value of a header that is there once.
func only(md metadata.MD, key string) (value string, ok bool) {
	if values := md.Get(key); len(values) > 0 {
		return values[0], true
	}
	return "", false
}
