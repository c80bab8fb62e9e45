package main

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) clusterCommand() *cobra.Command {
	return group("cluster", "Show the cluster and its coordinators",
		&cobra.Command{
			Use:   "describe",
			Short: "Show the cluster and its coordinators",
			Args:  cobra.NoArgs,
			RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
				res, err := c.Cluster.GetCluster(ctx, connect.NewRequest(&tandemv1.GetClusterRequest{}))
				if err != nil {
					return err
				}
				m := res.Msg
				g := grid{title: "Coordinators", header: []string{"ID", "ADDRESS", "ROLE", "ALIVE"}}
				for _, p := range m.GetPeers() {
					g.rows = append(g.rows, []string{p.GetId(), p.GetAddress(), peerRole(p), yesNo(p.GetAlive())})
				}
				return a.show(m, fields{
					{"Cluster", m.GetId()}, {"Asked", c.Endpoint()}, {"Version", m.GetVersion()}, {"Applied index", number(m.GetAppliedIndex())},
				}, g)
			}),
		},
		&cobra.Command{
			Use:   "remove-peer COORDINATOR",
			Short: "Take a coordinator out of the Raft cluster for good",
			Args:  want("COORDINATOR"),
			RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
				if err := a.confirm(fmt.Sprintf("Remove coordinator %s? The majority is counted without it from then on.", args[0])); err != nil {
					return err
				}
				res, err := c.Cluster.RemovePeer(ctx, connect.NewRequest(&tandemv1.RemovePeerRequest{Id: args[0]}))
				if err != nil {
					return err
				}
				return a.show(res.Msg, text(args[0]+" is removed"))
			}),
		})
}

// peerRole is the part that a coordinator has in Raft.
func peerRole(p *tandemv1.Peer) string {
	switch {
	case p.GetLeader():
		return "leader"
	case p.GetLearner():
		return "learner" // it has no vote yet
	}
	return "voter"
}
