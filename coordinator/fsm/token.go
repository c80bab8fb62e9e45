package fsm

import (
	"slices"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *applier) putToken(c *tandemv1.PutToken) *tandemv1.Result {
	want := c.GetToken()
	if want.GetId() == "" || want.GetName() == "" || want.GetSha256() == "" || want.GetRole() == "" {
		return refuse(invalid, "a token needs an id, a name, a role and the hash of its secret")
	}
	if _, ok := a.Token(want.GetId()); ok {
		return refuse(exists, "token %s is there already", want.GetId())
	}
	if _, ok := a.TokenNamed(want.GetName()); ok {
		return refuse(exists, "a token named %q is there already; choose another name or revoke it first", want.GetName())
	}
	if _, ok := a.TokenBySHA256(want.GetSha256()); ok {
		return refuse(exists, "a token with this secret is there already")
	}
	t := state.Clone(want)
	t.CreatedAt = a.now
	a.Put(t)
	a.event(info, "token", t.GetId(), "", "Token %s with role %s was made by %s.", t.GetName(), t.GetRole(), a.who())
	return done(t.GetId())
}

func (a *applier) dropToken(c *tandemv1.DropToken) *tandemv1.Result {
	t, ok := a.Token(c.GetTokenId())
	if !ok {
		return refuse(notFound, "token %q is not there; see what is with: tandem token list", c.GetTokenId())
	}
	if lasting(t) && !slices.ContainsFunc(a.AllTokens(), func(o *tandemv1.Token) bool { return lasting(o) && o.GetId() != t.GetId() }) {
		return refuse(precondition, "token %s is the last one with role admin that does not end; make another one first", t.GetName())
	}
	a.Delete(t)
	a.event(info, "token", t.GetId(), "", "Token %s was revoked by %s.", t.GetName(), a.who())
	return done(t.GetId())
}

// lasting says whether a token keeps an administrator from being locked out.
func lasting(t *tandemv1.Token) bool {
	return !t.GetJoin() && t.GetRole() == "admin" && t.GetExpiresAt() == nil
}
