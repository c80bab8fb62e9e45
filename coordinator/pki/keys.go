package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"time"

	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// What is sealed, so that nothing passes for another.
const (
	sealedCA     = "CA key"
	sealedGossip = "gossip key"
)

// KeysOf are the keys that a node holds according to the cluster.
func KeysOf(c *tandemv1.Cluster, seal *Seal) (*tandemv1.Keys, error) {
	keys := &tandemv1.Keys{Version: c.GetKeysVersion()}
	for _, a := range activeFirst(c.GetAuthorities()) {
		keys.Authorities = append(keys.Authorities, a.GetCertificate())
		if len(a.GetCrossCertificate()) > 0 {
			keys.Cross = append(keys.Cross, a.GetCrossCertificate())
		}
	}
	for _, k := range activeFirst(c.GetGossipKeys()) {
		key, err := seal.Open(k.GetSealed(), sealedGossip)
		if err != nil {
			return nil, err
		}
		keys.GossipKeys = append(keys.GossipKeys, key)
	}
	return keys, nil
}

// activeFirst puts the active key in front, as those of a node are.
func activeFirst[K interface{ GetState() tandemv1.KeyState }](keys []K) []K {
	var first, rest []K
	for _, k := range keys {
		if k.GetState() == tandemv1.KeyState_KEY_STATE_ACTIVE {
			first = append(first, k)
		} else {
			rest = append(rest, k)
		}
	}
	return append(first, rest...)
}

// OpenAuthority is the CA of a row.
func OpenAuthority(a *tandemv1.Authority, seal *Seal) (*CA, error) {
	cert, err := x509.ParseCertificate(a.GetCertificate())
	if err != nil {
		return nil, fmt.Errorf("read the CA's certificate: %w", err)
	}
	key, err := seal.Open(a.GetSealedKey(), sealedCA)
	if err != nil {
		return nil, err
	}
	return From(cert, key)
}

// Signer is the CA that signs according to a cluster. It is own, the one of a coordinator, until the cluster has noted another.
func Signer(c *tandemv1.Cluster, own *CA, seal *Seal) (*CA, error) {
	active := activeFirst(c.GetAuthorities())
	if len(active) == 0 || bytes.Equal(active[0].GetCertificate(), own.Certificate.Raw) {
		return own, nil
	}
	return OpenAuthority(active[0], seal)
}

// Adopted are the first keys of a cluster: those that its founder made.
func Adopted(ca *CA, gossip []byte, seal *Seal) (*tandemv1.ChangeKeys, error) {
	der, err := ca.KeyDER()
	if err != nil {
		return nil, err
	}
	const active = tandemv1.KeyState_KEY_STATE_ACTIVE
	return &tandemv1.ChangeKeys{
		Authorities: []*tandemv1.Authority{{Certificate: ca.Certificate.Raw, SealedKey: seal.Close(der, sealedCA), State: active, Since: 1}},
		GossipKeys:  []*tandemv1.GossipKey{{Sealed: seal.Close(gossip, sealedGossip), State: active, Since: 1}},
	}, nil
}

// WithNextAuthority adds a new CA to the keys of a cluster: one that nodes learn to trust, signed also by the active one.
func WithNextAuthority(c *tandemv1.Cluster, active *CA, seal *Seal, now time.Time) (*tandemv1.ChangeKeys, error) {
	next, err := New(c.GetId(), now)
	if err != nil {
		return nil, err
	}
	cross, err := active.Cross(next.Certificate)
	if err != nil {
		return nil, err
	}
	der, err := next.KeyDER()
	if err != nil {
		return nil, err
	}
	change := unchanged(c)
	change.Authorities = append(change.Authorities, &tandemv1.Authority{
		Certificate: next.Certificate.Raw, SealedKey: seal.Close(der, sealedCA), CrossCertificate: cross,
		State: tandemv1.KeyState_KEY_STATE_NEXT, Since: c.GetKeysVersion() + 1,
	})
	return change, nil
}

// WithNextGossip adds a new gossip key to the keys of a cluster: one that nodes learn to read with.
func WithNextGossip(c *tandemv1.Cluster, seal *Seal) *tandemv1.ChangeKeys {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the process instead
	change := unchanged(c)
	change.GossipKeys = append(change.GossipKeys, &tandemv1.GossipKey{
		Sealed: seal.Close(key, sealedGossip), State: tandemv1.KeyState_KEY_STATE_NEXT, Since: c.GetKeysVersion() + 1,
	})
	return change
}

// WithoutFormer takes the CA away that signs no more, and what leads to it.
func WithoutFormer(c *tandemv1.Cluster) *tandemv1.ChangeKeys {
	change := unchanged(c)
	change.Authorities = nil
	for _, a := range c.GetAuthorities() {
		if a.GetState() != tandemv1.KeyState_KEY_STATE_FORMER {
			change.Authorities = append(change.Authorities, &tandemv1.Authority{
				Certificate: a.GetCertificate(), SealedKey: a.GetSealedKey(), State: a.GetState(), Since: a.GetSince(),
			})
		}
	}
	return change
}

func unchanged(c *tandemv1.Cluster) *tandemv1.ChangeKeys {
	return &tandemv1.ChangeKeys{
		Version:     c.GetKeysVersion(),
		Authorities: append([]*tandemv1.Authority(nil), c.GetAuthorities()...),
		GossipKeys:  append([]*tandemv1.GossipKey(nil), c.GetGossipKeys()...),
	}
}

// Own are the keys of credentials, before the cluster has noted any.
func Own(c *identity.Credentials) *tandemv1.Keys {
	keys := &tandemv1.Keys{GossipKeys: c.GossipKeys()}
	for _, ca := range c.Trusted() {
		keys.Authorities = append(keys.Authorities, ca.Raw)
	}
	return keys
}

// Renewed signs the certificate of a node anew for the same key when it should be: it is stale, or another CA signed it. Nil: it is
// good as it is.
func (ca *CA) Renewed(node identity.Identity, leaf *x509.Certificate, hosts []string, now time.Time) ([]byte, error) {
	if !Stale(leaf, node.Role, hosts, now) && leaf.CheckSignatureFrom(ca.Certificate) == nil {
		return nil, nil
	}
	return ca.Sign(node, leaf.PublicKey, hosts, now)
}
