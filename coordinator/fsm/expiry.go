package fsm

import (
	"crypto/sha256"
	"encoding/hex"

	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// noteExpiry says, once for each, which certificates and tokens are about to end. What has another end by now is passed over.
func (a *applier) noteExpiry(c *tandemv1.NoteExpiry) (*tandemv1.Result, *refusal) {
	for _, e := range c.GetExpiries() {
		switch e.GetNoun() {
		case "node":
			if n, ok := a.Node(e.GetId()); ok && !n.GetExpiryNoted() && sameTime(n.GetCertificateExpiresAt(), e.GetExpiresAt()) {
				n = state.Clone(n)
				n.ExpiryNoted = true
				a.Put(n)
				a.certificateEnds(aboutNode(n), e)
			}
		case "coordinator":
			if row, ok := a.Coordinator(e.GetId()); ok && !row.GetExpiryNoted() && sameTime(row.GetCertificateExpiresAt(), e.GetExpiresAt()) {
				row = state.Clone(row)
				row.ExpiryNoted = true
				a.Put(row)
				a.certificateEnds(aboutCoordinator(row.GetId()), e)
			}
		case "CA":
			a.authorityEnds(e)
		case "token":
			if t, ok := a.Token(e.GetId()); ok && !t.GetExpiryNoted() && sameTime(t.GetExpiresAt(), e.GetExpiresAt()) {
				t = state.Clone(t)
				t.ExpiryNoted = true
				a.Put(t)
				a.record(warningLevel, tandemv1.Event_TYPE_TOKEN_ENDS, aboutToken(t), nil, "expires_at", e.GetExpiresAt().GetSeconds(), "role", t.GetRole())
			}
		}
	}
	return done(""), nil
}

func (a *applier) authorityEnds(e *tandemv1.Expiry) {
	old, ok := a.Cluster()
	if !ok {
		return
	}
	now := state.Clone(old)
	for _, ca := range now.GetAuthorities() {
		if sum := sha256.Sum256(ca.GetCertificate()); hex.EncodeToString(sum[:]) == e.GetId() && !ca.GetExpiryNoted() {
			ca.ExpiryNoted = true
			a.Put(now)
			a.certificateEnds(subject{noun: "cluster", id: "CA", name: "CA"}, e)
			return
		}
	}
}

func (a *applier) certificateEnds(about subject, e *tandemv1.Expiry) {
	a.record(warningLevel, tandemv1.Event_TYPE_CERTIFICATE_ENDS, about, nil, "what", e.GetNoun(), "expires_at", e.GetExpiresAt().GetSeconds())
}

func sameTime(a, b *timestamppb.Timestamp) bool { return a.AsTime().Equal(b.AsTime()) }
