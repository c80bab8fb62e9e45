package api_test

import (
	"crypto/rand"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/coordtest"
	"tandem.dev/coordinator/leader"
	"tandem.dev/coordinator/pki"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// TestRotationsFollowTheState replaces the CA three times in the life of a worker, at a coordinator that is slow: it never gets to take a
// CA for its own. What the worker asks for when its session names new keys comes all the same, at the first question.
func TestRotationsFollowTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t) // by the clock of the test
		c := coordtest.New(t, 1)
		defer c.Stop()
		h := w.serve(t, c)
		call := func(procedure string, req, res proto.Message) {
			t.Helper()
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, w.request(t.Context(), w.calls[w.index(procedure)], false, encoded(t, req)))
			if answer.Code != http.StatusOK {
				t.Fatalf("%s: %s", procedure, answer.Body)
			}
			if err := proto.Unmarshal(answer.Body.Bytes(), res); err != nil {
				t.Fatal(err)
			}
		}
		creds, held := w.node, int64(0)
		renew := func() (signed bool) {
			t.Helper()
			csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, creds.Key)
			if err != nil {
				t.Fatal(err)
			}
			var res tandemv1.RenewResponse
			call(tandemv1connect.AgentServiceRenewProcedure, &tandemv1.RenewRequest{NodeId: workerID, Certificate: creds.Chain[0], Csr: csr, Version: held}, &res)
			next := *creds
			if _, err := next.Take(res.GetCertificate(), res.GetKeys()); err != nil {
				t.Fatal(err)
			}
			creds, held = &next, res.GetKeys().GetVersion()
			return len(res.GetCertificate()) > 0
		}
		rotate := func(finish bool) {
			t.Helper()
			call(tandemv1connect.ClusterServiceRotateKeysProcedure,
				&tandemv1.RotateKeysRequest{Key: tandemv1.RotatedKey_ROTATED_KEY_AUTHORITY, Finish: finish}, &tandemv1.RotateKeysResponse{})
		}
		first, err := pki.Adopted(w.ca, make([]byte, 32), w.seal)
		if err != nil {
			t.Fatal(err)
		}
		propose(t, c, &tandemv1.Command{Command: &tandemv1.Command_ChangeKeys{ChangeKeys: first}})
		for round := range 3 {
			before := creds.CA
			rotate(false)
			for range 2 {
				if renew() {
					t.Errorf("rotation %d: a certificate is signed before the new CA is in use", round)
				}
			}
			time.Sleep(3 * time.Minute) // virtual
			next := leader.NextKeys(c.State(c.Leader()).View())
			if next == nil {
				t.Fatalf("rotation %d: the worker holds version %d, and the new CA is not used", round, held)
			}
			propose(t, c, &tandemv1.Command{Command: &tandemv1.Command_ChangeKeys{ChangeKeys: next}})
			if !renew() || creds.CA.Equal(before) || identity.CAHash(creds.CA.Raw) != identity.CAHash(next.GetAuthorities()[len(next.GetAuthorities())-1].GetCertificate()) {
				t.Fatalf("rotation %d: keys of version %d came without a certificate of the new CA", round, held)
			}
			if renew() {
				t.Errorf("rotation %d: a second certificate is signed", round)
			}
			rotate(true)
			renew()
			if len(creds.Trusted()) != 1 || creds.CA.Equal(before) {
				t.Errorf("rotation %d: the worker trusts %d CAs at its end", round, len(creds.Trusted()))
			}
		}
	})
}
