package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"tandem.dev/proto/gossip"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/s3"
)

// Agent is the agent of one node.
type Agent struct {
	cfg  Config
	deps Deps

	metrics *metrics
	ready   chan struct{}
	bound   chan struct{}
	address string
}

// New makes an agent. It touches nothing yet: Run does.
func New(cfg Config, deps Deps) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	dir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("agent: data folder: %w", err)
	}
	cfg.DataDir = dir
	if deps.OpenStore == nil {
		deps.OpenStore = openS3
	}
	return &Agent{cfg: cfg, deps: deps, metrics: newMetrics(), ready: make(chan struct{}), bound: make(chan struct{})}, nil
}

func openS3(c *tandemv1.StorageConfig) (ObjectStore, error) {
	return s3.New(s3.Config{
		Endpoint: c.GetEndpoint(), Bucket: c.GetBucket(), Prefix: c.GetPrefix(), Region: c.GetRegion(),
		AccessKey: c.GetAccessKey(), SecretKey: c.GetSecretKey(), TLS: c.GetTls(), CAPEM: c.GetCaPem(),
	})
}

// Ready is closed when the node has got its first desired state.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Address waits until the HTTPS server listens and returns its host:port as others reach it; empty when ctx ends first.
func (a *Agent) Address(ctx context.Context) string {
	select {
	case <-a.bound:
		return a.address
	case <-ctx.Done():
		return ""
	}
}

// Run joins the cluster if the node has not, ends what a former agent left, and keeps the wanted engines until ctx
// ends. Then it ends them, reports that as well as it can, says goodbye to the ring, and returns nil.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.run(ctx); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	return nil
}

func (a *Agent) run(ctx context.Context) error {
	unlock, err := lockFolder(a.cfg.DataDir)
	if err != nil {
		return err
	}
	defer unlock()
	former, err := a.killFormer()
	if err != nil {
		return err
	}
	creds, err := a.credentials(ctx)
	if err != nil {
		return err
	}
	n, err := a.assemble(ctx, creds)
	if err != nil {
		return err
	}
	for _, e := range former {
		if e.Replica {
			continue // it has no state: it starts again if it is still wanted
		}
		n.supervisor.former(e)
	}
	return n.run(ctx)
}

// killFormer kills the engines of a former agent on this data folder.
func (a *Agent) killFormer() ([]entry, error) {
	entries, err := a.journal().read()
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		was, err := killLeftover(e)
		if err != nil {
			return nil, err
		}
		if was {
			a.deps.Log.Warn().Str("engine", e.ID).Int64("gen", e.Generation).Int("pid", e.Pid).Msg("killed an engine that a former agent left")
		}
		if e.Replica {
			if err := a.journal().forget(e.key()); err != nil {
				return nil, err
			}
		}
	}
	return entries, nil
}

func (a *Agent) journal() journal { return journal{dir: a.path("engines")} }

func (a *Agent) path(elem ...string) string {
	return filepath.Join(append([]string{a.cfg.DataDir}, elem...)...)
}

// credentials are those in the data folder, or new ones got with the join token.
func (a *Agent) credentials(ctx context.Context) (*identity.Credentials, error) {
	creds, err := identity.Load(a.path("pki"))
	if err == nil {
		if creds.Identity.Role != identity.RoleWorker {
			return nil, fmt.Errorf("data folder %s belongs to a %s: give the worker one of its own", a.cfg.DataDir, creds.Identity.Role)
		}
		return creds, nil
	}
	if !errors.Is(err, identity.ErrNone) {
		return nil, err
	}
	if a.cfg.JoinToken == "" || len(a.cfg.Join) == 0 {
		return nil, errors.New("this node has not joined a cluster: give --join host:port and --token; \"tandem token create --join --role worker\" prints a token")
	}
	joined, err := identity.Join(ctx, identity.JoinConfig{
		Coordinators: a.cfg.Join, Token: a.cfg.JoinToken, Role: identity.RoleWorker, Hosts: []string{a.cfg.advertiseHost()},
	})
	if err != nil {
		return nil, err
	}
	if err := joined.Credentials.Save(a.path("pki")); err != nil {
		return nil, err
	}
	return joined.Credentials, nil
}

// assemble makes the parts of a running agent.
func (a *Agent) assemble(ctx context.Context, creds *identity.Credentials) (*node, error) {
	binary, err := a.cfg.engineBinary()
	if err != nil {
		return nil, err
	}
	found, err := discover(ctx, binary, append(environmentOf(os.Environ()), a.cfg.EngineEnv...))
	if err != nil {
		return nil, err
	}
	incarnation, err := nextIncarnation(a.path("incarnation"), time.Now())
	if err != nil {
		return nil, err
	}
	sockets, err := socketFolder(a.cfg.DataDir)
	if err != nil {
		return nil, err
	}
	if err := emptyFolder(a.path("scratch")); err != nil {
		return nil, err
	}
	local, err := openRotating(a.path("logs", "engines.log"), 16<<20, 4)
	if err != nil {
		return nil, err
	}
	me := &tandemv1.Node{
		Id: creds.Identity.Node, Name: a.cfg.name(), Pool: a.cfg.Pool, Slots: slotsOf(found.Devices, a.cfg.Slots, cores()),
		AgentVersion: a.cfg.Version, LibtorchVersion: found.LibtorchVersion, Incarnation: incarnation,
	}
	n := &node{agent: a, creds: creds, me: me, local: local, spawner: newSpawner()}
	if err := n.listen(sockets); err != nil {
		return nil, errors.Join(err, n.close())
	}
	n.wire(binary, sockets)
	return n, nil
}

// node is a running agent: its parts and their sockets.
type node struct {
	agent *Agent
	creds *identity.Credentials
	me    *tandemv1.Node
	local *rotatingFile

	engines, https net.Listener
	gossip         *gossip.Gossip
	client         *http.Client

	spawner    *spawner
	supervisor *supervisor
	logs       *logs
	reports    *reportQueue
	reporter   *reporter
	progress   *progress
	session    *session
	server     *server
	host       *host
}

// listen opens the node's sockets.
func (n *node) listen(sockets string) (err error) {
	cfg := n.agent.cfg
	if n.engines, err = listenUnix(filepath.Join(sockets, hostSocket)); err != nil {
		return err
	}
	if n.https, err = net.Listen("tcp", cfg.Listen); err != nil {
		return fmt.Errorf("listen on %s: %w; choose another with --listen", cfg.Listen, err)
	}
	_, port, err := net.SplitHostPort(n.https.Addr().String())
	if err != nil {
		return fmt.Errorf("listen on %s: %w", cfg.Listen, err)
	}
	n.me.Address = net.JoinHostPort(cfg.advertiseHost(), port)
	gc := gossip.DefaultConfig()
	gc.NodeID, gc.Role, gc.Address = n.me.GetId(), identity.RoleWorker, n.me.GetAddress()
	gc.Listen, gc.Key, gc.Advertise = cfg.GossipListen, n.creds.GossipKey, cfg.AdvertiseHost
	seeds := n.creds.Peers.Gossip
	n.gossip, err = gossip.New(gc, gossip.Deps{Seeds: func() []string { return seeds }, Log: n.agent.deps.Log})
	if err != nil {
		return err
	}
	n.agent.address = n.me.GetAddress()
	close(n.agent.bound)
	return nil
}

// close closes what listen opened; gossip closes at the end of its Run.
func (n *node) close() error {
	var errs []error
	for _, l := range []net.Listener{n.engines, n.https} {
		if l != nil {
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(append(errs, n.local.close())...)
}

// wire makes the parts and tells them of each other.
func (n *node) wire(binary, sockets string) {
	a, cfg, log := n.agent, n.agent.cfg, n.agent.deps.Log
	n.client = n.creds.HTTPClient(identity.RoleName(identity.RoleCoordinator))
	known := newCoordinators(n.client, append(append([]string(nil), cfg.Join...), n.creds.Peers.Coordinators...))
	n.reports = newReportQueue(reportLimit)
	n.logs = &logs{
		node: n.me.GetId(), local: n.local, open: a.deps.OpenStore, every: cfg.LogFlush, now: time.Now,
		log: log, metrics: a.metrics, stores: map[string]ObjectStore{},
	}
	n.supervisor = newSupervisor(supervisorConfig{
		binary: binary, env: environmentOf(os.Environ()), extra: cfg.EngineEnv, slots: n.me.GetSlots(),
		scratch: a.path("scratch"), sockets: sockets,
		limits: limits{grace: cfg.KillGrace, hello: cfg.HelloTimeout, end: lingerTime},
	}, n.spawner, a.journal(), n.reports, n.logs, a.metrics, log)
	n.reporter = &reporter{
		node: n.me, queue: n.reports, coordinators: known, fence: n.supervisor.fence, log: log, metrics: a.metrics,
	}
	n.progress = newProgress(cfg.ProgressInterval, known.progress, n.supervisor.trials)
	n.session = &session{
		node: n.me, coordinators: known, want: n.supervisor.want, learned: n.remember, log: log, metrics: a.metrics, first: a.ready,
	}
	n.host = &host{supervisor: n.supervisor, reports: n.reports, progress: n.progress, rendezvous: known}
	n.server = newServer(n.supervisor.replicaSocket, a.metrics, n.health, log)
	a.metrics.observe(counts{
		engines: n.supervisor.states, queue: n.reports.length, slots: n.supervisor.slots,
		progress: n.progress.speed, session: n.session.open.Load,
	})
}

// health is the answer to /readyz.
func (n *node) health() error {
	if !n.session.open.Load() {
		return errors.New("no session with a coordinator; engines go on")
	}
	return nil
}

// remember keeps a new list of coordinators for the next start.
func (n *node) remember(coordinators []string) {
	peers := n.creds.Peers
	peers.Coordinators = coordinators
	seen := map[string]bool{}
	var ports []string
	for _, m := range n.gossip.Members() {
		if m.Role == identity.RoleCoordinator && !seen[m.Gossip] {
			seen[m.Gossip] = true
			ports = append(ports, m.Gossip)
		}
	}
	if len(ports) > 0 {
		peers.Gossip = ports
	}
	if err := identity.SavePeers(n.agent.path("pki"), peers); err != nil {
		n.agent.deps.Log.Warn().Err(err).Msg("cannot keep the list of coordinators; check the data folder")
	}
}

// run runs all parts until ctx ends or one fails, and ends them in order.
func (n *node) run(ctx context.Context) error {
	log := n.agent.deps.Log
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var threads errgroup.Group // outlives all else: its thread is the parent of the engines
	spawnerLife, endSpawner := context.WithCancel(life)
	defer endSpawner()
	threads.Go(func() error { return n.spawner.run(spawnerLife) })

	parts, partsCtx := errgroup.WithContext(life)
	sessions, endSessions := context.WithCancel(partsCtx) // end first: no new orders while leaving
	defer endSessions()
	parts.Go(func() error { return n.supervisor.run(partsCtx) })
	parts.Go(func() error { return n.session.run(sessions) })
	parts.Go(func() error { return n.reporter.run(partsCtx) })
	parts.Go(func() error { return n.progress.run(partsCtx) })
	parts.Go(func() error { return n.gossip.Run(partsCtx) })
	parts.Go(func() error { return n.serveEngines(partsCtx) })
	parts.Go(func() error { return n.serveNodes(partsCtx) })
	log.Info().Str("node", n.me.GetId()).Str("address", n.me.GetAddress()).Int("slots", len(n.me.GetSlots())).
		Str("libtorch", n.me.GetLibtorchVersion()).Int64("incarnation", n.me.GetIncarnation()).Msg("agent runs")

	select {
	case <-ctx.Done():
	case <-partsCtx.Done(): // one failed
	}
	endSessions()
	n.leave(partsCtx)
	end()
	err := parts.Wait()
	n.logs.uploads.Wait()
	endSpawner()
	err = errors.Join(err, threads.Wait(), n.close())
	n.client.CloseIdleConnections()
	n.server.dials.CloseIdleConnections()
	log.Info().Str("node", n.me.GetId()).Msg("agent ended")
	return err
}

// leave ends the engines, then tries for a moment to say what became of them.
func (n *node) leave(ctx context.Context) {
	log := n.agent.deps.Log
	engines, cancel := context.WithTimeout(ctx, n.agent.cfg.KillGrace+5*time.Second)
	defer cancel()
	if err := n.supervisor.leave(engines); err != nil {
		log.Error().Err(err).Msg("leaving without the end of all engines")
	}
	last, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := n.reports.drained(last); err != nil {
		log.Warn().Int("reports", n.reports.length()).Msg("leaving with reports that no coordinator took")
	}
	up := make(chan struct{})
	go func() {
		n.logs.uploads.Wait()
		close(up)
	}()
	select {
	case <-up:
	case <-last.Done():
		log.Warn().Msg("leaving with log lines that the store did not take; they are in the local file")
	}
}

// serveEngines serves engines on the unix socket.
func (n *node) serveEngines(ctx context.Context) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{Handler: n.host.handler(), Protocols: &protocols, ReadHeaderTimeout: 10 * time.Second}
	if err := serve(ctx, srv, func() error { return srv.Serve(n.engines) }); err != nil {
		return fmt.Errorf("serve engines: %w", err)
	}
	return nil
}

// serveNodes serves the HTTPS port.
func (n *node) serveNodes(ctx context.Context) error {
	srv := &http.Server{
		Handler: n.server.handler(), TLSConfig: n.creds.ServerConfig(true, "h2", "http/1.1"),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: quietLog(n.agent.deps.Log),
	}
	if err := serve(ctx, srv, func() error { return srv.ServeTLS(n.https, "", "") }); err != nil {
		return fmt.Errorf("serve nodes: %w", err)
	}
	return nil
}
