package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) rotateCACommand() *cobra.Command {
	var finish, force bool
	cmd := &cobra.Command{
		Use:   "rotate-ca",
		Short: "Replace the CA while everything runs",
		Long: `Replace the CA while everything runs. Begun, it goes on by itself: all nodes learn to trust the new CA, then it signs, and
all nodes get certificates of it. "tandem cluster describe" shows how far that is. Clients go on with the CA they know until
you finish; before that, "tandem context refresh" on their machines fetches the new one. --finish does so for the context it
is called from, then ends the trust in the former CA; it is refused while a node has a certificate of it.`,
		Example: `  tandem cluster rotate-ca
  tandem cluster describe
  tandem cluster rotate-ca --finish`,
		Args: want(),
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			if force && !finish {
				return &usageError{errors.New("--force is for --finish")}
			}
			if finish {
				return a.finishCA(ctx, c, force)
			}
			res, err := c.Cluster.RotateKeys(ctx, connect.NewRequest(&tandemv1.RotateKeysRequest{Key: tandemv1.RotatedKey_ROTATED_KEY_AUTHORITY}))
			if err != nil {
				return err
			}
			return a.show(res.Msg, text("a new CA is handed out; see how far it is with: tandem cluster describe"))
		}),
	}
	cmd.Flags().BoolVar(&finish, "finish", false, "stop trusting the former CA")
	cmd.Flags().BoolVar(&force, "force", false, "with --finish: though nodes have no certificate of the new CA yet; they have to join again")
	return cmd
}

// finishCA ends the trust in the former CA, but not before the context of this user trusts the new one.
func (a *app) finishCA(ctx context.Context, c *client.Client, force bool) error {
	if err := a.confirm("Stop trusting the former CA? Clients that know only that one are shut out."); err != nil {
		return err
	}
	switch {
	case c.Context.CA == "": // that of a proxy
	case c.Context.Name == client.Environment:
		now, err := trusted(ctx, c)
		if err != nil {
			return err
		}
		if !c.Context.Trusts(now) {
			return errForeignCA
		}
	default:
		if _, err := a.refresh(ctx, c); err != nil {
			return fmt.Errorf("the former CA stays, for this context could not be refreshed: %w", err)
		}
	}
	res, err := c.Cluster.RotateKeys(ctx, connect.NewRequest(&tandemv1.RotateKeysRequest{
		Key: tandemv1.RotatedKey_ROTATED_KEY_AUTHORITY, Finish: true, Force: force,
	}))
	if err != nil {
		return err
	}
	if c.Context.CA != "" && c.Context.Name != client.Environment {
		if err := a.forgetFormer(ctx); err != nil {
			a.say("The context still trusts the former CA: `%s context refresh` ends that (%s).", a.name, client.Message(err))
		}
	}
	return a.show(res.Msg, text("the former CA is not trusted any more"))
}

// forgetFormer refreshes the context once more, now that the cluster names the new CA alone.
func (a *app) forgetFormer(ctx context.Context) error {
	c, err := a.client() // it trusts the new CA
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = a.refresh(ctx, c)
	return err
}

func (a *app) rotateGossipCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate-gossip-key",
		Short: "Replace the key that encrypts gossip while everything runs",
		Args:  want(),
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Cluster.RotateKeys(ctx, connect.NewRequest(&tandemv1.RotateKeysRequest{Key: tandemv1.RotatedKey_ROTATED_KEY_GOSSIP}))
			if err != nil {
				return err
			}
			return a.show(res.Msg, text("a new gossip key is handed out and used when all nodes have it; see how far it is with: tandem cluster describe"))
		}),
	}
}

// rotationFields say how far the keys of the cluster are.
func rotationFields(r *tandemv1.Rotation) fields {
	var all fields
	if ends := date(r.GetCaExpiresAt()); ends != "" {
		all = append(all, [2]string{"CA ends", ends})
	}
	phases := map[tandemv1.KeyState]string{
		tandemv1.KeyState_KEY_STATE_NEXT:   "is handed out",
		tandemv1.KeyState_KEY_STATE_FORMER: "is in use, and the former one still trusted",
	}
	if what := phases[r.GetAuthority()]; what != "" {
		all = append(all, [2]string{"New CA", what})
	}
	if what := phases[r.GetGossip()]; what != "" {
		all = append(all, [2]string{"New gossip key", what})
	}
	if len(r.GetWaitingFor()) > 0 {
		all = append(all, [2]string{"Waits for", strings.Join(r.GetWaitingFor(), ", ")})
	}
	return all
}
