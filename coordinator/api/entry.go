package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/door"
	"tandem.dev/coordinator/rest"
	"tandem.dev/proto/identity"
	"tandem.dev/proto/schema"
)

// call is what is known of a request before it is let in.
type call struct {
	name    string                // procedure or path, for people
	allowed func(Principal) error // why somebody may not make it; nil: they may
	open    bool                  // anybody may make it, known or not
	limit   int64                 // of its body, in bytes; 0: none
	unpack  bool                  // the body is unpacked here, as its Content-Encoding says
	whole   bool                  // the body is one message, which is read before the call is passed on
	kind    door.Kind
	stays   bool  // it is a stream of a service, which ends when its caller may be here no longer
	weight  int64 // bytes of memory for each byte of the body
}

// unknownPath is the name of requests that mean nothing.
const unknownPath = "unknown path"

// callOf finds out what a request to the services means. A path that means nothing is for viewers: they are told so.
func (a *API) callOf(r *http.Request) call {
	name := a.router.Find(r)
	if name == "" {
		return call{name: unknownPath, allowed: mayLook, limit: int64(a.cfg.MaxRequest), weight: door.MessageWeight}
	}
	c := call{
		name: name, open: schema.Access(name) == open, limit: int64(a.cfg.MaxRequest), weight: door.MessageWeight,
		allowed: func(p Principal) error { return p.allowed(name) },
	}
	c.whole = r.URL.Path != name || r.Header.Get("Content-Encoding") != ""
	c.unpack = c.whole
	if a.router.Streams(name) {
		c.kind, c.stays = door.Stream, true
	}
	switch {
	case c.open:
		c.limit = a.cfg.MaxJoin
	case schema.Access(name) == coordinator:
		c.limit = int64(a.cfg.MaxMessage)
	case a.router.Uploads(name):
		c.limit, c.weight = 0, 0
	}
	return c
}

// mayLook lets in viewers, and nodes.
func mayLook(p Principal) error {
	switch {
	case p.Role == "":
		return ErrUnauthenticated
	case p.may(viewer) || p.Node != "":
		return nil
	}
	return ErrDenied
}

// Viewers lets in who may look, nodes among them, to what is not a service.
func (a *API) Viewers(next http.Handler) http.Handler { return a.admit(next, pathFor(mayLook)) }

// Askers lets in who may ask models: tokens alone, for no node needs an answer.
func (a *API) Askers(next http.Handler) http.Handler {
	return a.admit(a.recordsFailures(next), pathFor(func(p Principal) error {
		if p.Node != "" {
			return fmt.Errorf("%w: inference needs a token, not the certificate of a node", ErrDenied)
		}
		return mayLook(p)
	}))
}

// pathFor is what a request means that is not for a service. The body is limited in time, not in size.
func pathFor(allowed func(Principal) error) func(*http.Request) call {
	return func(r *http.Request) call {
		return call{name: "/" + strings.SplitN(r.URL.Path, "/", 3)[1], allowed: allowed, kind: door.Stream, unpack: true, weight: 1} // an answer of a model may take a minute
	}
}

// admit lets a request in when its caller may make it. That is found out from the connection's certificate or the bearer token, the
// method and the path alone: of the body of a request that is refused nothing is read. Those who are known are told where all
// coordinators are.
func (a *API) admit(next http.Handler, meaning func(*http.Request) call) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := meaning(r)
		count := a.deps.Metrics.open(w, c)
		defer count.close()
		w = count
		p, err := a.principal(r)
		if err == nil {
			err = c.allowed(p)
		}
		if err == nil {
			p.Project, err = a.in(r.Context(), p, r.Header.Get(identity.ProjectHeader))
		}
		if err == nil {
			err = skewed(r.Header)
		}
		if err == nil && c.whole {
			r.URL.RawQuery, err = rest.Query(c.name, r.URL)
		}
		if err != nil {
			a.turnAway(w, r, p, c, err)
			return
		}
		if p.Role != "" {
			w.Header().Set(identity.CoordinatorsHeader, strings.Join(a.coordinators(), ","))
			w.Header().Set(identity.LevelHeader, strconv.Itoa(a.deps.State.View().Level()))
		}
		visit, leave, err := a.enter(r.Context(), p, c)
		if err != nil {
			a.turnAway(w, r, p, c, err)
			return
		}
		defer leave()
		if actor := r.Header.Get(actorHeader); actor != "" && p.Role == string(identity.RoleCoordinator) {
			p.Name = actor
		}
		ctx := context.WithValue(context.WithValue(r.Context(), principalKey{}, p), tallyKey{}, count)
		ctx = context.WithValue(ctx, visitKey{}, visit)
		if c.stays {
			var end func()
			ctx, end = a.standing.stay(ctx, p)
			defer end()
		}
		r = r.WithContext(ctx)
		if r.Body != nil && r.Body != http.NoBody {
			if err := visit.Hold(reserved(r, c)); err != nil {
				count.note(err)
				door.Unread(w, r)
				writeError(w, r, err)
				return
			}
			r.Body = door.NewBody(w, r, a.cfg.Limits.Pace, c.limit, func(n int64) error {
				gone := door.Gone(p.gone(a.deps.State.View(), time.Now())) // as of now, not of when the headers came
				return errors.Join(context.Cause(ctx), gone, visit.Hold(n*c.weight))
			})
			packed := int64(0)
			if c.unpack {
				door.Unpack(r, func(n int64) error {
					if c.whole { // one that is too large is to hear that, and not that others hold too much
						packed += n
						return visit.Unpack(n)
					}
					return errors.Join(visit.Unpack(n), visit.Hold(n*c.weight))
				})
			}
			if c.whole && !a.readWhole(w, r, c, func() error { return visit.Hold(packed * c.weight) }) {
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// turnAway refuses a request of which nothing was read.
func (a *API) turnAway(w http.ResponseWriter, r *http.Request, p Principal, c call, err error) {
	if t, ok := w.(*tally); ok {
		t.note(err)
	}
	a.record(&witness{who: p}, c.name, nil, err)
	door.Unread(w, r)
	writeError(w, r, err)
}

// enter counts a call of who is known among its own; those who are not may make few at once, all together. Coordinators are not
// counted: they speak for all others.
func (a *API) enter(ctx context.Context, p Principal, c call) (visit *door.Visit, leave func(), err error) {
	switch {
	case p.Role == "":
		if !a.joins.TryAcquire(1) {
			return nil, nil, fmt.Errorf("too many nodes join at once: %w", door.ErrBusy)
		}
		return nil, func() { a.joins.Release(1) }, nil
	case p.Role == string(identity.RoleCoordinator):
		return nil, func() {}, nil
	}
	visit, err = a.callers.Enter(ctx, p.Token+p.Node, p.Node != "", c.kind)
	if err != nil {
		return nil, nil, err
	}
	return visit, visit.Leave, nil
}

type visitKey struct{}

// visiting is the visit that a call is; nil: nobody counts it.
func visiting(ctx context.Context) *door.Visit {
	visit, _ := ctx.Value(visitKey{}).(*door.Visit)
	return visit
}

// spend counts a call at hand as n calls of its caller, for it takes as long.
func spend(ctx context.Context, n int) error {
	visit := visiting(ctx)
	return visit.Work(n)
}

// Held is how many bytes of requests are held in memory now, as they count.
func (a *API) Held() int64 { return a.callers.Held() }

// reserved is what a body may take beyond the bytes that are counted as they are read: nobody knows what packed messages of a stream
// become, and an upload is never held whole.
func reserved(r *http.Request, c call) int64 {
	if c.weight == 0 {
		return 2 << 20
	}
	for _, h := range []string{"Grpc-Encoding", "Connect-Content-Encoding"} {
		if v := r.Header.Get(h); v != "" && v != "identity" {
			return c.limit * c.weight / 2
		}
	}
	return 0
}

// readWhole reads a body that is one message: what it becomes when it is unpacked is what has a limit, and REST's statuses for that are
// none that the transcoder knows. hold counts it. It answers itself and returns false when the body is not within its limits.
func (a *API) readWhole(w http.ResponseWriter, r *http.Request, c call, hold func() error) bool {
	body, err := io.ReadAll(io.LimitReader(r.Body, c.limit+1))
	if int64(len(body)) > c.limit || errors.Is(err, door.ErrTooLarge) {
		err = fmt.Errorf("%w: the limit is %d bytes", door.ErrTooLarge, c.limit)
	}
	if err == nil {
		err = hold()
	}
	if err != nil {
		refuseBody(w, r, err)
		return false
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return true
}

// refuseBody says why a body cannot be read.
func refuseBody(w http.ResponseWriter, r *http.Request, err error) {
	door.Unread(w, r)
	status, known := door.Status(err)
	if !known {
		status, err = http.StatusBadRequest, fmt.Errorf("read the body of the request: %w", err)
	}
	code := connect.CodeInvalidArgument
	switch status {
	case http.StatusRequestEntityTooLarge:
		code = connect.CodeResourceExhausted
	case http.StatusTooManyRequests:
		code = connect.CodeResourceExhausted
		w.Header().Set("Retry-After", "1")
	case http.StatusUnsupportedMediaType:
		code = connect.CodeUnimplemented
		w.Header().Set("Accept-Encoding", door.Encodings)
	case http.StatusRequestTimeout:
		code = connect.CodeDeadlineExceeded
	case http.StatusUnauthorized:
		code = connect.CodeUnauthenticated
	}
	message := err.Error()
	if ce := (*connect.Error)(nil); errors.As(err, &ce) {
		message = ce.Message()
	}
	if strings.HasPrefix(r.URL.Path, rest.ProcedurePrefix) {
		writeError(w, r, connect.NewError(code, errors.New(message)))
		return
	}
	rest.WriteStatus(w, status, code, message)
}
