package fsm

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// noteExpiry says, once for each, which certificates and tokens are about to end. What has another end by now is passed over.
func (a *applier) noteExpiry(c *tandemv1.NoteExpiry) (*tandemv1.Result, *refusal) {
	for _, e := range c.GetExpiries() {
		switch e.GetNoun() {
		case "node":
			if n, ok := a.Node(e.GetId()); ok && !n.GetExpiryNoted() && sameTime(n.GetCertificateExpiresAt(), e.GetExpiresAt()) {
				edit(a, a.Node, e.GetId(), func(n *tandemv1.Node) { n.ExpiryNoted = true })
				a.certificateEnds(aboutNode(n), e)
			}
		case "coordinator":
			if row, ok := a.Coordinator(e.GetId()); ok && !row.GetExpiryNoted() && sameTime(row.GetCertificateExpiresAt(), e.GetExpiresAt()) {
				edit(a, a.Coordinator, e.GetId(), func(row *tandemv1.Coordinator) { row.ExpiryNoted = true })
				a.certificateEnds(aboutCoordinator(row.GetId()), e)
			}
		case "CA":
			a.authorityEnds(e)
		case "token":
			if t, ok := a.Token(e.GetId()); ok && !t.GetExpiryNoted() && sameTime(t.GetExpiresAt(), e.GetExpiresAt()) {
				edit(a, a.Token, e.GetId(), func(t *tandemv1.Token) { t.ExpiryNoted = true })
				a.record(warningLevel, tandemv1.Event_TYPE_TOKEN_ENDS, aboutToken(t), nil, "expires_at", e.GetExpiresAt().GetSeconds(), "role", t.GetRole())
			}
		}
	}
	return done(""), nil
}

func (a *applier) authorityEnds(e *tandemv1.Expiry) {
	row, _ := a.Cluster()
	i := slices.IndexFunc(row.GetAuthorities(), func(ca *tandemv1.Authority) bool {
		sum := sha256.Sum256(ca.GetCertificate())
		return hex.EncodeToString(sum[:]) == e.GetId() && !ca.GetExpiryNoted()
	})
	if i < 0 {
		return
	}
	a.editCluster(func(row *tandemv1.Cluster) { row.Authorities[i].ExpiryNoted = true })
	a.certificateEnds(subject{noun: "cluster", id: "CA", name: "CA"}, e)
}

func (a *applier) certificateEnds(about subject, e *tandemv1.Expiry) {
	a.record(warningLevel, tandemv1.Event_TYPE_CERTIFICATE_ENDS, about, nil, "what", e.GetNoun(), "expires_at", e.GetExpiresAt().GetSeconds())
}

func sameTime(a, b *timestamppb.Timestamp) bool { return a.AsTime().Equal(b.AsTime()) }
