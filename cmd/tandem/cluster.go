package main

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/node"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) clusterCommand() *cobra.Command {
	return group("cluster", "Show the cluster and its coordinators",
		&cobra.Command{
			Use:   "describe",
			Short: "Show the cluster and its coordinators",
			Args:  want(),
			RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
				res, err := c.Cluster.GetCluster(ctx, connect.NewRequest(&tandemv1.GetClusterRequest{}))
				if err != nil {
					return err
				}
				m := res.Msg
				about := fields{
					{"Cluster", m.GetId()}, {"Asked", c.Endpoint()}, {"Version", m.GetVersion()}, {"Feature level", featureLevel(m)},
					{"Applied index", number(m.GetAppliedIndex())},
				}
				return a.show(m, append([]part{append(about, rotationFields(m.GetRotation())...)}, clusterGrids(m)...)...)
			}),
		},
		a.rotateCACommand(), a.rotateGossipCommand(), a.retentionCommand(),
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

// featureLevel is the level of the cluster, and the next one where a coordinator knows it already.
func featureLevel(m *tandemv1.GetClusterResponse) string {
	level := number(m.GetLevel())
	if m.GetKnownLevel() > m.GetLevel() {
		return level + ", and " + number(m.GetKnownLevel()) + " when all coordinators know it"
	}
	return level
}

// clusterGrids are the coordinators, the programs of the workers, and the entries of the log that are skipped, if any.
func clusterGrids(m *tandemv1.GetClusterResponse) []part {
	peers := grid{title: "Coordinators", header: []string{"ID", "ADDRESS", "ROLE", "ALIVE", "VERSION", "LEVEL", "CLOCK"}}
	for _, p := range m.GetPeers() {
		peers.rows = append(peers.rows, []string{p.GetId(), p.GetAddress(), peerRole(p), yesNo(p.GetAlive()), p.GetVersion(), number(p.GetLevel()), node.Clock(p.GetClockOffset())})
	}
	workers := grid{title: "Workers", header: []string{"ID", "NAME", "VERSION", "LEVEL"}}
	for _, w := range m.GetWorkers() {
		workers.rows = append(workers.rows, []string{w.GetId(), w.GetName(), w.GetVersion(), number(w.GetLevel())})
	}
	all := []part{peers, workers}
	if len(m.GetQuarantined()) > 0 {
		skipped := grid{title: "Entries of the log that are skipped", header: []string{"INDEX", "PROPOSED", "SHA-256"}}
		for _, q := range m.GetQuarantined() {
			skipped.rows = append(skipped.rows, []string{number(q.GetIndex()), moment(q.GetTime()), q.GetSha256()})
		}
		all = append(all, skipped)
	}
	return all
}
