//go:build !wasip1

package gossip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
)

// DefaultPort is that of seeds which name none.
const DefaultPort = 50053

// Values of memberlist (RAFT.md 5.2), where they are not those for a LAN.
const (
	label            = "memory-graph"
	suspicion        = 6
	pushPullInterval = 15 * time.Second
	streamTimeout    = 5 * time.Second
	// reclaimAfter is how long a node must have been dead before its id may come from another address. It is found dead after six
	// seconds and more without an answer, which is the wait that matters: with the 30 s of RAFT.md a node that had moved was heard of
	// after 42 to 53 s, with this after 8 s.
	reclaimAfter = time.Millisecond
	// settle lets several wishes become one round of joining, and reclaimAfter pass.
	settle = 100 * time.Millisecond
)

const (
	// RejoinInterval is how often seeds and lost nodes are tried again; as long as a node is alone it tries every AloneInterval.
	RejoinInterval = 15 * time.Second
	AloneInterval  = time.Second
	// MaxSeeds bounds seeds and joined addresses together.
	MaxSeeds = 256

	publishTimeout = time.Second
	leaveTimeout   = 5 * time.Second
	lookUpTimeout  = 5 * time.Second
	// What is remembered of nodes that have gone.
	maxDeparted    = 256
	maxClaims      = 256
	departedMemory = 24 * time.Hour
)

// Config is what gossip is told.
type Config struct {
	// NodeID of this node, of its data folder and not of its host.
	NodeID string
	// Metadata is what it says of itself at first.
	Metadata Metadata
	// Secrets of the cluster: the first seals, all open.
	Secrets []secret.Secret
	// Packets and Streams are open at the same port, see [Listen]. Gossip closes them.
	Packets net.PacketConn
	Streams net.Listener
	// Advertise is where others reach them, host:port, resolved once; the address of the listener, or of this machine, when empty.
	Advertise string
	// Seeds are addresses of others: host:port, or a host alone. A name may have several addresses and is resolved at each try.
	Seeds []string
	// Dial makes a connection to an IP address and port, over TCP when nil. LookUp resolves names, by the system when nil.
	Dial   func(ctx context.Context, address string) (net.Conn, error)
	LookUp func(ctx context.Context, host string) ([]netip.Addr, error)
	// Logger hears what happens; nothing is logged when nil.
	Logger hclog.Logger
}

func (c *Config) setDefaults() error {
	switch {
	case c.NodeID == "" || len(c.NodeID) > 255:
		return fmt.Errorf("node id %q: want 1 to 255 bytes", c.NodeID)
	case c.Packets == nil || c.Streams == nil:
		return errors.New("the listeners are missing")
	case len(c.Seeds) > MaxSeeds:
		return fmt.Errorf("there are %d seeds, at most %d", len(c.Seeds), MaxSeeds)
	}
	if c.Dial == nil {
		c.Dial = dialTCP
	}
	if c.LookUp == nil {
		c.LookUp = lookUp
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	c.Logger = c.Logger.Named("gossip")
	return nil
}

// Gossip runs from Open until Close. All of it may be called from any goroutine.
type Gossip struct {
	config    Config
	self      netip.AddrPort
	keys      ring
	list      *memberlist.Memberlist
	transport *transport

	mu sync.Mutex
	// saying is what this node says of itself, encoded: said.
	saying announcement
	said   []byte
	// members are those that are alive, whatever their cluster; departed those that are not any more.
	members  map[string]Member
	departed map[string]Member
	// claims are addresses that nodes have been said to be at while they were alive elsewhere.
	claims  map[string]netip.AddrPort
	changed chan struct{}
	seeds   []string

	// news and wish wake the goroutines: something is to be published, somebody to be joined.
	news, wish chan struct{}
	// publishing is sent to while memberlist takes up what is said, which takes a while, and received from afterwards.
	publishing chan struct{}
	left       bool
	// rotating is held while the keys change.
	rotating sync.Mutex

	life  context.Context
	die   context.CancelFunc
	busy  sync.WaitGroup
	close sync.Once
	err   error
}

// Open starts to listen and to look for others, and returns at once. The listeners are closed when it cannot.
func Open(ctx context.Context, config Config) (*Gossip, error) {
	g, err := open(ctx, config)
	if err != nil {
		if config.Packets != nil {
			err = errors.Join(err, config.Packets.Close())
		}
		if config.Streams != nil {
			err = errors.Join(err, config.Streams.Close())
		}
		return nil, fmt.Errorf("open gossip: %w", err)
	}
	return g, nil
}

func open(ctx context.Context, config Config) (*Gossip, error) {
	if err := config.setDefaults(); err != nil {
		return nil, err
	}
	keys, err := keysOf(config.Secrets)
	if err != nil {
		return nil, err
	}
	g := &Gossip{
		config: config, saying: announcement{Metadata: config.Metadata}, seeds: slices.Clone(config.Seeds),
		members: map[string]Member{}, departed: map[string]Member{}, claims: map[string]netip.AddrPort{}, changed: make(chan struct{}),
		news: make(chan struct{}, 1), wish: make(chan struct{}, 1), publishing: make(chan struct{}, 1),
	}
	if g.said, err = g.saying.encode(); err != nil {
		return nil, err
	}
	if g.keys, err = newRing(keys); err != nil {
		return nil, err
	}
	if g.self, err = advertised(ctx, &g.config); err != nil {
		return nil, err
	}
	g.life, g.die = context.WithCancel(context.Background())
	g.transport = newTransport(&g.config, g.self)
	if g.list, err = memberlist.Create(g.listConfig()); err != nil {
		g.die()
		return nil, errors.Join(err, g.transport.Shutdown())
	}
	g.busy.Go(g.publishNews)
	g.busy.Go(g.keepJoining)
	return g, nil
}

// listConfig is memberlist as it runs here.
func (g *Gossip) listConfig() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = g.config.NodeID
	c.Label = label
	c.Transport = g.transport
	c.BindAddr, c.BindPort = g.self.Addr().String(), int(g.self.Port())
	c.AdvertiseAddr, c.AdvertisePort = c.BindAddr, c.BindPort
	c.Keyring = g.keys.Keyring
	c.GossipVerifyIncoming, c.GossipVerifyOutgoing = true, true
	c.EnableCompression = false
	c.SuspicionMult = suspicion
	c.DeadNodeReclaimTime = reclaimAfter
	c.PushPullInterval = pushPullInterval
	c.TCPTimeout = streamTimeout
	d := (*delegate)(g)
	c.Delegate, c.Events, c.Alive, c.Merge, c.Conflict = d, d, d, d, d
	c.Logger = newLogger(g.config.Logger)
	return c
}

// Members are the nodes that are alive, this one included, ordered by id. Those of another cluster are not among them once this node
// has one.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.listLocked(g.members)
}

// Departed are the nodes that were members and have left or died, for a day, ordered by id.
func (g *Gossip) Departed() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.listLocked(g.departed)
}

func (g *Gossip) listLocked(from map[string]Member) []Member {
	all := make([]Member, 0, len(from))
	for _, m := range from {
		if g.oursLocked(m.Metadata) {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b Member) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return all
}

// oursLocked: a node of no cluster may become one of ours.
func (g *Gossip) oursLocked(m Metadata) bool {
	return m.ClusterID == "" || g.saying.ClusterID == "" || m.ClusterID == g.saying.ClusterID
}

// Changed is closed when Members or Departed may have changed since the call.
func (g *Gossip) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

func (g *Gossip) tellLocked() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// Address is where others reach the gossip of this node, as they are told.
func (g *Gossip) Address() string { return g.self.String() }

// Update changes what this node says of itself. Others hear of it soon after the call. A cluster id is for good: another one than
// this node has is refused.
func (g *Gossip) Update(m Metadata) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if was := g.saying.ClusterID; was != "" && was != m.ClusterID {
		return fmt.Errorf("gossip: this node is of cluster %s and cannot become one of %q", was, m.ClusterID)
	}
	next := announcement{Metadata: m, leaving: g.saying.leaving}
	said, err := next.encode()
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	g.saying, g.said = next, said
	g.tellLocked()
	wake(g.news)
	return nil
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Join adds addresses to the seeds, and tries them now.
func (g *Gossip) Join(addresses []string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range addresses {
		if slices.Contains(g.seeds, a) {
			continue
		}
		if len(g.seeds) == MaxSeeds {
			return fmt.Errorf("gossip: join %s: there are %d seeds already, which is the most", a, MaxSeeds)
		}
		g.seeds = append(g.seeds, a)
	}
	wake(g.wish)
	return nil
}

// SetSecrets puts other secrets in the place of those there are: the first seals, all open. To rotate, add the new one behind the old
// one on every node, then put it first on every node, then take the old one away.
func (g *Gossip) SetSecrets(secrets []secret.Secret) error {
	keys, err := keysOf(secrets)
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	g.rotating.Lock()
	defer g.rotating.Unlock()
	return g.keys.set(keys)
}

// publishNews hands what this node says to memberlist, which may wait for others.
func (g *Gossip) publishNews() {
	for {
		select {
		case <-g.news:
		case <-g.life.Done():
			return
		}
		g.publishing <- struct{}{}
		if !g.left {
			if err := g.list.UpdateNode(publishTimeout); err != nil {
				g.config.Logger.Debug("others hear later of what has changed here", "error", err)
			}
		}
		<-g.publishing
	}
}

// Leave tells the others that this node goes for good or for a while, so that they need not find out. It takes five seconds at most, as when all leave at once: the last ones have nobody who would hear them.
// What follows is Close.
func (g *Gossip) Leave() error {
	g.mu.Lock()
	next := g.saying
	next.leaving = true
	if said, err := next.encode(); err == nil {
		g.saying, g.said = next, said
	}
	g.mu.Unlock()
	g.publishing <- struct{}{}
	defer func() { <-g.publishing }()
	if g.left || g.life.Err() != nil {
		return nil
	}
	g.left = true
	if err := g.list.UpdateNode(publishTimeout); err != nil {
		g.config.Logger.Debug("not every node hears that this one leaves", "error", err)
	}
	if err := g.list.Leave(leaveTimeout - publishTimeout); err != nil {
		return fmt.Errorf("leave gossip: %w", err)
	}
	return nil
}

// Close ends it, without a word to the others. What memberlist has under way comes to its end by itself in the seconds after.
func (g *Gossip) Close() error {
	g.close.Do(func() {
		g.die()
		g.publishing <- struct{}{}
		g.err = g.list.Shutdown()
		<-g.publishing
		g.busy.Wait()
	})
	return g.err
}
