package leader

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/fsm/fsmtest"
	"tandem.dev/coordinator/pki"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const day = 24 * time.Hour

// expiring is a world in which a node's certificate ends after 100 days, a coordinator's after 200, the CA after ten years, and there are
// tokens: one that lasts, one of 90 days, one of a day, one of an hour, one to join with.
func expiring(t *testing.T, now time.Time) *fsmtest.World {
	t.Helper()
	w := fsmtest.New(t)
	w.Now = now
	ca, err := pki.New("c", now)
	if err != nil {
		t.Fatal(err)
	}
	end := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(d)) }
	token := func(name string, life time.Duration) *tandemv1.Token {
		return &tandemv1.Token{Id: name, Name: name, Role: "user", Sha256: name, CreatedAt: timestamppb.New(now), ExpiresAt: end(life)}
	}
	join, lasting := token("join", 30*day), token("lasting", 0)
	join.Join, lasting.ExpiresAt = true, nil
	n := fsmtest.Node("n1", 1)
	n.Name, n.CertificateExpiresAt = "one", end(100*day)
	w.Put(
		&tandemv1.Cluster{Id: "c", Authorities: []*tandemv1.Authority{{Certificate: ca.Certificate.Raw, State: tandemv1.KeyState_KEY_STATE_ACTIVE}}},
		n, fsmtest.Node("n2", 1), &tandemv1.Coordinator{Id: "c1", CertificateExpiresAt: end(200 * day)},
		token("quarter", 90*day), token("daily", day), token("brief", time.Hour), join, lasting,
	)
	return w
}

// TestExpiring: what is said to end soon as time goes by, once for each.
func TestExpiring(t *testing.T) {
	w := expiring(t, fsmtest.T0)
	for _, tc := range []struct {
		after time.Duration
		want  []string
	}{
		{18*time.Hour - time.Second, nil},
		{18 * time.Hour, []string{"token daily"}},
		{70*day - time.Second, nil},
		{70 * day, []string{"node n1"}},
		{83*day - time.Second, nil},
		{83 * day, []string{"token quarter"}},
		{170 * day, []string{"coordinator c1"}},
		{10*365*day - 180*day - time.Second, nil},
		{10*365*day - 180*day, []string{"CA"}},
		{12 * 365 * day, nil},
	} {
		w.Now = fsmtest.T0.Add(tc.after)
		var got []string
		all := Expiring(w.S.View(), w.Now)
		for _, e := range all {
			text := e.GetNoun()
			if text != "CA" {
				text += " " + e.GetId()
			}
			got = append(got, text)
		}
		if !slices.Equal(got, tc.want) {
			t.Fatalf("after %v: %q, want %q", tc.after, got, tc.want)
		}
		if _, err := w.Propose(t.Context(), &tandemv1.Command{Command: &tandemv1.Command_NoteExpiry{NoteExpiry: &tandemv1.NoteExpiry{Expiries: all}}}); err != nil {
			t.Fatal(err)
		}
		if again := Expiring(w.S.View(), w.Now); len(again) > 0 {
			t.Fatalf("after %v it is said again: %v", tc.after, again)
		}
	}
	wantEvents(t, w.S.View(),
		"Token daily ends at 2026-01-03 03:04 UTC.",
		"The certificate of node one ends at 2026-04-12 03:04 UTC: it is renewed when the program of the node runs and reaches the others.",
		"Token quarter ends at 2026-04-02 03:04 UTC.",
		"The certificate of coordinator c1 ends at 2026-07-21 03:04 UTC: it is renewed when the program of the coordinator runs and reaches the others.",
		"The certificate of the CA ends at 2035-12-31 03:04 UTC.",
	)
}

// TestRenewedIsSaidAgain: with another certificate it begins anew; and what was decided for the former one says nothing of this one.
func TestRenewedIsSaidAgain(t *testing.T) {
	w := expiring(t, fsmtest.T0)
	w.Now = fsmtest.T0.Add(80 * day)
	note := func(all []*tandemv1.Expiry) {
		t.Helper()
		if _, err := w.Propose(t.Context(), &tandemv1.Command{Command: &tandemv1.Command_NoteExpiry{NoteExpiry: &tandemv1.NoteExpiry{Expiries: all}}}); err != nil {
			t.Fatal(err)
		}
	}
	first := Expiring(w.S.View(), w.Now)
	note(first)
	hold := &tandemv1.HoldKeys{NodeId: "n1", Version: 1, CertificateExpiresAt: timestamppb.New(fsmtest.T0.Add(300 * day))}
	if _, err := w.Propose(t.Context(), &tandemv1.Command{Command: &tandemv1.Command_HoldKeys{HoldKeys: hold}}); err != nil {
		t.Fatal(err)
	}
	note(first)
	if n, _ := w.S.View().Node("n1"); n.GetExpiryNoted() {
		t.Error("the certificate that has just been renewed is said to end")
	}
	w.Now = fsmtest.T0.Add(280 * day)
	if again := Expiring(w.S.View(), w.Now); !slices.ContainsFunc(again, func(e *tandemv1.Expiry) bool { return e.GetId() == "n1" }) {
		t.Errorf("the end of the second certificate is not said: %v", again)
	}
}

// TestExpiriesAreSaid: the leader's loop says it when it is time, though nothing else changes.
func TestExpiriesAreSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := expiring(t, time.Now())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- Expiries(w.S, w).Run(ctx) }()
		time.Sleep(18*time.Hour - time.Second)
		synctest.Wait()
		if all := w.S.View().Events(0); len(all) > 0 {
			t.Errorf("too early: %v", all)
		}
		time.Sleep(expiryTick + time.Second)
		synctest.Wait()
		if all := w.S.View().Events(0); len(all) != 1 || all[0].GetType() != tandemv1.Event_TYPE_TOKEN_ENDS {
			t.Errorf("events %v", all)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func wantEvents(t *testing.T, v *state.View, want ...string) {
	t.Helper()
	var got []string
	for _, e := range v.Events(0) {
		got = append(got, say.Event(e, say.Plain))
	}
	if !slices.Equal(got, want) {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
