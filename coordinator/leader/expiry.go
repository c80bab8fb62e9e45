package leader

import (
	"context"
	"crypto/x509"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// How long before its end it is said that something ends. The certificates of nodes and coordinators are renewed long before, unless
// they are away or cannot be: the CA is replaced by an operator, who has to hand the new one to clients.
const (
	certificateNotice = 30 * 24 * time.Hour
	authorityNotice   = 180 * 24 * time.Hour
	tokenNotice       = 7 * 24 * time.Hour
	// A token that is good for a shorter time is meant to end: nothing is said.
	lastingToken = 24 * time.Hour
	expiryTick   = 10 * time.Minute
)

// Expiries says which certificates and tokens are about to end, while there is time to do something about it.
func Expiries(s *state.State, p Proposer) Loop {
	const name = "expiries"
	return Loop{name, func(ctx context.Context) error {
		var due time.Time
		return watch(ctx, s, func(ctx context.Context, v *state.View, now time.Time) (time.Time, error) {
			if now.Before(due) {
				return due, nil
			}
			due = now.Add(expiryTick)
			ending := Expiring(v, now)
			if len(ending) == 0 {
				return due, nil
			}
			res, err := propose(ctx, p, name, &tandemv1.Command{Command: &tandemv1.Command_NoteExpiry{NoteExpiry: &tandemv1.NoteExpiry{Expiries: ending}}})
			if err != nil {
				return due, err
			}
			return due, awaitApplied(ctx, s, res)
		})
	}}
}

// Expiring decides what is about to end and was not said to yet.
func Expiring(v *state.View, now time.Time) []*tandemv1.Expiry {
	var all []*tandemv1.Expiry
	add := func(noun, id string, end *timestamppb.Timestamp, noted bool, notice time.Duration) {
		if end != nil && !noted && !now.Before(end.AsTime().Add(-notice)) {
			all = append(all, &tandemv1.Expiry{Noun: noun, Id: id, ExpiresAt: end})
		}
	}
	for _, n := range v.Nodes() {
		add("node", n.GetId(), n.GetCertificateExpiresAt(), n.GetExpiryNoted(), certificateNotice)
	}
	for _, c := range v.Coordinators() {
		add("coordinator", c.GetId(), c.GetCertificateExpiresAt(), c.GetExpiryNoted(), certificateNotice)
	}
	cluster, _ := v.Cluster()
	active := state.ActiveAuthority(cluster)
	if ca, err := x509.ParseCertificate(active.GetCertificate()); err == nil {
		add("CA", identity.CAHash(ca.Raw), timestamppb.New(ca.NotAfter), active.GetExpiryNoted(), authorityNotice)
	}
	for _, t := range v.AllTokens() {
		life := t.GetExpiresAt().AsTime().Sub(t.GetCreatedAt().AsTime())
		if !t.GetJoin() && life >= lastingToken && now.Before(t.GetExpiresAt().AsTime()) {
			add("token", t.GetId(), t.GetExpiresAt(), t.GetExpiryNoted(), min(tokenNotice, life/4))
		}
	}
	return all
}
