package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"tandem.dev/proto/identity"
	"tandem.dev/worker/tunnel"
)

// side is a host with an agent's port and one rank.
type side struct {
	node    string
	creds   *identity.Credentials
	tunnel  *tunnel.Tunnel
	address string       // of the agent's port
	rank    net.Listener // as Gloo's
	exiles  exiles
	doors   chan string // where it listens in the stead of another's rank

	mu      sync.Mutex
	members []tunnel.Member
}

// newSide starts a host; plain is its flag.
func newSide(t testing.TB, c *cluster, id string, plain bool) *side {
	t.Helper()
	s := &side{node: id, creds: c.credentials(identity.RoleWorker, id), doors: make(chan string, 8)}
	s.tunnel = tunnel.New(tunnel.Config{Node: id, Network: "network of " + id, Plain: plain}, tunnel.Deps{
		Members: func() []tunnel.Member {
			s.mu.Lock()
			defer s.mu.Unlock()
			return slices.Clone(s.members)
		},
		Dial: (&node{creds: identity.NewLive(t.TempDir(), s.creds)}).dialAgent,
		Listen: func(network, address string) (net.Listener, error) {
			l, err := net.Listen(network, "127.0.0.1:0") // the rank itself has the address
			if err == nil {
				s.doors <- l.Addr().String()
			}
			return l, err
		},
		Log: zerolog.New(zerolog.NewTestWriter(t)),
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s.address = l.Addr().String()
	server := newServer(nil, newMetrics("test"), nil, &s.exiles, &viewers{}, s.tunnel, zerolog.Nop())
	srv := &http.Server{Handler: server.handler(), TLSConfig: s.creds.ServerConfig(true, "h2", "http/1.1"), ErrorLog: quietLog(zerolog.Nop())}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.ServeTLS(l, "", "") })
	wg.Go(func() { _ = s.tunnel.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		_ = srv.Close()
		wg.Wait()
	})
	return s
}

// join makes a rank of the host a member of a group whose other node is a peer.
func (s *side) join(t testing.TB, g tunnel.Group, rank int32, peer *side, address string) tunnel.Member {
	t.Helper()
	m := tunnel.Member{Engine: "alloc-a/" + fmt.Sprint(rank), Group: g, Rank: rank, Peers: []tunnel.Peer{{Node: peer.node, Address: address}}}
	l, err := net.Listen("tcp", net.JoinHostPort(tunnel.Address(g, rank).String(), "0"))
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	s.mu.Lock()
	s.rank, s.members = l, []tunnel.Member{m}
	s.mu.Unlock()
	return m
}

// wire is a network between two hosts that keeps what passes.
type wire struct {
	mu   sync.Mutex
	seen bytes.Buffer
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen.Write(p)
}

// to returns an address that leads to another.
func (w *wire) to(t testing.TB, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return // closed
			}
			to, err := net.Dial("tcp", address)
			if err != nil {
				_ = from.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
				wg.Go(func() {
					if _, err := io.Copy(io.MultiWriter(pair[0], w), pair[1]); err != nil {
						_ = pair[0].(*net.TCPConn).SetLinger(0) // a reset stays one
					}
					_ = from.Close()
					_ = to.Close()
				})
			}
		}
	})
	return l.Addr().String()
}

// TestTunnel carries numbers from a rank to one of another host and back, over a wire that is read, and ends the stream in each way that a
// rank may end.
func TestTunnel(t *testing.T) {
	c := newCluster(t)
	a, b := newSide(t, c, "node-a", false), newSide(t, c, "node-b", false)
	var w wire
	g := tunnel.Group{Allocation: "alloc-a", Generation: 3}
	ma := a.join(t, g, 0, b, w.to(t, b.address))
	mb := b.join(t, g, 1, a, a.address)

	wrapped, err := b.tunnel.Wrap(mb, []byte("here I am"), []string{b.rank.Addr().String()})
	must(t, err)
	value, err := a.tunnel.Unwrap(ma, wrapped)
	must(t, err)
	if string(value) != "here I am" {
		t.Errorf("the value became %q", value)
	}
	door := <-a.doors

	// connect goes as Gloo of rank 0 would.
	connect := func() (near, far *net.TCPConn) {
		t.Helper()
		conn, err := net.Dial("tcp", door)
		must(t, err)
		got, err := b.rank.Accept()
		must(t, err)
		return conn.(*net.TCPConn), got.(*net.TCPConn)
	}
	near, far := connect()
	sent := make([]byte, 4<<20)
	for i := 0; i < len(sent); i += 4 {
		copy(sent[i:], floatBytes(1.5))
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := io.Copy(far, io.LimitReader(far, int64(len(sent))))
		_ = far.Close() // in order: all of it arrives before the end
		if err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		if _, err := near.Write(sent); err != nil {
			t.Error(err)
		}
	})
	back, err := io.ReadAll(near)
	wg.Wait()
	if err != nil || !bytes.Equal(back, sent) {
		t.Fatalf("%d of %d bytes came back: %v", len(back), len(sent), err)
	}
	_ = near.Close()
	w.mu.Lock()
	if n := w.seen.Len(); n < 2*len(sent) {
		t.Errorf("only %d bytes passed over the wire", n)
	}
	if bytes.Contains(w.seen.Bytes(), bytes.Repeat(floatBytes(1.5), 4)) {
		t.Error("the numbers are there to read on the wire")
	}
	w.mu.Unlock()

	// A rank that is killed with bytes unread resets its connection: the other does not wait for more.
	for _, killed := range []string{"the one that listens", "the one that connects"} {
		near, far = connect()
		if killed == "the one that connects" {
			near, far = far, near
		}
		must(t, far.SetLinger(0))
		_ = far.Close()
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s was killed: %v", killed, err)
		}
		_ = near.Close()
	}

	// The generation is over: nobody gets in any more.
	near, far = connect()
	b.mu.Lock()
	b.members[0].Group.Generation++
	b.mu.Unlock()
	if err := tryDoor(door); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a stream of an old generation: %v", err)
	}
	if _, err := near.Write([]byte("x")); err != nil {
		t.Errorf("a stream that was there ends with its ranks, not before: %v", err)
	}
	if _, err := io.ReadFull(far, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	_ = near.Close()
	_ = far.Close()
}

// tryDoor connects as Gloo would and returns how that ends, before or after the connection is there.
func tryDoor(door string) error {
	conn, err := net.Dial("tcp", door)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1))
	return err
}

func floatBytes(f float32) []byte {
	b := math.Float32bits(f)
	return []byte{byte(b), byte(b >> 8), byte(b >> 16), byte(b >> 24)}
}

// TestTunnelRefuses asks an agent for a rank as those who have no business there.
func TestTunnelRefuses(t *testing.T) {
	c := newCluster(t)
	a, b, stranger := newSide(t, c, "node-a", false), newSide(t, c, "node-b", false), newSide(t, c, "node-c", false)
	removed := newSide(t, c, "node-d", false)
	g := tunnel.Group{Allocation: "alloc-a", Generation: 3}
	mb := b.join(t, g, 1, a, a.address)
	b.mu.Lock() // its coordinator has yet to tell of the next generation
	b.members[0].Peers = append(b.members[0].Peers, tunnel.Peer{Node: removed.node, Address: removed.address})
	b.mu.Unlock()
	b.exiles.put([]string{removed.node})
	if _, err := b.tunnel.Wrap(mb, nil, []string{b.rank.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	foreign := newCluster(t).credentials(identity.RoleWorker, "node-a") // of the right name
	to := b.rank.Addr().String()
	for name, tc := range map[string]struct {
		creds *identity.Credentials // nil: none
		path  string
		want  string
	}{
		"its peer":                {a.creds, "/ranks/alloc-a/3/" + to, "101"},
		"no certificate":          {nil, "/ranks/alloc-a/3/" + to, "401"},
		"of another cluster":      {foreign, "/ranks/alloc-a/3/" + to, "unknown certificate authority"},
		"a coordinator":           {c.creds, "/ranks/alloc-a/3/" + to, "403"},
		"a worker without rank":   {stranger.creds, "/ranks/alloc-a/3/" + to, "403"},
		"a peer that was removed": {removed.creds, "/ranks/alloc-a/3/" + to, "403"},
		"an old generation":       {a.creds, "/ranks/alloc-a/2/" + to, "403"},
		"another allocation":      {a.creds, "/ranks/alloc-b/3/" + to, "403"},
		"another service":         {a.creds, "/ranks/alloc-a/3/" + b.address, "403"},
		"no address":              {a.creds, "/ranks/alloc-a/3/x", "400"},
	} {
		t.Run(name, func(t *testing.T) {
			config := &tls.Config{RootCAs: b.creds.Pool(), ServerName: identity.NodeName("node-b"), NextProtos: []string{"http/1.1"}}
			if tc.creds != nil {
				config.Certificates = []tls.Certificate{tc.creds.Certificate()}
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+b.address+tc.path, nil)
			must(t, err)
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", "tandem-ranks")
			got := ""
			if res, err := client.Do(req); err != nil {
				got = err.Error()
			} else {
				got = res.Status
				_ = res.Body.Close()
			}
			if !strings.Contains(got, tc.want) {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
	// No more connections than the one that was let in have come to the rank.
	conn, err := b.rank.Accept()
	must(t, err)
	_ = conn.Close()
	own, err := net.Dial("tcp", to)
	must(t, err)
	defer own.Close()
	conn, err = b.rank.Accept()
	must(t, err)
	defer conn.Close()
	if conn.RemoteAddr().String() != own.LocalAddr().String() {
		t.Errorf("a connection from %v has come to the rank", conn.RemoteAddr())
	}
}

// TestTunnelGoesToTheNode has an address of a peer that is another worker's by now: what the rank says does not go there.
func TestTunnelGoesToTheNode(t *testing.T) {
	c := newCluster(t)
	a, b, other := newSide(t, c, "node-a", false), newSide(t, c, "node-b", false), newSide(t, c, "node-c", false)
	g := tunnel.Group{Allocation: "alloc-a", Generation: 3}
	ma, mb := a.join(t, g, 0, b, other.address), b.join(t, g, 1, a, a.address)
	// The other worker would lead it on.
	other.join(t, g, 2, a, a.address)
	wrapped, err := b.tunnel.Wrap(mb, nil, []string{b.rank.Addr().String()})
	must(t, err)
	_, err = other.tunnel.Wrap(tunnel.Member{Engine: other.members[0].Engine, Group: g, Rank: 1}, nil, []string{b.rank.Addr().String()})
	must(t, err)
	_, err = a.tunnel.Unwrap(ma, wrapped)
	must(t, err)
	if err := tryDoor(<-a.doors); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a stream to the wrong node: %v", err)
	}
}

// BenchmarkTunnel sends to a rank of another host, with the tunnel and without.
func BenchmarkTunnel(b *testing.B) {
	for _, plain := range []bool{true, false} {
		b.Run(map[bool]string{true: "plain", false: "encrypted"}[plain], func(b *testing.B) {
			c := newCluster(b)
			near, far := newSide(b, c, "node-a", false), newSide(b, c, "node-b", false)
			g := tunnel.Group{Allocation: "alloc-a", Generation: 3}
			ma, mb := near.join(b, g, 0, far, far.address), far.join(b, g, 1, near, near.address)
			wrapped, err := far.tunnel.Wrap(mb, nil, []string{far.rank.Addr().String()})
			must(b, err)
			_, err = near.tunnel.Unwrap(ma, wrapped)
			must(b, err)
			to := <-near.doors
			if plain {
				to = far.rank.Addr().String()
			}
			conn, err := net.Dial("tcp", to)
			must(b, err)
			defer conn.Close()
			got, err := far.rank.Accept()
			must(b, err)
			defer got.Close()
			message := make([]byte, 4<<20)
			b.SetBytes(int64(len(message)))
			for b.Loop() {
				var wg sync.WaitGroup
				wg.Go(func() {
					if _, err := conn.Write(message); err != nil {
						b.Error(err)
					}
				})
				_, err := io.CopyN(io.Discard, got, int64(len(message)))
				wg.Wait()
				must(b, err)
			}
		})
	}
}

// TestTunnelAgrees gives values to hosts that need no tunnel, want none, or want another.
func TestTunnelAgrees(t *testing.T) {
	c := newCluster(t)
	g := tunnel.Group{Allocation: "alloc-a", Generation: 3}
	for name, tc := range map[string]struct {
		plainA, plainB bool
		want           error
	}{
		"both encrypt":  {false, false, nil},
		"none encrypts": {true, true, nil},
		"one does":      {false, true, tunnel.ErrMixed},
		"the other":     {true, false, tunnel.ErrMixed},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newSide(t, c, "node-a", tc.plainA), newSide(t, c, "node-b", tc.plainB)
			ma, mb := a.join(t, g, 0, b, b.address), b.join(t, g, 1, a, a.address)
			wrapped, err := b.tunnel.Wrap(mb, []byte("v"), nil)
			must(t, err)
			got, err := a.tunnel.Unwrap(ma, wrapped)
			if !errors.Is(err, tc.want) || err == nil && string(got) != "v" {
				t.Errorf("%q, %v", got, err)
			}
			if err != nil && !strings.Contains(err.Error(), "--plain-data-plane") {
				t.Errorf("%v: does not say what to do", err)
			}
		})
	}
	a := newSide(t, c, "node-a", false)
	ma := a.join(t, g, 0, a, a.address)
	if _, err := a.tunnel.Wrap(ma, nil, []string{a.address}); !errors.Is(err, tunnel.ErrRefused) {
		t.Errorf("a rank lets others in at an address that is not its own: %v", err)
	}
	if _, err := a.tunnel.Unwrap(ma, []byte("not a message")); !errors.Is(err, tunnel.ErrMixed) {
		t.Errorf("a value of an older agent: %v", err)
	}
}
