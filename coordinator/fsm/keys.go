package fsm

import (
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// changeKeys replaces the keys of the cluster, if they are those that it was decided on.
func (a *applier) changeKeys(c *tandemv1.ChangeKeys) (*tandemv1.Result, *refusal) {
	old, ok := a.Cluster()
	switch {
	case !ok:
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "cluster", "name", "")
	case old.GetKeysVersion() != c.GetVersion():
		return nil, refuse(codeStale, tandemv1.Reason_CODE_KEYS_CHANGED, "current", old.GetKeysVersion(), "given", c.GetVersion())
	case state.Actives(c.GetAuthorities()) != 1 || state.Actives(c.GetGossipKeys()) != 1:
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_KEYS_INVALID)
	}
	now := a.editCluster(func(row *tandemv1.Cluster) {
		row.Authorities, row.GossipKeys = c.GetAuthorities(), c.GetGossipKeys()
		row.KeysVersion++
	})
	a.keyEvents("CA", state.KeyParts(old.GetAuthorities(), (*tandemv1.Authority).GetCertificate), state.KeyParts(now.GetAuthorities(), (*tandemv1.Authority).GetCertificate))
	a.keyEvents("gossip key", state.KeyParts(old.GetGossipKeys(), (*tandemv1.GossipKey).GetSealed), state.KeyParts(now.GetGossipKeys(), (*tandemv1.GossipKey).GetSealed))
	return done(now.GetId()), nil
}

// keyEvents says what has become of keys of a kind.
func (a *applier) keyEvents(kind string, old, now []state.KeyPart) {
	for _, what := range state.KeyNews(old, now) {
		a.record(infoLevel, what, subject{noun: "cluster", id: kind, name: kind}, nil, "key", kind, "by", a.actor)
	}
}

// holdKeys notes which keys a node or a coordinator holds.
func (a *applier) holdKeys(c *tandemv1.HoldKeys) (*tandemv1.Result, *refusal) {
	n := edit(a, a.Node, c.GetNodeId(), func(n *tandemv1.Node) {
		n.ExpiryNoted = n.GetExpiryNoted() && sameTime(n.GetCertificateExpiresAt(), c.GetCertificateExpiresAt())
		n.KeysVersion, n.Authority, n.CertificateExpiresAt = c.GetVersion(), c.GetAuthority(), c.GetCertificateExpiresAt()
	})
	if n != nil {
		return done(n.GetId()), nil
	}
	row := edit(a, a.Coordinator, c.GetNodeId(), func(row *tandemv1.Coordinator) {
		row.ExpiryNoted = row.GetExpiryNoted() && sameTime(row.GetCertificateExpiresAt(), c.GetCertificateExpiresAt())
		row.KeysVersion, row.Authority, row.CertificateExpiresAt = c.GetVersion(), c.GetAuthority(), c.GetCertificateExpiresAt()
	})
	if row == nil {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "node", "name", c.GetNodeId())
	}
	return done(row.GetId()), nil
}
