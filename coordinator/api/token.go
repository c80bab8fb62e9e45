package api

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/id"
	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

type tokens struct{ *API }

// projectLevel is the feature level that projects came with.
const projectLevel = 2

// How long tokens are good unless their maker says otherwise, and at most.
const (
	day           = 24 * time.Hour
	joinLife      = time.Hour
	maxJoinLife   = 30 * day // it is for machines that are about to join
	clientLife    = 90 * day
	maxClientLife = math.MaxInt32 * time.Second
)

// CreateToken implements TokenService.
func (a tokens) CreateToken(ctx context.Context, req *connect.Request[tandemv1.CreateTokenRequest]) (*connect.Response[tandemv1.CreateTokenResponse], error) {
	m := req.Msg
	if err := checkToken(m); err != nil {
		return nil, err
	}
	ttl := time.Duration(m.GetTtlSeconds()) * time.Second
	t := &tandemv1.Token{Id: id.New("token"), Name: m.GetName(), Role: m.GetRole(), Join: m.GetJoin()}
	if err := a.checkReach(ctx, m); err != nil {
		return nil, err
	}
	if !m.GetJoin() && m.GetRole() != "admin" {
		t.Project = m.GetProject()
	}
	secret := identity.NewBearerToken()
	if m.GetJoin() {
		secret = identity.NewJoinToken(identity.Role(m.GetRole()), a.deps.CA().Certificate).String()
		ttl = cmp.Or(ttl, joinLife)
		t.Uses = max(0, cmp.Or(m.GetUses(), 1))
	}
	t.Sha256 = identity.HashToken(secret)
	if !m.GetJoin() {
		ttl = cmp.Or(ttl, clientLife)
	}
	if ttl > 0 {
		t.ExpiresAt = timestamppb.New(time.Now().Add(ttl))
	}
	// The secret is shown once: a repeated request could not be answered with it, so that each makes its own token.
	_, after, err := a.write(ctx, nil, &tandemv1.Command{Command: &tandemv1.Command_PutToken{PutToken: &tandemv1.PutToken{Token: t}}})
	if err != nil {
		return nil, err
	}
	made, _ := after.Whole().Token(t.GetId())
	return connect.NewResponse(&tandemv1.CreateTokenResponse{Token: withoutHash(made), Secret: secret}), nil
}

func checkToken(m *tandemv1.CreateTokenRequest) error {
	roles := []string{"admin", "user", "viewer"}
	if m.GetJoin() {
		roles = []string{string(identity.RoleCoordinator), string(identity.RoleWorker)}
	}
	switch {
	case !spec.IsName(m.GetName()):
		return invalid("name: " + spec.NameRule)
	case !slices.Contains(roles, m.GetRole()):
		return invalid(fmt.Sprintf("role: %q is not known, must be %s", m.GetRole(), spec.OneOf(roles)))
	case m.GetJoin() && (m.GetTtlSeconds() < 0 || m.GetTtlSeconds() > int64(maxJoinLife/time.Second)):
		return invalid(fmt.Sprintf("ttl_seconds: a token that lets nodes join is good for 1 to %d seconds (%d days); 0 means an hour", maxJoinLife/time.Second, maxJoinLife/day))
	case m.GetTtlSeconds() < -1 || m.GetTtlSeconds() > int64(maxClientLife/time.Second):
		return invalid(fmt.Sprintf("ttl_seconds: a token of a client is good for 1 to %d seconds (%d days); 0 means %d days, and -1 that it never ends",
			maxClientLife/time.Second, maxClientLife/day, clientLife/day))
	case !m.GetJoin() && m.GetUses() != 0:
		return invalid("uses: only a join token counts them")
	case m.GetUses() < -1:
		return invalid("uses: must be 1 or more; 0 means 1, and -1 any number")
	}
	return nil
}

// checkReach says what is wrong with the project of a token. An admin has all: what admins do, to nodes, keys and tokens, is of no project.
func (a tokens) checkReach(ctx context.Context, m *tandemv1.CreateTokenRequest) error {
	v, err := a.view(ctx)
	if err != nil {
		return err
	}
	_, known := v.Whole().Project(m.GetProject())
	switch {
	case m.GetProject() == "":
		return nil
	case m.GetJoin():
		return invalid("project: only tokens of clients have one")
	case m.GetRole() == "admin" && m.GetProject() != state.AllProjects:
		return invalid("project: an admin has all projects: leave it out, or make it a user or a viewer")
	case m.GetProject() == state.AllProjects:
		if m.GetRole() != "admin" && v.Level() < projectLevel {
			return fmt.Errorf("%w: a token of all projects needs level %d, and the cluster is at %d",
				consensus.ErrLevel, projectLevel, v.Level())
		}
		return nil
	case !known:
		return state.Missing("project", m.GetProject())
	}
	return nil
}

func withoutHash(t *tandemv1.Token) *tandemv1.Token {
	if t == nil {
		return nil
	}
	t = state.Clone(t)
	t.Sha256, t.Project = "", state.ReachOf(t)
	if t.GetJoin() {
		t.Project = ""
	}
	return t
}

// ListTokens implements TokenService.
func (a tokens) ListTokens(ctx context.Context, _ *connect.Request[tandemv1.ListTokensRequest]) (*connect.Response[tandemv1.ListTokensResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	res := &tandemv1.ListTokensResponse{}
	for _, t := range v.Whole().Tokens() {
		res.Tokens = append(res.Tokens, withoutHash(t))
	}
	return connect.NewResponse(res), nil
}

// RevokeToken implements TokenService.
func (a tokens) RevokeToken(ctx context.Context, req *connect.Request[tandemv1.RevokeTokenRequest]) (*connect.Response[tandemv1.RevokeTokenResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	t, err := v.Whole().ResolveToken(req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	_, _, err = a.write(ctx, nil, &tandemv1.Command{Command: &tandemv1.Command_DropToken{DropToken: &tandemv1.DropToken{TokenId: t.GetId()}}})
	return answer(&tandemv1.RevokeTokenResponse{}, err)
}
