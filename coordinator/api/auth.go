package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/door"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/identity"
	"tandem.dev/proto/schema"
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
	// Token is the id of the token; empty for a node.
	Token string
	// Address it asks from, without the port.
	Address string
	// Reach is the project whose things it may see and change, or state.AllProjects; empty: those of none.
	Reach string
	// Project is the one that the call is in, or state.AllProjects: within Reach. All that handlers see of the state is seen from there.
	Project string
}

type principalKey struct{}

// From is who asks in a request that was let in.
func From(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}

func (a *API) principal(r *http.Request) (Principal, error) {
	address := door.Address(r.RemoteAddr)
	if id, ok := identity.Peer(r.TLS); ok && id.Cluster == a.deps.Self.Identity.Cluster {
		if removed, ok := a.deps.State.View().RemovedNode(id.Node); ok {
			return node(id, address), &refusal{connect.CodePermissionDenied, state.WhyRemoved(removed)}
		}
		return node(id, address), nil
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return Principal{Address: address}, nil
	}
	scheme, secret, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return Principal{Address: address}, ErrUnauthenticated
	}
	t, err := a.token(r.Context(), address, strings.TrimSpace(secret))
	if err == nil && t.GetJoin() {
		err = ErrUnauthenticated
	}
	return bearer(t, address), err
}

// node is a coordinator or a worker: its work is that of all projects.
func node(id identity.Identity, address string) Principal {
	return Principal{
		Name: id.Node, Role: string(id.Role), Node: id.Node, Address: address,
		Reach: state.AllProjects, Project: state.AllProjects,
	}
}

// bearer is who has a token; nil: nobody knows.
func bearer(t *tandemv1.Token, address string) Principal {
	p := Principal{Name: t.GetName(), Role: t.GetRole(), Token: t.GetId(), Address: address}
	if t != nil {
		p.Reach = state.ReachOf(t)
	}
	return p
}

// token finds the token of a secret. When it may not be used, it is returned with the error that says why, for the audit log; nil when
// the secret belongs to no token. A token made a moment ago on another coordinator may not be here yet, so one that is not found is looked up
// once more in the state as it is: that asks the leader, and is done for an address so many times only.
func (a *API) token(ctx context.Context, address, secret string) (*tandemv1.Token, error) {
	hash := identity.HashToken(secret)
	t, ok := a.deps.State.View().TokenBySHA256(hash)
	if !ok {
		former := a.bearers.find(hash)
		if err := a.callers.Stranger(address); err != nil {
			return former, err
		}
		v, err := a.deps.Consensus.View(ctx)
		if err != nil {
			return former, err
		}
		if t, ok = v.TokenBySHA256(hash); !ok {
			return former, whyGone(former)
		}
	}
	if tokenEnded(t, time.Now()) {
		return t, whyEnded(t)
	}
	a.bearers.learn(t)
	return t, nil
}

// whyGone tells the owner of a token that is gone, as long as this coordinator knows whose it was.
func whyGone(former *tandemv1.Token) error {
	switch {
	case former == nil || former.GetJoin():
		return ErrUnauthenticated
	case tokenEnded(former, time.Now()):
		return whyEnded(former)
	}
	return whyRevoked(former.GetName())
}

func whyRevoked(token string) error {
	return &plainError{ErrUnauthenticated, fmt.Sprintf("token %s was revoked: ask an admin for another one", token)}
}

// whyEnded tells the owner of a token that its time is over, as long as the state still knows it.
func whyEnded(t *tandemv1.Token) error {
	why := &tandemv1.Reason{Code: tandemv1.Reason_CODE_CLIENT_TOKEN_ENDED, Args: map[string]string{
		"token": t.GetName(), "role": t.GetRole(), "ended_at": strconv.FormatInt(t.GetExpiresAt().GetSeconds(), 10),
	}}
	if t.GetJoin() {
		why.Code = tandemv1.Reason_CODE_TOKEN_ENDED
	}
	return &refusal{connect.CodeUnauthenticated, why}
}

func tokenEnded(t *tandemv1.Token, now time.Time) bool {
	return t.GetExpiresAt() != nil && !now.Before(t.GetExpiresAt().AsTime())
}

// allowed says why p may not call a procedure; nil: it may.
func (p Principal) allowed(procedure string) error {
	switch {
	case p.may(schema.Access(procedure)):
		return nil
	case p.Role == "":
		return ErrUnauthenticated
	}
	return fmt.Errorf("%w: a %s may not call %s", ErrDenied, p.Role, procedure[strings.LastIndex(procedure, "/")+1:])
}

// guard turns plain errors into those of Connect. It asks once more who may call a procedure: the entry has asked for the one that
// the path names, and this is the one that is called.
type guard struct{ a *API }

func (g *guard) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		err := From(ctx).allowed(req.Spec().Procedure)
		if err == nil {
			err = From(ctx).gone(g.a.deps.State.View(), time.Now()) // it may have waited for its turn, or for its body
		}
		if err != nil {
			tallied(ctx).note(err)
			return nil, connectError(err)
		}
		res, err := next(ctx, req)
		if err == nil {
			m, _ := res.Any().(proto.Message)
			err = visiting(ctx).Answer(proto.Size(m)) // until its client has read it
		}
		tallied(ctx).note(err)
		if err != nil {
			return nil, g.answer(req.Spec().Procedure, err)
		}
		return res, nil
	}
}

func (g *guard) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		err := From(ctx).allowed(conn.Spec().Procedure)
		if err == nil {
			err = next(ctx, conn)
		}
		if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
			err = cause // who called may be here no longer
		}
		tallied(ctx).note(err)
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
