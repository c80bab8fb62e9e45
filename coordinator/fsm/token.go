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
	if former, ok := a.TokenNamed(want.GetName()); ok && a.spent(former) {
		a.Delete(former) // nobody can use it any more: its name is free
	} else if ok {
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

// admitNode counts a node that joins. The count is part of the decision: of two nodes that come with the last use of a token
// one is let in.
func (a *applier) admitNode(c *tandemv1.AdmitNode) *tandemv1.Result {
	t, ok := a.Token(c.GetTokenId())
	switch {
	case c.GetNodeId() == "":
		return refuseFor(invalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "node", "field", "id")
	case !ok || !t.GetJoin():
		return refuseFor(notFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "token", "name", c.GetTokenId())
	case ended(t.GetExpiresAt(), a.now):
		return refuseFor(precondition, tandemv1.Reason_CODE_TOKEN_ENDED, "token", t.GetName(), "role", t.GetRole())
	case a.spent(t):
		return refuseFor(precondition, tandemv1.Reason_CODE_TOKEN_USED_UP, "token", t.GetName(), "role", t.GetRole(), "nodes", t.GetUsed())
	}
	t = state.Clone(t)
	t.Used++
	a.Put(t)
	a.record(info, tandemv1.Event_TYPE_TOKEN_USED, aboutToken(t), nil, "role", t.GetRole(), "node", c.GetNodeId())
	return done(c.GetNodeId())
}

// spent says whether a token is of no use to anybody any more: its time is over, or as many nodes have joined with it as may.
func (a *applier) spent(t *tandemv1.Token) bool {
	return ended(t.GetExpiresAt(), a.now) || t.GetUses() > 0 && t.GetUsed() >= t.GetUses()
}

// lasting says whether a token keeps an administrator from being locked out.
func lasting(t *tandemv1.Token) bool {
	return !t.GetJoin() && t.GetRole() == "admin" && t.GetExpiresAt() == nil
}
