package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	"tandem.dev/proto/repeat"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// ErrMixed: one node exchanges values in clear and the other does not.
var ErrMixed = errors.New("the nodes do not agree on the data plane")

// Config says where this node is.
type Config struct {
	Node    string // identity
	Network string // of its loopback; nodes with the same one need no tunnel
	Plain   bool   // ranks connect with each other by themselves, in clear
}

// Deps are what a tunnel needs from its agent.
type Deps struct {
	// Members are the ranks of this node, by what they were told last.
	Members func() []Member
	// Dial connects with the agent of a node, which has to prove that it is that node; TLS, and HTTP/1.1 on it.
	Dial func(context.Context, Peer) (TLS, error)
	// Listen is net.Listen, but for tests, whose hosts share one loopback.
	Listen func(network, address string) (net.Listener, error)
	Log    zerolog.Logger
}

// Tunnel is a node's end of all streams between its ranks and those of other hosts.
type Tunnel struct {
	Config
	Deps
	life    context.Context
	end     context.CancelFunc
	wg      sync.WaitGroup // what listens, and the streams
	repeats repeat.Limiter

	mu        sync.Mutex
	announced Announced
	doors     map[netip.AddrPort]*door
}

// door is where this host listens in the stead of a rank of another.
type door struct {
	group    Group
	peer     Peer
	listener net.Listener
}

// New makes a tunnel. Run ends what it begins.
func New(c Config, d Deps) *Tunnel {
	t := &Tunnel{Config: c, Deps: d, announced: Announced{}, doors: map[netip.AddrPort]*door{}}
	t.life, t.end = context.WithCancel(context.Background())
	return t
}

// Run waits until ctx ends, closes everything, and returns when nothing is left.
func (t *Tunnel) Run(ctx context.Context) error {
	<-ctx.Done()
	t.mu.Lock()
	t.end()
	for at, d := range t.doors {
		t.shut(at, d)
	}
	t.mu.Unlock()
	t.wg.Wait()
	return nil
}

// Wrap makes what the agents of other ranks read of a value that a rank of this node sets, and lets these in to where it listens.
func (t *Tunnel) Wrap(m Member, value []byte, listens []string) ([]byte, error) {
	v := &tandemv1.RankValue{Value: value, NodeId: t.Node, Network: t.Network, Plain: t.Plain}
	if !t.Plain {
		own := Address(m.Group, m.Rank)
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, text := range listens {
			at, err := netip.ParseAddrPort(text)
			if err != nil || at.Addr() != own {
				return nil, fmt.Errorf("%w: rank %d listens on %v, not on %s", ErrRefused, m.Rank, own, text)
			}
			t.announced[at] = m
			v.Listens = append(v.Listens, at.String())
		}
	}
	return proto.Marshal(v)
}

// Unwrap returns the value that another rank set, when this host listens in its stead. The error matches ErrMixed where that rank's
// node speaks in clear and this one does not, or the other way round.
func (t *Tunnel) Unwrap(m Member, wrapped []byte) ([]byte, error) {
	var v tandemv1.RankValue
	if err := proto.Unmarshal(wrapped, &v); err != nil {
		return nil, fmt.Errorf("%w: the value of another rank cannot be read, as when its agent is of another version: %w", ErrMixed, err)
	}
	if v.GetNodeId() == t.Node || v.GetNetwork() == t.Network {
		return v.GetValue(), nil // loopback leads there
	}
	if v.GetPlain() != t.Plain {
		there, here := "encrypts", "does not"
		if v.GetPlain() {
			there, here = "does not encrypt", "does"
		}
		return nil, fmt.Errorf("%w: node %s %s what ranks say to each other and this node %s: start all workers with --plain-data-plane, or none",
			ErrMixed, v.GetNodeId(), there, here)
	}
	if len(v.GetListens()) == 0 {
		return v.GetValue(), nil
	}
	peer, ok := m.peer(v.GetNodeId())
	if !ok {
		return nil, fmt.Errorf("%w: node %s has no rank in generation %d", ErrRefused, v.GetNodeId(), m.Group.Generation)
	}
	for _, text := range v.GetListens() {
		at, err := netip.ParseAddrPort(text)
		if err != nil || !within.Contains(at.Addr()) {
			return nil, fmt.Errorf("%w: %s is not an address of a rank", ErrRefused, text)
		}
		if err := t.open(at, m.Group, peer); err != nil {
			return nil, err
		}
	}
	return v.GetValue(), nil
}

// open listens in the stead of a rank.
func (t *Tunnel) open(at netip.AddrPort, g Group, peer Peer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.life.Err() != nil {
		return t.life.Err()
	}
	if d := t.doors[at]; d != nil {
		if d.group == g {
			return nil // another rank of this host has asked for it
		}
		t.shut(at, d)
	}
	l, err := t.Listen("tcp", at.String())
	if err != nil {
		return fmt.Errorf("listen for ranks of this host: %w", err)
	}
	d := &door{group: g, peer: peer, listener: l}
	t.doors[at] = d
	t.wg.Go(func() { t.serve(at, d) })
	return nil
}

// shut closes a door; streams through it go on. It needs mu.
func (t *Tunnel) shut(at netip.AddrPort, d *door) {
	delete(t.doors, at)
	_ = d.listener.Close()
}

// Trim forgets what belongs to groups that no rank of this node is told to be in any more. Streams end with the ranks at their ends.
func (t *Tunnel) Trim() {
	current := map[Group]bool{}
	for _, m := range t.Members() {
		current[m.Group] = true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for at, m := range t.announced {
		if !current[m.Group] {
			delete(t.announced, at)
		}
	}
	for at, d := range t.doors {
		if !current[d.group] {
			t.shut(at, d)
		}
	}
}

// serve leads each connection of a rank of this host to the rank it means.
func (t *Tunnel) serve(at netip.AddrPort, d *door) {
	for {
		conn, err := d.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, as a rule
			t.Log.Warn().Err(err).Msg("cannot take a connection of a rank")
			select {
			case <-time.After(10 * time.Millisecond):
			case <-t.life.Done():
			}
			continue
		}
		t.wg.Go(func() {
			local := conn.(*net.TCPConn)
			remote, err := t.connect(d, at)
			if err != nil {
				t.repeats.Warn(t.Log, d.peer.Node).Err(err).Str("node", d.peer.Node).Int64("gen", d.group.Generation).Msg("no way to a rank of another host")
				reset(local)
				return
			}
			t.carry(local, remote)
		})
	}
}

// begin counts one who uses the tunnel, who calls wg.Done; false: it has ended.
func (t *Tunnel) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.life.Err() != nil {
		return false
	}
	t.wg.Add(1)
	return true
}

// carry copies until the stream or the agent ends.
func (t *Tunnel) carry(a, b end) {
	release := context.AfterFunc(t.life, func() { reset(a); reset(b) })
	defer release()
	splice(a, b)
}
