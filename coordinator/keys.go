package coordinator

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/pki"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	// keysPause is the time between two looks at the own certificate when nothing else happens.
	keysPause = time.Minute
	// heldPause is the time before the leader is told again which keys are held.
	heldPause = time.Second
)

// keepKeys keeps this coordinator's certificate, CA and gossip keys as the cluster wants them while it runs: it follows the state, so
// that a crash anywhere is healed by the next look.
func (c *Coordinator) keepKeys(ctx context.Context) error {
	for ctx.Err() == nil {
		v, now := c.state.View(), time.Now()
		pause := keysPause
		if err := c.takeKeys(v, now); err != nil {
			c.repeats.Error(c.log, "keys").Err(err).Msg("the keys of the cluster could not be taken, it is tried again")
		} else if !c.reportKeys(ctx, v) {
			pause = heldPause
		}
		waiting, cancel := context.WithTimeout(ctx, pause)
		_ = c.state.Wait(waiting, v.Index()) // a change and the end of the time are both a reason to look again
		cancel()
	}
	return nil
}

// takeKeys brings credentials, CA and gossip to what the state says.
func (c *Coordinator) takeKeys(v *state.View, now time.Time) error {
	creds, ca := c.creds.Get(), c.ca.Load()
	leaf, err := creds.Leaf()
	if err != nil {
		return err
	}
	keys := pki.Own(creds)
	cluster, _ := v.Cluster()
	if state.ActiveAuthority(cluster) != nil {
		if keys, err = pki.KeysOf(cluster, c.seal); err != nil {
			return err
		}
	}
	if ca, err = pki.Signer(cluster, ca, c.seal); err != nil {
		return err
	}
	certificate, err := ca.Renewed(creds.Identity, leaf, c.cfg.hosts(c.port.address), now)
	if err != nil {
		return err
	}
	if own := c.clocks.Own(now); certificate != nil && own.Abs() > pki.Backdated {
		return &identity.ClockError{Peer: "the other coordinators", Here: now, There: now.Add(-own), Err: errors.New("no certificate is signed until they agree")}
	}
	next := *creds
	if _, err := next.Take(certificate, keys); err != nil {
		return err
	}
	if next.Same(creds) && ca == c.ca.Load() {
		return nil
	}
	// Once the credentials are the new ones, nothing of this is done again.
	if err := c.gossip.SetKeys(next.GossipKeys()); err != nil {
		return err
	}
	if err := c.creds.Replace(&next); err != nil {
		return err
	}
	if err := ca.Save(c.cfg.pkiDir()); err != nil {
		return err
	}
	c.ca.Store(ca)
	c.log.Info().Int64("version", keys.GetVersion()).Bool("certificate", certificate != nil).Msg("keys of the cluster taken")
	return nil
}

// reportKeys tells the cluster which keys this coordinator holds, if it does not know; true when it knows.
func (c *Coordinator) reportKeys(ctx context.Context, v *state.View) bool {
	row, ok := v.Coordinator(c.creds.Identity.Node)
	cluster, _ := v.Cluster()
	if !ok || cluster.GetKeysVersion() == 0 {
		return true // the leader has not noted this coordinator, or the keys: that is a change to come
	}
	creds := c.creds.Get()
	leaf, err := creds.Leaf()
	if err != nil {
		return false
	}
	held := &tandemv1.HoldKeys{
		NodeId: c.creds.Identity.Node, Version: cluster.GetKeysVersion(), Authority: identity.CAHash(creds.CA.Raw), CertificateExpiresAt: timestamppb.New(leaf.NotAfter),
	}
	if row.GetKeysVersion() == held.GetVersion() && row.GetAuthority() == held.GetAuthority() && row.GetCertificateExpiresAt().AsTime().Equal(leaf.NotAfter) {
		return true
	}
	_, err = c.node.Propose(ctx, &tandemv1.Command{Actor: c.creds.Identity.Node, Command: &tandemv1.Command_HoldKeys{HoldKeys: held}})
	return err == nil
}
