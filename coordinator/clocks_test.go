package coordinator

import (
	"crypto/rand"
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/identity"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// timed is a transport of a machine whose clock is off.
type timed struct {
	base  http.RoundTripper
	ahead *time.Duration
}

func (c timed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(identity.TimeHeader, time.Now().Add(*c.ahead).Format(time.RFC3339Nano))
	return c.base.RoundTrip(r)
}

// off is a client with a node's certificate on a machine whose clock is off.
func off(t *testing.T, creds *identity.Credentials, ahead *time.Duration) *http.Client {
	base := identity.Transport(creds.ClientConfig(identity.RoleName(identity.RoleCoordinator), "h2"))
	t.Cleanup(base.CloseIdleConnections)
	return &http.Client{Transport: timed{base, ahead}}
}

// TestClocksAreCompared: a worker and a coordinator whose clocks are off are named as such, to all who ask any coordinator, until they are right.
func TestClocksAreCompared(t *testing.T) {
	first, others := startThree(t)
	a := newAgent(t, first)
	a.await(a.session(t.Context(), a.node(1)), 0)
	behind, ahead := -2*time.Hour, 26*time.Hour
	worker := tandemv1connect.NewAgentServiceClient(off(t, a.creds, &behind), others[0].url())
	said := func(v *state.View, what tandemv1.Event_Type) string {
		all := v.Events(0)
		if i := slices.IndexFunc(all, func(e *tandemv1.Event) bool { return e.GetType() == what }); i >= 0 {
			return say.Event(all[i], say.Plain)
		}
		return ""
	}
	report := func() {
		if _, err := worker.ReportProgress(t.Context(), connect.NewRequest(&tandemv1.ReportProgressRequest{})); err != nil {
			t.Fatal(err)
		}
	}
	awaitState(t, first, func(v *state.View) bool {
		report()
		return said(v, tandemv1.Event_TYPE_NODE_CLOCK) != ""
	})
	nodes := tandemv1connect.NewNodeServiceClient(first.admin(t), first.url())
	res, err := nodes.GetNode(t.Context(), connect.NewRequest(&tandemv1.GetNodeRequest{Id: a.id}))
	if err != nil || (res.Msg.GetNode().GetNode().GetClockOffset().AsDuration()-behind).Abs() > time.Minute {
		t.Errorf("the node's clock is off by %v, %v", res.Msg.GetNode().GetNode().GetClockOffset(), err)
	}
	if text := said(first.state.View(), tandemv1.Event_TYPE_NODE_CLOCK); !strings.Contains(text, "The clock of node w is 2h0m") || !strings.Contains(text, " behind the coordinators' time") {
		t.Error(text)
	}
	if got := scrape(t, first, first.admin(t))["tandem_clocks_off"]; got != "1" {
		t.Errorf("tandem_clocks_off is %q", got)
	}
	behind = 0
	awaitState(t, first, func(v *state.View) bool {
		report()
		return said(v, tandemv1.Event_TYPE_NODE_CLOCK_RIGHT) != ""
	})
	// A coordinator: another one asks in its stead, for it would say what time it really is.
	others[1].stop()
	id := others[1].creds.Identity.Node
	peer := tandemv1connect.NewPeerServiceClient(off(t, others[1].creds.Get(), &ahead), first.url())
	api := tandemv1connect.NewClusterServiceClient(first.admin(t), first.url())
	awaitState(t, first, func(v *state.View) bool {
		if _, err := peer.ReadIndex(t.Context(), connect.NewRequest(&tandemv1.ReadIndexRequest{})); err != nil && connect.CodeOf(err) != connect.CodeUnavailable {
			t.Fatal(err)
		}
		res, err := api.GetCluster(t.Context(), connect.NewRequest(&tandemv1.GetClusterRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(res.Msg.GetPeers(), func(p *tandemv1.Peer) bool { return p.GetClockOffset() != nil })
		return i >= 0 && res.Msg.GetPeers()[i].GetId() == id && (res.Msg.GetPeers()[i].GetClockOffset().AsDuration()-ahead).Abs() < time.Minute
	})
	if text := said(first.state.View(), tandemv1.Event_TYPE_COORDINATOR_CLOCK); !strings.Contains(text, id+" is ") || !strings.Contains(text, " ahead of the coordinators' time") {
		t.Error(text)
	}
}

// TestNoCertificateByAWrongClock: a coordinator signs nothing for a node whose clock, or while its own, is off by more than a certificate is
// dated back: the certificate would not be valid yet for the one of the two that is behind.
func TestNoCertificateByAWrongClock(t *testing.T) {
	r := startOne(t)
	token := r.mint(t, r.admin(t), "join", "worker", true)
	for ahead, refused := range map[time.Duration]bool{-2 * time.Hour: true, 2 * time.Hour: true, 10 * time.Minute: false} {
		base := identity.Transport(r.creds.ClientConfig(identity.RoleName(identity.RoleCoordinator), "h2"))
		base.TLSClientConfig.GetClientCertificate, base.TLSClientConfig.Certificates = nil, nil
		t.Cleanup(base.CloseIdleConnections)
		joining := tandemv1connect.NewClusterServiceClient(&http.Client{Transport: timed{base, &ahead}}, r.url())
		key, err := identity.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = joining.JoinCluster(t.Context(), connect.NewRequest(&tandemv1.JoinClusterRequest{Token: token, Csr: csr}))
		if !refused {
			if err != nil {
				t.Errorf("%v ahead: %v", ahead, err)
			}
			continue
		}
		wantCode(t, err, connect.CodeFailedPrecondition, "that of coordinator "+r.creds.Identity.Node+" says")
	}
}
