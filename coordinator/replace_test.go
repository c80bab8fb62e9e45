package coordinator

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/proto/gossip"
	"tandem.dev/proto/identity"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// TestLostCoordinatorIsReplaced: a coordinator that joined anew at the address of a lost one has no part in its place, is told
// what to do, and comes in once the lost one is removed.
func TestLostCoordinatorIsReplaced(t *testing.T) {
	first, others := startThree(t)
	token := first.mint(t, first.admin(t), "again", "coordinator", true)
	lost, other := others[0], others[1]
	lostID := lost.creds.Identity.Node
	cfg := testConfig(filepath.Join(t.TempDir(), "anew"))
	cfg.Listen = lost.Address()
	if err := Join(t.Context(), cfg, token, []string{first.Address()}); err != nil {
		t.Fatal(err)
	}
	creds, err := identity.Load(cfg.pkiDir())
	if err != nil {
		t.Fatal(err)
	}
	lost.stop()
	refusesRaft(t, cfg.Listen, creds)

	h := creds.HTTPClient(identity.RoleName(identity.RoleCoordinator))
	t.Cleanup(h.CloseIdleConnections)
	_, err = tandemv1connect.NewClusterServiceClient(h, first.url()).AddPeer(t.Context(), connect.NewRequest(&tandemv1.AddPeerRequest{
		Id: creds.Identity.Node, Address: cfg.Listen, Learner: true, Level: schema.Known,
	}))
	wantCode(t, err, connect.CodeFailedPrecondition, "tandem cluster remove-peer "+lostID)

	awaitSilence(t, first, lostID)
	awaitSilence(t, other, lostID)
	admin := tandemv1connect.NewClusterServiceClient(first.admin(t), first.url())
	_, err = admin.RemovePeer(t.Context(), connect.NewRequest(&tandemv1.RemovePeerRequest{Id: other.creds.Identity.Node}))
	wantCode(t, err, connect.CodeFailedPrecondition, "do not answer ("+lostID+")")
	if _, err := admin.RemovePeer(t.Context(), connect.NewRequest(&tandemv1.RemovePeerRequest{Id: lostID})); err != nil {
		t.Fatal(err)
	}
	start(t, cfg, first.store)
	res, err := admin.GetCluster(t.Context(), connect.NewRequest(&tandemv1.GetClusterRequest{}))
	if err != nil || len(res.Msg.GetPeers()) != 3 || !slices.ContainsFunc(res.Msg.GetPeers(), func(p *tandemv1.Peer) bool {
		return p.GetId() == creds.Identity.Node && p.GetAddress() == cfg.Listen && !p.GetLearner()
	}) {
		t.Errorf("peers %v, %v", res, err)
	}
}

// refusesRaft serves TLS at an address and fails unless those that dial it for Raft turn away when they see who it is.
func refusesRaft(t *testing.T, address string, creds *identity.Credentials) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for refused := 0; refused < 3; {
		conn, err := l.Accept()
		if err != nil {
			t.Fatalf("dialled for Raft %d times: %v", refused, err)
		}
		forRaft := false
		cfg := creds.ServerConfig(true, raftALPN, "h2")
		cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			forRaft = slices.Contains(hello.SupportedProtos, raftALPN)
			return nil, nil
		}
		err = tls.Server(conn, cfg).HandshakeContext(ctx)
		_ = conn.Close()
		switch {
		case forRaft && err == nil:
			t.Fatal("another coordinator was taken for the peer that was at its address")
		case forRaft:
			refused++
		}
	}
}

// awaitSilence waits until a coordinator hears no more of a node.
func awaitSilence(t *testing.T, r *running, node string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		changed := r.gossip.Changed()
		if !slices.ContainsFunc(r.gossip.Members(), func(m gossip.Member) bool { return m.ID == node }) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("node %s is still heard of", node)
		}
	}
}
