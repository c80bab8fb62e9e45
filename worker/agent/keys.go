package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"

	"tandem.dev/proto/identity"
	"tandem.dev/proto/repeat"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

const (
	// renewPause is the time between two questions when no session says that the keys have changed.
	renewPause = time.Hour
	// renewAgain is the time before what failed is tried again; it doubles each time, up to renewLongest.
	renewAgain   = time.Second
	renewLongest = time.Minute
	renewTime    = 8 * time.Second // for one call
)

// renewer keeps the node's certificate, the CAs it trusts and the keys of gossip as the cluster wants them. It asks when it begins, when a
// session names other keys than the node holds, when it has taken some, and now and then: the coordinator knows when a certificate is due.
type renewer struct {
	creds        *identity.Live
	gossip       interface{ SetKeys(keys [][]byte) error }
	coordinators *coordinators
	log          zerolog.Logger

	repeats repeat.Limiter

	wanted atomic.Int64  // keys_version that a session named last
	wake   chan struct{} // it is another one
	held   int64         // keys_version that the node holds; 0: not known
}

func newRenewer(creds *identity.Live, gossip interface{ SetKeys(keys [][]byte) error }, known *coordinators, log zerolog.Logger) *renewer {
	return &renewer{creds: creds, gossip: gossip, coordinators: known, log: log, wake: make(chan struct{}, 1)}
}

// heard takes note of the keys_version that a session names.
func (r *renewer) heard(version int64) {
	if r.wanted.Swap(version) == version {
		return
	}
	select {
	case r.wake <- struct{}{}:
	default: // it is awake
	}
}

func (r *renewer) run(ctx context.Context) error {
	wait := renewAgain
	for {
		pause := renewPause
		switch again, err := r.renew(ctx); {
		case ctx.Err() != nil:
			return nil
		case connect.CodeOf(err) == connect.CodeUnimplemented: // a coordinator of the release before
		case err != nil:
			r.repeats.Warn(r.log, "keys").Err(err).Msg("certificate and keys could not be brought up to date; trying again")
			pause, wait = wait, min(2*wait, renewLongest)
		case again:
			continue
		default:
			wait = renewAgain
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-time.After(pause):
		}
	}
}

// renew asks once and takes what comes; true when something is to be said of that.
func (r *renewer) renew(ctx context.Context) (again bool, err error) {
	creds := r.creds.Get()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, creds.Key)
	if err != nil {
		return false, fmt.Errorf("make a certificate request: %w", err)
	}
	req := &tandemv1.RenewRequest{NodeId: creds.Identity.Node, Certificate: creds.Chain[0], Csr: csr, Version: r.held}
	var res *tandemv1.RenewResponse
	err = r.coordinators.until(ctx, renewTime, func(ctx context.Context, client tandemv1connect.AgentServiceClient) error {
		answer, err := client.Renew(ctx, connect.NewRequest(req))
		if err == nil {
			res = answer.Msg
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("renew: %w", err)
	}
	next := *creds
	leaf, err := next.Take(res.GetCertificate(), res.GetKeys())
	if err != nil {
		return false, fmt.Errorf("take what the cluster gave: %w", err)
	}
	if own, err := identity.FromCertificate(leaf); err != nil || own != creds.Identity {
		return false, fmt.Errorf("the certificate that was signed names %v, not %v", own, creds.Identity)
	}
	if !next.Same(creds) {
		// Once the credentials are the new ones, nothing of this is done again.
		if err := r.gossip.SetKeys(next.GossipKeys()); err != nil {
			return false, err
		}
		if err := r.creds.Replace(&next); err != nil {
			return false, err
		}
		r.log.Info().Int64("version", res.GetKeys().GetVersion()).Time("until", leaf.NotAfter).Msg("certificate and keys taken")
	}
	again = r.held != res.GetKeys().GetVersion() || len(res.GetCertificate()) > 0
	r.held = res.GetKeys().GetVersion()
	if !bytes.Equal(next.CA.Raw, res.GetKeys().GetAuthorities()[0]) { // a coordinator of the release before, which was slow
		return false, errors.New("the node's certificate is of a CA that is being given up, and no other came")
	}
	return again, nil
}

// expires is when the node's certificate ends.
func (r *renewer) expires() time.Time {
	leaf, err := r.creds.Get().Leaf()
	if err != nil {
		return time.Time{}
	}
	return leaf.NotAfter
}
