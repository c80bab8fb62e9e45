package coordinator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/pki"
	"tandem.dev/proto/identity"
	"tandem.dev/proto/say"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	joinPause = time.Second           // before the other coordinators are asked again
	logPause  = 50 * time.Millisecond // for the log to bring what they agreed to
)

// Join makes the data folder of a coordinator that joins the cluster a join token was made for. It is called once, before
// New; Run then makes the coordinator a voter. A folder that belongs to a cluster already is an error.
func Join(ctx context.Context, cfg Config, token string, coordinators []string) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	switch joined, err := cfg.Joined(); {
	case err != nil:
		return err
	case joined:
		return fmt.Errorf("data folder %s belongs to a cluster already: start it without a join token, or choose another folder", cfg.DataDir)
	}
	listen, err := net.ResolveTCPAddr("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("read the address to listen on: %w", err)
	}
	address, err := advertised(cfg.Advertise, cfg.Listen, listen)
	if err != nil {
		return err
	}
	joined, err := identity.Join(ctx, identity.JoinConfig{
		Coordinators: coordinators, Token: token, Role: identity.RoleCoordinator, Hosts: pki.AllHosts(cfg.hosts(address)),
	})
	if err != nil {
		return err
	}
	ca, err := pki.From(joined.Credentials.CA, joined.CAKey)
	if err != nil {
		return err
	}
	seal, err := pki.NewSeal(joined.SealKey)
	if joined.SealKey == nil { // a coordinator of the release before gave none
		seal, err = pki.DeriveSeal(cfg.pkiDir(), ca)
	}
	if err != nil {
		return err
	}
	// How the coordinator was reached is what is known to work, whatever it says of itself.
	joined.Credentials.Peers.Coordinators = union(coordinators, joined.Credentials.Peers.Coordinators)
	return errors.Join(ca.Save(cfg.pkiDir()), seal.Save(cfg.pkiDir()), joined.Credentials.Save(cfg.pkiDir()))
}

func union(a, b []string) []string {
	all := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// becomeVoter makes this coordinator a voter under its present address, if it is not: it asks to be a learner, and for a vote
// as soon as it knows from the log that it is one. It fails when an operator has removed it.
func (c *Coordinator) becomeVoter(ctx context.Context) error {
	for {
		known := false
		for _, p := range c.node.Peers() {
			if p.ID != c.creds.Identity.Node {
				continue
			}
			known = true
			if p.Voter && p.Address == c.port.address {
				return c.cfg.setMember()
			}
		}
		if c.node.IsLeader() {
			return nil // the leader writes its own new address
		}
		pause := joinPause
		switch agreed, err := c.askToJoin(ctx, !known); {
		case err != nil:
			return err
		case agreed:
			pause = logPause
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// askToJoin asks the coordinators it knows, one after the other, and tells whether one has agreed. An error is
// final: this coordinator was removed.
func (c *Coordinator) askToJoin(ctx context.Context, learner bool) (bool, error) {
	for _, address := range c.knownPeers().Coordinators {
		if address == c.port.address {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, 15*time.Second)
		_, err := c.clusterClient(address).AddPeer(asking, connect.NewRequest(&tandemv1.AddPeerRequest{
			Id: c.creds.Identity.Node, Address: c.port.address, Learner: learner, Version: c.cfg.Version, Level: schema.Known,
		}))
		cancel()
		switch {
		case err == nil:
			return true, nil
		case connect.CodeOf(err) == connect.CodePermissionDenied:
			return false, fmt.Errorf("become a peer of %s: %w", address, say.Advised(err, say.CLI))
		}
		c.repeats.Warn(c.log, address).Err(err).Str("coordinator", address).Bool("learner", learner).Msg("could not become a peer yet")
	}
	return false, nil
}

func (c *Coordinator) knownPeers() identity.Peers { return *c.peers.Load() }

// remember writes down where the other coordinators are, for the next start.
func (c *Coordinator) remember(ctx context.Context) error {
	for {
		changed := c.gossip.Changed()
		now := identity.Peers{}
		for _, m := range c.gossip.Members() {
			if m.Role == identity.RoleCoordinator && m.ID != c.creds.Identity.Node {
				now.Coordinators = append(now.Coordinators, m.Address)
				now.Gossip = append(now.Gossip, m.Gossip)
			}
		}
		known := c.knownPeers()
		// Those that are gone for now are kept as long as nobody else is known.
		if len(now.Coordinators) > 0 && !(slices.Equal(now.Coordinators, known.Coordinators) && slices.Equal(now.Gossip, known.Gossip)) {
			c.peers.Store(&now)
			if err := identity.SavePeers(c.cfg.pkiDir(), now); err != nil {
				c.log.Warn().Err(err).Msg("where the other coordinators are was not written down")
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}
