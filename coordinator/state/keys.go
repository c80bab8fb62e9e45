package state

import (
	"encoding/pem"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// ActiveAuthority returns the CA that signs; nil before the cluster has noted it.
func ActiveAuthority(c *tandemv1.Cluster) *tandemv1.Authority {
	return inState(c.GetAuthorities(), tandemv1.KeyState_KEY_STATE_ACTIVE)
}

// NextAuthority returns the CA that nodes learn to trust; nil when there is none.
func NextAuthority(c *tandemv1.Cluster) *tandemv1.Authority {
	return inState(c.GetAuthorities(), tandemv1.KeyState_KEY_STATE_NEXT)
}

// FormerAuthority returns the CA that is still trusted and signs no more; nil when there is none.
func FormerAuthority(c *tandemv1.Cluster) *tandemv1.Authority {
	return inState(c.GetAuthorities(), tandemv1.KeyState_KEY_STATE_FORMER)
}

// GossipIn returns the gossip key of a state; nil when there is none.
func GossipIn(c *tandemv1.Cluster, s tandemv1.KeyState) *tandemv1.GossipKey {
	return inState(c.GetGossipKeys(), s)
}

func inState[K interface{ GetState() tandemv1.KeyState }](keys []K, s tandemv1.KeyState) (none K) {
	for _, k := range keys {
		if k.GetState() == s {
			return k
		}
	}
	return none
}

// Holder is a node or a coordinator, and which keys it holds.
type Holder struct {
	ID        string
	Name      string // for people
	Alive     bool
	Version   int64  // keys_version
	Authority string // SHA-256 of the certificate of the CA that signed its own
}

// Holders returns all nodes and coordinators.
func (v *View) Holders() []Holder {
	var all []Holder
	for _, c := range v.Coordinators() {
		all = append(all, Holder{c.GetId(), "coordinator " + c.GetId(), c.GetAlive(), c.GetKeysVersion(), c.GetAuthority()})
	}
	for _, n := range v.Nodes() {
		all = append(all, Holder{n.GetId(), "node " + n.GetName(), n.GetState() == tandemv1.NodeState_NODE_STATE_ALIVE, n.GetKeysVersion(), n.GetAuthority()})
	}
	return all
}

// CAPEM is the certificates of all CAs that are trusted, PEM.
func CAPEM(c *tandemv1.Cluster) string {
	var all []byte
	for _, a := range c.GetAuthorities() {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.GetCertificate()})...)
	}
	return string(all)
}

// Held says whether all that are alive hold the keys of a version or of a later one.
func Held(v *View, version int64) bool { return len(Lacking(v, version)) == 0 }

// Lacking are those that are alive and hold only older keys.
func Lacking(v *View, version int64) []Holder {
	var all []Holder
	for _, h := range v.Holders() {
		if h.Alive && h.Version < version {
			all = append(all, h)
		}
	}
	return all
}
