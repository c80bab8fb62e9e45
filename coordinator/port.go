package coordinator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/rs/zerolog"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/door"
	"tandem.dev/proto/identity"
	"tandem.dev/proto/repeat"
)

// raftALPN is the name under which Raft shares the port with HTTP.
const raftALPN = "tandem-raft"

const handshakeTime = 5 * time.Second

// port is the one TLS port: connections that ask for Raft go one way, all others another.
type port struct {
	listener net.Listener
	address  string // advertised
	creds    *identity.Live
	removed  func(node string) bool // its certificate is refused
	arrivals *door.Arrivals
	log      zerolog.Logger
	http     *queue
	raft     *queue
	repeats  repeat.Limiter

	mu    sync.Mutex
	peer  map[net.Conn]string     // whose connections of Raft are open here, by node
	bound chan struct{}           // closed when peers is set
	peers func() []consensus.Peer // Raft's present configuration
}

func listen(cfg Config) (net.Listener, string, error) {
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, "", fmt.Errorf("listen on %s: %w; if the port is in use, end what uses it or choose another with --listen", cfg.Listen, err)
	}
	address, err := advertised(cfg.Advertise, cfg.Listen, l.Addr())
	if err != nil {
		return nil, "", errors.Join(err, l.Close())
	}
	return l, address, nil
}

func newPort(l net.Listener, address string, creds *identity.Live, removed func(node string) bool, arrivals *door.Arrivals, log zerolog.Logger) *port {
	return &port{
		listener: l, address: address, creds: creds, removed: removed, arrivals: arrivals, log: log,
		http: newQueue(l.Addr()), raft: newQueue(hostPort(address)), bound: make(chan struct{}), peer: map[net.Conn]string{},
	}
}

// bind tells who the peers are. Raft may dial before: it waits.
func (p *port) bind(peers func() []consensus.Peer) {
	p.peers = peers
	close(p.bound)
}

// Run accepts connections until ctx ends.
func (p *port) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = p.listener.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = errors.Join(p.http.Close(), p.raft.Close()) }() // they never fail
	cfg := p.creds.ServerConfig(true, raftALPN, "h2", "http/1.1")
	for pause := 5 * time.Millisecond; ; {
		conn, err := p.listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			// Out of file descriptors, for example: it passes.
			p.log.Warn().Err(err).Msg("connection was not accepted")
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		wg.Go(func() { p.sort(ctx, tls.Server(conn, cfg)) })
	}
}

// sort shakes hands and hands the connection to Raft or to HTTP.
func (p *port) sort(ctx context.Context, conn *tls.Conn) {
	shaking, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	err := p.arrivals.Wait(shaking, conn.RemoteAddr().String())
	if err == nil {
		err = conn.HandshakeContext(shaking)
	}
	if err != nil {
		p.log.Debug().Err(err).Str("from", conn.RemoteAddr().String()).Msg("TLS handshake failed")
		_ = conn.Close()
		return
	}
	state := conn.ConnectionState()
	if state.NegotiatedProtocol != raftALPN {
		p.http.put(conn)
		return
	}
	id, ok := identity.Peer(&state)
	if !ok || id.Role != identity.RoleCoordinator || id.Cluster != p.creds.Identity.Cluster || p.removed(id.Node) {
		p.repeats.Warn(p.log, id.Node).Str("from", conn.RemoteAddr().String()).Str("node", id.Node).Msg("raft connection refused: not a coordinator of this cluster, or not any more")
		_ = conn.Close()
		return
	}
	// A coordinator that this one does not know yet may be the leader, chosen while this one was away: it passes. Raft itself
	// gives no vote to one that its configuration lacks.
	p.mu.Lock()
	p.peer[conn] = id.Node
	p.mu.Unlock()
	p.raft.put(&raftConn{conn, p})
}

// raftConn is a connection of another coordinator.
type raftConn struct {
	*tls.Conn
	port *port
}

// Close implements net.Conn.
func (c *raftConn) Close() error {
	c.port.mu.Lock()
	delete(c.port.peer, c.Conn)
	c.port.mu.Unlock()
	return c.Conn.Close()
}

// expel closes the connections of those that were removed. One that Raft's configuration still has, such as a leader that removes
// itself, keeps them until that has changed.
func (p *port) expel() {
	p.mu.Lock()
	defer p.mu.Unlock()
	peers := p.peers()
	for conn, node := range p.peer {
		if p.removed(node) && !slices.ContainsFunc(peers, func(peer consensus.Peer) bool { return peer.ID == node }) {
			p.log.Info().Str("node", node).Msg("raft connection closed: the coordinator was removed")
			_ = conn.Close() // Raft sees that it is gone
		}
	}
}

// Accept implements raft.StreamLayer.
func (p *port) Accept() (net.Conn, error) { return p.raft.Accept() }

// Close implements raft.StreamLayer: it ends Raft's share of the port only.
func (p *port) Close() error { return p.raft.Close() }

// Addr implements raft.StreamLayer: the address others reach it by.
func (p *port) Addr() net.Addr { return hostPort(p.address) }

// Dial implements raft.StreamLayer. The other side must prove to be the coordinator that Raft's configuration has at the
// address: another one there, such as a lost peer that joined anew, has no part in the log and no vote in the name of the first.
func (p *port) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	select {
	case <-p.bound:
	case <-ctx.Done():
		return nil, fmt.Errorf("dial coordinator %s: the peers are not known yet: %w", address, ctx.Err())
	}
	peers := p.peers()
	at := slices.IndexFunc(peers, func(peer consensus.Peer) bool { return peer.Address == string(address) })
	if at < 0 {
		return nil, fmt.Errorf("dial coordinator %s: no peer has this address", address)
	}
	name := identity.NodeName(peers[at].ID)
	d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: timeout}, Config: p.creds.ClientConfig(name, raftALPN)}
	conn, err := d.DialContext(ctx, "tcp", string(address))
	if err != nil {
		err = p.creds.ExplainDates(ctx, err, string(address), name)
		return nil, fmt.Errorf("dial coordinator %s at %s: %w", peers[at].ID, address, err)
	}
	if conn.(*tls.Conn).ConnectionState().NegotiatedProtocol != raftALPN {
		return nil, errors.Join(fmt.Errorf("dial coordinator %s: it does not speak Raft", address), conn.Close())
	}
	return conn, nil
}

// hostPort is an address that is only written.
type hostPort string

func (hostPort) Network() string  { return "tcp" }
func (a hostPort) String() string { return string(a) }

// queue is a net.Listener that is given its connections.
type queue struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newQueue(addr net.Addr) *queue {
	return &queue{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (q *queue) put(c net.Conn) {
	select {
	case q.conns <- c:
	case <-q.done:
		_ = c.Close()
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

func (q *queue) Addr() net.Addr { return q.addr }
