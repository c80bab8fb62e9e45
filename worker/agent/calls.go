package agent

import (
	"context"
	"net"
	"sync"
)

// exchange is where the connections of all engines' processes arrive. It is a net.Listener whose connections know who calls.
type exchange struct {
	calls  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newExchange() *exchange {
	return &exchange{calls: make(chan net.Conn), closed: make(chan struct{})}
}

// call is a connection that a process made.
type call struct {
	net.Conn
	from *runner
}

// put passes a connection on; after Close it is closed.
func (x *exchange) put(conn net.Conn, from *runner) {
	select {
	case x.calls <- call{conn, from}:
	case <-x.closed:
		_ = conn.Close()
	}
}

// Accept implements net.Listener.
func (x *exchange) Accept() (net.Conn, error) {
	select {
	case c := <-x.calls:
		return c, nil
	case <-x.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (x *exchange) Close() error {
	x.once.Do(func() { close(x.closed) })
	return nil
}

// Addr implements net.Listener.
func (x *exchange) Addr() net.Addr { return &net.UnixAddr{Name: "engines", Net: "unix"} }

type callerKey struct{}

// withCaller notes who made a connection, for http.Server.
func withCaller(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(call); ok {
		ctx = context.WithValue(ctx, callerKey{}, c.from)
	}
	return ctx
}

// callerOf is the process that a request is from; nil: none that is known.
func callerOf(ctx context.Context) *runner {
	r, _ := ctx.Value(callerKey{}).(*runner)
	return r
}
