package coordtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/rs/zerolog"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// rpcTimeout is how long a call between peers waits for an answer.
const rpcTimeout = 500 * time.Millisecond

// Cluster is a Raft cluster of peers 0 to n-1.
type Cluster struct {
	t     testing.TB
	cfg   consensus.Config
	log   zerolog.Logger
	fatal func(i int, err error)
	peers []*peer
	spare int // peers that are not added, the last ones

	mu  sync.Mutex
	cut map[[2]int]bool // links that are cut, by sender and receiver
}

type peer struct {
	id, address string
	stores      *consensus.Stores

	mu        sync.Mutex
	up        bool
	transport *raft.InmemTransport
	node      *consensus.Node
	state     *state.State
	stop      context.CancelFunc
	done      chan error
}

// Option changes a cluster before it starts.
type Option func(*Cluster)

// WithConfig changes the configuration of every peer; ID, Address and Bootstrap are the cluster's.
func WithConfig(change func(*consensus.Config)) Option {
	return func(c *Cluster) { change(&c.cfg) }
}

// WithSpare leaves the last n peers out of the cluster: they run, and a test adds them.
func WithSpare(n int) Option { return func(c *Cluster) { c.spare = n } }

// WithLog sets where the peers log; nowhere by default.
func WithLog(log zerolog.Logger) Option { return func(c *Cluster) { c.log = log } }

// WithFatal sets what happens when a peer must end; by default the test fails.
func WithFatal(fatal func(i int, err error)) Option { return func(c *Cluster) { c.fatal = fatal } }

// New starts n peers that form one cluster and waits until they have a leader. The test's cleanup stops them; inside a
// bubble call Stop before the bubble's function ends.
func New(t testing.TB, n int, options ...Option) *Cluster {
	t.Helper()
	c := &Cluster{t: t, cfg: consensus.DefaultConfig(), log: zerolog.Nop(), cut: map[[2]int]bool{}}
	c.fatal = func(i int, err error) { t.Errorf("%s must end: %v", c.ID(i), err) }
	for _, o := range options {
		o(c)
	}
	for i := range n {
		store := raft.NewInmemStore()
		c.peers = append(c.peers, &peer{
			id:      fmt.Sprintf("coordinator-%d", i),
			address: fmt.Sprintf("peer-%d", i),
			stores:  &consensus.Stores{Logs: store, Stable: store, Snapshots: raft.NewInmemSnapshotStore()},
		})
	}
	for i := range n {
		c.Start(i)
	}
	t.Cleanup(c.Stop)
	leader := c.Leader()
	for i := range n - c.spare {
		if i != leader {
			c.must(c.Node(leader).AddLearner(context.Background(), c.peers[i].id, c.peers[i].address))
			c.waitKnows(i, 1)
			c.must(c.Node(leader).AddPeer(context.Background(), c.peers[i].id, c.peers[i].address))
		}
	}
	for i := range n - c.spare {
		c.waitKnows(i, n-c.spare)
	}
	return c
}

// waitKnows waits until a peer knows itself and so many in all. Before that, one that has seen only the beginning of the
// log refuses its vote to those it does not know, and without the leader nobody could tell it.
func (c *Cluster) waitKnows(i, n int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		known := c.Node(i).Peers()
		if len(known) >= n && slices.ContainsFunc(known, func(p consensus.Peer) bool { return p.ID == c.ID(i) }) {
			return
		}
		if ctx.Err() != nil {
			c.t.Fatalf("%s does not know %d peers after a minute", c.ID(i), n)
		}
		sleep(ctx, 10*time.Millisecond)
	}
}

func (c *Cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// Len returns the number of peers, up or not.
func (c *Cluster) Len() int { return len(c.peers) }

// Node returns a peer's node; one that was killed answers with errors.
func (c *Cluster) Node(i int) *consensus.Node {
	p := c.peers[i]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.node
}

// State returns a peer's state, without asking whether it is current.
func (c *Cluster) State(i int) *state.State {
	p := c.peers[i]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// ID returns a peer's identity.
func (c *Cluster) ID(i int) string { return c.peers[i].id }

// Stores returns a peer's disks; what is changed in them takes effect at its next Start.
func (c *Cluster) Stores(i int) *consensus.Stores { return c.peers[i].stores }

// Up says whether a peer is started.
func (c *Cluster) Up(i int) bool {
	p := c.peers[i]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.up
}

// Leader waits until a peer leads that a majority follows and returns it.
func (c *Cluster) Leader() int {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		for i := range c.peers {
			if !c.Up(i) || !c.Node(i).IsLeader() {
				continue
			}
			if _, err := c.Node(i).ReadIndexLocal(ctx); err == nil {
				return i
			}
		}
		sleep(ctx, 20*time.Millisecond)
	}
	c.t.Fatal("no leader within a minute")
	return -1
}

// Follower returns a peer that is up and does not lead.
func (c *Cluster) Follower() int {
	c.t.Helper()
	leader := c.Leader()
	for i := range c.peers {
		if i != leader && c.Up(i) {
			return i
		}
	}
	c.t.Fatal("no peer follows")
	return -1
}

// WaitApplied waits until every peer that is up has applied what a linearizable read would show.
func (c *Cluster) WaitApplied() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := range c.peers {
		if c.Up(i) {
			_, err := c.Node(i).View(ctx)
			c.must(err)
		}
	}
}

// Start starts a peer that is not up, with the disks it had.
func (c *Cluster) Start(i int) {
	c.t.Helper()
	p := c.peers[i]
	_, transport := raft.NewInmemTransportWithTimeout(raft.ServerAddress(p.address), rpcTimeout)
	cfg := c.cfg
	cfg.ID, cfg.Address, cfg.Bootstrap = p.id, p.address, i == 0
	s := state.New()
	node, err := consensus.New(cfg, consensus.Deps{
		State: s, Transport: transport, Stores: p.stores, Forward: forwarder{c, i}, Log: c.log.With().Str("coordinator", p.id).Logger(),
		Fatal: func(err error) { c.fatal(i, err) },
	})
	c.must(err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	p.mu.Lock()
	p.up, p.transport, p.node, p.state, p.stop, p.done = true, transport, node, s, stop, done
	p.mu.Unlock()
	c.rewire()
}

// Kill cuts a peer off and ends it, so that nobody hears a last word. Its disks stay.
func (c *Cluster) Kill(i int) {
	c.t.Helper()
	p := c.peers[i]
	p.mu.Lock()
	up, stop, done := p.up, p.stop, p.done
	p.up = false
	p.mu.Unlock()
	if !up {
		return
	}
	c.rewire()
	stop()
	if err := <-done; err != nil {
		c.t.Errorf("%s did not end well: %v", p.id, err)
	}
}

// Stop ends all peers; it may be called again.
func (c *Cluster) Stop() {
	for i := range c.peers {
		c.Kill(i)
	}
}

// CutLink drops everything that one peer sends to another, in that direction only.
func (c *Cluster) CutLink(from, to int) {
	c.mu.Lock()
	c.cut[[2]int{from, to}] = true
	c.mu.Unlock()
	c.rewire()
}

// Isolate cuts peers off from all others; among each other they stay connected.
func (c *Cluster) Isolate(group ...int) {
	inside := map[int]bool{}
	for _, i := range group {
		inside[i] = true
	}
	c.mu.Lock()
	for i := range c.peers {
		for j := range c.peers {
			if inside[i] != inside[j] {
				c.cut[[2]int{i, j}] = true
			}
		}
	}
	c.mu.Unlock()
	c.rewire()
}

// Heal mends all links.
func (c *Cluster) Heal() {
	c.mu.Lock()
	clear(c.cut)
	c.mu.Unlock()
	c.rewire()
}

// linked says whether what one peer sends reaches the other.
func (c *Cluster) linked(from, to int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return from == to || !c.cut[[2]int{from, to}]
}

// rewire brings the transports to what links and peers are now.
func (c *Cluster) rewire() {
	for i, from := range c.peers {
		for j, to := range c.peers {
			if i == j {
				continue
			}
			sender, receiver := from.wire(), to.wire()
			switch {
			case sender == nil:
			case receiver != nil && c.Up(i) && c.Up(j) && c.linked(i, j):
				sender.Connect(raft.ServerAddress(to.address), receiver)
			default:
				sender.Disconnect(raft.ServerAddress(to.address))
			}
		}
	}
}

func (p *peer) wire() *raft.InmemTransport {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.transport
}

// forwarder calls a leader over the cluster's links.
type forwarder struct {
	c    *Cluster
	from int
}

var errUnreachable = errors.New("unreachable")

func (f forwarder) target(address string) (int, error) {
	for i, p := range f.c.peers {
		if p.address == address {
			if !f.c.Up(i) || !f.c.Up(f.from) || !f.c.linked(f.from, i) {
				return 0, fmt.Errorf("%w: %w", consensus.ErrNotLeader, errUnreachable)
			}
			return i, nil
		}
	}
	return 0, fmt.Errorf("%w: no peer has address %s", consensus.ErrNotLeader, address)
}

// Propose loses the answer when the link back is cut meanwhile.
func (f forwarder) Propose(ctx context.Context, address string, cmd *tandemv1.Command) (*tandemv1.Result, error) {
	to, err := f.target(address)
	if err != nil {
		return nil, err
	}
	result, err := f.c.Node(to).ProposeLocal(ctx, cmd)
	if err == nil && (!f.c.Up(to) || !f.c.linked(to, f.from)) {
		return nil, errUnreachable
	}
	return result, err
}

// ReadIndex is like Propose.
func (f forwarder) ReadIndex(ctx context.Context, address string) (uint64, error) {
	to, err := f.target(address)
	if err != nil {
		return 0, err
	}
	index, err := f.c.Node(to).ReadIndexLocal(ctx)
	if err == nil && (!f.c.Up(to) || !f.c.linked(to, f.from)) {
		return 0, errUnreachable
	}
	return index, err
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
