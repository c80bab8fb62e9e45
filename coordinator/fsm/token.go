package fsm

import (
	"slices"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *applier) putToken(c *tandemv1.PutToken) (*tandemv1.Result, *refusal) {
	want := c.GetToken()
	if field := missing("id", want.GetId(), "name", want.GetName(), "sha256", want.GetSha256(), "role", want.GetRole()); field != "" {
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "token", "field", field)
	}
	if _, ok := a.Token(want.GetId()); ok {
		return nil, refuse(codeExists, tandemv1.Reason_CODE_ALREADY_EXISTS, "noun", "token", "name", want.GetId())
	}
	project, no := tokenProject(a.sight, want.GetProject())
	if no != nil {
		return nil, no
	}
	if former, ok := a.TokenNamed(want.GetName()); ok && a.spent(former) {
		a.Delete(former) // nobody can use it any more: its name is free
	} else if ok {
		return nil, refuse(codeExists, tandemv1.Reason_CODE_ALREADY_EXISTS, "noun", "token", "name", want.GetName())
	}
	if _, ok := a.TokenBySHA256(want.GetSha256()); ok {
		return nil, refuse(codeExists, tandemv1.Reason_CODE_TOKEN_SECRET_TAKEN)
	}
	t := state.Clone(want)
	t.CreatedAt, t.Project = a.now, project
	a.Put(t)
	a.record(infoLevel, tandemv1.Event_TYPE_TOKEN_CREATED, aboutToken(t), nil, "role", t.GetRole(), "by", a.actor)
	return done(t.GetId()), nil
}

func (a *applier) dropToken(c *tandemv1.DropToken) (*tandemv1.Result, *refusal) {
	t, ok := a.Token(c.GetTokenId())
	if !ok {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "token", "name", c.GetTokenId())
	}
	if lasting(t) && !slices.ContainsFunc(a.AllTokens(), func(o *tandemv1.Token) bool { return lasting(o) && o.GetId() != t.GetId() }) {
		return nil, refuse(codePrecondition, tandemv1.Reason_CODE_TOKEN_LAST, "name", t.GetName())
	}
	a.Delete(t)
	a.record(infoLevel, tandemv1.Event_TYPE_TOKEN_REVOKED, aboutToken(t), nil, "by", a.actor)
	return done(t.GetId()), nil
}

// admitNode counts a node that joins. The count is part of the decision: of two nodes that come with the last use of a token
// one is let in.
func (a *applier) admitNode(c *tandemv1.AdmitNode) (*tandemv1.Result, *refusal) {
	t, ok := a.Token(c.GetTokenId())
	switch {
	case c.GetNodeId() == "":
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "node", "field", "id")
	case !ok || !t.GetJoin():
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "token", "name", c.GetTokenId())
	case passed(t.GetExpiresAt(), a.now):
		return nil, refuse(codePrecondition, tandemv1.Reason_CODE_TOKEN_ENDED, "token", t.GetName(), "role", t.GetRole())
	case a.spent(t):
		return nil, refuse(codePrecondition, tandemv1.Reason_CODE_TOKEN_USED_UP, "token", t.GetName(), "role", t.GetRole(), "nodes", t.GetUsed())
	}
	edit(a, a.Token, t.GetId(), func(t *tandemv1.Token) { t.Used++ })
	a.record(infoLevel, tandemv1.Event_TYPE_TOKEN_USED, aboutToken(t), nil, "role", t.GetRole(), "node", c.GetNodeId())
	return done(c.GetNodeId()), nil
}

// spent says whether a token is of no use to anybody any more: its time is over, or as many nodes have joined with it as may.
func (a sight) spent(t *tandemv1.Token) bool {
	return passed(t.GetExpiresAt(), a.now) || t.GetUses() > 0 && t.GetUsed() >= t.GetUses()
}

// lasting says whether a token keeps an administrator from being locked out.
func lasting(t *tandemv1.Token) bool {
	return !t.GetJoin() && t.GetRole() == "admin" && t.GetExpiresAt() == nil
}
