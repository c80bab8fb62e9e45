package api

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/pki"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// keys are what a node trusts and gossips with.
func (a *API) keys(v *state.View) (*tandemv1.Keys, error) {
	cluster, _ := v.Cluster()
	if len(cluster.GetAuthorities()) == 0 {
		return pki.Own(a.deps.Self.Get()), nil // the leader is about to note them
	}
	return pki.KeysOf(cluster, a.deps.Seal)
}

// signer is the CA that signs according to the state. That of this coordinator may be the one before it for a moment: it follows the
// state. What it signed then would be the certificate that the node has already, with keys of the new version: nothing to renew.
func (a *API) signer(v *state.View) (*pki.CA, error) {
	cluster, _ := v.Cluster()
	return pki.Signer(cluster, a.deps.CA(), a.deps.Seal)
}

func keysVersion(v *state.View) int64 {
	cluster, _ := v.Cluster()
	return cluster.GetKeysVersion()
}

// Renew implements AgentService.
func (a agents) Renew(ctx context.Context, req *connect.Request[tandemv1.RenewRequest]) (*connect.Response[tandemv1.RenewResponse], error) {
	m := req.Msg
	if err := checkSender(ctx, m.GetNodeId()); err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(m.GetCertificate())
	if err != nil {
		return nil, invalid("certificate: " + err.Error())
	}
	who := identity.Identity{Cluster: a.deps.Self.Identity.Cluster, Role: identity.RoleWorker, Node: m.GetNodeId()}
	if named, err := identity.FromCertificate(leaf); err != nil || named != who {
		return nil, invalid("certificate: is not that of the node")
	}
	key, err := pki.CheckRequest(m.GetCsr())
	if err != nil {
		return nil, invalid("csr: " + err.Error())
	}
	if k, ok := leaf.PublicKey.(interface{ Equal(x crypto.PublicKey) bool }); ok && !k.Equal(key) {
		return nil, invalid("csr: is for another key than the certificate")
	}
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	res := &tandemv1.RenewResponse{}
	if res.Keys, err = a.keys(v); err != nil {
		return nil, err
	}
	ca, err := a.signer(v)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if res.Certificate, err = ca.Renewed(who, leaf, nil, now); err != nil {
		return nil, err
	}
	if res.Certificate != nil {
		if err := a.maySign(req.Header(), now); err != nil {
			return nil, err
		}
	}
	return connect.NewResponse(res), a.noteKeys(ctx, v, m, leaf)
}

// noteKeys notes in the state what a node holds, if that is news.
func (a agents) noteKeys(ctx context.Context, v *state.View, m *tandemv1.RenewRequest, leaf *x509.Certificate) error {
	n, ok := v.Node(m.GetNodeId())
	held := &tandemv1.HoldKeys{NodeId: m.GetNodeId(), Version: m.GetVersion(), CertificateExpiresAt: timestamppb.New(leaf.NotAfter)}
	cluster, _ := v.Cluster()
	for _, authority := range cluster.GetAuthorities() {
		if ca, err := x509.ParseCertificate(authority.GetCertificate()); err == nil && leaf.CheckSignatureFrom(ca) == nil {
			held.Authority = identity.CAHash(ca.Raw)
		}
	}
	if !ok || n.GetKeysVersion() == held.GetVersion() && n.GetAuthority() == held.GetAuthority() && n.GetCertificateExpiresAt().AsTime().Equal(leaf.NotAfter) {
		return nil
	}
	_, err := a.propose(ctx, &tandemv1.Command{Command: &tandemv1.Command_HoldKeys{HoldKeys: held}})
	return err
}

// RotateKeys implements ClusterService.
func (a cluster) RotateKeys(ctx context.Context, req *connect.Request[tandemv1.RotateKeysRequest]) (*connect.Response[tandemv1.RotateKeysResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	c, _ := v.Cluster()
	change, err := a.nextKeys(v, c, req.Msg)
	if err != nil {
		return nil, err
	}
	_, _, err = a.write(ctx, nil, &tandemv1.Command{Command: &tandemv1.Command_ChangeKeys{ChangeKeys: change}})
	return answer(&tandemv1.RotateKeysResponse{}, err)
}

// nextKeys are the keys as an operator wants them.
func (a cluster) nextKeys(v *state.View, c *tandemv1.Cluster, m *tandemv1.RotateKeysRequest) (*tandemv1.ChangeKeys, error) {
	authority := m.GetKey() == tandemv1.RotatedKey_ROTATED_KEY_AUTHORITY
	switch {
	case !authority && m.GetKey() != tandemv1.RotatedKey_ROTATED_KEY_GOSSIP:
		return nil, invalid("key: must be ROTATED_KEY_AUTHORITY or ROTATED_KEY_GOSSIP")
	case !authority && m.GetFinish():
		return nil, invalid("finish: only a CA is ended so; a gossip key goes by itself")
	case state.ActiveAuthority(c) == nil:
		return nil, precondition("the leader has not noted the keys of the cluster yet: try again in a moment")
	case !authority && len(c.GetGossipKeys()) > 1:
		return nil, precondition("the gossip key is being replaced already: tandem cluster describe shows how far it is")
	case !authority:
		return pki.WithNextGossip(c, a.deps.Seal), nil
	case !m.GetFinish() && len(c.GetAuthorities()) > 1:
		return nil, precondition("the CA is being replaced already: tandem cluster describe shows how far it is")
	case !m.GetFinish():
		if err := a.maySign(nil, time.Now()); err != nil {
			return nil, err
		}
		ca, err := pki.OpenAuthority(state.ActiveAuthority(c), a.deps.Seal)
		if err != nil {
			return nil, err
		}
		return pki.WithNextAuthority(c, ca, a.deps.Seal, time.Now())
	case state.FormerAuthority(c) == nil:
		return nil, precondition("no CA is to be given up: the new one is not in use yet, or there is none")
	}
	if behind := unrenewed(v, c); len(behind) > 0 && !m.GetForce() {
		return nil, precondition(fmt.Sprintf("%s still have a certificate of the former CA: start them, or remove them, or finish with force, and they have to join again", strings.Join(behind, ", ")))
	}
	return pki.WithoutFormer(c), nil
}

// unrenewed are those that have no certificate of the active CA, lost ones too.
func unrenewed(v *state.View, c *tandemv1.Cluster) []string {
	active := identity.CAHash(state.ActiveAuthority(c).GetCertificate())
	var all []string
	for _, h := range v.Holders() {
		if h.Authority != active {
			all = append(all, h.Name)
		}
	}
	return all
}

// rotation is how far the keys are.
func rotation(v *state.View) *tandemv1.Rotation {
	c, _ := v.Cluster()
	r := &tandemv1.Rotation{CaPem: state.CAPEM(c)}
	if ca, err := x509.ParseCertificate(state.ActiveAuthority(c).GetCertificate()); err == nil {
		r.CaExpiresAt = timestamppb.New(ca.NotAfter)
	}
	switch next, former := state.NextAuthority(c), state.FormerAuthority(c); {
	case next != nil:
		r.Authority = tandemv1.KeyState_KEY_STATE_NEXT
		r.WaitingFor = names(state.Lacking(v, next.GetSince()))
	case former != nil:
		r.Authority = tandemv1.KeyState_KEY_STATE_FORMER
		r.WaitingFor = unrenewed(v, c)
	}
	for _, s := range []tandemv1.KeyState{tandemv1.KeyState_KEY_STATE_NEXT, tandemv1.KeyState_KEY_STATE_FORMER} {
		if k := state.GossipIn(c, s); k != nil {
			r.Gossip = s
			r.WaitingFor = append(r.WaitingFor, names(state.Lacking(v, k.GetSince()))...)
		}
	}
	return r
}

func names(all []state.Holder) []string {
	var names []string
	for _, h := range all {
		names = append(names, h.Name)
	}
	return names
}
