package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/coordinator/api"
	"tandem.dev/coordinator/door"
	"tandem.dev/coordinator/gateway"
)

const shutdownTime = 3 * time.Second

// routes puts everything that speaks HTTP on one handler.
func (c *Coordinator) routes(a *api.API, g *gateway.Gateway) (http.Handler, error) {
	services, err := a.Handler()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := c.readiness(); err != nil {
			plain(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		if why := c.store.Load(); why.fault() != nil {
			plain(w, http.StatusOK, "ok, but "+why.String()) // the API serves: it is not to be taken out for that
			return
		}
		plain(w, http.StatusOK, "ok")
	})
	mux.Handle("GET /metrics", a.Viewers(c.metrics()))
	mux.Handle("/v2/health/", g) // anybody may ask, as at /livez and /readyz, whose words they are
	mux.Handle("/v2", a.Askers(g))
	mux.Handle("/v2/", a.Askers(g))
	mux.Handle("/", services)
	return c.clocks.Watch(door.Timed(mux, c.cfg.Limits.Pace)), nil
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text) // the client is gone: nobody to tell
}

// serve answers HTTP until ctx ends.
func (c *Coordinator) serve(ctx context.Context) error {
	server := &http.Server{
		Handler:           c.handler,
		BaseContext:       func(net.Listener) context.Context { return ctx }, // streams end with the coordinator
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(quiet{c.log}, "", 0),
		// An agent whose machine is gone must not look as if it had a session.
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 250, SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second},
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		if err := server.Shutdown(ending); err != nil {
			_ = server.Close() // what did not end in time is cut off
		}
	})
	err := server.Serve(c.port.http)
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	<-stopped
	return nil
}

// crowded is told of connections beyond the limits.
func (c *Coordinator) crowded(from string) {
	c.log.Debug().Str("from", from).Msg("connection closed: too many are open, see --max-connections")
}

// expel closes connections of coordinators that were removed, until ctx ends.
func (c *Coordinator) expel(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			c.port.expel()
		}
	}
}

// quiet passes the server's own log on: it is about clients that misbehave.
type quiet struct{ log zerolog.Logger }

func (q quiet) Write(p []byte) (int, error) {
	q.log.Debug().Str("http", string(p)).Msg("HTTP server")
	return len(p), nil
}
