package main

import (
	"context"
	"errors"
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
you finish; before that, "tandem context refresh" on their machines fetches the new one. --finish ends the trust in the
former CA; it is refused while a node has a certificate of it.`,
		Example: `  tandem cluster rotate-ca
  tandem context refresh
  tandem cluster rotate-ca --finish`,
		Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			if force && !finish {
				return &usageError{errors.New("--force is for --finish")}
			}
			if finish {
				if err := a.confirm("Stop trusting the former CA? Clients that know only that one are shut out."); err != nil {
					return err
				}
			}
			res, err := c.Cluster.RotateKeys(ctx, connect.NewRequest(&tandemv1.RotateKeysRequest{
				Key: tandemv1.RotatedKey_ROTATED_KEY_AUTHORITY, Finish: finish, Force: force,
			}))
			if err != nil {
				return err
			}
			if finish {
				return a.show(res.Msg, text("the former CA is not trusted any more"))
			}
			return a.show(res.Msg, text("a new CA is handed out; see how far it is with: tandem cluster describe"))
		}),
	}
	cmd.Flags().BoolVar(&finish, "finish", false, "stop trusting the former CA")
	cmd.Flags().BoolVar(&force, "force", false, "with --finish: though nodes have no certificate of the new CA yet; they have to join again")
	return cmd
}

func (a *app) rotateGossipCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate-gossip-key",
		Short: "Replace the key that encrypts gossip while everything runs",
		Args:  cobra.NoArgs,
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
