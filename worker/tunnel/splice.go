package tunnel

import (
	"io"
	"net"
	"sync"
	"time"
)

const (
	// chunk is how much is read before it is passed on. TLS has records of 16 KiB; loopback fills more.
	chunk = 256 << 10
	// afterlife is how long a stream lives of which one way is closed. Ranks close both.
	afterlife = 5 * time.Second
)

// end is one end of a stream: TCP or TLS.
type end interface {
	net.Conn
	CloseWrite() error
}

// splice copies both ways until both are closed. What was sent before an orderly end arrives before it; after any other, both ends are
// closed at once, so that a rank notices a lost peer as if it were connected with it.
func splice(a, b end) (sent, received int64) {
	var wg sync.WaitGroup
	wg.Go(func() { sent = pipe(b, a) })
	wg.Go(func() { received = pipe(a, b) })
	wg.Wait()
	_ = a.Close()
	_ = b.Close()
	return sent, received
}

// pipe copies until from ends.
func pipe(to, from end) int64 {
	// Plain readers and writers: a TCP connection would take the copying over, with a smaller buffer.
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, chunk))
	if err == nil {
		err = to.CloseWrite()
	}
	if err != nil {
		reset(to)
		reset(from)
		return n
	}
	late := time.Now().Add(afterlife)
	_ = to.SetDeadline(late) // an end that is closed needs none
	_ = from.SetDeadline(late)
	return n
}

// reset closes a connection so that the other side sees no orderly end, which would follow the last byte. TLS alone cannot tell them apart:
// crypto/tls takes a connection that ends between two records for one that was closed.
func reset(c net.Conn) {
	under := c
	if tls, ok := c.(TLS); ok {
		under = tls.NetConn()
	}
	if tcp, ok := under.(interface{ SetLinger(seconds int) error }); ok {
		_ = tcp.SetLinger(0) // it is closed all the same
	}
	_ = under.Close()
	_ = c.Close()
}
