package identity

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Live is the credentials of a node that runs. They can be replaced by others of the same identity: connections that are there
// stay, and each new one is made with those of its time.
type Live struct {
	// Identity never changes.
	Identity Identity

	dir     string
	current atomic.Pointer[Credentials]
}

// NewLive returns the credentials that Load read from dir, or that are to be kept there.
func NewLive(dir string, c *Credentials) *Live {
	l := &Live{Identity: c.Identity, dir: dir}
	l.current.Store(c)
	return l
}

// Get returns the credentials as they are now; they are not to be changed.
func (l *Live) Get() *Credentials { return l.current.Load() }

// Replace writes other credentials down and uses them from then on. Where the others are known to be is kept as it is on disk.
func (l *Live) Replace(c *Credentials) error {
	if err := c.saveKeys(l.dir); err != nil {
		return err
	}
	l.current.Store(c)
	return nil
}

// ClientConfig is that of the credentials as they are now: for one connection.
func (l *Live) ClientConfig(verifyName string, alpn ...string) *tls.Config {
	return l.Get().ClientConfig(verifyName, alpn...)
}

// ServerConfig serves each connection with the credentials as they are then; see Credentials.ServerConfig.
func (l *Live) ServerConfig(optional bool, alpn ...string) *tls.Config {
	cfg := l.Get().ServerConfig(optional, alpn...)
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return l.Get().ServerConfig(optional, alpn...), nil
	}
	return cfg
}

// HTTPClient calls nodes that prove to be verifyName, over HTTP/2 and without a time limit of its own: calls end with their
// context, and a connection on which nothing is heard for 15 s is closed.
func (l *Live) HTTPClient(verifyName string) *http.Client {
	t := Transport(nil)
	dial, limit := t.DialContext, t.TLSHandshakeTimeout
	t.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		conn := tls.Client(raw, l.Get().ClientConfig(verifyName, "h2", "http/1.1"))
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = raw.Close() // what went wrong before is what matters
			return nil, err
		}
		return conn, nil
	}
	return &http.Client{Transport: speak(t, l.trust(verifyName, "h2", "http/1.1"))}
}

// trust is that of connections to a node that proves to be verifyName.
func (l *Live) trust(verifyName string, alpn ...string) trust {
	return func(at time.Time) *tls.Config { return trusting(l.Get().ClientConfig(verifyName, alpn...))(at) }
}

// ExplainDates is for an error of a connection to host, which had to prove to be verifyName: where it failed because clocks differ, a
// ClockError says so.
func (l *Live) ExplainDates(ctx context.Context, err error, host, verifyName string) error {
	return explainDates(ctx, err, host, l.trust(verifyName, "h2", "http/1.1"))
}
