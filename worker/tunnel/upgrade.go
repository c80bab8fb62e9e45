package tunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tandem.dev/proto/identity"
)

// Pattern is where an agent lets streams in, for a mux. Only workers of the cluster may get there.
const Pattern = "GET /ranks/{allocation}/{generation}/{address}"

const (
	protocol = "tandem-ranks"
	// patience is how long the way to a rank may take to open: connection, handshake, answer.
	patience = 5 * time.Second
)

// TLS is a connection with another agent; *tls.Conn is one.
type TLS interface {
	end
	NetConn() net.Conn
}

var _ TLS = (*tls.Conn)(nil)

// buffered is a connection of which some bytes may have been read already.
type buffered struct {
	TLS
	r io.Reader
}

// Read implements io.Reader.
func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// connect opens a stream to the rank that listens at an address on another host.
func (t *Tunnel) connect(d *door, to netip.AddrPort) (end, error) {
	ctx, cancel := context.WithTimeout(t.life, patience)
	defer cancel()
	conn, err := t.Dial(ctx, d.peer)
	if err != nil {
		return nil, fmt.Errorf("connect with the agent at %s: %w", d.peer.Address, err)
	}
	stream, err := upgrade(ctx, conn, d.peer.Address, d.group, to)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("ask the agent at %s: %w", d.peer.Address, err)
	}
	return stream, nil
}

// upgrade asks the agent at the other end to lead the connection on to a rank.
func upgrade(ctx context.Context, conn TLS, host string, g Group, to netip.AddrPort) (end, error) {
	late, _ := ctx.Deadline()
	if err := conn.SetDeadline(late); err != nil {
		return nil, err
	}
	path := url.URL{Scheme: "https", Host: host, Path: fmt.Sprintf("/ranks/%s/%d/%s", g.Allocation, g.Generation, to)}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", protocol)
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, req) //nolint:bodyclose // the connection is the body: the caller closes it
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10)) // what there is of it
		return nil, fmt.Errorf("%s: %s", res.Status, strings.TrimSpace(string(text)))
	}
	return buffered{conn, r}, conn.SetDeadline(time.Time{})
}

// ServeHTTP lets a stream of another node in. The caller has checked that a worker of the cluster asks.
func (t *Tunnel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !t.begin() {
		http.Error(w, "the agent stops", http.StatusServiceUnavailable)
		return
	}
	defer t.wg.Done()
	peer, _ := identity.Peer(r.TLS)
	local, status, err := t.admit(r, peer.Node)
	if err != nil {
		t.Log.Warn().Err(err).Str("node", peer.Node).Str("path", r.URL.Path).Msg("a stream between ranks is refused")
		http.Error(w, err.Error(), status)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		reset(local)
		http.Error(w, "this needs HTTP/1.1", http.StatusHTTPVersionNotSupported)
		return
	}
	remote, ok := conn.(TLS)
	answer := fmt.Sprintf("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
	_, err = io.WriteString(conn, answer)
	if !ok || err != nil || conn.SetDeadline(time.Time{}) != nil {
		reset(local)
		_ = conn.Close()
		return
	}
	t.carry(local, buffered{remote, rw})
}

// admit connects with the rank that a request means, if it may.
func (t *Tunnel) admit(r *http.Request, node string) (local end, status int, err error) {
	generation, err := strconv.ParseInt(r.PathValue("generation"), 10, 64)
	to, malformed := netip.ParseAddrPort(r.PathValue("address"))
	if err = errors.Join(err, malformed); err != nil {
		return nil, http.StatusBadRequest, err
	}
	if r.Header.Get("Upgrade") != protocol {
		return nil, http.StatusUpgradeRequired, errors.New("this speaks " + protocol + " only")
	}
	g := Group{Allocation: r.PathValue("allocation"), Generation: generation}
	members := t.Members()
	t.mu.Lock()
	err = Admit(members, t.announced, node, g, to)
	t.mu.Unlock()
	if err != nil {
		return nil, http.StatusForbidden, err
	}
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(r.Context(), "tcp", to.String())
	if err != nil {
		return nil, http.StatusBadGateway, fmt.Errorf("the rank is gone: %w", err)
	}
	return conn.(*net.TCPConn), 0, nil
}
