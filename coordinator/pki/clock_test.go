package pki

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tandem.dev/proto/identity"
)

const apart = 3 * time.Hour

// far is a server whose machine's clock is ahead of this one's.
func far(t *testing.T, creds *identity.Credentials, ahead time.Duration) (address string) {
	t.Helper()
	there := func() time.Time { return time.Now().Add(ahead) }
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", there().UTC().Format(http.TimeFormat))
	}))
	srv.TLS = creds.ServerConfig(true, "h2", "http/1.1")
	srv.TLS.Time = there
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// at are credentials that were signed at a time.
func at(t *testing.T, ca *CA, who identity.Identity, when time.Time) *identity.Credentials {
	t.Helper()
	c, err := ca.Issue(who, nil, make([]byte, 32), when)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// isClock checks that an error says how far the two clocks are apart.
func isClock(t *testing.T, err error, address string, ahead time.Duration) {
	t.Helper()
	clocks := (*identity.ClockError)(nil)
	if !errors.As(err, &clocks) {
		t.Fatalf("it is not said that the clocks differ: %v", err)
	}
	if got := clocks.There.Sub(clocks.Here); (got-ahead).Abs() > time.Minute || clocks.Peer != address {
		t.Errorf("the clock of %s is said to be ahead by %v, not by %v", clocks.Peer, got, ahead)
	}
}

// TestClocksThatDiffer: where two nodes do not take each other's certificates because their clocks differ, the error says so, with both clocks.
func TestClocksThatDiffer(t *testing.T) {
	ca, err := New("cluster-a", time.Now().Add(-100*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	coordinator, worker := node(identity.RoleCoordinator, "node-1"), node(identity.RoleWorker, "node-2")
	call := func(creds *identity.Credentials, address string) error {
		c := creds.HTTPClient(identity.RoleName(identity.RoleCoordinator))
		t.Cleanup(c.CloseIdleConnections)
		res, err := c.Get("https://" + address + "/")
		if err == nil {
			_ = res.Body.Close()
		}
		return err
	}
	t.Run("the server's certificate is not valid yet here", func(t *testing.T) {
		address := far(t, at(t, ca, coordinator, time.Now().Add(apart)), apart)
		isClock(t, call(at(t, ca, worker, time.Now()), address), address, apart)
	})
	t.Run("ours is not valid yet there", func(t *testing.T) {
		address := far(t, at(t, ca, coordinator, time.Now().Add(-24*time.Hour)), -apart)
		isClock(t, call(at(t, ca, worker, time.Now()), address), address, -apart)
	})
	t.Run("the server's certificate has ended here", func(t *testing.T) {
		address := far(t, at(t, ca, coordinator, time.Now().Add(-nodeLife-time.Hour)), -apart)
		isClock(t, call(at(t, ca, worker, time.Now().Add(-24*time.Hour)), address), address, -apart)
	})
	t.Run("joining", func(t *testing.T) {
		address := far(t, at(t, ca, coordinator, time.Now().Add(apart)), apart)
		_, err := identity.Join(t.Context(), identity.JoinConfig{
			Coordinators: []string{address}, Token: identity.NewJoinToken(identity.RoleWorker, ca.Certificate).String(), Role: identity.RoleWorker,
		})
		isClock(t, err, address, apart)
		if errors.Is(err, identity.ErrPin) {
			t.Errorf("it is said that the token is of another cluster: %v", err)
		}
	})
	t.Run("a certificate that has ended", func(t *testing.T) {
		address := far(t, at(t, ca, coordinator, time.Now().Add(-nodeLife-time.Hour)), 0)
		err := call(at(t, ca, worker, time.Now()), address)
		if clocks := (*identity.ClockError)(nil); errors.As(err, &clocks) || err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("the clocks agree, and the error is %v", err)
		}
	})
	t.Run("a stranger", func(t *testing.T) {
		other := newCA(t)
		address := far(t, at(t, other, coordinator, time.Now().Add(apart)), apart)
		err := call(at(t, ca, worker, time.Now()), address)
		if clocks := (*identity.ClockError)(nil); errors.As(err, &clocks) || err == nil {
			t.Errorf("the clock of a stranger counts: %v", err)
		}
	})
}
