package gateway

import (
	"cmp"
	"context"
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

	"tandem.dev/coordinator/door"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/inference"
	"tandem.dev/proto/repeat"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Config of a Gateway.
type Config struct {
	// Version of the program, told to clients.
	Version string
	// MaxBody is the largest request, in bytes, unpacked.
	MaxBody int64
	// Timeout is how long a replica may take to answer.
	Timeout time.Duration
}

// DefaultConfig is what a coordinator takes.
func DefaultConfig() Config { return Config{MaxBody: inference.MaxBody, Timeout: time.Minute} }

// Deps of a Gateway.
type Deps struct {
	State *state.State
	// Project is the one that a request is in.
	Project func(context.Context) string
	// Client calls the agent of a node, which must prove to be that node.
	Client func(node string) *http.Client
	// Ready says why requests cannot be answered; nil: they can.
	Ready   func() error
	Metrics *Metrics
	Log     zerolog.Logger
}

// Gateway serves /v2.
type Gateway struct {
	cfg     Config
	deps    Deps
	mux     *http.ServeMux
	picker  *picker
	repeats repeat.Limiter
}

// New returns a Gateway. Whoever mounts it has checked that the caller may look, but at /v2/health, and has put the body of a request
// under the limits of package door, unpacked.
func New(cfg Config, deps Deps) (*Gateway, error) {
	if cfg.MaxBody <= 0 || cfg.Timeout <= 0 {
		return nil, errors.New("gateway: MaxBody and Timeout must be greater than 0")
	}
	g := &Gateway{cfg: cfg, deps: deps, mux: http.NewServeMux(), picker: newPicker()}
	inference.Handle(g.mux, "GET", "/v2", g.server)
	inference.Handle(g.mux, "GET", "/v2/{$}", g.server)
	inference.Handle(g.mux, "GET", "/v2/health/live", g.live)
	inference.Handle(g.mux, "GET", "/v2/health/ready", g.ready)
	for _, model := range inference.Models() {
		inference.Handle(g.mux, "GET", model, func(w http.ResponseWriter, r *http.Request) { g.pass(w, r) })
		inference.Handle(g.mux, "GET", model+"/ready", g.modelReady)
		inference.Handle(g.mux, "POST", model+"/infer", g.infer)
	}
	g.mux.HandleFunc("/v2/", func(w http.ResponseWriter, r *http.Request) {
		inference.Fail(w, http.StatusNotFound, fmt.Sprintf("%s is not part of the Open Inference Protocol; a model answers at POST /v2/models/MODEL/infer", r.URL.Path))
	})
	return g, nil
}

func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.mux.ServeHTTP(w, r) }

func (g *Gateway) server(w http.ResponseWriter, _ *http.Request) {
	inference.Answer(w, http.StatusOK, map[string]any{"name": "tandem", "version": g.cfg.Version, "extensions": inference.Extensions()})
}

func (g *Gateway) live(w http.ResponseWriter, _ *http.Request) {
	inference.Answer(w, http.StatusOK, map[string]bool{"live": true})
}

func (g *Gateway) ready(w http.ResponseWriter, _ *http.Request) {
	if err := g.deps.Ready(); err != nil {
		inference.Fail(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	inference.Answer(w, http.StatusOK, map[string]bool{"ready": true})
}

func (g *Gateway) modelReady(w http.ResponseWriter, r *http.Request) {
	if _, problem := g.candidates(r); problem != nil {
		inference.Fail(w, problem.status, problem.message)
		return
	}
	inference.Answer(w, http.StatusOK, map[string]any{"name": r.PathValue("model"), "ready": true})
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

// view is the state as whoever asks sees it.
func (g *Gateway) view(r *http.Request) *state.View {
	return g.deps.State.View().In(g.deps.Project(r.Context()))
}

// candidates are the replicas that can answer a request, by id.
func (g *Gateway) candidates(r *http.Request) ([]target, *problem) {
	model, version := r.PathValue("model"), int64(0)
	if text := r.PathValue("version"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			return nil, &problem{http.StatusBadRequest, fmt.Sprintf("version %q is not the number of a version: those begin with 1", text)}
		}
		version = n
	}
	v := g.view(r)
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
	begin, model := time.Now(), Unknown
	if d, ok := g.view(r).Deployment(r.PathValue("model")); ok {
		model = state.RowID(d)
	}
	status := g.pass(w, r)
	g.deps.Metrics.count(model, status, time.Since(begin))
}

// pass passes a request on to a replica and its answer back. It returns the status.
func (g *Gateway) pass(w http.ResponseWriter, r *http.Request) int {
	found, problem := g.candidates(r)
	if problem != nil {
		inference.Fail(w, problem.status, problem.message)
		return problem.status
	}
	body, err := readBody(http.MaxBytesReader(w, r.Body, g.cfg.MaxBody))
	if err != nil {
		return g.refuseBody(w, r, err)
	}
	return g.ask(w, r, found, body)
}

// refuseBody says why the body of a request cannot be read, unless its client is gone. It returns the status.
func (g *Gateway) refuseBody(w http.ResponseWriter, r *http.Request, err error) int {
	status, known := door.Status(err)
	switch tooLarge := (*http.MaxBytesError)(nil); {
	case errors.As(err, &tooLarge) || status == http.StatusRequestEntityTooLarge:
		status, err = http.StatusRequestEntityTooLarge, fmt.Errorf("the request has more than %d bytes: send fewer rows at once", g.cfg.MaxBody)
	case status == http.StatusUnsupportedMediaType:
		w.Header().Set("Accept-Encoding", door.Encodings)
	case known:
	case hungUp(r, err):
		return statusClientGone
	default: // the framing of HTTP/1.1 is wrong
		status, err = http.StatusBadRequest, fmt.Errorf("read the request: %w", err)
	}
	door.Unread(w, r)
	inference.Fail(w, status, err.Error())
	return status
}

// hungUp tells whether a body ended early because nobody sends it any more.
func hungUp(r *http.Request, err error) bool {
	var ne net.Error
	return r.Context().Err() != nil || r.ProtoMajor > 1 || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &ne)
}

// attempts is how often replicas are asked for one request: another one each time, or the only one once more.
const attempts = 3

// ask asks one of the replicas, another one when the connection fails or it is busy, and writes the answer. It returns its
// status.
func (g *Gateway) ask(w http.ResponseWriter, r *http.Request, found []target, sent body) int {
	model, status := r.PathValue("model"), http.StatusBadGateway
	for left := min(attempts, max(2, len(found))); ; left-- {
		t := g.picker.pick(found)
		res, err := g.send(r, t, sent)
		others := elsewhere(found, t, dialFailed(err))
		if err == nil && (res.StatusCode != http.StatusServiceUnavailable || left == 1 || len(others) == 0) {
			defer g.picker.done(t)
			defer res.Body.Close()
			return copyAnswer(w, r, res)
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
			inference.Fail(w, http.StatusGatewayTimeout, fmt.Sprintf("model %q did not answer within %s; send fewer rows at once", model, g.cfg.Timeout))
			return http.StatusGatewayTimeout
		default:
			g.repeats.Warn(g.deps.Log, t.replica.GetId()).Err(err).Str("model", model).Str("replica", t.replica.GetId()).Str("node", t.replica.GetNodeId()).Msg("replica did not answer")
		}
		if left == 1 {
			inference.Fail(w, status, fmt.Sprintf("no replica of model %q answered: %v; try again in a moment", model, err))
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
func (g *Gateway) send(r *http.Request, t target, sent body) (*http.Response, error) {
	u := url.URL{Scheme: "https", Host: t.address, Path: inference.Replicas + t.replica.GetId() + r.URL.Path, RawQuery: r.URL.RawQuery}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, u.String(), sent.reader())
	if err != nil {
		return nil, fmt.Errorf("ask replica %s: %w", t.replica.GetId(), err)
	}
	req.ContentLength = sent.size
	req.GetBody = func() (io.ReadCloser, error) { return sent.reader(), nil }
	for _, h := range []string{"Content-Type", "Accept", inference.HeaderLength} {
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

// copyAnswer writes the answer of a replica and returns its status, or that the client did not wait for all of it.
func copyAnswer(w http.ResponseWriter, r *http.Request, res *http.Response) int {
	for _, h := range []string{"Content-Type", "Content-Length", inference.HeaderLength, "Retry-After", "Allow"} {
		if v := res.Header.Get(h); v != "" {
			w.Header().Set(h, v)
		}
	}
	w.WriteHeader(res.StatusCode)
	if _, err := io.Copy(w, res.Body); err != nil && r.Context().Err() != nil { // else the client sees that the answer is short
		return statusClientGone
	}
	return res.StatusCode
}
