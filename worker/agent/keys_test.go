package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"

	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// TestKeysAreTaken: when a session says that the keys have changed, the agent takes them and a new certificate, says so, and goes on in
// the same session; new connections to it get the new certificate.
func TestKeysAreTaken(t *testing.T) {
	c := newCluster(t)
	c.open("127.0.0.1:0")
	dir := t.TempDir()
	a := c.start(dir)
	c.await("the first questions", func() bool { return c.opened == 1 && len(c.renewals) >= 2 })
	before, err := identity.Load(filepath.Join(dir, "pki"))
	must(t, err)
	key := bytes.Repeat([]byte{7}, 32)
	c.change(func() {
		c.keys = &tandemv1.Keys{Version: 2, Authorities: [][]byte{c.ca.Raw}, GossipKeys: [][]byte{key, make([]byte, 32)}}
		c.resign = true
	})
	c.await("the word that the new keys are held", func() bool {
		last := c.renewals[len(c.renewals)-1]
		return last.GetVersion() == 2 && !bytes.Equal(last.GetCertificate(), before.Chain[0])
	})
	after, err := identity.Load(filepath.Join(dir, "pki"))
	must(t, err)
	if bytes.Equal(after.Chain[0], before.Chain[0]) || !bytes.Equal(after.GossipKey, key) || after.Identity != before.Identity {
		t.Errorf("on the disk: gossip key %x, identity %v", after.GossipKey, after.Identity)
	}
	conn, err := tls.Dial("tcp", a.Address(t.Context()), c.creds.ClientConfig(identity.NodeName("node-1")))
	must(t, err)
	defer conn.Close()
	if got := conn.ConnectionState().PeerCertificates[0].Raw; !bytes.Equal(got, after.Chain[0]) {
		t.Error("a new connection gets the old certificate")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opened != 1 || c.sessions != 1 {
		t.Errorf("%d sessions were opened, %d are", c.opened, c.sessions)
	}
}

// renewals answers questions for keys; it is a connection, too.
type renewals struct {
	tandemv1connect.UnimplementedAgentServiceHandler
	began  time.Time
	times  []time.Duration // of the questions
	last   *tandemv1.RenewRequest
	answer func(n int, req *tandemv1.RenewRequest) (*tandemv1.RenewResponse, error)
}

func (r *renewals) Renew(_ context.Context, req *connect.Request[tandemv1.RenewRequest]) (*connect.Response[tandemv1.RenewResponse], error) {
	r.times, r.last = append(r.times, time.Since(r.began)), req.Msg
	res, err := r.answer(len(r.times), req.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(res), nil
}

func (r *renewals) RoundTrip(req *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	_, h := tandemv1connect.NewAgentServiceHandler(r)
	h.ServeHTTP(answer, req)
	return answer.Result(), nil
}

// ring takes keys of gossip, from its second attempt on.
type ring struct {
	calls int
	keys  [][]byte
}

func (r *ring) SetKeys(keys [][]byte) error {
	if r.calls++; r.calls == 2 {
		return errors.New("the ring is busy")
	}
	r.keys = keys
	return nil
}

// TestRenewalIsTriedAgain: what fails, or comes without the certificate that belongs to it, is asked for again after a time that grows,
// until the node has all of it and has said so.
func TestRenewalIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, now := newCluster(t), newCluster(t) // two CAs
		creds := old.credentials(identity.RoleWorker, "node-1")
		k1, k2 := make([]byte, 32), bytes.Repeat([]byte{2}, 32)
		coordinator := &renewals{began: time.Now()}
		coordinator.answer = func(n int, req *tandemv1.RenewRequest) (*tandemv1.RenewResponse, error) {
			keys := &tandemv1.Keys{Version: 9, Authorities: [][]byte{now.ca.Raw, old.ca.Raw}, GossipKeys: [][]byte{k1}}
			switch {
			case n <= 2:
				return nil, connect.NewError(connect.CodeFailedPrecondition, errors.New("no certificate is signed: clocks differ"))
			case n <= 4: // it has not got to its new CA yet
				return &tandemv1.RenewResponse{Keys: keys}, nil
			}
			keys.GossipKeys = [][]byte{k2, k1}
			res := &tandemv1.RenewResponse{Keys: keys}
			if leaf, err := x509.ParseCertificate(req.GetCertificate()); err != nil || leaf.CheckSignatureFrom(now.ca) != nil {
				res.Certificate, err = now.sign(creds.Identity, creds.Key.Public())
				return res, err
			}
			return res, nil
		}
		live, gossip := identity.NewLive(t.TempDir(), creds), &ring{}
		r := newRenewer(live, gossip, newCoordinators(&http.Client{Transport: coordinator}, []string{"coordinator:7070"}), zerolog.Nop())
		ctx, cancel := context.WithTimeout(t.Context(), renewPause)
		defer cancel()
		must(t, r.run(ctx))
		var seconds []int
		for _, at := range coordinator.times {
			seconds = append(seconds, int(at.Seconds()))
		}
		// The fifth answer is whole, but the ring refuses its keys; the last question says what the node holds.
		if want := []int{0, 1, 3, 7, 15, 31, 31}; !slices.Equal(seconds, want) {
			t.Errorf("asked after %v s, want %v s", seconds, want)
		}
		if !live.Get().CA.Equal(now.ca) || coordinator.last.GetVersion() != 9 || !bytes.Equal(coordinator.last.GetCertificate(), live.Get().Chain[0]) {
			t.Errorf("at the end the node holds version %d, its certificate is of the new CA: %v", coordinator.last.GetVersion(), live.Get().CA.Equal(now.ca))
		}
		if !slices.EqualFunc(gossip.keys, [][]byte{k2, k1}, bytes.Equal) {
			t.Errorf("gossip uses %x", gossip.keys)
		}
	})
}
