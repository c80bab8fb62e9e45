package coordinator

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// renew does what an agent does when its session says that the keys have changed; it returns the version it holds then.
func (a *agent) renew(live *identity.Live, held int64) int64 {
	a.t.Helper()
	creds := live.Get()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, creds.Key)
	if err != nil {
		a.t.Fatal(err)
	}
	res, err := a.api.Renew(a.t.Context(), connect.NewRequest(&tandemv1.RenewRequest{NodeId: a.id, Certificate: creds.Chain[0], Csr: csr, Version: held}))
	if err != nil {
		a.t.Fatal(err)
	}
	next := *creds
	if _, err := next.Take(res.Msg.GetCertificate(), res.Msg.GetKeys()); err != nil {
		a.t.Fatal(err)
	}
	if err := live.Replace(&next); err != nil {
		a.t.Fatal(err)
	}
	return res.Msg.GetKeys().GetVersion()
}

// TestRotation replaces the CA and the gossip key of a cluster of three coordinators and a worker that runs. Clients that know only the
// first CA are served until it is ended; a coordinator that was away meanwhile finds back; then nobody trusts the first one any more.
func TestRotation(t *testing.T) {
	first, others := startThree(t)
	a := newAgent(t, first)
	live := identity.NewLive(t.TempDir(), a.creds)
	a.http = live.HTTPClient(identity.RoleName(identity.RoleCoordinator))
	t.Cleanup(a.http.CloseIdleConnections)
	a.api = tandemv1connect.NewAgentServiceClient(a.http, first.url())
	session := a.session(t.Context(), a.node(1))
	a.await(session, 0)
	held := a.renew(live, a.renew(live, 0))

	oldCA, oldGossip := first.creds.Get().CA, first.creds.Get().GossipKey
	oldClient := first.admin(t) // knows only that CA
	api := tandemv1connect.NewClusterServiceClient(oldClient, first.url())
	rotate := func(key tandemv1.RotatedKey, finish bool) error {
		_, err := api.RotateKeys(t.Context(), connect.NewRequest(&tandemv1.RotateKeysRequest{Key: key, Finish: finish}))
		return err
	}
	const ca, gossip = tandemv1.RotatedKey_ROTATED_KEY_AUTHORITY, tandemv1.RotatedKey_ROTATED_KEY_GOSSIP
	away := others[1]
	away.stop()
	awaitState(t, first, func(v *state.View) bool {
		row, _ := v.Coordinator(away.creds.Identity.Node)
		return !row.GetAlive()
	})
	wantCode(t, rotate(ca, true), connect.CodeFailedPrecondition, "no CA is to be given up")
	if err := rotate(ca, false); err != nil {
		t.Fatal(err)
	}
	wantCode(t, rotate(ca, false), connect.CodeFailedPrecondition, "is being replaced already")
	if err := rotate(gossip, false); err != nil {
		t.Fatal(err)
	}
	// Nothing is signed by the new one before the worker trusts it.
	awaitState(t, first, func(v *state.View) bool {
		row, _ := v.Coordinator(others[0].creds.Identity.Node)
		return row.GetKeysVersion() >= 3
	})
	if c, _ := first.state.View().Cluster(); state.NextAuthority(c) == nil {
		t.Fatal("the new CA signs, though a node does not trust it")
	}
	held = a.renew(live, a.renew(live, held))
	awaitCluster := func(is func(c *tandemv1.Cluster) bool) {
		t.Helper()
		awaitState(t, first, func(v *state.View) bool {
			c, _ := v.Cluster()
			if c.GetKeysVersion() != held {
				held = a.renew(live, a.renew(live, held)) // as each change of the session makes an agent do: take it, and say so
			}
			return is(c)
		})
	}
	awaitCluster(func(c *tandemv1.Cluster) bool { return state.FormerAuthority(c) != nil && len(c.GetGossipKeys()) == 1 })
	awaitState(t, first, func(*state.View) bool { return !first.creds.Get().CA.Equal(oldCA) })
	wantCode(t, rotate(ca, true), connect.CodeFailedPrecondition, "coordinator "+away.creds.Identity.Node)
	// Who trusts only the first CA is served on new connections too.
	oldClient.CloseIdleConnections()
	if _, err := api.GetCluster(t.Context(), connect.NewRequest(&tandemv1.GetClusterRequest{})); err != nil {
		t.Fatalf("a client with the first CA: %v", err)
	}
	if !bytes.Equal(first.creds.Get().GossipKey, others[0].creds.Get().GossipKey) || bytes.Equal(first.creds.Get().GossipKey, oldGossip) {
		t.Error("the gossip key is the old one")
	}
	// The one that was away has only the first CA and the first gossip key.
	back := start(t, away.cfg, first.store)
	awaitState(t, back, func(*state.View) bool {
		return !back.creds.Get().CA.Equal(oldCA) && bytes.Equal(back.creds.Get().GossipKey, first.creds.Get().GossipKey)
	})
	held = a.renew(live, a.renew(live, held))
	if live.Get().CA.Equal(oldCA) {
		t.Fatal("the worker's certificate is of the first CA")
	}
	awaitState(t, first, func(*state.View) bool { return rotate(ca, true) == nil })
	awaitState(t, first, func(*state.View) bool {
		return len(first.creds.Get().Trusted()) == 1 && len(back.creds.Get().Trusted()) == 1
	})
	oldClient.CloseIdleConnections()
	if _, err := api.GetCluster(t.Context(), connect.NewRequest(&tandemv1.GetClusterRequest{})); err == nil {
		t.Error("a client with the first CA alone is served")
	}
	// The worker's session went on all the while, and new connections work.
	defer time.AfterFunc(20*time.Second, func() { _ = session.Close() }).Stop()
	if !session.Receive() {
		t.Fatalf("the session has ended: %v", session.Err())
	}
	a.http.CloseIdleConnections()
	a.renew(live, held)
	if accepts(t, first, a.creds) || !accepts(t, first, live.Get()) {
		t.Error("it is not the worker's new certificate alone that is accepted")
	}
	// All of it is on the disk.
	first.stop()
	again := start(t, first.cfg, first.store)
	if again.creds.Get().CA.Equal(oldCA) || len(again.creds.Get().Trusted()) != 1 {
		t.Error("a restart brings the first CA back")
	}
}

// accepts says whether a coordinator lets a node in with a certificate that is not renewed; the node trusts the coordinator.
func accepts(t *testing.T, r *running, creds *identity.Credentials) bool {
	t.Helper()
	cfg := creds.ClientConfig(identity.RoleName(identity.RoleCoordinator), "h2")
	cfg.RootCAs = r.creds.Get().Pool()
	conn, err := tls.Dial("tcp", r.Address(), cfg)
	if err != nil {
		t.Fatalf("the coordinator is not trusted: %v", err) // in TLS 1.3 a certificate is refused afterwards
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = conn.Read(make([]byte, 1)) // a server of HTTP/2 speaks first
	return err == nil
}
