package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"tandem.dev/proto/gossip"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/cgroup"
	"tandem.dev/worker/child"
	"tandem.dev/worker/data"
	"tandem.dev/worker/room"
	"tandem.dev/worker/rotate"
	"tandem.dev/worker/sandbox"
	"tandem.dev/worker/tunnel"
)

// node is a running agent: its parts and their sockets.
type node struct {
	agent *Agent
	creds *identity.Live
	me    *tandemv1.Node
	local *rotate.File
	// sandbox is what all engines are confined by.
	sandbox sandbox.Host
	groups  *cgroup.Tree // of their cgroups; nil: they have none

	engines *exchange
	https   net.Listener
	gossip  *gossip.Gossip
	client  *http.Client

	children   *child.Starter
	supervisor *supervisor
	logs       *logs
	objects    *objects
	reports    *reportQueue
	reporter   *reporter
	progress   *progress
	session    *session
	renewer    *renewer
	server     *server
	host       *host
	tunnel     *tunnel.Tunnel
	room       *room.Watch
}

// self is what the node says of itself when it registers.
func (n *node) self() *tandemv1.Node {
	me := proto.CloneOf(n.me)
	me.FullFolders = n.room.Full()
	return me
}

// listen opens the node's sockets.
func (n *node) listen() (err error) {
	cfg := n.agent.cfg
	n.engines = newExchange()
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
	gc.Listen, gc.Keys, gc.Advertise = cfg.GossipListen, n.creds.Get().GossipKeys(), cfg.AdvertiseHost
	seeds := n.creds.Get().Peers.Gossip
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
	if n.https != nil {
		if err := n.https.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, n.engines.Close())
	return errors.Join(append(errs, n.local.Close())...)
}

// wire makes the parts and tells them of each other.
func (n *node) wire(binary, sockets, network string) {
	a, cfg, log := n.agent, n.agent.cfg, n.agent.deps.Log
	n.client = n.creds.HTTPClient(identity.RoleName(identity.RoleCoordinator))
	known := newCoordinators(n.client, append(append([]string(nil), cfg.Join...), n.creds.Get().Peers.Coordinators...))
	n.reports = newReportQueue(reportLimit)
	n.objects = &objects{open: a.deps.OpenStore}
	n.logs = &logs{
		node: n.me.GetId(), local: n.local, objects: n.objects, every: cfg.LogFlush, budget: cfg.LogBudget, now: time.Now,
		log: log, metrics: a.metrics,
	}
	n.supervisor = newSupervisor(supervisorConfig{
		binary: binary, env: environmentOf(os.Environ()), extra: cfg.EngineEnv, slots: n.me.GetSlots(),
		scratch: a.path("scratch"), shards: data.Cache{Dir: a.path("cache"), Bytes: cfg.DataCache}, sockets: sockets, inferDeadline: cfg.InferDeadline,
		sandbox: n.sandbox, users: cfg.users(), accept: n.engines.put,
		files: func(ctx context.Context, from *runner, q *tandemv1.FileRequest) (*os.File, error) {
			return n.host.file(ctx, from, q)
		},
		limits: limits{grace: cfg.KillGrace, brief: memberGrace, hello: cfg.HelloTimeout, end: lingerTime, idle: cfg.EngineIdle, probe: cfg.ProbeInterval},
	}, spawner{n.children, n.groups}, a.journal(), n.reports, n.logs, a.metrics, log)
	n.reporter = &reporter{
		node: n.me, queue: n.reports, coordinators: known, fence: n.supervisor.fence, log: log, metrics: a.metrics,
	}
	n.progress = newProgress(cfg.ProgressInterval, known.progress, n.supervisor.trials, a.metrics.step)
	removed, look := &exiles{}, &viewers{}
	n.renewer = newRenewer(n.creds, n.gossip, known, log)
	n.session = &session{
		node: n.self, coordinators: known, want: n.supervisor.want, learned: n.remember, exiles: removed, viewers: look, keys: n.renewer.heard, silence: longestSilence,
		clock: &clock{tell: n.progress.tell, log: log}, log: log, metrics: a.metrics, first: a.ready,
		news: make(chan struct{}, 1),
	}
	folders := []string{cfg.DataDir, a.path("scratch"), a.path("cache"), a.path("engines"), a.path("logs")}
	n.room = room.New(folders, n.session.tell, log)
	n.tunnel = tunnel.New(
		tunnel.Config{Node: n.me.GetId(), Network: network, Plain: cfg.PlainDataPlane},
		tunnel.Deps{Members: n.supervisor.members, Dial: n.dialAgent, Listen: net.Listen, Log: log},
	)
	n.supervisor.decided = n.tunnel.Trim
	n.host = &host{
		node: n.me.GetId(), supervisor: n.supervisor, reports: n.reports, progress: n.progress, rendezvous: known,
		objects: n.objects, tunnel: n.tunnel, goodput: newGoodput(a.metrics.spent, n.supervisor.trials),
	}
	n.server = newServer(n.supervisor.replicaSocket, a.metrics, n.health, removed, look, n.tunnel, log)
	a.metrics.observe(counts{
		engines: n.supervisor.states, queue: n.reports.length, slots: n.supervisor.slots,
		progress: n.progress.speed, session: n.session.open.Load, expires: n.renewer.expires,
	})
}

// dialAgent connects with the agent of another node, and with no one else.
func (n *node) dialAgent(ctx context.Context, p tunnel.Peer) (tunnel.TLS, error) {
	dialer := tls.Dialer{
		NetDialer: &net.Dialer{KeepAlive: 15 * time.Second},
		Config:    n.creds.ClientConfig(identity.NodeName(p.Node), "http/1.1"),
	}
	conn, err := dialer.DialContext(ctx, "tcp", p.Address)
	if err != nil {
		return nil, err
	}
	return conn.(*tls.Conn), nil
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
	peers := n.creds.Get().Peers
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
	childrenLife, endChildren := context.WithCancel(life)
	defer endChildren()
	threads.Go(func() error { return n.children.Run(childrenLife) })

	n.room.Look() // so that the first session tells it
	// When one part fails, the others go on until the engines have ended.
	parts, failed := errgroup.WithContext(life)
	sessions, endSessions := context.WithCancel(life) // end first: no new orders while leaving
	defer endSessions()
	parts.Go(func() error { return n.supervisor.run(life) })
	parts.Go(func() error { return n.session.run(sessions) })
	parts.Go(func() error { return n.reporter.run(life) })
	parts.Go(func() error { return n.renewer.run(life) })
	parts.Go(func() error { return n.progress.run(life) })
	parts.Go(func() error { return n.gossip.Run(life) })
	parts.Go(func() error { return n.serveEngines(life) })
	parts.Go(func() error { return n.serveNodes(life) })
	parts.Go(func() error { return n.tunnel.Run(life) })
	parts.Go(func() error { return n.room.Run(life) })
	log.Info().Str("node", n.me.GetId()).Str("address", n.me.GetAddress()).Int("slots", len(n.me.GetSlots())).
		Str("libtorch", n.me.GetLibtorchVersion()).Int64("incarnation", n.me.GetIncarnation()).Msg("agent runs")

	select {
	case <-ctx.Done():
	case <-failed.Done():
	}
	endSessions()
	n.leave(life, errors.Is(context.Cause(failed), identity.ErrRemoved))
	end()
	err := parts.Wait()
	n.logs.uploads.Wait()
	endChildren()
	err = errors.Join(err, threads.Wait(), n.close())
	n.client.CloseIdleConnections()
	n.server.dials.CloseIdleConnections()
	log.Info().Str("node", n.me.GetId()).Msg("agent ended")
	return err
}

// leave says that the agent stops, before other ranks can miss those on this node and report a fault; ends the engines;
// and tries for a moment to say what became of them. From a node that was removed nobody takes any of this.
func (n *node) leave(ctx context.Context, removed bool) {
	log := n.agent.deps.Log
	if !removed {
		first, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if err := n.reporter.leave(first); err != nil {
			log.Warn().Err(err).Msg("no coordinator knows that the agent stops; they will notice")
		}
	}
	engines, cancel := context.WithTimeout(ctx, n.agent.cfg.KillGrace+5*time.Second)
	defer cancel()
	if err := n.supervisor.leave(engines); err != nil {
		log.Error().Err(err).Msg("leaving without the end of all engines")
	}
	last, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if !removed {
		if err := n.reports.drained(last); err != nil {
			log.Warn().Int("reports", n.reports.length()).Msg("leaving with reports that no coordinator took")
		}
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

// serveEngines serves the calls of engines.
func (n *node) serveEngines(ctx context.Context) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{Handler: n.host.handler(), Protocols: &protocols, ReadHeaderTimeout: 10 * time.Second, ConnContext: withCaller}
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
