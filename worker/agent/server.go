package agent

import (
	"context"
	"errors"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"tandem.dev/proto/identity"
	"tandem.dev/proto/inference"
	"tandem.dev/proto/repeat"
	"tandem.dev/worker/tunnel"
)

// server is the agent's HTTPS side: replicas for coordinators, ranks for other workers, figures for nodes of the cluster, health for anyone.
type server struct {
	sockets func(replica string) (string, bool)
	metrics *metrics
	ready   func() error
	exiles  *exiles
	viewers *viewers
	tunnel  http.Handler // to ranks, for workers
	log     zerolog.Logger
	dials   *http.Transport // to replicas, by socket
	repeats repeat.Limiter
}

func newServer(sockets func(string) (string, bool), m *metrics, ready func() error, removed *exiles, look *viewers, ranks http.Handler, log zerolog.Logger) *server {
	dialer := net.Dialer{Timeout: 2 * time.Second}
	return &server{
		sockets: sockets, metrics: m, ready: ready, exiles: removed, viewers: look, tunnel: ranks, log: log,
		dials: &http.Transport{
			// The host of a request to a replica is the replica's id, so that connections are kept by replica.
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				id, _, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				socket, ok := sockets(id)
				if !ok {
					return nil, errNoReplica
				}
				return dialer.DialContext(ctx, "unix", socket)
			},
			MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, DisableCompression: true,
		},
	}
}

var errNoReplica = errors.New("the replica is not on this node")

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	figures := promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{})
	mux.Handle("GET /metrics", s.lookers(figures))
	mux.Handle(inference.Replicas+"{id}/", s.only(http.HandlerFunc(s.replica), identity.RoleCoordinator))
	mux.Handle(tunnel.Pattern, s.only(s.tunnel, identity.RoleWorker))
	return mux
}

// only lets in nodes of the cluster that have one of the roles and were not removed.
func (s *server) only(next http.Handler, roles ...identity.Role) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, ok := identity.Peer(r.TLS)
		if !ok {
			refuse(w, http.StatusUnauthorized, inference.Refused, "this needs a certificate of the cluster")
			return
		}
		if s.exiles.has(peer.Node) {
			refuse(w, http.StatusForbidden, inference.Refused, "this node was removed from the cluster")
			return
		}
		for _, role := range roles {
			if peer.Role == role {
				next.ServeHTTP(w, r)
				return
			}
		}
		refuse(w, http.StatusForbidden, inference.Refused, "this is not for a "+string(peer.Role))
	})
}

// lookers lets in nodes of the cluster, and who has a token of role viewer.
func (s *server) lookers(next http.Handler) http.Handler {
	nodes := s.only(next, identity.RoleCoordinator, identity.RoleWorker)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := identity.Peer(r.TLS); ok {
			nodes.ServeHTTP(w, r)
			return
		}
		switch err := s.viewers.check(r, time.Now()); {
		case errors.Is(err, errUntold):
			w.Header().Set("Retry-After", "5")
			refuse(w, http.StatusServiceUnavailable, inference.Refused, err.Error())
		case err != nil:
			w.Header().Set("WWW-Authenticate", `Bearer realm="tandem"`)
			refuse(w, http.StatusUnauthorized, inference.Refused, err.Error())
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// refuse answers instead of a replica, so that the gateway can tell; why is a value of inference.AgentAnswer.
func refuse(w http.ResponseWriter, status int, why, message string) {
	w.Header().Set(inference.AgentAnswer, why)
	inference.Fail(w, status, message)
}

// replica passes a request on to the socket of a replica. Answers of its own bear inference.AgentAnswer. 503: there is no
// such replica here, or it does not take connections: nothing was done, another replica may be asked. 502: the replica
// broke off.
func (s *server) replica(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if _, ok := s.sockets(id); !ok {
		s.metrics.requests.WithLabelValues("unavailable").Inc()
		refuse(w, http.StatusServiceUnavailable, inference.Unreached, errNoReplica.Error())
		return
	}
	proxy := &httputil.ReverseProxy{
		Transport:     s.dials,
		FlushInterval: -1,
		ErrorLog:      stdlog.New(io.Discard, "", 0), // ErrorHandler says it
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", id
			p.Out.URL.Path = strings.TrimPrefix(p.In.URL.Path, inference.Replicas+id)
			p.Out.URL.RawPath = ""
		},
		ModifyResponse: func(res *http.Response) error {
			s.metrics.requests.WithLabelValues(outcomeOf(res.StatusCode)).Inc()
			res.Header.Del(inference.AgentAnswer) // only the agent says so
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			var dial *net.OpError
			status, outcome, why := http.StatusBadGateway, "broken", inference.Broken
			switch {
			case r.Context().Err() != nil:
				outcome = "gone" // the caller is, which is no trouble of this node
			case errors.Is(err, errNoReplica), errors.As(err, &dial) && dial.Op == "dial":
				status, outcome, why = http.StatusServiceUnavailable, "unavailable", inference.Unreached
			}
			s.metrics.requests.WithLabelValues(outcome).Inc()
			if outcome != "gone" {
				s.repeats.Warn(s.log, id).Err(err).Str("replica", id).Str("outcome", outcome).Msg("request to a replica failed")
			}
			refuse(w, status, why, "the replica does not answer: "+err.Error())
		},
	}
	proxy.ServeHTTP(w, r)
}

func outcomeOf(status int) string {
	switch {
	case status < 400:
		return "ok"
	case status < 500:
		return "refused"
	}
	return "failed"
}

// serve runs an HTTP server until ctx ends, then lets requests in flight finish for a moment.
func serve(ctx context.Context, srv *http.Server, run func() error) error {
	stopped := make(chan error, 1)
	go func() { stopped <- run() }()
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if srv.Shutdown(grace) != nil {
		_ = srv.Close() // streams do not finish
	}
	if err := <-stopped; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
