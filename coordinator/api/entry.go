package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	"connectrpc.com/vanguard"

	"tandem.dev/coordinator/door"
	"tandem.dev/proto/identity"
	"tandem.dev/proto/schema"
)

// call is what is known of a request before it is let in.
type call struct {
	name    string                // procedure or path, for people
	allowed func(Principal) error // why somebody may not make it; nil: they may
	open    bool                  // anybody may make it, known or not
	limit   int64                 // of its body, in bytes; 0: none
	whole   bool                  // the body is one message, which is read and unpacked before the call is passed on
}

// callOf finds out what a request to the services means. A path that means nothing is for viewers: they are told so.
func (a *API) callOf(r *http.Request) call {
	name := a.router.find(r)
	if name == "" {
		return call{name: r.URL.Path, allowed: mayLook, limit: int64(a.cfg.MaxRequest)}
	}
	c := call{
		name: name, open: schema.Access(name) == open, limit: int64(a.cfg.MaxRequest), whole: r.URL.Path != name || r.Header.Get("Content-Encoding") != "",
		allowed: func(p Principal) error { return p.allowed(name) },
	}
	switch {
	case c.open:
		c.limit = a.cfg.MaxJoin
	case schema.Access(name) == coordinator:
		c.limit = int64(a.cfg.MaxMessage)
	case a.router.uploads(name):
		c.limit = 0
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

// Viewers lets in who may look, nodes among them, to what is not a service. The body is limited in time, not in size.
func (a *API) Viewers(next http.Handler) http.Handler {
	return a.admit(next, func(r *http.Request) call { return call{name: r.URL.Path, allowed: mayLook} })
}

// admit lets a request in when its caller may make it. That is found out from the connection's certificate or the bearer token, the
// method and the path alone: of the body of a request that is refused nothing is read. Those who are known are told where all
// coordinators are.
func (a *API) admit(next http.Handler, meaning func(*http.Request) call) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := meaning(r)
		p, err := a.principal(r)
		if err == nil {
			err = c.allowed(p)
		}
		if err != nil {
			door.Unread(w, r)
			writeError(w, r, err)
			return
		}
		if p.Role != "" {
			w.Header().Set(identity.CoordinatorsHeader, strings.Join(a.coordinators(), ","))
		}
		if c.open {
			if !a.joins.TryAcquire(1) {
				door.Unread(w, r)
				w.Header().Set("Retry-After", "1")
				writeError(w, r, connect.NewError(connect.CodeResourceExhausted, errors.New("too many nodes join at once: try again in a moment")))
				return
			}
			defer a.joins.Release(1)
		}
		r = r.WithContext(context.WithValue(r.Context(), principalKey{}, p))
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = door.NewBody(w, r, a.cfg.Pace, c.limit)
			if c.whole && !a.readWhole(w, r, c.limit) {
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// readWhole reads a body that is one message, and unpacks it: what it becomes is what has a limit, and REST's statuses for that are
// none that the transcoder knows. It answers itself and returns false when the body is not within its limits.
func (a *API) readWhole(w http.ResponseWriter, r *http.Request, limit int64) bool {
	refuse := func(status int, code connect.Code, message string) bool {
		door.Unread(w, r)
		if strings.HasPrefix(r.URL.Path, procedurePrefix) {
			writeError(w, r, connect.NewError(code, errors.New(message)))
		} else {
			writeStatus(w, status, code, message)
		}
		return false
	}
	var src io.Reader = r.Body
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case vanguard.CompressionGzip:
		unpacked, err := gzip.NewReader(r.Body)
		if err != nil {
			return refuse(http.StatusBadRequest, connect.CodeInvalidArgument, "the body of the request is not gzip, as its Content-Encoding says")
		}
		src = unpacked
	default:
		return refuse(http.StatusUnsupportedMediaType, connect.CodeUnimplemented, fmt.Sprintf("Content-Encoding %q is not supported: send the body as it is, or as gzip", encoding))
	}
	body, err := io.ReadAll(io.LimitReader(src, limit+1))
	switch {
	case errors.Is(err, door.ErrTooLarge) || int64(len(body)) > limit:
		return refuse(http.StatusRequestEntityTooLarge, connect.CodeResourceExhausted, fmt.Sprintf("the body of the request is too large: the limit is %d bytes", limit))
	case errors.Is(err, door.ErrTooSlow):
		return refuse(http.StatusRequestTimeout, connect.CodeDeadlineExceeded, err.Error())
	case err != nil:
		return refuse(http.StatusBadRequest, connect.CodeInvalidArgument, fmt.Sprintf("read the body of the request: %v", err))
	}
	r.Header.Del("Content-Encoding")
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return true
}

func newGzip() connect.Compressor { return gzip.NewWriter(io.Discard) }

func (a *API) newGunzip() connect.Decompressor { return &gunzip{limit: int64(a.cfg.MaxMessage)} }

// gunzip unpacks a message up to a limit. The transcoder unpacks messages whole.
type gunzip struct {
	gzip.Reader
	limit, left int64
}

// Reset implements connect.Decompressor.
func (g *gunzip) Reset(src io.Reader) error {
	g.left = g.limit
	return g.Reader.Reset(src)
}

// Read implements connect.Decompressor.
func (g *gunzip) Read(p []byte) (int, error) {
	n, err := g.Reader.Read(p)
	if g.left -= int64(n); g.left < 0 {
		return 0, connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("the message is too large when it is unpacked: the limit is %d bytes", g.limit))
	}
	return n, err
}
