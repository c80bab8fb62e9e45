package gossip

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/rs/zerolog"

	"tandem.dev/proto/identity"
)

// Config of a member.
type Config struct {
	NodeID  string        // identity of the node, unique in the ring
	Role    identity.Role // what it is
	Address string        // host:port of its HTTPS server, told to the others
	// Listen is the host:port to gossip on, TCP and UDP; port 0 takes a free one.
	Listen string
	// Advertise is the host others reach it by, with an optional port; empty: that of Listen.
	Advertise string
	// Keys are of 32 bytes each: the first to write and read with, the others to read with.
	Keys [][]byte
	// Rejoin is the time between attempts to reach the seeds that are not members.
	Rejoin time.Duration
}

// DefaultConfig gossips on a free port of loopback.
func DefaultConfig() Config {
	return Config{Listen: "127.0.0.1:0", Rejoin: 10 * time.Second}
}

// Deps of a member.
type Deps struct {
	// Seeds are host:port of gossip ports of others, as far as they are known now; asked before each attempt.
	Seeds func() []string
	Log   zerolog.Logger
}

// Member is a node that is alive.
type Member struct {
	ID      string
	Role    identity.Role
	Address string // host:port of its HTTPS server
	Gossip  string // host:port of its gossip port
}

// Gossip is this node's part of the ring.
type Gossip struct {
	cfg  Config
	deps Deps
	list *memberlist.Memberlist
	ring *memberlist.Keyring

	mu      sync.Mutex
	members map[string]Member // by id; without a role: it speaks another language, of a version to come
	changed chan struct{}     // closed and replaced at each change
}

// meta is what a member says of itself; memberlist allows 512 bytes.
type meta struct {
	Role    identity.Role `json:"role"`
	Address string        `json:"address"`
}

// parseMeta reads what a member says of itself; false when it is not understood.
func parseMeta(b []byte) (meta, bool) {
	var m meta
	err := json.Unmarshal(b, &m)
	return m, err == nil && m.Role.Valid()
}

// New binds the port; the ring is joined by Run.
func New(cfg Config, deps Deps) (*Gossip, error) {
	ring, err := newRing(cfg.Keys)
	if err != nil {
		return nil, err
	}
	said, err := json.Marshal(meta{cfg.Role, cfg.Address})
	if err != nil {
		return nil, fmt.Errorf("gossip: encode what to say of this node: %w", err)
	}
	if len(said) > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("gossip: address %q is too long", cfg.Address)
	}
	g := &Gossip{cfg: cfg, deps: deps, ring: ring, members: map[string]Member{}, changed: make(chan struct{})}
	mc := memberlist.DefaultLANConfig()
	mc.Name = cfg.NodeID
	mc.Keyring = ring
	mc.Delegate, mc.Events = delegate(said), events{g}
	mc.Logger = log.New(lines{deps.Log}, "", 0)
	mc.DeadNodeReclaimTime = time.Second // a node that starts anew may have another port
	mc.TCPTimeout = 3 * time.Second
	if mc.BindAddr, mc.BindPort, err = split(cfg.Listen, 0); err != nil {
		return nil, fmt.Errorf("gossip: listen on %q: %w", cfg.Listen, err)
	}
	mc.AdvertisePort = mc.BindPort
	if cfg.Advertise != "" {
		var host string
		if host, mc.AdvertisePort, err = split(cfg.Advertise, mc.BindPort); err != nil {
			return nil, fmt.Errorf("gossip: advertise %q: %w", cfg.Advertise, err)
		}
		ips, err := net.LookupHost(host) // memberlist wants an address
		if err != nil {
			return nil, fmt.Errorf("gossip: advertise %q: %w", cfg.Advertise, err)
		}
		mc.AdvertiseAddr = ips[0]
	}
	if g.list, err = memberlist.Create(mc); err != nil {
		return nil, fmt.Errorf("gossip: listen on %s (is the port in use?): %w", cfg.Listen, err)
	}
	return g, nil
}

// Addr is the host:port others join.
func (g *Gossip) Addr() string { return g.list.LocalNode().Address() }

// Run joins the seeds, and again whenever one of them is not a member, until ctx ends; then it says goodbye.
func (g *Gossip) Run(ctx context.Context) error {
	tick := time.NewTicker(g.cfg.Rejoin)
	defer tick.Stop()
	for {
		g.join()
		select {
		case <-tick.C:
		case <-ctx.Done():
			// A node that leaves in order is known to be gone at once. Nobody may be there to tell: that is not an error.
			if err := g.list.Leave(time.Second); err != nil {
				g.deps.Log.Debug().Err(err).Msg("gossip: nobody heard the goodbye")
			}
			if err := g.list.Shutdown(); err != nil {
				return fmt.Errorf("gossip: shut down: %w", err)
			}
			return nil
		}
	}
}

func (g *Gossip) join() {
	known := map[string]bool{}
	for _, m := range g.heard() {
		known[m.Gossip] = true
	}
	var seeds []string
	for _, s := range g.deps.Seeds() {
		if !known[s] {
			seeds = append(seeds, s)
		}
	}
	if len(seeds) == 0 {
		return
	}
	if n, err := g.list.Join(seeds); err != nil && n == 0 {
		g.deps.Log.Debug().Err(err).Strs("seeds", seeds).Msg("gossip: no seed answers yet")
	}
}

// Members are the nodes that are alive, this one among them, by id.
func (g *Gossip) Members() []Member {
	all := slices.DeleteFunc(g.heard(), func(m Member) bool { return m.Role == "" })
	slices.SortFunc(all, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// heard are all that are alive.
func (g *Gossip) heard() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Values(g.members))
}

// learn takes what memberlist tells of a node that is alive.
func (g *Gossip) learn(n *memberlist.Node) {
	m := Member{ID: n.Name, Gossip: n.Address()}
	if said, ok := parseMeta(n.Meta); ok {
		m.Role, m.Address = said.Role, said.Address
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members[m.ID] = m
	g.wake()
}

func (g *Gossip) forget(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.members, id)
	g.wake()
}

// Changed is closed when a member comes, goes or changes after the call.
func (g *Gossip) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

// wake tells those who watch. It needs mu.
func (g *Gossip) wake() {
	close(g.changed)
	g.changed = make(chan struct{})
}

func split(s string, port int) (string, int, error) {
	host, p, err := net.SplitHostPort(s)
	var missing *net.AddrError
	if errors.As(err, &missing) && missing.Err == "missing port in address" {
		return s, port, nil
	}
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.Atoi(p)
	return host, n, err
}

// Close lets go of the port when Run is not going to be called.
func (g *Gossip) Close() error {
	if err := g.list.Shutdown(); err != nil {
		return fmt.Errorf("gossip: shut down: %w", err)
	}
	return nil
}
