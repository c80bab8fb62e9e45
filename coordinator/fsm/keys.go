package fsm

import (
	"bytes"

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
	case actives(c.GetAuthorities()) != 1 || actives(c.GetGossipKeys()) != 1:
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_KEYS_INVALID)
	}
	now := a.editCluster(func(row *tandemv1.Cluster) {
		row.Authorities, row.GossipKeys = c.GetAuthorities(), c.GetGossipKeys()
		row.KeysVersion++
	})
	a.keyEvents("CA", keyParts(old.GetAuthorities(), (*tandemv1.Authority).GetCertificate), keyParts(now.GetAuthorities(), (*tandemv1.Authority).GetCertificate))
	a.keyEvents("gossip key", keyParts(old.GetGossipKeys(), (*tandemv1.GossipKey).GetSealed), keyParts(now.GetGossipKeys(), (*tandemv1.GossipKey).GetSealed))
	return done(now.GetId()), nil
}

// key is what CAs and gossip keys have in common.
type key interface{ GetState() tandemv1.KeyState }

func actives[K key](keys []K) (n int) {
	for _, k := range keys {
		if k.GetState() == tandemv1.KeyState_KEY_STATE_ACTIVE {
			n++
		}
	}
	return n
}

// keyPart is the part that one key has.
type keyPart struct {
	id    []byte
	state tandemv1.KeyState
}

func keyParts[K key](keys []K, id func(K) []byte) []keyPart {
	var all []keyPart
	for _, k := range keys {
		all = append(all, keyPart{id(k), k.GetState()})
	}
	return all
}

// keyEvents says what has become of keys of a kind. That there are some for the first time is no news.
func (a *applier) keyEvents(kind string, old, now []keyPart) {
	if len(old) == 0 {
		return
	}
	find := func(all []keyPart, id []byte) tandemv1.KeyState {
		for _, p := range all {
			if bytes.Equal(p.id, id) {
				return p.state
			}
		}
		return tandemv1.KeyState_KEY_STATE_UNSPECIFIED
	}
	say := func(what tandemv1.Event_Type) {
		a.record(infoLevel, what, subject{noun: "cluster", id: kind, name: kind}, nil, "key", kind, "by", a.actor)
	}
	for _, k := range now {
		switch was := find(old, k.id); {
		case was == k.state:
		case k.state == tandemv1.KeyState_KEY_STATE_NEXT:
			say(tandemv1.Event_TYPE_KEY_NEXT)
		case k.state == tandemv1.KeyState_KEY_STATE_ACTIVE:
			say(tandemv1.Event_TYPE_KEY_ACTIVE)
		}
	}
	for _, k := range old {
		if find(now, k.id) == tandemv1.KeyState_KEY_STATE_UNSPECIFIED {
			say(tandemv1.Event_TYPE_KEY_REMOVED)
		}
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
