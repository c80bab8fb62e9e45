package coordinator

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"tandem.dev/coordinator/api"
	"tandem.dev/coordinator/audit"
	"tandem.dev/coordinator/board"
	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/door"
	"tandem.dev/coordinator/gateway"
	"tandem.dev/coordinator/leader"
	"tandem.dev/coordinator/pki"
	"tandem.dev/coordinator/placement"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/gossip"
	"tandem.dev/proto/identity"
	"tandem.dev/proto/prom"
	"tandem.dev/proto/repeat"
	"tandem.dev/proto/schema"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// Coordinator is one coordinator of a cluster.
type Coordinator struct {
	cfg   Config
	log   zerolog.Logger
	creds *identity.Live
	ca    atomic.Pointer[pki.CA] // signs
	seal  *pki.Seal
	admin string
	peers atomic.Pointer[identity.Peers]

	state   *state.State
	board   *board.Board
	objects *objects
	clocks  *board.Clocks
	crowd   *door.Crowd
	port    *port
	gossip  *gossip.Gossip
	node    *consensus.Node
	handler http.Handler
	api     *api.API

	repeats repeat.Limiter

	registry   *prometheus.Registry
	inferences *gateway.Metrics
	audit      *audit.Log
	loops      []leader.Loop

	coordinators *http.Client // proves to be a coordinator
	agents       clients

	waits  atomic.Pointer[string]     // what has to come before the coordinator is ready
	serves chan struct{}              // closed when the API can be answered
	store  atomic.Pointer[storeSight] // nil: it was not looked at yet
	ready  chan struct{}
}

// New opens the data folder and binds the ports. An empty folder becomes a new cluster, for which Config.Storage is
// needed; after Join it is that of one more coordinator. Run must follow.
func New(cfg Config, deps Deps) (_ *Coordinator, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.OpenStore == nil {
		deps.OpenStore = openS3
	}
	if deps.Fatal == nil {
		deps.Fatal = func(err error) {
			deps.Log.Error().Err(err).Msg("coordinator cannot go on")
			os.Exit(1)
		}
	}
	end := deps.Fatal
	deps.Fatal = func(err error) { end(cfg.advise(err)) }
	listener, address, err := listen(cfg)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = listener.Close() // what went wrong before is what matters
		}
	}()
	c := &Coordinator{registry: prom.Coordinator.NewRegistry(cfg.Version, schema.Known), cfg: cfg, log: deps.Log, state: state.New(), board: board.New(), clocks: board.NewClocks(), serves: make(chan struct{}), ready: make(chan struct{})}
	if err := c.identify(address); err != nil {
		return nil, err
	}
	c.objects = &objects{state: c.state, seal: c.seal, open: deps.OpenStore}
	c.coordinators = c.creds.HTTPClient(identity.RoleName(identity.RoleCoordinator))
	c.agents = clients{creds: c.creds, byNode: map[string]*http.Client{}}
	c.crowd = door.NewCrowd(listener, cfg.Limits, c.crowded)
	c.port = newPort(c.crowd, address, c.creds, c.removed, door.NewArrivals(cfg.Limits), deps.Log)
	if err := c.openGossip(address); err != nil {
		return nil, err
	}
	if err := c.openNode(address, deps.Fatal); err != nil {
		return nil, errors.Join(err, c.gossip.Close())
	}
	if err := c.wire(); err != nil {
		return nil, err // a mistake in the program, found by any test
	}
	return c, nil
}

// identify reads who this coordinator is, or founds a cluster.
func (c *Coordinator) identify(address string) (err error) {
	defer func() { err = c.cfg.remedy(err) }()
	now := time.Now()
	creds, ca, err := open(c.cfg, address, now)
	if errors.Is(err, identity.ErrNone) {
		if c.cfg.Storage.GetEndpoint() == "" || c.cfg.Storage.GetBucket() == "" {
			return errors.New("a new cluster needs to know where its objects go: give the endpoint and the bucket of an S3-compatible store")
		}
		creds, ca, err = bootstrap(c.cfg, address, now)
	}
	if err != nil {
		return err
	}
	c.seal, err = pki.LoadSeal(c.cfg.pkiDir())
	if errors.Is(err, fs.ErrNotExist) && !c.cfg.isMember() { // of the time before both files
		c.seal, err = pki.DeriveSeal(c.cfg.pkiDir(), ca)
	}
	if err != nil {
		return err
	}
	c.creds = identity.NewLive(c.cfg.pkiDir(), creds)
	c.ca.Store(ca)
	c.peers.Store(&creds.Peers)
	c.admin, err = adminToken(c.cfg)
	return err
}

func (c *Coordinator) openGossip(address string) (err error) {
	cfg := gossip.DefaultConfig()
	cfg.NodeID, cfg.Role, cfg.Address, cfg.Keys = c.creds.Identity.Node, identity.RoleCoordinator, address, c.creds.Get().GossipKeys()
	cfg.Listen, cfg.Advertise = c.cfg.GossipListen, c.cfg.GossipAdvertise
	c.gossip, err = gossip.New(cfg, gossip.Deps{Seeds: func() []string { return c.knownPeers().Gossip }, Log: c.log})
	return err
}

func (c *Coordinator) openNode(address string, fatal func(error)) (err error) {
	cfg := consensus.DefaultConfig()
	cfg.ID, cfg.Address, cfg.Dir, cfg.Heartbeat = c.creds.Identity.Node, address, c.cfg.raftDir(), c.cfg.Heartbeat
	// The founder begins the log, unless it has heard of others since: then its log was lost and theirs is right.
	cfg.Bootstrap = c.admin != "" && len(c.knownPeers().Coordinators) == 0
	cfg.Member = c.cfg.isMember()
	c.node, err = consensus.New(cfg, consensus.Deps{
		State: c.state, StreamLayer: c.port, Forward: api.Forward{Peer: c.peerClient}, Committed: commitTimes(c.registry), Log: c.log, Fatal: fatal,
	})
	if err != nil {
		return err
	}
	c.port.bind(c.node.Peers)
	if cfg.Bootstrap || c.node.Holds() {
		return c.cfg.setMember()
	}
	return nil
}

// wire puts the API, the gateway, the metrics and the loops on top.
func (c *Coordinator) wire() error {
	c.registry.MustRegister(&collector{c})
	if err := c.openAudit(); err != nil {
		return err
	}
	apiCfg := api.DefaultConfig()
	apiCfg.Version, apiCfg.Limits = c.cfg.Version, c.cfg.Limits
	a, err := api.New(apiCfg, api.Deps{
		Explain:   placement.Explainer(c.board.Progress),
		Outlook:   placement.Outlooker(c.board.Progress),
		Consensus: c.node, Voters: c.node, State: c.state, Board: c.board, Store: c.objects.get, Members: c.gossip.Members,
		Clocks: c.clocks, CA: c.ca.Load, Seal: c.seal, Self: c.creds, OpenStore: c.objects.open, Peers: c.peerClient, Peer: c.clusterClient, Audit: c.audit, Metrics: api.NewMetrics(c.registry), Log: c.log,
	})
	if err != nil {
		return err
	}
	c.api = a
	gatewayCfg := gateway.DefaultConfig()
	gatewayCfg.Version = c.cfg.Version
	c.inferences = gateway.NewMetrics(c.registry)
	g, err := gateway.New(gatewayCfg, gateway.Deps{
		State: c.state, Project: func(ctx context.Context) string { return api.From(ctx).Project },
		Client: c.agents.of, Ready: c.readiness, Metrics: c.inferences, Log: c.log,
	})
	if err != nil {
		return err
	}
	if c.handler, err = c.routes(a, g); err != nil {
		return err
	}
	c.loops = []leader.Loop{
		c.bootstrap(),
		leader.Keys(c.state, c.node),
		leader.Placement(c.state, c.board.Progress, c.node, c.log),
		leader.Search(c.state, c.node, c.log),
		leader.Coordinators(c.state, c.node, c.node),
		leader.Nodes(c.state, c.node, liveness{c}, c.cfg.NodeTimeout, c.log),
		leader.Level(c.state, c.node, c.node.Peers, c.log),
		leader.Expiries(c.state, c.node),
		leader.Store(c.state, c.node, c.storeFault),
		leader.GC(c.state, c.node, c.objects.get, c.log),
	}
	return nil
}

func (c *Coordinator) openAudit() (err error) {
	cfg := audit.DefaultConfig()
	cfg.Dir, cfg.Coordinator = c.cfg.auditDir(), c.creds.Identity.Node
	c.audit, err = audit.New(cfg, audit.Deps{Store: c.objects.get, Log: c.log})
	return err
}

// Run serves until ctx ends or something fails that cannot be mended.
func (c *Coordinator) Run(ctx context.Context) error {
	// Raft needs the port while it hands leadership over, so that the port closes last.
	portCtx, closePort := context.WithCancel(context.WithoutCancel(ctx))
	defer closePort()
	portDone := make(chan error, 1)
	go func() { portDone <- c.port.Run(portCtx) }()

	g, ctx := errgroup.WithContext(ctx)
	sharer := board.NewSharer(board.SharerDeps{Board: c.board, State: c.state, Others: c.others, Peer: c.peerClient, Log: c.log})
	for _, run := range []func(context.Context) error{
		c.node.Run, c.gossip.Run, c.serve, c.remember, c.prepare, c.announce, c.wanted, c.keepKeys, c.noteClocks, c.watchStore, c.expel, c.api.Run, c.audit.Run, sharer.Run,
		leader.NewSupervisor(c.node, c.loops, c.log).Run,
	} {
		g.Go(func() error { return run(ctx) })
	}
	err := g.Wait()
	closePort()
	c.coordinators.CloseIdleConnections()
	c.agents.close()
	return errors.Join(err, <-portDone)
}

// prepare does what must be done before the coordinator is ready.
func (c *Coordinator) prepare(ctx context.Context) error {
	joining := "the coordinator is starting: it waits for the others to make it a voter"
	c.waits.Store(&joining)
	err := c.becomeVoter(ctx)
	if err == nil {
		close(c.serves)
		err = c.probe(ctx)
	}
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := c.node.View(ctx); err != nil && ctx.Err() == nil {
		c.log.Warn().Err(err).Msg("no leader yet")
	}
	close(c.ready)
	c.log.Info().Str("address", c.port.address).Str("node", c.creds.Identity.Node).Msg("coordinator ready")
	return nil
}

// Ready is closed when the coordinator is a voter of a cluster with a leader and its store answers.
func (c *Coordinator) Ready() <-chan struct{} { return c.ready }

// readiness says why requests cannot be answered; nil: they can.
func (c *Coordinator) readiness() error {
	select {
	case <-c.serves:
	default:
		if why := c.waits.Load(); why != nil {
			return errors.New(*why)
		}
		return errors.New("the coordinator is starting")
	}
	if err := c.node.Disk(); err != nil {
		return err
	}
	if _, address := c.node.Leader(); address == "" {
		return consensus.ErrNoLeader
	}
	return nil
}

// Address is the host:port others reach the coordinator by.
func (c *Coordinator) Address() string { return c.port.address }

// CAPEM is the certificate clients trust, PEM.
func (c *Coordinator) CAPEM() []byte { return c.creds.Get().CAPEM() }

// AdminToken is the first token of role admin; empty on a coordinator that did not found the cluster.
func (c *Coordinator) AdminToken() string { return c.admin }

// removed says whether a node was removed from the cluster, as far as this coordinator knows.
func (c *Coordinator) removed(node string) bool {
	_, ok := c.state.View().RemovedNode(node)
	return ok
}

// others are the API ports of the other coordinators.
func (c *Coordinator) others() []string {
	var all []string
	for _, p := range c.node.Peers() {
		if p.ID != c.creds.Identity.Node {
			all = append(all, p.Address)
		}
	}
	return all
}

func (c *Coordinator) peerClient(address string) tandemv1connect.PeerServiceClient {
	return tandemv1connect.NewPeerServiceClient(c.coordinators, "https://"+address)
}

func (c *Coordinator) clusterClient(address string) tandemv1connect.ClusterServiceClient {
	return tandemv1connect.NewClusterServiceClient(c.coordinators, "https://"+address)
}

// clients calls agents; each must prove to be the node that is meant.
type clients struct {
	creds  *identity.Live
	mu     sync.Mutex
	byNode map[string]*http.Client
}

func (cs *clients) of(node string) *http.Client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	client := cs.byNode[node]
	if client == nil {
		client = cs.creds.HTTPClient(identity.NodeName(node))
		cs.byNode[node] = client
	}
	return client
}

func (cs *clients) close() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, client := range cs.byNode {
		client.CloseIdleConnections()
	}
}

// liveness is what is heard of nodes.
type liveness struct{ c *Coordinator }

func (l liveness) Gossiping() map[string]bool {
	alive := map[string]bool{}
	for _, m := range l.c.gossip.Members() {
		alive[m.ID] = true
	}
	return alive
}

func (l liveness) Heard(node string, now time.Time) time.Time { return l.c.board.Heard(node, now) }
