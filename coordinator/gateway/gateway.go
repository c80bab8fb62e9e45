package gateway

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/inference"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Config of a Gateway.
type Config struct {
	// Version of the program, told to clients.
	Version string
	// MaxBody is the largest request, in bytes.
	MaxBody int64
	// Timeout is how long a replica may take to answer.
	Timeout time.Duration
}

// DefaultConfig is what a coordinator takes.
func DefaultConfig() Config { return Config{MaxBody: 64 << 20, Timeout: time.Minute} }

// Deps of a Gateway.
type Deps struct {
	State *state.State
	// Client calls the agent of a node, which must prove to be that node.
	Client func(node string) *http.Client
	// Ready says why requests cannot be answered; nil: they can.
	Ready   func() error
	Metrics *Metrics
	Log     zerolog.Logger
}

// Gateway serves /v2.
type Gateway struct {
	cfg    Config
	deps   Deps
	mux    *http.ServeMux
	picker *picker
}

// New returns a Gateway. Whoever mounts it has checked that the caller may look.
func New(cfg Config, deps Deps) (*Gateway, error) {
	if cfg.MaxBody <= 0 || cfg.Timeout <= 0 {
		return nil, errors.New("gateway: MaxBody and Timeout must be greater than 0")
	}
	g := &Gateway{cfg: cfg, deps: deps, mux: http.NewServeMux(), picker: newPicker()}
	g.mux.HandleFunc("GET /v2", g.server)
	g.mux.HandleFunc("GET /v2/{$}", g.server)
	g.mux.HandleFunc("GET /v2/health/live", func(http.ResponseWriter, *http.Request) {})
	g.mux.HandleFunc("GET /v2/health/ready", g.ready)
	for _, model := range []string{"/v2/models/{model}", "/v2/models/{model}/versions/{version}"} {
		g.mux.HandleFunc("GET "+model, func(w http.ResponseWriter, r *http.Request) { g.pass(w, r) })
		g.mux.HandleFunc("GET "+model+"/ready", g.modelReady)
		g.mux.HandleFunc("POST "+model+"/infer", g.infer)
	}
	g.mux.HandleFunc("/v2/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, fmt.Sprintf("%s %s is not part of the Open Inference Protocol; try POST /v2/models/<model>/infer", r.Method, r.URL.Path))
	})
	return g, nil
}

func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.mux.ServeHTTP(w, r) }

func (g *Gateway) server(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"name": "tandem", "version": g.cfg.Version, "extensions": []string{}})
}

func (g *Gateway) ready(w http.ResponseWriter, _ *http.Request) {
	if err := g.deps.Ready(); err != nil {
		fail(w, http.StatusServiceUnavailable, err.Error())
	}
}

func (g *Gateway) modelReady(w http.ResponseWriter, r *http.Request) {
	if _, problem := g.candidates(r); problem != nil {
		fail(w, problem.status, problem.message)
	}
}

// problem is an answer of the gateway's own.
type problem struct {
	status  int
	message string
}

// target is a replica that can be asked.
type target struct {
	replica *tandemv1.Replica
	address string // host:port of its node's agent
}

// candidates are the replicas that can answer a request, by id.
func (g *Gateway) candidates(r *http.Request) ([]target, *problem) {
	model, version := r.PathValue("model"), int64(0)
	if text := r.PathValue("version"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			return nil, &problem{http.StatusBadRequest, fmt.Sprintf("version %q is not a number", text)}
		}
		version = n
	}
	v := g.deps.State.View()
	d, ok := v.Deployment(model)
	if !ok {
		return nil, &problem{http.StatusNotFound, fmt.Sprintf("model %q is not served: start it with \"tandem serve %s\"", model, model)}
	}
	var found []target
	for _, p := range v.ReplicasOf(model) {
		n, ok := v.Node(p.GetNodeId())
		if !ok || p.GetState() != tandemv1.ReplicaState_REPLICA_STATE_READY || version != 0 && p.GetVersion() != version {
			continue
		}
		found = append(found, target{p, n.GetAddress()})
	}
	switch {
	case len(found) > 0:
		return found, nil
	case version != 0 && version != d.GetVersion():
		return nil, &problem{http.StatusNotFound, fmt.Sprintf("version %d of model %q is not served; version %d is", version, model, d.GetVersion())}
	}
	return nil, &problem{http.StatusServiceUnavailable, fmt.Sprintf("model %q has no replica that is ready: %s", model, cmp.Or(say.Clause(d.GetWhy(), say.Plain), d.GetReason(), "try again in a moment"))}
}

// infer passes an inference request on and counts it.
func (g *Gateway) infer(w http.ResponseWriter, r *http.Request) {
	begin, model := time.Now(), r.PathValue("model")
	if _, ok := g.deps.State.View().Deployment(model); !ok {
		model = unknown
	}
	status := g.pass(w, r)
	g.deps.Metrics.count(model, status, time.Since(begin))
}

// pass passes a request on to a replica and its answer back. It returns the status.
func (g *Gateway) pass(w http.ResponseWriter, r *http.Request) int {
	found, problem := g.candidates(r)
	if problem != nil {
		fail(w, problem.status, problem.message)
		return problem.status
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, g.cfg.MaxBody))
	if err != nil {
		status := http.StatusBadRequest
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		fail(w, status, fmt.Sprintf("read the request: %v; at most %d bytes are allowed, send fewer rows at once", err, g.cfg.MaxBody))
		return status
	}
	return g.ask(w, r, found, body)
}

// attempts is how often replicas are asked for one request: another one each time, or the only one once more.
const attempts = 3

// ask asks one of the replicas, another one when the connection fails or it is busy, and writes the answer. It returns its
// status.
func (g *Gateway) ask(w http.ResponseWriter, r *http.Request, found []target, body []byte) int {
	model, status := r.PathValue("model"), http.StatusBadGateway
	for left := min(attempts, max(2, len(found))); ; left-- {
		t := g.picker.pick(found)
		res, err := g.send(r, t, body)
		others := elsewhere(found, t, dialFailed(err))
		if err == nil && (res.StatusCode != http.StatusServiceUnavailable || left == 1 || len(others) == 0) {
			defer g.picker.done(t)
			defer res.Body.Close()
			copyAnswer(w, res)
			return res.StatusCode
		}
		g.picker.done(t)
		switch {
		case err == nil:
			_ = res.Body.Close()
			err, status = fmt.Errorf("replica %s is busy", t.replica.GetId()), http.StatusServiceUnavailable
		case r.Context().Err() != nil:
			return statusClientGone
		case late(err):
			// The replica has the request and computes: another one would be as late.
			fail(w, http.StatusGatewayTimeout, fmt.Sprintf("model %q did not answer within %s; send fewer rows at once", model, g.cfg.Timeout))
			return http.StatusGatewayTimeout
		default:
			g.deps.Log.Warn().Err(err).Str("model", model).Str("replica", t.replica.GetId()).Str("node", t.replica.GetNodeId()).Msg("replica did not answer")
		}
		if left == 1 {
			fail(w, status, fmt.Sprintf("no replica of model %q answered: %v; try again in a moment", model, err))
			return status
		}
		if len(others) > 0 {
			found = others
		}
	}
}

// elsewhere are the other replicas; those on other nodes, where there are some, when the node does not answer.
func elsewhere(found []target, t target, nodeGone bool) []target {
	others := slices.DeleteFunc(slices.Clone(found), func(o target) bool { return o.replica.GetId() == t.replica.GetId() })
	if !nodeGone {
		return others
	}
	away := slices.DeleteFunc(slices.Clone(others), func(o target) bool { return o.replica.GetNodeId() == t.replica.GetNodeId() })
	if len(away) > 0 {
		return away
	}
	return others
}

// dialFailed tells whether a connection was not made.
func dialFailed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// late tells whether an answer did not come in time, though the connection was made.
func late(err error) bool {
	var ne net.Error
	return !dialFailed(err) && errors.As(err, &ne) && ne.Timeout()
}

// statusClientGone is what is counted when nobody waits for the answer any more.
const statusClientGone = 499

// send sends a request to one replica. An answer of the agent itself is a connection that failed.
func (g *Gateway) send(r *http.Request, t target, body []byte) (*http.Response, error) {
	u := url.URL{Scheme: "https", Host: t.address, Path: inference.Replicas + t.replica.GetId() + r.URL.Path, RawQuery: r.URL.RawQuery}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask replica %s: %w", t.replica.GetId(), err)
	}
	for _, h := range []string{"Content-Type", "Accept", "Inference-Header-Content-Length"} {
		if v := r.Header.Get(h); v != "" {
			req.Header.Set(h, v)
		}
	}
	client := *g.deps.Client(t.replica.GetNodeId())
	client.Timeout = g.cfg.Timeout
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask replica %s: %w", t.replica.GetId(), err)
	}
	if why := res.Header.Get(inference.AgentAnswer); why != "" {
		defer res.Body.Close()
		var said struct {
			Error string `json:"error"`
		}
		if json.NewDecoder(io.LimitReader(res.Body, 1<<12)).Decode(&said) != nil || said.Error == "" {
			said.Error = why
		}
		return nil, fmt.Errorf("ask replica %s: its node says: %s", t.replica.GetId(), said.Error)
	}
	return res, nil
}

func copyAnswer(w http.ResponseWriter, res *http.Response) {
	for _, h := range []string{"Content-Type", "Content-Length", "Inference-Header-Content-Length", "Retry-After"} {
		if v := res.Header.Get(h); v != "" {
			w.Header().Set(h, v)
		}
	}
	w.WriteHeader(res.StatusCode)
	_, _ = io.Copy(w, res.Body) // the client is gone, or sees that the answer is short
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone: nobody to tell
}

// fail answers as the protocol does: {"error": message}.
func fail(w http.ResponseWriter, status int, message string) {
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	answer(w, status, map[string]string{"error": message})
}
