package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// ErrUnauthenticated says that nobody knows who asks.
var ErrUnauthenticated = errors.New("no valid token: ask an admin for one (\"tandem token create\"), then \"tandem context add\"")

// ErrDenied says that who asks may not do that.
var ErrDenied = errors.New("permission denied")

// Principal is who asks.
type Principal struct {
	// Name of the token, or id of the node.
	Name string
	// "admin", "user" or "viewer" for a token, "coordinator" or "worker" for a node; empty: nobody is known.
	Role string
	// Node is the id of the node; empty for a token.
	Node string
}

type principalKey struct{}

// From is who asks in a request that Authenticate let through.
func From(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}

// Authenticate finds out who asks, by the connection's certificate or the bearer token, and passes the request on with it,
// or without when there is neither. Those it knows are told where all coordinators are. It refuses a token that is not valid, and the certificate of a node that was removed.
func (a *API) Authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := a.principal(r)
		if err != nil {
			err = connectError(err)
			if ew := connect.NewErrorWriter(); ew.IsSupported(r) {
				_ = ew.Write(w, r, err) // the client is gone: nobody to tell
				return
			}
			WriteError(w, err)
			return
		}
		if p.Role != "" {
			w.Header().Set(identity.CoordinatorsHeader, strings.Join(a.coordinators(), ","))
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), principalKey{}, p)))
	})
}

// RequireViewer refuses who may not even look. Nodes may.
func RequireViewer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := From(r.Context())
		switch {
		case p.Role == "":
			WriteError(w, connectError(ErrUnauthenticated))
		case p.may(viewer) || p.Node != "":
			next.ServeHTTP(w, r)
		default:
			WriteError(w, connectError(ErrDenied))
		}
	})
}

func (a *API) principal(r *http.Request) (Principal, error) {
	if id, ok := identity.Peer(r.TLS); ok && id.Cluster == a.deps.Self.Identity.Cluster {
		if removed, ok := a.deps.State.View().RemovedNode(id.Node); ok {
			return Principal{}, &plainError{ErrDenied, state.RemovedAdvice(removed)}
		}
		return Principal{Name: id.Node, Role: string(id.Role), Node: id.Node}, nil
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return Principal{}, nil
	}
	scheme, secret, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return Principal{}, ErrUnauthenticated
	}
	t, err := a.token(r.Context(), strings.TrimSpace(secret))
	if err != nil {
		return Principal{}, err
	}
	if t == nil || t.GetJoin() {
		return Principal{}, ErrUnauthenticated
	}
	return Principal{Name: t.GetName(), Role: t.GetRole()}, nil
}

// token finds the token of a secret; nil when there is none that is valid. A token made a moment ago on another
// coordinator may not be here yet, so one that is not found is looked up once more in the state as it is.
func (a *API) token(ctx context.Context, secret string) (*tandemv1.Token, error) {
	hash := identity.HashToken(secret)
	t, ok := a.deps.State.View().TokenBySHA256(hash)
	if !ok {
		v, err := a.view(ctx)
		if err != nil {
			return nil, err
		}
		t, ok = v.TokenBySHA256(hash)
	}
	if !ok || tokenEnded(t, time.Now()) {
		return nil, nil
	}
	return t, nil
}

func tokenEnded(t *tandemv1.Token, now time.Time) bool {
	return t.GetExpiresAt() != nil && !now.Before(t.GetExpiresAt().AsTime())
}

// guard lets through who may call a procedure, and turns plain errors into those of Connect.
type guard struct{ a *API }

func (g *guard) allow(ctx context.Context, procedure string) error {
	l, p := accessTo(procedure), From(ctx)
	switch {
	case p.may(l):
		return nil
	case p.Role == "":
		return ErrUnauthenticated
	}
	return fmt.Errorf("%w: a %s may not call %s", ErrDenied, p.Role, procedure[strings.LastIndex(procedure, "/")+1:])
}

func (g *guard) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if err := g.allow(ctx, req.Spec().Procedure); err != nil {
			return nil, connectError(err)
		}
		res, err := next(ctx, req)
		if err != nil {
			return nil, g.answer(req.Spec().Procedure, err)
		}
		return res, nil
	}
}

func (g *guard) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		err := g.allow(ctx, conn.Spec().Procedure)
		if err == nil {
			err = next(ctx, conn)
		}
		if err != nil {
			return g.answer(conn.Spec().Procedure, err)
		}
		return nil
	}
}

func (g *guard) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// answer logs what a client cannot mend.
func (g *guard) answer(procedure string, err error) error {
	ce := connectError(err)
	if c := connect.CodeOf(ce); c == connect.CodeInternal || c == connect.CodeUnknown {
		g.a.deps.Log.Error().Err(err).Str("procedure", procedure).Msg("api: request failed")
	}
	return ce
}
