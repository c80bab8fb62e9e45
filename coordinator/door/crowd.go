package door

import (
	"net"
	"net/netip"
	"sync"
)

// Crowd is a net.Listener that closes connections beyond a number, in all and from one address. It does not let them wait: those
// that are here may stay for long.
type Crowd struct {
	net.Listener
	most, each int
	refused    func(from string)
	mu         sync.Mutex
	all        int
	from       map[string]int
}

// NewCrowd limits a listener; refused is told of each connection that is closed.
func NewCrowd(l net.Listener, limits Limits, refused func(from string)) *Crowd {
	return &Crowd{Listener: l, most: limits.Connections, each: limits.PerAddress, refused: refused, from: map[string]int{}}
}

// Accept implements net.Listener.
func (c *Crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := Address(conn.RemoteAddr().String())
		if c.enter(from) {
			return &guest{Conn: conn, leave: sync.OnceFunc(func() { c.leave(from) })}, nil
		}
		_ = conn.Close() // it was not wanted
		c.refused(from)
	}
}

func (c *Crowd) enter(from string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= c.most || c.each > 0 && c.from[from] >= c.each {
		return false
	}
	c.all++
	c.from[from]++
	return true
}

func (c *Crowd) leave(from string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.from[from]--; c.from[from] == 0 {
		delete(c.from, from)
	}
}

// Open is how many connections are open now.
func (c *Crowd) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}

type guest struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (g *guest) Close() error {
	g.leave()
	return g.Conn.Close()
}

// Address is who is counted together: an IPv4 address, or the /64 of an IPv6 address, which is one subscriber's.
func Address(hostPort string) string {
	at, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return hostPort
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	prefix, err := ip.Prefix(64)
	if err != nil {
		return ip.String()
	}
	return prefix.String()
}
